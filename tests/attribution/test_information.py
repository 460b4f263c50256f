"""Scores are those of the definitions, for a network whose tangent features are known."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV

from sklearn_provenance.attribution import InfoGainAttributor, InfoLossAttributor
from sklearn_provenance.tangent import TangentFeatures

from .conftest import (
    N_CLASSES,
    RULES,
    greedy_by_definition,
    information,
    make,
    margin_features,
    variance,
)

NOISE = 0.7


def features_and_candidates(attributor, network, X, y, queries, labels, measurement):
    phi, phi_queries = X, queries
    if measurement == "margin":
        weight = network.weight.detach().numpy()
        phi, phi_queries = margin_features(weight, X, y), margin_features(weight, queries, labels)
    same = attributor.candidates == "same_class"
    candidates = [np.flatnonzero(y == c) if same else np.arange(len(y)) for c in labels]
    return phi, phi_queries, candidates


@pytest.mark.parametrize("features", ["auto", "explicit"])
@pytest.mark.parametrize("measurement", ["label_logit", "margin"])
@pytest.mark.parametrize("candidates", ["same_class", "all"])
@pytest.mark.parametrize("rule", RULES)
def test_explain_is_greedy_by_definition(network, data, rule, candidates, measurement, features):
    X, y, queries = data
    if features == "explicit":
        features = TangentFeatures(n_components="exact")
    attributor = make(
        rule,
        network,
        noise_variance=NOISE,
        candidates=candidates,
        measurement=measurement,
        features=features,
    ).fit(X, y)
    exp = attributor.explain(queries, k=4)
    labels = (queries @ network.weight.detach().numpy().T).argmax(1)
    np.testing.assert_array_equal(exp.query_labels, labels)
    phi, phi_queries, allowed = features_and_candidates(
        attributor, network, X, y, queries, labels, measurement
    )
    for i, query in enumerate(phi_queries):
        # Same-class gain knows the rows of the class alone; loss conditions on all.
        picks, nats = greedy_by_definition(rule, phi, query, NOISE, allowed[i], 4)
        np.testing.assert_array_equal(exp.indices[i], picks)
        np.testing.assert_allclose(exp.scores[i], nats, rtol=1e-8)
        total = information(rule, phi, picks, query, NOISE)
        np.testing.assert_allclose(exp.scores[i].sum(), total, rtol=1e-8)


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("measurement", ["label_logit", "margin"])
@pytest.mark.parametrize("candidates", ["same_class", "all"])
@pytest.mark.parametrize("rule", RULES)
def test_attribute_scores_each_row_alone(network, data, rule, candidates, measurement, explicit):
    X, y, queries = data
    labels = np.array([0, 1, 2, 0, 1, 2, 0])
    attributor = make(
        rule,
        network,
        noise_variance=NOISE,
        candidates=candidates,
        measurement=measurement,
        features=TangentFeatures(n_components="exact") if explicit else "exact",
    ).fit(X, y)
    scores = attributor.attribute(queries, labels)
    assert scores.shape == (len(queries), len(X))
    phi, phi_queries, allowed = features_and_candidates(
        attributor, network, X, y, queries, labels, measurement
    )
    expected = np.full(scores.shape, np.nan)
    for i, query in enumerate(phi_queries):
        for x in allowed[i]:
            expected[i, x] = information(rule, phi, [x], query, NOISE)
    # The definition takes the log of a ratio near 1.
    np.testing.assert_allclose(scores, expected, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("rule", RULES)
def test_permuting_the_training_rows_permutes_the_answer(network, data, rng, rule):
    X, y, queries = data
    order = rng.permutation(len(X))
    before = make(rule, network).fit(X, y)
    after = make(rule, network).fit(X[order], y[order])
    old, new = before.explain(queries, k=5), after.explain(queries, k=5)
    np.testing.assert_array_equal(order[new.indices], old.indices)
    np.testing.assert_allclose(new.scores, old.scores, rtol=1e-9)
    np.testing.assert_allclose(
        after.attribute(queries), before.attribute(queries)[:, order], rtol=1e-9
    )


def test_noise_variance_in_units_of_the_mean_kernel_diagonal(network, data):
    X, y, queries = data
    diagonal = (X**2).sum(1).mean()
    for text, factor in (("scale", 10), ("diagonal", 1), ("1e-3 * diagonal", 1e-3)):
        fitted = InfoGainAttributor(network, noise_variance=text).fit(X, y)
        np.testing.assert_allclose(fitted.noise_variance_, factor * diagonal, rtol=1e-12)
    attributor = InfoGainAttributor(network).fit(X, y)
    scaled = InfoGainAttributor(network, ntk_parameterization=True).fit(X, y)
    np.testing.assert_allclose(scaled.noise_variance_, 10 * diagonal / X.shape[1], rtol=1e-12)
    # Scores depend on σ² relative to the kernel alone.
    np.testing.assert_allclose(scaled.attribute(queries), attributor.attribute(queries), rtol=1e-9)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("explicit", [False, True])
def test_select_maximises_the_change_of_the_queries_variance(network, data, rule, explicit):
    X, y, queries = data
    labels = np.arange(7) % N_CLASSES
    attributor = make(
        rule,
        network,
        noise_variance=NOISE,
        measurement="margin",
        features=TangentFeatures(n_components="exact") if explicit else "auto",
    ).fit(X, y)
    weight = network.weight.detach().numpy()
    phi, phi_queries = margin_features(weight, X, y), margin_features(weight, queries, labels)
    phi_queries /= np.linalg.norm(phi_queries, axis=1, keepdims=True)
    picks = []
    for _ in range(5):
        left = np.setdiff1d(np.arange(len(X)), picks)
        if rule == "linear_response":
            inverse = np.linalg.inv(np.eye(15) + phi[picks].T @ phi[picks] / NOISE)
            values = [np.square(phi_queries @ inverse @ phi[x]).sum() for x in left]
        elif rule == "info_gain":
            values = [-sum(variance(phi[[*picks, x]], q, NOISE) for q in phi_queries) for x in left]
        else:
            values = [
                sum(variance(np.delete(phi, [*picks, x], axis=0), q, NOISE) for q in phi_queries)
                for x in left
            ]
        picks.append(left[np.argmax(values)])
    np.testing.assert_array_equal(attributor.select(queries, 5, labels), picks)


def test_select_balances_the_classes(network, rng):
    y = np.repeat([0, 1, 2], [20, 8, 2])
    X, queries = rng.normal(size=(30, 5)), rng.normal(size=(9, 5))
    queries[:, 0] += 3
    attributor = InfoGainAttributor(network, measurement="margin", candidates="all").fit(X, y)
    for k, shares in ((9, [4, 3, 2]), (11, [5, 4, 2]), (25, [15, 8, 2]), (2, [1, 1, 0])):
        chosen = attributor.select(queries, k, balanced=True)
        assert len(set(chosen)) == k
        np.testing.assert_array_equal(np.bincount(y[chosen], minlength=3), shares)


def test_select_stays_in_the_classes_of_the_queries(network, data):
    X, y, queries = data
    attributor = InfoGainAttributor(network, measurement="margin").fit(X, y)
    chosen = attributor.select(queries, 10, np.ones(7, dtype=int))
    assert set(y[chosen]) == {1}
    with pytest.raises(ValueError, match="only 10 training rows"):
        attributor.select(queries, 11, np.ones(7, dtype=int))


def log_density_by_definition(phi, targets, queries, held_out, noise_variance):
    """Mean over rows, summed over targets, with the amplitude that maximises the likelihood."""
    scale = (phi**2).sum(1).mean()
    kernel, cross = phi @ phi.T / scale, queries @ phi.T / scale
    r = noise_variance / scale
    centred, inverse = targets - targets.mean(0), np.linalg.inv(kernel + r * np.eye(len(phi)))
    amplitude = np.trace(centred.T @ inverse @ centred) / centred.size
    error = held_out - targets.mean(0) - cross @ inverse @ centred
    spread = (queries**2).sum(1) / scale - np.einsum("ij,jk,ik->i", cross, inverse, cross) + r
    spread = amplitude * spread[:, None]
    return (-np.log(2 * np.pi * spread) / 2 - error**2 / spread / 2).sum(1).mean()


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("measurement", ["label_logit", "margin"])
def test_score_is_the_profiled_log_density(network, data, measurement, explicit):
    X, y, queries = data
    truth = np.array([0, 1, 2, 0, 1, 2, 2])
    attributor = InfoLossAttributor(
        network,
        noise_variance=NOISE,
        measurement=measurement,
        features=TangentFeatures(n_components="exact") if explicit else "auto",
    ).fit(X, y)
    one_hot, held_out = np.eye(N_CLASSES)[y], np.eye(N_CLASSES)[truth]
    if measurement == "margin":
        weight = network.weight.detach().numpy()
        phi = margin_features(weight, X, y)
        phi_queries = margin_features(weight, queries, (queries @ weight.T).argmax(1))
        expected = log_density_by_definition(phi, one_hot, phi_queries, held_out, NOISE)
    else:
        expected = sum(
            log_density_by_definition(X, one_hot[:, [c]], queries, held_out[:, [c]], NOISE)
            for c in range(N_CLASSES)
        )
    np.testing.assert_allclose(attributor.score(queries, truth), expected, rtol=1e-8)


def test_grid_search_finds_a_noise_variance_inside_the_grid(rng):
    X = rng.normal(size=(60, 5))
    y = (X[:, 0] + 0.8 * rng.normal(size=60) > 0).astype(int)
    network = torch.nn.Linear(5, 2, bias=False)
    grid = np.logspace(-4, 6, 11)
    search = GridSearchCV(InfoGainAttributor(network), {"noise_variance": grid}, cv=3).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert 0 < search.best_index_ < len(grid) - 1
    assert search.best_estimator_.noise_variance_ == search.best_params_["noise_variance"]


@pytest.mark.parametrize("features", ["auto", TangentFeatures(n_components=8)])
def test_coverage_names_the_parameters_without_influence(data, features):
    X, y, _ = data
    module = torch.nn.Sequential(torch.nn.Linear(5, 3))
    module.unused = torch.nn.Parameter(torch.zeros(6))
    coverage = InfoGainAttributor(module, features=features).fit(X, y).coverage_
    assert coverage.routes == {"unused": "idle", "0.weight": "factors", "0.bias": "factors"}
    assert coverage.shares == {"factors": 0.75, "functional": 0, "idle": 0.25, "excluded": 0}


def test_features_of_ones_own_cover_no_parameters(network, data):
    X, y, _ = data
    assert InfoGainAttributor(network, features=np.tanh).fit(X, y).coverage_ is None
