"""GradDot against gradients by autograd, and against training steps."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_provenance.attribution import GradDotAttributor, InfoGainAttributor
from sklearn_provenance.tangent import TangentRows, measure

from .conftest import margin_features


def make_network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def gradients(network, X, labels, measurement):
    """One backward pass for each row."""
    rows = []
    for x, label in zip(torch.as_tensor(X), torch.as_tensor(labels), strict=True):
        f = measure(network(x[None]), label[None], measurement)[0]
        found = torch.autograd.grad(f, list(network.parameters()))
        rows.append(torch.cat([g.flatten() for g in found]).numpy())
    return np.array(rows)


@pytest.mark.parametrize("candidates", ["same_class", "all"])
@pytest.mark.parametrize("measurement", ["margin", "label_logit"])
def test_scores_by_definition(data, measurement, candidates):
    X, y, queries = data
    network, labels = make_network(), np.arange(7) % 3
    attributor = GradDotAttributor(network, measurement=measurement, candidates=candidates)
    attributor.fit(X, y)
    phi = gradients(network, queries, labels, measurement)
    expected = phi @ gradients(network, X, y, "log_probability").T
    if candidates == "same_class":
        expected[labels[:, None] != y] = np.nan
    np.testing.assert_allclose(attributor.attribute(queries, labels), expected, rtol=1e-9)
    predicted = attributor.predict(queries)
    np.testing.assert_allclose(
        attributor.transform(queries), gradients(network, queries, predicted, measurement)
    )
    assert attributor.get_feature_names_out().shape == (5 * 6 + 6 + 6 * 3 + 3,)
    assert attributor.coverage_.shares["factors"] == 1


def test_softmax_regression_in_closed_form(network, data):
    """(e_y - p)·(e_c - q) (x·x_*), q the probabilities among the other classes."""
    X, y, queries = data
    labels = np.arange(7) % 3
    weight = network.weight.detach().numpy()
    p = np.exp(X @ weight.T)
    p /= p.sum(1, keepdims=True)
    rows = ((np.eye(3)[y] - p)[:, :, None] * X[:, None]).reshape(30, -1)
    expected = margin_features(weight, queries, labels) @ rows.T
    found = GradDotAttributor(network, candidates="all").fit(X, y).attribute(queries, labels)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("measurement", ["margin", "label_logit"])
def test_a_score_is_the_effect_of_a_step_on_the_row(data, measurement):
    X, y, queries = data
    network, labels = make_network(), torch.arange(7) % 3
    attributor = GradDotAttributor(network, measurement=measurement, candidates="all").fit(X, y)
    scores = attributor.attribute(queries, labels.numpy())
    queries = torch.as_tensor(queries)
    with torch.no_grad():
        before = measure(network(queries), labels, measurement)
    for row in (0, 11, 29):
        stepped = make_network()
        optimiser = torch.optim.SGD(stepped.parameters(), lr=1e-6)
        logits = stepped(torch.as_tensor(X[row : row + 1]))
        nn.functional.cross_entropy(logits, torch.as_tensor(y[row : row + 1])).backward()
        optimiser.step()
        with torch.no_grad():
            change = (measure(stepped(queries), labels, measurement) - before) / 1e-6
        np.testing.assert_allclose(scores[:, row], change, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [True, 2.0])
def test_it_is_the_margin_kernel_times_the_doubt(data, scale):
    """∇log p = (1 - p) ∇log(p / (1 - p)), with any parameterisation."""
    X, y, queries = data
    network = make_network()
    params = {"measurement": "margin", "ntk_parameterization": scale}
    other = InfoGainAttributor(network, **params).fit(X, y)
    with torch.no_grad():
        p = network(torch.as_tensor(X)).softmax(1).numpy()[np.arange(30), y]
    expected = other.transform(queries) @ other._rows.own().matrix().numpy().T * (1 - p)
    found = GradDotAttributor(network, candidates="all", **params).fit(X, y).attribute(queries)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_certain_model_in_single_precision(rng):
    X, y = rng.normal(size=(20, 3)), np.arange(20) % 2
    network = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[20.0, 0, 0], [-20.0, 0, 0]]))
    X[:, 0] = np.where(y == 0, 1.0, -1.0)  # margin 40: p is 1 in single precision
    scores = GradDotAttributor(network).fit(X, y).attribute(X[:4])
    own = scores[np.arange(4), np.arange(4)]
    np.testing.assert_allclose(own, 2 * np.exp(-40) * (X[:4] ** 2).sum(1), rtol=1e-4)


def test_memory_keeps_the_scores(data, tmp_path, monkeypatch):
    X, y, queries = data
    calls, inner = [], TangentRows.inner
    monkeypatch.setattr(TangentRows, "inner", lambda *a, **k: calls.append(1) or inner(*a, **k))
    network = make_network()
    params = {"memory": str(tmp_path), "candidates": "all"}
    kept = [GradDotAttributor(network, **params).fit(X, y).attribute(queries) for _ in range(2)]
    assert len(calls) == 1
    np.testing.assert_array_equal(*kept)
    params["measurement"] = "label_logit"
    GradDotAttributor(network, **params).fit(X, y).attribute(queries)
    assert len(calls) == 2


@pytest.mark.parametrize("measurement", ["log_probability", "loss"])
def test_measurements_that_are_not_offered(network, data, measurement):
    with pytest.raises(ValueError, match="measurement"):
        GradDotAttributor(network, measurement=measurement).fit(*data[:2])
