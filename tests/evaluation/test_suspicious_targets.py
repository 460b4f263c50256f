"""Suspicious targets: rows of a regression whose target was shifted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from sklearn_provenance import (
    Explanation,
    InfluenceAttributor,
    InfoGainAttributor,
    ProvenanceRegressor,
)
from sklearn_provenance.attribution import ForestAttributor, RepSimAttributor
from sklearn_provenance.datasets import shift_targets
from sklearn_provenance.evaluation import (
    label_disagreement,
    label_error_ranking,
    label_error_scores,
    label_loss,
    self_influence,
    target_disagreement,
)


@pytest.fixture(scope="module")
def shifted():
    X, y = load_diabetes(return_X_y=True)
    y, wrong = shift_targets(y[:200], 0.1, random_state=0)
    return X[:200], y, wrong


def test_self_influence_of_least_squares_by_hand(shifted):
    X, y, _ = shifted
    model = LinearRegression().fit(X, y)
    design = np.column_stack([X, np.ones(len(X))])
    leverage = np.einsum("ij,ji->i", design, np.linalg.pinv(design))
    residuals = y - model.predict(X)
    fitted = InfluenceAttributor(model).fit(X, y)
    expected = np.abs(leverage * residuals / (1 - leverage))
    assert (residuals < 0).any()
    np.testing.assert_allclose(self_influence(fitted, X, y), expected, rtol=1e-8)
    np.testing.assert_allclose(label_loss(fitted, X, y), residuals**2)
    np.testing.assert_allclose(label_loss(model, X, y), residuals**2)


@pytest.mark.parametrize(
    "attributor",
    [
        InfluenceAttributor(Ridge(0.01)),
        InfoGainAttributor(Ridge(0.01)),
        ForestAttributor(RandomForestRegressor(30, min_samples_leaf=5, random_state=0)),
        RepSimAttributor(RandomForestRegressor(30, min_samples_leaf=5, random_state=0)),
        ProvenanceRegressor(width="small", max_epochs=3, device="cpu", random_state=0),
    ],
    ids=lambda attributor: type(attributor).__name__,
)
def test_shifted_targets_are_suspicious(shifted, attributor):
    X, y, wrong = shifted
    scores = label_error_scores(attributor.fit(X, y), X, y)
    assert list(scores) == ["self-influence", "disagreement", "loss"]
    result = label_error_ranking(scores, wrong, targets="numbers")
    auroc = dict(zip(result.methods, result.auroc, strict=True))
    assert auroc["loss"] > 0.8
    if not isinstance(attributor, InfluenceAttributor):  # it names rows of large targets
        assert auroc["disagreement"] > 0.75
    else:
        assert auroc["self-influence"] > 0.8
    assert "Target errors, 20 of 200 rows" in repr(result)
    pytest.importorskip("matplotlib")
    assert result.plot().ax_.get_ylabel() == "share of target errors found"


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(-1, 8), st.floats(-2, 5, allow_subnormal=False)),
            min_size=3,
            max_size=3,
        ),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
)
def test_disagreement_of_targets_by_averaging(rows, weighted):
    rows = [sorted(row, key=lambda pick: pick[0] < 0) for row in rows]  # padding stands at the end
    indices = np.array([[index for index, _ in row] for row in rows])
    scores = np.array([[score for _, score in row] for row in rows])
    scores[indices < 0] = np.nan
    targets = np.arange(9) ** 2 / 4.0
    y = np.arange(len(rows)) + 0.5
    labels = np.where(indices >= 0, targets[indices], np.nan)
    explanation = Explanation(indices, scores, exemplar_labels=labels)
    got = target_disagreement(explanation, y, weighted=weighted)
    for row, target, value in zip(rows, y, got, strict=True):
        picks = [(targets[index], max(score, 0)) for index, score in row if index >= 0]
        if not picks:
            assert np.isnan(value)
            continue
        values, weights = zip(*picks, strict=True)
        if not weighted or not any(weights):
            weights = None
        assert value == pytest.approx(abs(np.average(values, weights=weights) - target))


def test_what_does_not_fit_is_refused(shifted):
    X, y, _ = shifted
    numbers = InfoGainAttributor(Ridge()).fit(X, y).explain(k=3)
    labels = RepSimAttributor(LogisticRegression(), candidates="all").fit(X, y > 140)
    with pytest.raises(ValueError, match="use label_disagreement"):
        target_disagreement(labels.explain(k=3), y)
    with pytest.raises(ValueError, match="use target_disagreement"):
        label_disagreement(numbers, y)
    with pytest.raises(ValueError, match="each of the 200 rows"):
        target_disagreement(numbers, y[1:])
    with pytest.raises(ValueError, match="numbers"):
        target_disagreement(numbers, np.full(200, "a"))
    with pytest.raises(ValueError, match="one number for each row"):
        label_loss(Ridge().fit(X, np.stack([y, y], 1)), X, y)
    diverged = Ridge().fit(X, y)
    diverged.coef_[0] = np.inf
    with pytest.raises(ValueError, match="must predict finite numbers, got 200 that are nan or"):
        label_loss(diverged, X, y)
    with pytest.raises(ValueError, match="targets"):
        label_error_ranking({"loss": y}, y > 140, targets="words")
