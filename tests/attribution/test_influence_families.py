"""Objectives of further families of estimators, against training again without rows."""

import numpy as np
import pytest
from scipy.special import log_expit, logsumexp
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

from sklearn_provenance import InfluenceAttributor

from .test_influence import DATA, N_QUERIES, N_TRAIN, TIGHT, WEIGHTS

LIBLINEAR = {"tol": 1e-9, "max_iter": 10**6, "dual": False}
SGD = {"tol": None, "max_iter": 3000, "learning_rate": "adaptive", "eta0": 0.05, "random_state": 0}
CASES = {
    "LinearSVC": (LinearSVC(C=0.1, **LIBLINEAR), "binary"),
    "LinearSVC, balanced": (LinearSVC(C=0.1, class_weight="balanced", **LIBLINEAR), "binary"),
    "LinearSVC, classes": (LinearSVC(C=0.1, intercept_scaling=3, **LIBLINEAR), "classes"),
    "LinearSVC, balanced classes": (
        LinearSVC(C=0.1, class_weight="balanced", **LIBLINEAR),
        "classes",
    ),
    "LinearSVC, weighted classes": (
        LinearSVC(C=0.1, class_weight={0: 2, 2: 0.3}, **LIBLINEAR),
        "classes",
    ),
    "LinearSVR": (
        LinearSVR(loss="squared_epsilon_insensitive", epsilon=5, C=0.1, **LIBLINEAR),
        "numbers",
    ),
    "one-vs-rest": (OneVsRestClassifier(LogisticRegression(C=0.1, **TIGHT)), "classes"),
    "one-vs-rest, balanced": (
        OneVsRestClassifier(LogisticRegression(C=0.1, class_weight="balanced", **TIGHT)),
        "classes",
    ),
    "one-vs-rest, two classes": (OneVsRestClassifier(LogisticRegression(**TIGHT)), "binary"),
    "KernelRidge": (KernelRidge(kernel="rbf", gamma=0.05, alpha=0.3), "numbers"),
    "GaussianProcessRegressor": (
        GaussianProcessRegressor(
            ConstantKernel(2000) * RBF(3) + WhiteKernel(50), optimizer=None, alpha=1
        ),
        "numbers",
    ),
    "GaussianProcessClassifier": (
        GaussianProcessClassifier(4 * RBF(3), optimizer=None),
        "binary",
    ),
    "GaussianProcessClassifier, classes": (
        GaussianProcessClassifier(4 * RBF(3), optimizer=None),
        "classes",
    ),
}
WEIGHTED = [name for name in CASES if not name.startswith(("Gaussian", "one-vs-rest"))]


def train(model, X, y, weights, rows):
    kwargs = {} if weights is None else {"sample_weight": weights[rows]}
    return clone(model).fit(X[rows], y[rows], **kwargs)


def latent(process, X):
    gradient = process.y_train_ - process.pi_
    return process.kernel_(X, process.X_train_) @ gradient


def outputs(model, X):
    """Numbers (n, n_outputs) in which margins are written."""
    if isinstance(model, GaussianProcessClassifier):
        inner = model.base_estimator_
        return np.stack([latent(p, X) for p in getattr(inner, "estimators_", [inner])], 1)
    if isinstance(model, OneVsRestClassifier):
        found = [one.decision_function(X) for one in model.estimators_]
        return np.stack(found, 1)
    found = model.decision_function(X) if hasattr(model, "classes_") else model.predict(X)
    return found.reshape(len(X), -1)


def margins(model, X, y):
    found = outputs(model, X)
    if not hasattr(model, "classes_"):
        return found[:, 0]
    if found.shape[1] == 1:
        return np.where(y == model.classes_[1], found[:, 0], -found[:, 0])
    if isinstance(model, OneVsRestClassifier):  # their probabilities are scaled to sum to 1
        found = log_expit(found)
        most = logsumexp
    else:
        most = np.max
    return np.array(
        [row[label] - most(np.delete(row, label)) for row, label in zip(found, y, strict=True)]
    )


