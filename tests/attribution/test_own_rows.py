"""explain() without X: every training row by the others, at its own label."""

import numpy as np
import pytest
import torch

from sklearn_provenance.attribution import InfoGainAttributor
from sklearn_provenance.tangent import TangentFeatures

from .conftest import RULES, greedy_by_definition, make, margin_features

NOISE = 0.7


@pytest.mark.parametrize("features", ["auto", TangentFeatures(n_components="exact")])
@pytest.mark.parametrize("measurement", ["label_logit", "margin"])
@pytest.mark.parametrize("candidates", ["same_class", "all"])
@pytest.mark.parametrize("rule", RULES)
def test_a_row_is_explained_as_if_it_were_not_there(
    network, data, rule, candidates, measurement, features
):
    X, y, _ = data
    attributor = make(
        rule,
        network,
        noise_variance=NOISE,
        candidates=candidates,
        measurement=measurement,
        features=features,
    ).fit(X, y)
    exp = attributor.explain(k=3)
    np.testing.assert_array_equal(exp.query_labels, y)
    np.testing.assert_array_equal(exp.queries, X)
    phi = X
    if measurement == "margin":
        phi = margin_features(network.weight.detach().numpy(), X, y)
    for i in range(0, len(X), 4):
        others = np.delete(np.arange(len(X)), i)
        allowed = others[y[others] == y[i]] if candidates == "same_class" else others
        places = np.flatnonzero(np.isin(others, allowed))
        picks, nats = greedy_by_definition(rule, phi[others], phi[i], NOISE, places, 3)
        np.testing.assert_array_equal(exp.indices[i], others[picks])
        np.testing.assert_allclose(exp.scores[i], nats, rtol=1e-8)


def test_a_row_alone_in_its_class_is_padded(network, data):
    X, y, _ = data
    y = np.where(np.arange(30) == 4, 2, y % 2)
    with pytest.warns(UserWarning, match="1 of 30 queries have fewer than k=1 candidates"):
        exp = InfoGainAttributor(network).fit(X, y).explain(k=1)
    assert exp.indices[4, 0] == -1
    assert np.isnan(exp.scores[4, 0])
    assert (np.delete(exp.indices, 4, axis=0) >= 0).all()


def test_labels_without_rows_are_refused(network, data):
    X, y, _ = data
    with pytest.raises(ValueError, match="y was given without X"):
        InfoGainAttributor(network).fit(X, y).explain(y=y)


def test_duplicates_name_each_other(network, rng):
    X = rng.normal(size=(10, 5)).repeat(2, axis=0)
    y = np.arange(10).repeat(2) % 3
    exp = (
        InfoGainAttributor(network, solver="linear_response", candidates="all")
        .fit(X, y)
        .explain(k=1)
    )
    norms = np.square(X).sum(1)
    alone = [i for i in range(20) if np.abs(X @ X[i])[norms != norms[i]].max() < norms[i]]
    assert len(alone) >= 10
    np.testing.assert_array_equal(exp.indices[alone, 0], [i ^ 1 for i in alone])


def test_sample_ids_and_images_come_along(data):
    X, y, _ = data
    torch.manual_seed(0)
    ids = np.array([f"row {i}" for i in range(30)])
    exp = InfoGainAttributor(torch.nn.Linear(5, 3)).fit(X, y, sample_id=ids).explain(k=2)
    np.testing.assert_array_equal(exp.sample_id, ids[exp.indices])
