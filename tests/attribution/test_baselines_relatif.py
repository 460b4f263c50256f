"""RelatIFAttributor is the posterior cosine of the definition."""

import numpy as np
import pytest

from sklearn_provenance.attribution import InfoLossAttributor, RelatIFAttributor
from sklearn_provenance.tangent import TangentFeatures

from .conftest import margin_features

NOISE = 0.7
FEATURES = {"kernels": "auto", "features": TangentFeatures(n_components="exact")}


def cosine_by_definition(phi, rows, query):
    """v_{x*} / sqrt(v_x v_*) given the rows phi, with a plain inverse."""
    posterior = np.linalg.inv(np.eye(phi.shape[1]) + phi.T @ phi / NOISE)
    variances = np.einsum("ij,jk,ik->i", rows, posterior, rows)
    return rows @ posterior @ query / np.sqrt(variances * (query @ posterior @ query))


def features_of(network, X, labels, measurement):
    if measurement == "label_logit":  # the input, at the query's label
        return X
    return margin_features(network.weight.detach().numpy(), X, labels)


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("measurement", ["label_logit", "margin"])
@pytest.mark.parametrize("candidates", ["same_class", "all"])
def test_scores_by_definition(network, data, candidates, measurement, features):
    X, y, queries = data
    attributor = RelatIFAttributor(
        network,
        noise_variance=NOISE,
        candidates=candidates,
        measurement=measurement,
        features=FEATURES[features],
    ).fit(X, y)
    labels = np.arange(7) % 3
    phi = features_of(network, X, y, measurement)
    phi_queries = features_of(network, queries, labels, measurement)
    expected = np.array([cosine_by_definition(phi, phi, query) for query in phi_queries])
    assert (expected < 0).any()
    if candidates == "same_class":
        expected[labels[:, None] != y] = np.nan
    np.testing.assert_allclose(
        attributor.attribute(queries, labels), expected, rtol=1e-9, atol=1e-12
    )
    exp = attributor.explain(queries, labels, k=3)
    np.testing.assert_allclose(exp.scores, np.sort(-expected)[:, :3] * -1, rtol=1e-9)


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("measurement", ["label_logit", "margin"])
def test_a_training_row_is_not_conditioned_on(network, data, measurement, features):
    X, y, _ = data
    attributor = RelatIFAttributor(
        network, noise_variance=NOISE, measurement=measurement, features=FEATURES[features]
    ).fit(X, y)
    exp = attributor.explain(k=9)
    phi = features_of(network, X, y, measurement)
    for i in range(0, 30, 7):
        rest = np.flatnonzero((y == y[i]) & (np.arange(30) != i))
        expected = cosine_by_definition(np.delete(phi, i, axis=0), phi[rest], phi[i])
        order = np.argsort(-expected)
        np.testing.assert_array_equal(exp.indices[i], rest[order])
        np.testing.assert_allclose(exp.scores[i], expected[order], rtol=1e-9)


def test_the_noise_variance_is_chosen_as_for_information(network, data):
    X, y, queries = data
    labels = np.arange(7) % 3
    ours, other = (
        cls(network, features=TangentFeatures(n_components="exact")).fit(X, y)
        for cls in (RelatIFAttributor, InfoLossAttributor)
    )
    assert ours.noise_variance_ == other.noise_variance_
    assert ours.score(queries, labels) == other.score(queries, labels)
    np.testing.assert_array_equal(ours.transform(queries), other.transform(queries))


def test_a_duplicate_of_the_query_is_named_first(network, data):
    X, y, _ = data
    exp = RelatIFAttributor(network, candidates="all").fit(X, y).explain(X, k=1)
    np.testing.assert_array_equal(exp.indices[:, 0], np.arange(30))
    np.testing.assert_allclose(exp.scores[:, 0], 1, rtol=1e-12)
