"""What every attributor promises of its numbers."""

import warnings

import numpy as np
import pytest
from torch import nn

from sklearn_provenance import attribution as att

from .conftest import ATTRIBUTORS, N_CLASSES, N_TRAIN, every_attributor

CANDIDATES = ["same_class", "all"]


def fitted(name, module, data, candidates):
    X, y, queries = data
    if "index" in name and candidates == "same_class":
        pytest.skip("an index searches all rows of a query")
    return ATTRIBUTORS[name].make(module, candidates=candidates).fit(X, y), queries


@pytest.mark.parametrize("candidates", CANDIDATES)
@every_attributor
def test_explanations(name, module, data, candidates):
    case = ATTRIBUTORS[name]
    attributor, queries = fitted(name, module, data, candidates)
    labels = np.arange(len(queries)) % N_CLASSES
    explanation = attributor.explain(queries, labels, k=4)
    indices, scores = explanation
    assert indices.shape == scores.shape == (len(queries), 4)
    assert indices.dtype == np.int64
    assert scores.dtype == np.float64
    assert all(len(set(row)) == 4 for row in indices)
    assert ((indices >= 0) & (indices < N_TRAIN)).all()
    y = data[1]
    np.testing.assert_array_equal(explanation.exemplar_labels, y[indices])
    np.testing.assert_array_equal(explanation.query_labels, labels)
    if candidates == "same_class":
        assert (explanation.exemplar_labels == labels[:, None]).all()
    if case.pointwise:
        assert (np.diff(scores, axis=1) <= 1e-9 * np.abs(scores[:, 1:])).all()
    else:
        assert (scores >= 0).all()
    assert explanation.method == attributor.method_
    assert explanation.score_name


# Those of the last layer refuse a module whose outputs do not come from one.
READERS = [name for name, case in ATTRIBUTORS.items() if case.cls is not att.LastLayerAttributor]


@pytest.mark.parametrize("name", READERS)
def test_a_softmax_at_the_end_is_named_once(name, module, data):
    X, y, _ = data
    attributor = ATTRIBUTORS[name].make(nn.Sequential(module, nn.Softmax(1)))
    for _ in range(2):  # each fit looks anew
        with pytest.warns(UserWarning, match="look like probabilities") as warned:
            attributor.fit(X, y)
        assert len(warned) == 1


def test_a_softmax_is_named_once_by_influence_too(module, data):
    X, y, _ = data
    attributor = att.InfluenceAttributor(nn.Sequential(module, nn.Softmax(1)))
    with pytest.warns(UserWarning, match="look like probabilities") as warned:
        attributor.fit(X, y)
    assert len(warned) == 1


@every_attributor
def test_a_number_in_second_place_is_k(name, module, data):
    attributor, queries = fitted(name, module, data, "all")
    found, expected = attributor.explain(queries, 3), attributor.explain(queries, k=3)
    np.testing.assert_array_equal(found.indices, expected.indices)
    assert found.indices.shape == (len(queries), 3)
    with pytest.raises(TypeError, match="y must be labels, one for each query"):
        attributor.explain(queries, 3, 4)


@pytest.mark.parametrize("candidates", CANDIDATES)
@every_attributor
def test_scores(name, module, data, candidates):
    """Columns are training rows, nan where a row is no candidate, and agree with picks."""
    case = ATTRIBUTORS[name]
    attributor, queries = fitted(name, module, data, candidates)
    labels = np.arange(len(queries)) % N_CLASSES
    scores = attributor.attribute(queries, labels)
    assert scores.shape == (len(queries), N_TRAIN)
    allowed = (data[1] == labels[:, None]) if candidates == "same_class" else np.ones(scores.shape)
    np.testing.assert_array_equal(np.isfinite(scores), allowed.astype(bool))
    explanation = attributor.explain(queries, labels, k=4)
    filled = np.where(np.isnan(scores), -np.inf, scores)
    if case.argmax:
        np.testing.assert_array_equal(explanation.indices[:, 0], filled.argmax(1))
        first = np.take_along_axis(scores, explanation.indices[:, :1], 1)
        np.testing.assert_allclose(explanation.scores[:, :1], first, rtol=1e-5)
    if case.pointwise:
        order = np.argsort(-filled, axis=1, kind="stable")[:, :4]
        np.testing.assert_array_equal(explanation.indices, order)
        chosen = np.take_along_axis(scores, order, 1)
        np.testing.assert_allclose(explanation.scores, chosen, rtol=1e-9)


