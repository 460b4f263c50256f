"""The log probability as a measurement, and kernels between two measurements."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sklearn_provenance.attribution import InfoGainAttributor
from sklearn_provenance.tangent import TangentFeatures, TangentModel, measure, tangent_kernel
from sklearn_provenance.tangent import _products as kernels

from ..checks import thorough
from .conftest import NETWORKS, Lies, build, reference
from .test_factors import Routed

pytestmark = pytest.mark.filterwarnings("ignore:the gradients of .* row by row")


@given(
    st.lists(st.floats(-50, 50), min_size=2, max_size=6),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_log_probability(values, dtype):
    logits = torch.tensor(values, dtype=dtype).repeat(len(values), 1)
    labels = torch.arange(len(values))
    expected = torch.log_softmax(logits.double(), 1).diagonal()
    found = measure(logits, labels, "log_probability")
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-14)
    assert (found <= 0).all()


@pytest.mark.parametrize("margin", [-90.0, -20.0, 0.0, 20.0, 80.0])
def test_its_gradient_keeps_its_digits(margin):
    """1 - p of a certain label is far below the rounding of p, and not zero."""
    logits = torch.tensor([[margin, 0.0]], requires_grad=True)
    f = measure(logits, torch.tensor([0]), "log_probability")
    (gradient,) = torch.autograd.grad(f.sum(), logits)
    doubt = 1 / (1 + math.exp(margin))
    np.testing.assert_allclose(gradient, [[doubt, -doubt]], rtol=1e-5)
    np.testing.assert_allclose(f.item(), -math.log1p(math.exp(-margin)), rtol=1e-5)


def test_one_class_has_no_probability():
    for measurement in ("margin", "log_probability"):
        with pytest.raises(ValueError, match=f"{measurement}.*at least two outputs"):
            measure(torch.zeros(2, 1), torch.zeros(2, dtype=torch.long), measurement)
    with pytest.raises(ValueError, match="log_probability"):
        TangentModel(nn.Linear(2, 2), measurement="loss")


def test_features_are_of_the_other_two():
    x = torch.randn(6, 4)
    with pytest.raises(ValueError, match="measurement"):
        TangentFeatures(nn.Linear(4, 3), measurement="log_probability").fit(x)
    with pytest.raises(ValueError, match="measurement"):
        InfoGainAttributor(nn.Linear(4, 3), measurement="log_probability").fit(x, [0, 1, 2] * 2)


def test_routes_are_found_where_the_network_is_certain():
    """The gradients of log p at the predicted label are all zero here: any factors would pass."""
    torch.manual_seed(0)
    network = nn.Sequential(Lies(6, 4), nn.Tanh(), nn.Linear(4, 3))
    with torch.no_grad():
        network[2].weight *= 1e5
    x = torch.randn(9, 6)
    logits = network(x)
    assert not measure(logits, logits.argmax(1), "log_probability").any()
    routes = TangentModel(network, measurement="log_probability").plan(x).coverage.routes
    assert routes == {
        "0.weight": "functional", "0.bias": "functional",
        "2.weight": "factors", "2.bias": "factors",
    }  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("one", "other"),
    [("margin", "log_probability"), *thorough(("log_probability", "label_logit"))],
)
def test_kernel_between_measurements(name, one, other):
    network, x, labels = build(name, n=7)
    left, right = (reference(network, x, labels, m) for m in (one, other))
    model = TangentModel(network, measurement=one)
    model2 = model.measuring(other)
    kernel = tangent_kernel(model, x[:3], labels[:3], x, labels, model2=model2, batch_size=2)
    torch.testing.assert_close(
        kernel, left[:3] @ right.T, rtol=1e-9, atol=1e-10 * float((left @ right.T).abs().max())
    )


@given(
    name=st.sampled_from(["mlp", "tokens", "convolutions", "shared", "tied"]),
    slow=st.lists(st.booleans(), min_size=12, max_size=12), first=st.booleans(),
    batch_size=st.integers(1, 8), tile=st.integers(1, 8), streamed=st.sampled_from([1, 2**24]),
)  # fmt: skip
@settings(max_examples=15)
def test_layers_whose_routes_differ(name, slow, first, batch_size, tile, streamed):
    network, x, labels = build(name, n=7)
    left = reference(network, x, labels, "margin")
    right = reference(network, x, labels, "log_probability")
    model = TangentModel(network, measurement="margin").plan(x)
    other = model.measuring("log_probability").plan(x)
    changed = model if first else other
    for layer, is_slow in zip(changed.layers, slow, strict=False):
        layer.route = "functional" if is_slow else layer.route
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "_TILE", tile)
        patch.setattr(kernels, "_STREAMED", streamed)
        kernel = tangent_kernel(
            model, x[:3], labels[:3], x, labels, model2=other, batch_size=batch_size
        )
    expected = left[:3] @ right.T
    torch.testing.assert_close(
        kernel, expected, rtol=1e-9, atol=1e-10 * float(expected.abs().max())
    )


def test_a_layer_that_is_idle_in_one_of_the_models():
    torch.manual_seed(0)
    network, x = Routed().double(), torch.randn(16, 6).double()
    labels = torch.arange(16) % 3
    low, high = x[x[:, 0] < 0], x[x[:, 0] > 0]
    model = TangentModel(network).plan(low)
    other = model.measuring("log_probability").plan(high)
    assert set(model.coverage.routes.values()) == {"factors", "idle"}
    left = reference(network, x, labels)
    right = reference(network, x, labels, "log_probability")
    kernel = tangent_kernel(model, x, labels, x, labels, model2=other, batch_size=3)
    torch.testing.assert_close(kernel, left @ right.T)


def test_the_parameterisation_is_kept():
    network, x, labels = build("mlp")
    for scale in (True, 3.0):
        model = TangentModel(network, ntk_parameterization=scale, measurement="margin")
        expected = tangent_kernel(model, x, labels)
        p = network.eval()(x).softmax(1)[torch.arange(5), labels]
        found = tangent_kernel(
            model, x, labels, x, labels, model2=model.measuring("log_probability")
        )
        torch.testing.assert_close(found, expected * (1 - p.detach()))
    some = TangentModel(network, parameters=["0.weight"])
    assert list(some.measuring("margin").weights) == ["0.weight"]


def test_models_of_other_networks_are_refused():
    network, x, labels = build("mlp")
    model = TangentModel(network)
    for other in (
        TangentModel(build("mlp")[0]),
        TangentModel(network, parameters=["0.weight"]),
        TangentModel(network, ntk_parameterization=True),
    ):
        with pytest.raises(ValueError, match="model2 must be the same module"):
            tangent_kernel(model, x, labels, x, labels, model2=other)
    with pytest.raises(ValueError, match="model2 describes X2"):
        tangent_kernel(model, x, labels, model2=model)
