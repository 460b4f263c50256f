"""find_label_issues against its definition, planted errors, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from joblib import parallel_config
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    cross_val_predict,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC
from torch import nn

from sklearn_provenance import InfluenceAttributor
from sklearn_provenance.datasets import flip_labels
from sklearn_provenance.inspection import LabelIssues, find_label_issues
from sklearn_provenance.inspection._label_issues import label_issues, residual_issues

X, Y = load_iris(return_X_y=True)
MODEL = make_pipeline(StandardScaler(), LogisticRegression())


@st.composite
def judged(draw):
    n = draw(st.integers(3, 12))
    scores = draw(hnp.arrays(float, (n, 3), elements=st.floats(0, 1)))
    scores[:, 0] += 0.1
    labels = draw(hnp.arrays(int, n, elements=st.integers(0, 2)))
    return scores / scores.sum(1, keepdims=True), labels


@given(judged())
def test_labels_by_the_definition(case):
    p, labels = case
    suspicion, is_issue, suggested = label_issues(p, labels)
    for row, label in enumerate(labels):
        share = np.mean(labels == label)
        if np.sum(labels == label) == 1:
            assert np.isnan(suspicion[row])
            assert not is_issue[row]
        else:
            assert suspicion[row] == 1 - p[row, label]
            another = max(p[row]) > p[row, label]
            assert is_issue[row] == (another and p[row, label] < share / 2)
        assert p[row, suggested[row]] == max(p[row])


def test_targets_by_the_definition():
    rng = np.random.default_rng(0)
    y = rng.normal(size=50)
    y[:3] += 30
    predicted = np.full(50, 0.25)
    suspicion, is_issue, suggested = residual_issues(predicted, y)
    centred = y - 0.25 - np.median(y - 0.25)
    np.testing.assert_allclose(
        suspicion, 0.6745 * np.abs(centred) / np.median(np.abs(centred)), rtol=1e-12
    )
    assert np.flatnonzero(is_issue).tolist() == [0, 1, 2]
    assert suggested is predicted


def test_targets_most_of_which_are_met_exactly():
    y = np.zeros(10)
    y[4] = 1.0
    suspicion, is_issue, _ = residual_issues(np.zeros(10), y)
    assert np.flatnonzero(is_issue).tolist() == [4]
    assert suspicion[4] == pytest.approx(1 / (0.1 / 0.7979))
    assert not residual_issues(y, y)[1].any()


def test_wrong_labels_are_found_and_the_right_ones_suggested():
    names = load_iris().target_names
    labels, wrong = flip_labels(Y, 0.08, random_state=0)
    issues = find_label_issues(MODEL, X, names[labels])
    found = issues.rows
    assert wrong[found].mean() > 0.7
    assert issues.is_issue[wrong].mean() > 0.6
    both = wrong & issues.is_issue
    assert (issues.suggested[both] == names[Y][both]).mean() > 0.9
    table = issues.to_frame()
    assert table["row"].tolist() == np.argsort(-issues.suspicion, kind="stable").tolist()
    assert table.loc[table["is_issue"], "row"].tolist() == found.tolist()
    first = found[0]
    assert f"row {first}: {names[labels][first]} -> {issues.suggested[first]}" in repr(issues)
    assert repr(issues).startswith(f"{len(found)} of 150 training rows have a label")


def test_wrong_targets_are_found():
    patients, progress = load_diabetes(return_X_y=True)
    high = np.arange(0, 442, 60)
    progress[high] += 400
    issues = find_label_issues(Ridge(0.1), patients, progress)
    assert set(high) <= set(issues.rows)
    assert len(issues.rows) <= len(high) + 3
    np.testing.assert_array_equal(issues.suggested, issues.predicted)
    assert issues.plot().axes_.shape == (1,)


def test_folds_are_those_of_scikit_learn_and_the_estimator_stays():
    cv = KFold(4, shuffle=True, random_state=3)
    fitted = clone(MODEL).fit(X[::2], Y[::2])
    before = fitted[-1].coef_.copy()
    issues = find_label_issues(fitted, X, Y, cv=cv)
    expected = cross_val_predict(clone(MODEL), X, Y, cv=cv, method="predict_proba")
    np.testing.assert_allclose(issues.predicted, expected, rtol=1e-10)
    np.testing.assert_array_equal(fitted[-1].coef_, before)
    again = find_label_issues(None, X, Y, predicted=expected)
    np.testing.assert_array_equal(again.is_issue, issues.is_issue)
    with parallel_config("threading"):  # which import nothing again, as processes do
        of_attributor = find_label_issues(InfluenceAttributor(MODEL), X, Y, cv=cv, n_jobs=2)
    np.testing.assert_allclose(of_attributor.predicted, expected, rtol=1e-10)


def test_a_number_of_folds_is_shuffled_by_the_seed():
    # Sorted labels: folds in order would leave out whole classes.
    first = find_label_issues(MODEL, X, Y, cv=3, random_state=0)
    assert first.suspicion.max() < 1
    same = find_label_issues(MODEL, X, Y, cv=3, random_state=0)
    other = find_label_issues(MODEL, X, Y, cv=3, random_state=1)
    np.testing.assert_array_equal(first.predicted, same.predicted)
    assert (first.predicted != other.predicted).any()


def test_groups_stay_together():
    groups = np.arange(150) % 5
    issues = find_label_issues(MODEL, X, Y, cv=GroupKFold(5), groups=groups)
    model = clone(MODEL).fit(X[groups != 2], Y[groups != 2])
    np.testing.assert_allclose(
        issues.predicted[groups == 2], model.predict_proba(X[groups == 2]), rtol=1e-10
    )


@pytest.mark.parametrize(
    ("model", "y", "cv"),
    [(MODEL, Y, StratifiedGroupKFold), (Ridge(), X[:, 0] + X[:, 1], GroupKFold)],
)
def test_a_number_of_folds_keeps_groups_together(model, y, cv):
    groups = np.arange(150) // 3
    found = find_label_issues(model, X, y, cv=np.int64(4), groups=groups, random_state=2)
    cv = cv(4, shuffle=True, random_state=2)
    expected = find_label_issues(model, X, y, cv=cv, groups=groups)
    np.testing.assert_array_equal(found.predicted, expected.predicted)


def test_a_label_of_one_row_is_not_judged():
    y = Y.copy()
    y[7] = 9
    issues = find_label_issues(MODEL, X, y, cv=KFold(5, shuffle=True, random_state=0))
    assert np.isnan(issues.suspicion[7])
    assert not issues.is_issue[7]
    assert issues.to_frame()["row"].iloc[-1] == 7
    assert repr(issues).endswith("because no other row has the same label: 1")
    assert [axes.get_title() for axes in issues.plot().axes_] == ["0", "1", "2"]


def test_names_and_images():
    rows = np.tile(X[:, :, None], (1, 1, 3)).reshape(150, 12)
    names = np.array([f"flower {i}" for i in range(150)])
    issues = find_label_issues(MODEL, rows, Y, sample_id=names)
    assert issues.to_frame()["sample_id"][0] == names[issues.to_frame()["row"][0]]
    drawn = issues.plot(image_shape=(4, 3), n=2)
    assert drawn.axes_.shape == (3, 4)
    worst = issues.to_frame().query("label == 1")["row"].iloc[0]
    np.testing.assert_allclose(drawn.axes_[1, -1].images[0].get_array(), rows[worst].reshape(4, 3))
    assert issues.plot(kind="histogram").axes_.shape == (3,)
    # Rows that are images have a shape of their own.
    model = make_pipeline(
        FunctionTransformer(lambda images: images.reshape(len(images), -1)), MODEL
    )
    issues = find_label_issues(model, rows.reshape(150, 4, 3), Y)
    again = issues.plot(n=2, labels=[1])
    assert again.axes_.shape == (1, 4)
    np.testing.assert_allclose(again.axes_[0, -1].images[0].get_array(), issues.data[worst])


def test_progress_is_shown_only_when_asked_for(capsys):
    find_label_issues(MODEL, X, Y, cv=2)
    assert capsys.readouterr().err == ""
    find_label_issues(MODEL, X, Y, cv=2, verbose=True)
    assert "models without a fold: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("estimator", "options", "error", "message"),
    [
        (nn.Linear(4, 3), {}, TypeError, "wrap it in skorch's NeuralNetClassifier, or pass"),
        (LinearSVC(), {}, TypeError, "LinearSVC has no predict_proba: wrap it in Calibrated"),
        (object(), {}, TypeError, "must be a classifier or regressor, got object"),
        (MODEL, {"predicted": np.ones((150, 3)) / 3}, TypeError, "must be None where predicted"),
        (None, {"predicted": np.ones((150, 2)) / 2}, ValueError, "predicted must"),
        (None, {"predicted": np.full((150, 3), 2.0)}, ValueError, "probabilities from 0 to 1"),
        (None, {"predicted": np.full((150, 3), 0.2)}, ValueError, "sum to 1 in each row, got sums"),
        (None, {"predicted": Y}, ValueError, "Where y holds labels, pass probabilities"),
        (MODEL, {"cv": ShuffleSplit(3)}, ValueError, "cv must test every row once"),
        (MODEL, {"cv": 1}, ValueError, "cv"),
    ],
)
def test_refused(estimator, options, error, message):
    with pytest.raises(error, match=message):
        find_label_issues(estimator, X, Y, **options)


@pytest.mark.parametrize("y", [Y == 1, np.array(["a", "b", "c"])[Y]])
def test_probabilities_of_one_label_are_no_targets(y):
    with pytest.raises(ValueError, match="a column for each: cross_val_predict"):
        find_label_issues(None, X, y, predicted=np.full(150, 0.4))


def test_one_label_is_refused():
    with pytest.raises(ValueError, match="two labels or more, got only \\['a'\\]"):
        find_label_issues(MODEL, X, ["a"] * 150)


def test_results_are_read_only():
    issues = LabelIssues(np.zeros(2), np.zeros(2, bool), Y[:2], Y[:2], np.ones((2, 1)))
    with pytest.raises(AttributeError, match="read-only"):
        issues.rows = []
