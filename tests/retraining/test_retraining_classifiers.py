"""Copies of scikit-learn classifiers against direct fits."""

import joblib
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sklearn_provenance.retraining import Recipe, iter_retrain, retrain

from ..checks import thorough
from .conftest import random_masks


def rows(n_classes=3, n=60):
    rng = np.random.default_rng(0)
    y = np.arange(n) % n_classes
    X = rng.normal(size=(n, 4)) + 2 * np.eye(4)[y]
    return X, np.array(["a", "b", "c"])[y], X[:9] + 0.1


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_logits_are_those_of_direct_fits(n_classes, n_jobs):
    X, y, X_eval = rows(n_classes)
    masks = random_masks(5, 60)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    with joblib.parallel_config("threading"):  # which import nothing again, as processes do
        result = retrain(model, X, y, masks, X_eval=X_eval, y_eval=y[:9], n_jobs=n_jobs)
    assert result.classes.tolist() == ["a", "b", "c"][:n_classes]
    assert not hasattr(model[-1], "coef_")
    for logits, margins, mask in zip(result.outputs, result.margins(), masks, strict=True):
        direct = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[mask], y[mask])
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        np.testing.assert_allclose(p, direct.predict_proba(X_eval), rtol=1e-9)
        p = p[np.arange(9), np.searchsorted(direct.classes_, y[:9])]
        np.testing.assert_allclose(margins, np.log(p / (1 - p)), rtol=1e-6)
        if n_classes == 2:
            sign = np.where(y[:9] == "b", 1, -1)
            np.testing.assert_allclose(margins, sign * direct.decision_function(X_eval))


def test_probabilities_and_seeds():
    X, y, X_eval = rows()
    masks, seeds = random_masks(3, 60), [4, 4, 9]
    masks[1] = masks[0]
    model = make_pipeline(StandardScaler(), RandomForestClassifier(5, max_depth=2))
    result = retrain(model, X, y, masks, X_eval=X_eval, seeds=seeds)
    np.testing.assert_array_equal(result.outputs[0], result.outputs[1])
    for logits, mask, seed in zip(result.outputs, masks, seeds, strict=True):
        direct = make_pipeline(
            StandardScaler(), RandomForestClassifier(5, max_depth=2, random_state=seed)
        ).fit(X[mask], y[mask])
        np.testing.assert_allclose(np.exp(logits), direct.predict_proba(X_eval))


def test_a_class_that_a_copy_never_saw():
    X, y, X_eval = rows()
    masks = np.stack([y != "b", np.ones(60, bool)])
    result = retrain(LogisticRegression(), X, y, masks, X_eval=X_eval, y_eval=y[:9])
    assert (result.outputs[0, :, 1] == -np.inf).all()
    assert np.isfinite(result.outputs[1]).all()
    direct = LogisticRegression().fit(X[masks[0]], y[masks[0]])
    decision = result.outputs[0, :, 2] - result.outputs[0, :, 0]
    np.testing.assert_allclose(decision, direct.decision_function(X_eval))
    margins = result.margins()
    assert (margins[0, y[:9] == "b"] == -np.inf).all()
    assert np.isfinite(margins[0, y[:9] != "b"]).all()


def test_dataframes_go_as_they_are():
    pd = pytest.importorskip("pandas")
    X, y, X_eval = rows()
    masks = random_masks(2, 60)
    frame, frame_eval = (pd.DataFrame(a, columns=list("wxyz")) for a in (X, X_eval))
    model = LogisticRegression()
    result = retrain(model, frame, pd.Series(y), masks, X_eval=frame_eval)
    expected = retrain(model, X, y, masks, X_eval=X_eval)
    np.testing.assert_array_equal(result.outputs, expected.outputs)


def test_results_on_disk(tmp_path):
    X, y, X_eval = rows()
    masks = random_masks(5, 60)
    arguments = {"X_eval": X_eval, "store": tmp_path}
    groups = iter_retrain(LogisticRegression(), X, y, masks, **arguments)
    next(groups)
    next(groups)
    groups.close()
    with joblib.parallel_config("threading"):
        pieces = list(iter_retrain(LogisticRegression(), X, y, masks, n_jobs=2, **arguments))
    assert [len(copies) for copies, _ in pieces] == [2, 1, 1, 1]
    expected = retrain(LogisticRegression(), X, y, masks, X_eval=X_eval).outputs
    np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), expected)
    with pytest.raises(ValueError, match="differs: estimator"):
        retrain(LogisticRegression(C=2), X, y, masks, **arguments)


# joblib cancels the work that waits but leaves its numbers in a queue. Its own thread may read one
# and die of a KeyError, once everything has stopped. Of two marks that match the upper counts.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("backend", ["threading", *thorough("loky")])
def test_a_caller_can_stop_early(backend):
    X, y, X_eval = rows()
    masks = random_masks(30, 60)
    with joblib.parallel_config(backend):
        groups = iter_retrain(LogisticRegression(), X, y, masks, X_eval=X_eval, n_jobs=2)
        copies, _ = next(groups)
        groups.close()
    assert copies.tolist() == [0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": Ridge()}, ValueError, "y must be numbers"),
        ({"model": KMeans()}, TypeError, "must be a classifier .* got KMeans"),
        ({"model": LogisticRegression}, TypeError, "must be a torch.nn.Module"),
        ({"recipe": Recipe()}, ValueError, "recipe concern"),
        ({"group_size": 3}, ValueError, "group_size concern"),
        ({"masks": np.ones((2, 59), bool)}, ValueError, "60"),
        ({"model": SVC(decision_function_shape="ovo")}, ValueError, "columns"),
        ({"y_eval": ["a"] * 8 + ["z"], "evaluate": "margin"}, ValueError, "none of the classes"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, message):
    X, y, X_eval = rows()
    if "columns" in message:  # three pairs of three classes look like a column for each class
        X, y = np.vstack([X, X[:20] + 5]), np.concatenate([y, ["d"] * 20])
        change = change | {"masks": np.ones((2, 80), bool)}
    arguments = {
        "model": LogisticRegression(),
        "X": X,
        "y": y,
        "masks": np.ones((2, 60), bool),
        "X_eval": X_eval,
    }
    with pytest.raises(error, match=message):
        retrain(**(arguments | change))


def test_an_error_names_the_copy():
    X, y, X_eval = rows()
    masks = np.stack([np.ones(60, bool), y == "a"])
    with pytest.raises(ValueError) as caught:
        retrain(LogisticRegression(), X, y, masks, X_eval=X_eval)
    assert caught.value.__notes__ == ["While fitting copy 1."]
