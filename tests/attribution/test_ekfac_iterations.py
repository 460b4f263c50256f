"""EK-FAC with conjugate gradients against the damped Gauss-Newton matrix written out in full."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from sklearn_provenance.attribution import EKFACAttributor, LastLayerAttributor
from sklearn_provenance.attribution.rules import _ekfac as module

from .test_grad_dot import gradients, make_network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LAYERS = [36, 21]  # parameters of the layers of make_network()


def gauss_newton(network, X, labels=None):
    """F (57, 57): the expectation over the model's labels, or the empirical one at labels."""
    with torch.no_grad():
        p = network(torch.as_tensor(X)).softmax(1).numpy()
    if labels is not None:
        p = np.eye(3)[labels]
    total = 0
    for c in range(3):
        rows = gradients(network, X, np.full(len(X), c), "log_probability")
        total = total + (rows * p[:, [c]]).T @ rows
    return total / len(X)


def attributor_of(network, **params):
    return EKFACAttributor(network, candidates="all", **params)


@pytest.mark.parametrize("fisher", ["true", "empirical"])
@pytest.mark.parametrize("damping", ["auto", 0.02])
def test_many_iterations_are_the_direct_solution(data, damping, fisher):
    X, y, queries = data
    network, labels = make_network(), np.arange(7) % 3
    F = gauss_newton(network, X, y if fisher == "empirical" else None)
    left = gradients(network, queries, labels, "margin")
    right = gradients(network, X, y, "log_probability")
    errors = []
    for n_iterations in (0, 1, 5, 20, 200):
        attributor = attributor_of(
            network, damping=damping, fisher=fisher, n_iterations=n_iterations, batch_size=8
        ).fit(X, y)
        found = attributor.attribute(queries, labels)
        scale = np.repeat(list(attributor.damping_.values()), LAYERS)
        expected = left @ np.linalg.solve(F + np.diag(scale), right.T)
        errors.append(np.abs(found - expected).max() / np.abs(expected).max())
    assert errors[-1] < 1e-8
    assert errors[0] > 0.05
    assert errors[3] < 0.2 * errors[0]


def test_damping_with_iterations_is_larger(data):
    X, y, _ = data
    plain, iterated = (attributor_of(make_network(), n_iterations=n).fit(X, y) for n in (0, 1))
    ratio = module.ITERATED_CONSTANT / module.DAMPING_CONSTANT
    for name, value in plain.damping_.items():
        assert iterated.damping_[name] == pytest.approx(ratio * value)


def test_softmax_regression_has_its_exact_influence(data):
    """The Hessian of the last layer, with the same damping, times n."""
    X, y, queries = data
    model = LogisticRegression(max_iter=500).fit(X, y)
    exact = LastLayerAttributor(model, candidates="all").fit(X, y)
    attributor = attributor_of(model, damping=exact.damping_ / len(X), n_iterations=100).fit(X, y)
    np.testing.assert_allclose(
        attributor.attribute(queries) / len(X), exact.attribute(queries), rtol=1e-6, atol=1e-9
    )


def test_regression(rng):
    """F is then the mean of squared gradients of the output."""
    X, queries = rng.normal(size=(40, 4)), rng.normal(size=(5, 4))
    y = X[:, 0] * X[:, 1] + 0.1 * rng.normal(size=40)
    model = MLPRegressor(
        hidden_layer_sizes=(5,), activation="tanh", max_iter=200, random_state=0
    ).fit(X, y)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    with torch.no_grad():
        for layer, w, b in zip(network[::2], model.coefs_, model.intercepts_, strict=True):
            layer.weight.copy_(torch.as_tensor(w.T))
            layer.bias.copy_(torch.as_tensor(b))

    def jacobian(rows):
        zeros = np.zeros(len(rows), dtype=int)
        return gradients(network, rows, zeros, "label_logit")

    phi = jacobian(X)
    residual = y - model.predict(X)
    for fisher, weights in (("true", np.ones(40)), ("empirical", residual**2)):
        attributor = attributor_of(model, damping=0.05, fisher=fisher, n_iterations=200).fit(X, y)
        F = (phi * weights[:, None]).T @ phi / 40 + 0.05 * np.eye(phi.shape[1])
        expected = jacobian(queries) @ np.linalg.solve(F, (phi * residual[:, None]).T)
        np.testing.assert_allclose(attributor.attribute(queries), expected, rtol=1e-7, atol=1e-9)


def test_random_gradients_are_those_that_ek_fac_is_made_of(data):
    """With a number of samples F is that of the draws; with many it is the expectation."""
    X, y, queries = data
    scores = {}
    for n_samples in (1, 200, "exact"):
        attributor = attributor_of(make_network(), damping=0.1, n_iterations=5)
        attributor.set_params(n_samples=n_samples).fit(X, y)
        scores[n_samples] = attributor.attribute(queries)
    largest = np.abs(scores["exact"]).max()
    assert np.abs(scores[200] - scores["exact"]).max() < 0.2 * largest
    assert np.abs(scores[1] - scores["exact"]).max() > 0.3 * largest


