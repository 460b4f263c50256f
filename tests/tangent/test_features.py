"""The transformer."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn

from sklearn_provenance.tangent import (
    TangentFeatures,
    TangentModel,
    effective_dimension,
    measure,
    tangent_kernel,
)

from .conftest import build, reference

X = np.random.default_rng(0).normal(size=(7, 4))


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return nn.Linear(4, 3, bias=False)


def test_a_bare_linear_layer_has_its_input_as_features(linear):
    y = np.array([0, 1, 2, 0, 1, 2, 0])
    features = TangentFeatures(linear, "exact").fit(X)
    phi = features.transform(X, y).reshape(7, 3, 4)
    for i, c in enumerate(y):
        np.testing.assert_array_equal(phi[i, c], X[i].astype(np.float32))
        assert not np.delete(phi[i], c, axis=0).any()
    same_class = np.full(7, 1)
    at_one = features.transform(X, same_class)
    np.testing.assert_allclose(at_one @ at_one.T, X @ X.T, rtol=1e-4, atol=1e-5)
    kernel = tangent_kernel(TangentModel(linear.double()), X, same_class)
    np.testing.assert_allclose(kernel, X @ X.T, rtol=1e-12, atol=1e-14)


def test_without_labels_the_predicted_ones_are_used(linear):
    predicted = linear(torch.as_tensor(X, dtype=torch.float32)).argmax(1)
    features = TangentFeatures(linear, 32).fit(X)
    np.testing.assert_array_equal(features.transform(X), features.transform(X, predicted))
    assert not np.array_equal(features.transform(X), features.transform(X, (predicted + 1) % 3))


@pytest.mark.parametrize("sketch", ["tensor", "sjlt", "rademacher"])
def test_features_do_not_depend_on_batches_or_containers(sketch):
    network, x, labels = build("convolutions", torch.float32, n=9)
    features = TangentFeatures(network, 40, sketch=sketch).fit(x)
    expected = features.transform(x, labels)
    assert expected.dtype == np.float32
    assert expected.shape == (9, 40)
    for batch_size in (1, 4):
        other = TangentFeatures(network, 40, sketch=sketch, batch_size=batch_size).fit(x[:4])
        found = other.transform(x.numpy().astype(np.float64), labels.tolist())
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    again = pickle.loads(pickle.dumps(features)).transform(x, labels)
    np.testing.assert_array_equal(again, expected)
    cloned = clone(features).fit(x).transform(x, labels)
    np.testing.assert_array_equal(cloned, expected)


def test_views_are_taken_like_copies(linear):
    features = TangentFeatures(linear, 8).fit(X)
    fixed = X[::-1].copy()
    fixed.flags.writeable = False
    for view in (X[::-1], fixed):
        np.testing.assert_array_equal(features.transform(view), features.transform(X)[::-1])


def test_double_networks_give_double_features():
    network, x, labels = build("mlp")
    assert TangentFeatures(network, 8).fit(x).transform(x, labels).dtype == np.float64


def test_fit_transform_and_output_names(linear):
    features = TangentFeatures(linear, 8)
    np.testing.assert_array_equal(features.fit_transform(X), features.transform(X))
    assert features.get_feature_names_out()[-1] == "tangentfeatures7"
    exact = TangentFeatures(linear, "exact").fit(X)
    assert len(exact.get_feature_names_out()) == 12
    assert features.n_features_in_ == 4


def test_progress(linear, capsys):
    TangentFeatures(linear, 8, verbose=True).fit(X).transform(X)
    assert "tangent features" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": X[:, :3]}, "features"),
        ({"X": np.full((2, 4), np.nan)}, "NaN"),
        ({"X": np.full((2, 4), 1e300)}, "too large"),
        ({"X": X[:0]}, "at least one"),
        ({"y": [0, 1]}, "one entry for each of 7 rows, got 2"),
        ({"y": [0.0] * 7}, "integers"),
        ({"y": [3] * 7}, r"got 3\. Labels"),
        ({"y": [-1] * 7}, "got -1"),
    ],
)
def test_transform_refuses(linear, change, message):
    features = TangentFeatures(linear, 8).fit(X)
    with pytest.raises(ValueError, match=message):
        features.transform(**{"X": X, **change})


def test_images_of_another_size_are_refused():
    network, x, _ = build("convolutions")
    with pytest.raises(ValueError, match="X must have rows of shape"):
        TangentFeatures(network, 8).fit(x).transform(x[..., :-1])


@pytest.mark.parametrize(
    "parameters",
    [
        {"module": None}, {"n_components": 0}, {"n_components": "all"}, {"sketch": "other"},
        {"measurement": "loss"}, {"ntk_parameterization": -1.0}, {"batch_size": 0},
    ],
)  # fmt: skip
def test_fit_refuses(linear, parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        TangentFeatures(**{"module": linear, **parameters}).fit(X)


def test_transform_before_fit(linear):
    with pytest.raises(NotFittedError):
        TangentFeatures(linear).transform(X)


def test_nothing_to_differentiate_by(linear):
    forward = lambda module, x: x[:, :3] * 1.0  # noqa: E731
    with pytest.raises(ValueError, match="a parameter must influence"):
        TangentFeatures(linear, 8, forward=forward).fit(X)


def test_kernel_in_single_precision_is_close_to_double():
    network, x, labels = build("convolutions", torch.float32)
    model = TangentModel(network)
    double = tangent_kernel(model, x, labels)
    single = tangent_kernel(model, x, labels, dtype=torch.float32)
    assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X,), "labels2 must be given with X2"),
        ((X, [0]), "labels2 must have one entry for each of 7 rows"),
        ((None, [0]), "labels2 describes X2"),
    ],
)
def test_kernel_refuses(linear, arguments, message):
    with pytest.raises(ValueError, match=message):
        tangent_kernel(TangentModel(linear), X, [0] * 7, *arguments)


def test_kernel_in_several_blocks(monkeypatch):
    monkeypatch.setattr("sklearn_provenance.tangent._products._KEPT", 1)
    monkeypatch.setattr("sklearn_provenance.tangent._forms._PAIRS", 1)
    for name in ("convolutions", "tokens"):
        network, x, labels = build(name, n=5)
        kernel = tangent_kernel(TangentModel(network), x, labels, batch_size=2)
        expected = reference(network, x, labels)
        torch.testing.assert_close(kernel, expected @ expected.T)


def test_margin_is_computed_from_logits():
    logits = torch.tensor([[200.0, 0.0, 1.0], [0.3, -0.2, 0.5]])
    margin = measure(logits, torch.tensor([0, 2]), "margin").double()
    p = torch.softmax(logits.double(), 1)
    assert torch.isfinite(margin).all()
    torch.testing.assert_close(margin[1], torch.log(p[1, 2] / (1 - p[1, 2])), rtol=1e-6, atol=0)
    assert margin[0] == pytest.approx(200 - np.logaddexp(0, 1))
    assert measure(logits, torch.tensor([2, 1])).tolist() == [1.0, pytest.approx(-0.2)]


def test_measure_refuses():
    with pytest.raises(ValueError, match="at least two outputs"):
        measure(torch.ones(2, 1), torch.zeros(2, dtype=torch.long), "margin")
    with pytest.raises(ValueError, match="must be one of"):
        measure(torch.ones(2, 2), torch.zeros(2, dtype=torch.long), "loss")


@given(
    n=st.integers(1, 12), k=st.integers(1, 12), seed=st.integers(0, 2**31),
    noise=st.floats(1e-3, 1e5),
)  # fmt: skip
@settings(max_examples=50)
def test_effective_dimension_is_the_trace_of_the_definition(n, k, seed, noise):
    phi = np.random.default_rng(seed).normal(size=(n, k))
    K = phi @ phi.T
    expected = np.trace(K @ np.linalg.inv(K + noise * np.eye(n)))
    assert effective_dimension(phi, noise) == pytest.approx(expected, rel=1e-6)
    assert effective_dimension(K, noise, kernel=True) == pytest.approx(expected, rel=1e-6)
    both = effective_dimension(phi, [noise, 2 * noise])
    assert min(n, k) >= both[0] > both[1] > 0


def test_effective_dimension_of_examples(linear):
    features = TangentFeatures(linear, "exact").fit(X)
    y = np.zeros(7, dtype=int)
    expected = effective_dimension(X.astype(np.float32), 2.0)
    assert features.effective_dimension(X, 2.0, y) == pytest.approx(expected, rel=1e-6)


def test_effective_dimension_refuses():
    with pytest.raises(ValueError, match="positive"):
        effective_dimension(np.eye(2), 0.0)
    with pytest.raises(ValueError, match="kernel must be square"):
        effective_dimension(np.ones((2, 3)), 1.0, kernel=True)
    with pytest.raises(ValueError, match=r"two dimensions, got shape \(3,\)"):
        effective_dimension(np.ones(3), 1.0)


@pytest.mark.parametrize("n_components", ["exact", 8])
def test_a_module_that_ends_in_a_softmax_gives_a_warning(n_components):
    network = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))
    features = TangentFeatures(network, n_components)
    with pytest.warns(UserWarning, match=r"look like probabilities.*log\(\)"):
        features.fit(X)
    features.set_params(forward=lambda module, x: module(x).log()).fit(X)
    features.set_params(forward=None, measurement=lambda p, y: p[:, 0]).fit(X)


def test_gates_and_one_output_are_no_probabilities():
    identity = nn.Linear(3, 3, bias=False)
    identity.weight.data.copy_(torch.eye(3))
    ones = nn.Linear(3, 1)
    ones.weight.data.fill_(0.5)
    ones.bias.data.fill_(0.5)
    with warnings.catch_warnings(record=True) as caught:
        for network in (nn.Linear(3, 3, bias=False), identity, ones):
            TangentModel(network).plan(torch.eye(3))
    assert caught == []