@every_attributor
def test_columns_follow_rows(name, module, data):
    """Rows in another order: scores and picks follow them."""
    if name == "random":
        return
    X, y, queries = data
    X, queries = X.astype(np.float64), queries.astype(np.float64)
    module.double()
    order = np.random.default_rng(5).permutation(N_TRAIN)
    make = ATTRIBUTORS[name].make
    one, two = make(module).fit(X, y), make(module).fit(X[order], y[order])
    expected = one.attribute(queries)[:, order]
    np.testing.assert_allclose(two.attribute(queries), expected, rtol=1e-6, atol=1e-9)
    picks = order[two.explain(queries, k=3).indices]
    np.testing.assert_array_equal(picks, one.explain(queries, k=3).indices)


@every_attributor
def test_predicted_labels(name, module, data):
    """Without labels those predicted are explained."""
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(module).fit(X, y)
    predicted = attributor.predict(queries)
    given, none = attributor.explain(queries, predicted, k=3), attributor.explain(queries, k=3)
    np.testing.assert_array_equal(none.query_labels, predicted)
    np.testing.assert_array_equal(given.indices, none.indices)
    np.testing.assert_allclose(given.scores, none.scores, rtol=1e-6)
    scores = attributor.attribute(queries), attributor.attribute(queries, predicted)
    np.testing.assert_allclose(*scores, rtol=1e-6)


@pytest.mark.parametrize("candidates", CANDIDATES)
@every_attributor
def test_training_rows_leave_themselves_out(name, module, data, candidates):
    attributor, _ = fitted(name, module, data, candidates)
    explanation = attributor.explain(k=4)
    indices, y = explanation.indices, data[1]
    assert (indices != np.arange(N_TRAIN)[:, None]).all()
    assert (indices >= 0).all()
    np.testing.assert_array_equal(explanation.query_labels, y)
    if candidates == "same_class":
        assert (y[indices] == y[:, None]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if "pool" not in name:
            most = attributor.explain(k=N_TRAIN).indices
            assert (most[:, -1] == -1).all()  # the row itself is missing


@pytest.mark.parametrize("candidates", CANDIDATES)
@every_attributor
def test_more_picks_begin_with_fewer(name, module, data, candidates):
    attributor, queries = fitted(name, module, data, candidates)
    few, more = attributor.explain(queries, k=2), attributor.explain(queries, k=5)
    np.testing.assert_array_equal(more.indices[:, :2], few.indices)
    np.testing.assert_allclose(more.scores[:, :2], few.scores, rtol=1e-9)


@pytest.mark.parametrize("candidates", CANDIDATES)
@every_attributor
def test_subsets(name, module, data, candidates):
    attributor, queries = fitted(name, module, data, candidates)
    y, labels = data[1], [1, 1, 2]
    picks = attributor.select(queries[:3], 6, labels)
    assert len(set(picks.tolist())) == 6
    if candidates == "same_class":
        assert set(y[picks]) <= {1, 2}
    balanced = attributor.select(queries[:3], 6, labels, balanced=True)
    counts = np.bincount(y[balanced], minlength=3)
    assert counts.tolist() == ([0, 3, 3] if candidates == "same_class" else [2, 2, 2])
    np.testing.assert_array_equal(attributor.select(queries[:3], 2, labels), picks[:2])