def test_what_memory_holds_does_not_show(data):
    """One query at a time, and no factors of rows between iterations."""
    X, y, queries = data
    scores = [
        attributor_of(make_network(), n_iterations=3, memory_limit=limit).fit(X, y)
        for limit in (2e9, 4e4)
    ]
    few, many = (attributor.attribute(queries) for attributor in scores)
    np.testing.assert_allclose(few, many, rtol=1e-9)


@pytest.mark.parametrize("memory_limit", [2e9, 4e4])
def test_selected_rows_are_those_of_the_largest_sums(data, memory_limit):
    X, y, queries = data
    attributor = attributor_of(make_network(), n_iterations=2, memory_limit=memory_limit)
    attributor.fit(X, y)
    sums = attributor.attribute(queries).sum(0)
    np.testing.assert_array_equal(attributor.select(queries, 6), np.argsort(-sums)[:6])
    rule = attributor._rule_at(None, everything=True)
    total = rule.total(attributor._queries(queries), together=1)
    np.testing.assert_allclose(total, sums, rtol=1e-9)


def test_candidates_and_explanations(data):
    X, y, queries = data
    everything = attributor_of(make_network(), n_iterations=2).fit(X, y)
    same_class = clone(everything).set_params(candidates="same_class").fit(X, y)
    scores = everything.attribute(queries, np.arange(7) % 3)
    some = same_class.attribute(queries, np.arange(7) % 3)
    own = y == (np.arange(7) % 3)[:, None]
    np.testing.assert_allclose(some[own], scores[own], rtol=1e-9)
    assert np.isnan(some[~own]).all()
    found = everything.explain(queries, np.arange(7) % 3, k=4)
    np.testing.assert_array_equal(found.indices, np.argsort(-scores, 1)[:, :4])
    assert everything.explain(k=2).indices.shape == (30, 2)


def test_clones_pickles_and_searches(data):
    X, y, queries = data
    model = LogisticRegression()
    attributor = attributor_of(model, n_iterations=4).fit(X, y)
    assert clone(attributor).get_params()["n_iterations"] == 4
    copied = pickle.loads(pickle.dumps(attributor))
    np.testing.assert_array_equal(copied.attribute(queries), attributor.attribute(queries))
    search = GridSearchCV(attributor_of(model), {"n_iterations": [0, 2]}, cv=3).fit(X, y)
    assert search.best_estimator_.attribute(queries).shape == (7, 30)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_certain_and_uncertain_models_in_single_precision(data, scale):
    """Gradients and λ are many orders of magnitude apart, and nothing overflows."""
    X, y, queries = data
    network = make_network()
    with torch.no_grad():
        network[2].weight *= scale**0.5
    expected = attributor_of(network, n_iterations=3).fit(X, y).attribute(queries)
    found = attributor_of(network.float(), n_iterations=3).fit(X, y).attribute(queries)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-2 * np.abs(expected).max())


@pytest.mark.parametrize("n_iterations", [-1, 1.5, True, None, "auto"])
def test_bad_numbers_of_iterations_are_refused(data, n_iterations):
    with pytest.raises(ValueError, match="'n_iterations' parameter of EKFACAttributor must be"):
        EKFACAttributor(make_network(), n_iterations=n_iterations).fit(*data[:2])


def test_there_is_no_root_to_transform_by(data):
    X, y, queries = data
    attributor = attributor_of(make_network(), n_iterations=1).fit(X, y)
    assert not hasattr(attributor, "transform")
    with pytest.raises(AttributeError, match="no attribute 'transform'") as raised:
        attributor.transform(queries)
    assert "n_iterations must be 0 for transform, got 1" in str(raised.value.__cause__)
    plain = attributor.set_params(n_iterations=0).fit(X, y)
    assert plain.set_output(transform="pandas").transform(queries).shape == (7, 57)


def test_progress_is_shown_where_it_is_asked_for(data, capsys):
    X, y, queries = data
    for verbose in (0, 1):
        attributor = attributor_of(make_network(), n_iterations=2, verbose=verbose).fit(X, y)
        capsys.readouterr()
        attributor.attribute(queries)
        shown = capsys.readouterr().err
        assert ("conjugate gradients" in shown) == bool(verbose)
    assert "90/90" in shown  # 30 rows in 3 products


@pytest.mark.thorough
@parametrize_with_checks([EKFACAttributor(LogisticRegression(), n_iterations=2)])
def test_estimator(estimator, check):
    check(estimator)
