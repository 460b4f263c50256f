"""Networks that compute under autocast, in bfloat16, beside the same networks in full precision."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_provenance import (
    InfluenceAttributor,
    InfoGainAttributor,
    InfoLossAttributor,
    TangentFeatures,
)
from sklearn_provenance.attribution import (
    EKFACAttributor,
    GradDotAttributor,
    LastLayerAttributor,
    RandomAttributor,
    RelatIFAttributor,
    RepSimAttributor,
    TRAKAttributor,
)

from ..tangent.conftest import reference

ATTRIBUTORS = (
    EKFACAttributor,
    GradDotAttributor,
    InfluenceAttributor,
    InfoGainAttributor,
    InfoLossAttributor,
    LastLayerAttributor,
    RelatIFAttributor,
    RepSimAttributor,
    TRAKAttributor,
)
# Numbers in bfloat16 have 8 significant bits, and a gradient is a sum of products of them.
TOLERANCE = 0.06


class Autocast(nn.Module):
    """A network whose layers compute in bfloat16, as mixed precision does; so are its logits."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.network(x)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 3))


X = np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32)
y = np.arange(60) % 3


def error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("sketch", ["tensor", "sjlt", "rademacher"])
def test_features_are_those_of_single_precision_but_for_rounding(network, sketch):
    expected, found = (
        TangentFeatures(one, 64, sketch=sketch).fit(X).transform(X, y)
        for one in (network, Autocast(network))
    )
    assert found.dtype == np.float32
    assert 1e-4 < error(found, expected) < TOLERANCE  # it did compute in bfloat16


def test_exact_features_are_gradients_under_autocast(network):
    module = Autocast(network)
    expected = reference(module, torch.from_numpy(X), torch.from_numpy(y)).numpy()
    found = TangentFeatures(module, "exact").fit(X).transform(X, y)
    assert error(found, expected) < 0.01  # a row alone rounds like rows together, nearly


@pytest.mark.parametrize("make", ATTRIBUTORS, ids=lambda make: make.__name__)
def test_methods_name_the_same_rows(network, make):
    expected, found = (
        make(one).fit(X, y).explain(X[:8], k=5) for one in (network, Autocast(network))
    )
    shared = [len(set(a) & set(b)) for a, b in zip(expected.indices, found.indices, strict=True)]
    assert np.mean(shared) >= 4.5
    assert found.scores.dtype == expected.scores.dtype
    assert error(found.scores, expected.scores) < TOLERANCE


def numbers(X):
    """Features of the user's own, in bfloat16 where rows are tensors."""
    return torch.as_tensor(X).bfloat16()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "make",
    [
        RandomAttributor,
        lambda one: RepSimAttributor(one, features=numbers),
        lambda one: InfoGainAttributor(one, features=numbers),
        lambda one: InfoLossAttributor(one, features=numbers),
        lambda one: RelatIFAttributor(one, features=numbers),
    ],
)
def test_networks_in_half_precision_predict_where_rows_are_compared_otherwise(network, make, dtype):
    half = network.to(dtype)
    rounded = torch.from_numpy(X).to(dtype)
    found = make(half).fit(rounded, y).explain(rounded[:8], k=5)
    expected = (
        make(half.float())
        .fit(rounded.float(), y)
        .explain(rounded[:8].float(), found.query_labels, k=5)
    )
    if make is not RandomAttributor:  # which draws by what the query holds, bit by bit
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_allclose(found.scores, expected.scores)
    with torch.no_grad():
        labels = half(rounded[:8].float()).argmax(1)
    assert np.mean(found.query_labels == labels.numpy()) >= 0.75


@pytest.mark.parametrize("make", [*ATTRIBUTORS, TangentFeatures], ids=lambda make: make.__name__)
def test_networks_in_half_precision_are_refused_where_rows_are_compared_by_them(network, make):
    with pytest.raises(ValueError, match=r"single or double precision, .*torch.float16"):
        make(network.half()).fit(X, y)
