"""Networks of every kind, and gradients the slow way."""

import pytest
import torch
from torch import nn

from sklearn_provenance.tangent import measure


class Shared(nn.Module):
    """One layer applied twice, another at every position of a flattened batch."""

    def __init__(self):
        super().__init__()
        self.block = nn.Linear(6, 6)
        self.token = nn.Linear(3, 4)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        h = torch.relu(self.block(torch.relu(self.block(x))))
        tokens = torch.tanh(self.token(h.reshape(-1, 3)))
        return self.head(tokens.reshape(len(x), -1))


class Own(nn.Module):
    """Parameters that no layer knows about, one of them without dimensions."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.gain = nn.Parameter(torch.randn(5))
        self.mixing = nn.Parameter(torch.randn(5, 3))
        self.temperature = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return torch.tanh(self.first(x) * self.gain) @ self.mixing * self.temperature


class Functional(nn.Module):
    """Layers whose weights are used without calling them, and a branch on values."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.second = nn.Linear(5, 3)

    def forward(self, x):
        h = torch.nn.functional.linear(x, self.first.weight, self.first.bias).tanh()
        if h.sum().item() > 1e9:  # vmap cannot follow
            h = h * 2
        return torch.nn.functional.linear(h, self.second.weight, self.second.bias)


class Tokens(nn.Module):
    """Embedding, layer norm, and an output layer tied to the embedding."""

    def __init__(self, tied=False):
        super().__init__()
        self.embedding = nn.Embedding(11, 4, padding_idx=0)
        self.norm = nn.LayerNorm(4)
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 11 if tied else 3)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, x):
        h = self.norm(self.embedding(x))
        return self.head(torch.tanh(self.mix(h)).mean(1))


class Lies(nn.Linear):
    """A linear layer that computes something else."""

    def forward(self, x):
        return super().forward(x) * x.sum(1, keepdim=True)


class TimeFirst(nn.Module):
    """Positions before examples, as many as there are examples in some batches."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, x):
        return torch.tanh(self.layer(x.reshape(len(x), 3, 2).transpose(0, 1))).sum(0)


class TwoHeads(nn.Module):
    """A branch without influence on the logits."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(6, 4)
        self.head = nn.Linear(4, 3)
        self.other = nn.Linear(4, 7)

    def forward(self, x):
        h = torch.relu(self.trunk(x))
        return self.head(h), self.other(h)


class Attention(nn.Module):
    """Weights used without calling their module (input projection, output projection)."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(6, 2, 5, dropout=0.1, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.layer(x.reshape(len(x), 2, 6)).mean(1))


class Positions(nn.Module):
    """Tokens and their positions, which are looked up once for all rows of a batch."""

    def __init__(self, flat=False):
        super().__init__()
        self.flat = flat
        self.token = nn.Embedding(11, 4)
        self.position = nn.Embedding(8, 4)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        places = torch.arange(x.shape[1])
        places = self.norm(self.position(places if self.flat else places[None]))
        return self.head(torch.tanh(self.token(x) + places).mean(1))


class Shapes(Positions):
    """As Positions, but takes no table with an axis for rows."""

    def forward(self, x):
        places = self.position(torch.arange(x.shape[1]))
        n_places, _ = places.shape
        return self.head(self.norm(torch.tanh(self.token(x) + places)).sum(1) / n_places)


class Labels(nn.Module):
    """One token a row, without an axis for tokens: (B,)."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.table(x[:, 0]) * self.table(x[:, 1])))


class Transposed(nn.Module):
    """The linear layers of GPT-2."""

    def __init__(self):
        super().__init__()
        conv1d = pytest.importorskip("transformers.pytorch_utils").Conv1D
        self.first, self.second = conv1d(5, 3), conv1d(3, 5)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x.reshape(len(x), -1, 3)))).sum(1)


def convolutions():
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 5, (2, 3), padding="same", padding_mode="reflect", bias=False),
        nn.GroupNorm(1, 5),
        nn.PReLU(5),
        nn.Flatten(2),
        nn.Conv1d(5, 4, 3, stride=2, padding=2),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.BatchNorm1d(4),
        nn.Linear(4, 3, bias=False),
    )


def volumes():
    return nn.Sequential(
        nn.Conv3d(1, 2, (2, 3, 2), padding=(1, 0, 1)),
        nn.Tanh(),
        nn.Conv3d(2, 2, 1, padding="valid"),
        nn.ConvTranspose3d(2, 2, 2),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


def mlp():
    return nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 5, bias=False), nn.RMSNorm(5),
        nn.PReLU(), nn.Linear(5, 3),
    )  # fmt: skip


NETWORKS = {
    "linear": (lambda: nn.Linear(6, 3, bias=False), (6,)),
    "mlp": (mlp, (6,)),
    "convolutions": (convolutions, (4, 7, 6)),
    "volumes": (volumes, (1, 3, 4, 3)),
    "tokens": (Tokens, "tokens"),
    "tied": (lambda: Tokens(tied=True), "tokens"),
    "positions": (Positions, "tokens"),
    "flat positions": (lambda: Positions(flat=True), "tokens"),
    "shapes": (Shapes, "tokens"),
    "labels": (Labels, "tokens"),
    "transposed": (Transposed, (6,)),
    "shared": (Shared, (6,)),
    "own": (Own, (6,)),
    "functional": (Functional, (6,)),
    "lies": (lambda: nn.Sequential(Lies(6, 4), nn.Tanh(), nn.Linear(4, 3)), (6,)),
    "time first": (TimeFirst, (6,)),
    "attention": (Attention, (12,)),
}


# Convolutions, shared weights, tables that rows share, and weights that no layer knows; the other
# networks vary these. ``test_factors.py`` and ``test_kernel.py`` take all of them.
OFTEN = {"mlp", "convolutions", "tokens", "positions", "shared", "own", "lies"}
every_network = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.thorough] * (name not in OFTEN)) for name in NETWORKS],
)


def build(name, dtype=torch.float64, n=5, seed=0):
    """A network in training mode, a batch and labels."""
    torch.default_generator.manual_seed(seed)
    create, shape = NETWORKS[name]
    tokens = shape == "tokens"
    x = torch.randint(0, 11, (n, 6)) if tokens else torch.randn(n, *shape, dtype=dtype)
    network = create().to(dtype)
    if name == "volumes":
        network(x)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.RMSNorm | nn.BatchNorm2d):
            nn.init.normal_(module.weight)
    return network, x, torch.randint(0, 3, (n,))


def reference(network, x, labels, measurement="label_logit", forward=None):
    """Jacobian by torch.autograd.grad, one example at a time: (n, P) in the parameters' order."""
    modes = {m: m.training for m in network.modules()}
    network.eval()
    rows = []
    parameters = list(network.parameters())
    flags = [p.requires_grad for p in parameters]
    for p in parameters:
        p.requires_grad_()
    for i in range(len(labels)):
        logits = forward(network, x[i : i + 1]) if forward else network(x[i : i + 1])
        f = measure(logits, labels[i : i + 1], measurement).sum()
        gradients = torch.autograd.grad(f, parameters, allow_unused=True)
        rows.append(
            torch.cat(
                [
                    (torch.zeros_like(p) if g is None else g).flatten()
                    for p, g in zip(parameters, gradients, strict=True)
                ]
            )
        )
    for m, mode in modes.items():
        m.training = mode
    for p, flag in zip(parameters, flags, strict=True):
        p.requires_grad_(flag)
    return torch.stack(rows)
