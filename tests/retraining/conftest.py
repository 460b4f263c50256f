"""Networks, and training written down as plainly as possible."""

import copy

import numpy as np
import torch
from torch import nn

from sklearn_provenance.retraining._schedule import epoch_order


def reference(module, X, y, mask, X_eval, recipe, seed=0, loss=None):
    """Logits of one copy, trained as `Recipe` says with the means of PyTorch."""
    module = copy.deepcopy(module).train()
    batches = []
    for epoch in range(recipe.max_epochs):
        rows = epoch_order(len(X), seed, epoch).tolist()
        if recipe.batches == "own":
            rows = [r for r in rows if mask[r]]
        size = recipe.batch_size
        for i in range(0, len(rows), size):
            batches.append([r for r in rows[i : i + size] if mask[r]])
    batches = [rows for rows in batches if rows]
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            module.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
    else:
        optimizer = torch.optim.AdamW(
            module.parameters(),
            lr=recipe.lr,
            betas=recipe.betas,
            eps=recipe.eps,
            weight_decay=recipe.weight_decay,
        )
    factor = (lambda step: 1.0) if recipe.schedule == "constant" else None
    factor = factor or (lambda step: recipe.schedule(step, len(batches)))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    for rows in batches:
        optimizer.zero_grad()
        (loss or nn.CrossEntropyLoss())(module(X[rows]), y[rows]).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return module.eval()(X_eval).numpy()


def references(module, X, y, masks, X_eval, recipe, seeds=None):
    seeds = [0] * len(masks) if seeds is None else seeds
    return np.stack(
        [reference(module, X, y, m, X_eval, recipe, s) for m, s in zip(masks, seeds, strict=True)]
    )


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6, bias=False), nn.Tanh(),
                         nn.Linear(6, 3))  # fmt: skip


def cnn():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.GroupNorm(3, 3),
        nn.Flatten(), nn.Linear(12, 3),
    )  # fmt: skip


def batch_norm():
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def dropout():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(5, 4, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.rnn(x[:, None])[0][:, 0])


class Tokens(nn.Module):
    """Words whose embedding is the output layer, too; a frozen and an unused parameter."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(3, 6)
        self.mix = nn.Linear(6, 6)
        self.frozen = nn.Parameter(torch.linspace(0.5, 1.5, 6), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(2))
        self.out = nn.Linear(6, 3, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x):
        return self.out(torch.relu(self.mix(self.embedding(x).sum(1))) * self.frozen)


def data(n=23, shape=(5,), dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, *shape, generator=generator, dtype=torch.float64).to(dtype)
    y = torch.randint(0, 3, (n,), generator=generator)
    return X, y, torch.randn(7, *shape, generator=generator, dtype=torch.float64).to(dtype)


def random_masks(n_copies, n, keep=0.6, seed=0):
    masks = np.random.default_rng(seed).random((n_copies, n)) < keep
    masks[:, 0] |= ~masks.any(1)
    return masks