@pytest.mark.parametrize(
    ("name", "weights"),
    [(name, None) for name in CASES] + [(name, WEIGHTS) for name in WEIGHTED],
    ids=lambda value: "weighted" if isinstance(value, np.ndarray) else str(value or ""),
)
def test_training_again(name, weights):
    model, data = CASES[name]
    Xq, yq, X, y = DATA[data]
    everything = np.arange(N_TRAIN)
    fitted = train(model, X, y, weights, everything)
    attributor = InfluenceAttributor(fitted).fit(X, y, sample_weight=weights)
    scores = attributor.attribute(Xq, yq)
    before = margins(fitted, Xq, yq)
    some = everything[::3]
    truth = [
        before - margins(train(model, X, y, weights, np.delete(everything, row)), Xq, yq)
        for row in some
    ]
    truth = np.stack(truth, 1)
    assert np.polyfit(scores[:, some].ravel(), truth.ravel(), 1)[0] == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(scores[:, some], truth, atol=0.1 * abs(truth).max())
    exp = attributor.explain(Xq[:2], yq[:2], k=10)
    without = train(model, X, y, weights, np.setdiff1d(everything, exp.indices[0]))
    fall = before - margins(without, Xq, yq)
    assert exp.scores[0].sum() == pytest.approx(fall[0], rel=1e-3)
    found = attributor.predict_without(Xq, exp.indices[0])
    if isinstance(model, OneVsRestClassifier):
        np.testing.assert_allclose(found, without.predict_proba(Xq), atol=1e-5)
    else:
        expected = outputs(without, Xq)
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("model", "same", "data"),
    [
        (
            SGDClassifier("log_loss", alpha=0.1, **SGD),
            LogisticRegression(C=10 / 80, **TIGHT),
            "binary",
        ),
        (SGDRegressor(alpha=0.1, **SGD | {"eta0": 0.005}), Ridge(8.0), "numbers"),
    ],
    ids=["classifier", "regressor"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_gradient_descent_is_taken_at_its_minimum(model, same, data):
    """At the same minimum as batch solvers; the mean of the losses changes the penalty too."""
    Xq, _, X, y = DATA[data]
    attributor = InfluenceAttributor(model.fit(X, y)).fit(X, y)
    batch = InfluenceAttributor(same.fit(X, y)).fit(X, y)
    found = attributor.predict_without(Xq, [])
    np.testing.assert_allclose(found, batch.predict_without(Xq, []), rtol=1e-6)
    rows = np.arange(0, 40, 2)
    strength = 0.1 * (N_TRAIN - len(rows))
    again = same.set_params(C=1 / strength) if data == "binary" else same.set_params(alpha=strength)
    again.fit(np.delete(X, rows, 0), np.delete(y, rows))
    expected = again.predict_proba(Xq) if data == "binary" else again.predict(Xq)
    np.testing.assert_allclose(attributor.predict_without(Xq, rows), expected, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_gradient_descent_against_the_rest():
    Xq, yq, X, y = DATA["classes"]
    for loss in ("log_loss", "squared_hinge", "modified_huber", "squared_error"):
        model = SGDClassifier(loss, alpha=0.1, class_weight="balanced", random_state=0).fit(X, y)
        with pytest.warns(match="not at the minimum"):
            attributor = InfluenceAttributor(model).fit(X, y)
        scores = attributor.attribute(Xq, yq)
        assert scores.shape == (N_QUERIES, N_TRAIN)
        without = attributor.predict_without(Xq, [3])
        before = attributor.predict_without(Xq, [])
        if loss != "log_loss":
            lead = [
                out[np.arange(N_QUERIES), yq]
                - np.where(np.arange(3) == yq[:, None], -np.inf, out).max(1)
                for out in (before, without)
            ]
            np.testing.assert_allclose(scores[:, 3], lead[0] - lead[1], rtol=0.1, atol=1e-3)


REFUSED = {
    "hinge": (LinearSVC(loss="hinge"), "binary", "squared_hinge"),
    "Crammer and Singer": (LinearSVC(multi_class="crammer_singer"), "classes", "ovr"),
    "kinks": (LinearSVR(max_iter=10**5), "numbers", "squared_epsilon_insensitive"),
    "support vectors": (SVC(), "binary", r"kinks.*LinearSVC"),
    "support vectors of a regression": (SVR(), "numbers", r"kinks.*KernelRidge"),
    "perceptron": (SGDClassifier("hinge"), "binary", "one of the losses"),
    "L1": (SGDClassifier("log_loss", penalty="l1"), "binary", "penalty"),
    "pairs": (
        GaussianProcessClassifier(optimizer=None, multi_class="one_vs_one"),
        "classes",
        "one_vs_rest",
    ),
    "noise of a classifier": (
        GaussianProcessClassifier(RBF(3) + WhiteKernel(1), optimizer=None),
        "binary",
        "no noise",
    ),
    "indefinite": (KernelRidge(kernel="sigmoid", gamma=0.5, coef0=-1), "numbers", "semidefinite"),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:Singular matrix in solving dual problem")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    model, data, message = REFUSED[name]
    _, _, X, y = DATA[data]
    with pytest.raises(ValueError, match=message):
        InfluenceAttributor(model).fit(X, y)
