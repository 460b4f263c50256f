"""The projections of torch's attention have factors, wherever its queries come from."""

import pytest
import torch
from torch import nn

from sklearn_provenance.tangent import TangentModel, tangent_kernel

from .conftest import reference


class Attends(nn.Module):
    """Rows (B, 4, 6), whose first positions may ask the last ones."""

    def __init__(self, asks="self", need_weights=True, masked=False, **options):
        super().__init__()
        self.asks = asks
        self.masked = masked
        self.need_weights = need_weights
        self.attention = nn.MultiheadAttention(6, 3, **options)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        if self.asks == "self":
            query = key = value = x
        elif self.asks == "another":
            query, key = x[:, :1], x[:, 1:]
            value = key
        else:
            query, key, value = x[:, :1], x[:, 1:], torch.tanh(x[:, 1:])
            key = key[..., : self.attention.kdim]
        inputs = [query, key, value]
        if not self.attention.batch_first:
            by_id = {id(part): part.transpose(0, 1) for part in inputs}
            inputs = [by_id[id(part)] for part in inputs]
        mask = None
        if self.masked:  # the second position is padding in some rows
            mask = torch.zeros(x.shape[:2], dtype=torch.bool)
            mask[:, 1] = x[:, 1, 0] > 0
        found, _ = self.attention(*inputs, key_padding_mask=mask, need_weights=self.need_weights)
        if not self.attention.batch_first:
            found = found.transpose(0, 1)
        return self.head(torch.tanh(found).mean(1))


def rows():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(5, 4, 6, generator=generator).double(), torch.tensor([0, 1, 2, 1, 0])


def exact_routes(network, x, labels):
    """Compare gradients with those of autograd, and return the routes that they take."""
    model = TangentModel(network).plan(x, labels)
    flags = [torch.full((p.numel(),), p.requires_grad) for p in network.parameters()]
    gradients = reference(network, x, labels)[:, torch.cat(flags)]
    kernel = tangent_kernel(model, x, labels, batch_size=2)
    torch.testing.assert_close(kernel, gradients @ gradients.T)
    return {n: r for n, r in model.coverage.routes.items() if r not in ("factors", "excluded")}


@pytest.mark.parametrize(
    "options",
    [
        {"batch_first": True},
        {"batch_first": True, "masked": True, "need_weights": False},
        {"asks": "another"},
        {"asks": "others", "batch_first": True, "bias": False},
        {"asks": "others", "add_zero_attn": True},
    ],
    ids=str,
)
def test_projections_have_factors(options):
    torch.manual_seed(0)
    assert exact_routes(Attends(**options).double(), *rows()) == {}


@pytest.mark.parametrize("frozen", ["in_proj_weight", "in_proj_bias", "out_proj.weight"])
def test_projections_of_frozen_parameters_have_factors(frozen):
    torch.manual_seed(0)
    network = Attends().double()
    network.attention.get_parameter(frozen).requires_grad_(False)
    assert exact_routes(network, *rows()) == {}


def test_parameters_that_are_no_projection_take_the_slow_route():
    torch.manual_seed(0)
    routes = exact_routes(Attends(add_bias_kv=True).double(), *rows())
    assert routes == dict.fromkeys(["attention.bias_k", "attention.bias_v"], "functional")


def test_weights_of_keys_of_another_width_take_the_slow_route():
    torch.manual_seed(0)
    routes = exact_routes(Attends("others", kdim=4).double(), *rows())
    names = ["q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias"]
    assert routes == {f"attention.{name}": "functional" for name in names}


def test_what_the_network_computes_is_not_changed():
    torch.manual_seed(0)
    network = Attends().double().eval()
    x, _ = rows()
    outputs = TangentModel(network).plan(x).linearise(x).logits
    torch.testing.assert_close(outputs, network(x), rtol=1e-14, atol=1e-15)
