"""Gradients in some of a network's weights: linear layers, a class of modules, names, patterns."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor, TangentFeatures
from sklearn_provenance.attribution import (
    EKFACAttributor,
    GradDotAttributor,
    RelatIFAttributor,
    TRAKAttributor,
)
from sklearn_provenance.tangent import TangentModel

CHOICES = {
    "linear": ["4.weight", "4.bias", "6.weight", "6.bias"],
    nn.Conv1d: ["0.weight", "0.bias"],
    (nn.BatchNorm1d, "6.*"): ["1.weight", "1.bias", "6.weight", "6.bias"],
    ("*.bias",): ["0.bias", "1.bias", "4.bias", "6.bias"],
    ("4.weight",): ["4.weight"],
}


@pytest.fixture
def convolutional():
    torch.manual_seed(0)
    layers = nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Tanh(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)).double().eval()


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 1, 6)), np.arange(40) % 3, rng.normal(size=(4, 1, 6))


@pytest.mark.parametrize("choice", CHOICES)
def test_choices_are_the_parameters_that_they_name(convolutional, images, choice):
    X, y, _ = images
    chosen = TangentFeatures(convolutional, "exact", parameters=choice).fit(X)
    names = TangentFeatures(convolutional, "exact", parameters=CHOICES[choice]).fit(X)
    np.testing.assert_array_equal(chosen.transform(X, y), names.transform(X, y))
    routes = chosen.coverage_.routes
    assert [name for name in routes if routes[name] != "excluded"] == CHOICES[choice]


def test_linear_layers_that_are_frozen_are_left_out(convolutional):
    convolutional[4].requires_grad_(False)
    model = TangentModel(convolutional, parameters="linear")
    assert list(model.weights) == ["6.weight", "6.bias"]
    convolutional.requires_grad_(False)
    assert list(TangentModel(convolutional, parameters="linear").weights) == CHOICES["linear"]


class Unknown(nn.Module):
    """A weight that no layer knows about, after which comes a linear layer."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(6, dtype=torch.float64))
        self.head = nn.Linear(6, 3).double()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.head(torch.tanh(x.flatten(1) * self.gain))


def test_only_those_are_examined(images):
    """Nothing goes through torch.func, which takes a forward pass of its own."""
    X, y, _ = images
    calls = {}
    for parameters in ("auto", "linear"):
        module = Unknown()
        features = TangentFeatures(module, "exact", parameters=parameters, batch_size=40).fit(X)
        module.calls = 0
        features.transform(X, y)
        calls[parameters] = module.calls
        assert ("functional" in features.coverage_.routes.values()) == (parameters == "auto")
    assert calls == {"auto": 2, "linear": 1}


def sketched(network, **params):
    return TRAKAttributor(network, n_components="exact", **params)


ATTRIBUTORS = [InfoGainAttributor, InfoLossAttributor, RelatIFAttributor, GradDotAttributor]


@pytest.mark.parametrize("cls", [*ATTRIBUTORS, EKFACAttributor, sketched])
def test_attributors_compare_gradients_in_these(convolutional, images, cls):
    X, y, queries = images
    found = cls(convolutional, parameters="linear").fit(X, y)
    frozen = nn.Sequential(*convolutional)
    for layer in (frozen[0], frozen[1]):
        layer.requires_grad_(False)
    expected = cls(frozen).fit(X, y).attribute(queries)
    np.testing.assert_allclose(found.attribute(queries), expected, rtol=1e-9, equal_nan=True)


def test_sketches_of_an_attributor(convolutional, images):
    X, y, queries = images
    sketch = TangentFeatures(n_components=16)
    found = InfoGainAttributor(convolutional, features=sketch, parameters="linear").fit(X, y)
    own = TangentFeatures(n_components=16, parameters="linear")
    expected = InfoGainAttributor(convolutional, features=own).fit(X, y).attribute(queries)
    np.testing.assert_array_equal(found.attribute(queries), expected)
    trak = TRAKAttributor(convolutional, features=own).fit(X, y)
    assert trak.features_[0].coverage_.routes["0.weight"] == "excluded"
    with pytest.raises(ValueError, match="features has parameters='linear' and the attributor"):
        InfoGainAttributor(convolutional, features=own, parameters="all").fit(X, y)


def test_choices_that_cannot_be_met(convolutional, images):
    X, y, _ = images
    with pytest.raises(ValueError, match=r"must name some of .*got \['9\.\*'\]"):
        InfoGainAttributor(convolutional, parameters=["9.*"]).fit(X, y)
    with pytest.raises(ValueError, match='parameters="linear" needs a linear layer'):
        TangentModel(nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten()), parameters="linear")
    own = InfoGainAttributor(LogisticRegression(), features=lambda X: X, parameters="linear")
    with pytest.raises(ValueError, match='parameters must be "auto" where rows are compared'):
        own.fit(X[:, 0], y)


def test_weights_of_a_linear_model(images):
    X, y, queries = images
    model = LogisticRegression().fit(X[:, 0], y)
    every = GradDotAttributor(model).fit(X[:, 0], y)
    chosen = GradDotAttributor(model, parameters="linear").fit(X[:, 0], y)
    np.testing.assert_allclose(
        chosen.attribute(queries[:, 0]), every.attribute(queries[:, 0]), rtol=1e-9
    )
