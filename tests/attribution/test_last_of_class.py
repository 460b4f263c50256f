"""Rows that are the last of their class: a model without one would not know the class."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.model_selection import PredefinedSplit
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sklearn_provenance import InfluenceAttributor
from sklearn_provenance.attribution import EnsembleAttributor
from sklearn_provenance.information import _convex_problem

from ..checks import thorough
from ..versions import L2_CV

rng = np.random.default_rng(0)
LAST = 17
Y = np.r_[np.zeros(14), np.ones(16)].astype(int)
Y[LAST] = 2
X = rng.normal(size=(30, 3)) + 0.7 * np.eye(3)[Y]
TWO = (Y == 2).astype(int)
# The last row is in no test fold: scikit-learn 1.7 needs all classes in what a fold is fitted to.
FOLDS = PredefinedSplit(np.where(np.arange(30) == LAST, -1, np.arange(30) % 2))
TIGHT = {"C": 0.5, "tol": 1e-9, "max_iter": 5000}
FAMILIES = {
    "logistic": LogisticRegression(**TIGHT),
    "logistic, balanced": LogisticRegression(class_weight="balanced", **TIGHT),
    "logistic, no intercept": LogisticRegression(fit_intercept=False, **TIGHT),
    "logistic, chosen": LogisticRegressionCV(Cs=[0.5], cv=FOLDS, scoring="accuracy", **L2_CV),
    "ridge": RidgeClassifier(),
    "ridge, chosen": RidgeClassifierCV(),
    "support vectors": LinearSVC(C=0.1, tol=1e-9, max_iter=10**5),
    "support vectors, balanced": LinearSVC(C=0.1, class_weight="balanced", max_iter=10**5),
    "gradient descent": SGDClassifier("log_loss", alpha=0.1, random_state=0),
    "gradient descent, hinge": SGDClassifier("squared_hinge", alpha=0.1, random_state=0),
    "against the rest": OneVsRestClassifier(LogisticRegression(**TIGHT)),
    "Gaussian process": GaussianProcessClassifier(4 * RBF(2), optimizer=None),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression(**TIGHT)),
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:The least populated class"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def check_last_row(attributor, y):
    queries = X[[16, LAST]]
    n_classes = len(np.unique(y))
    for label in range(n_classes):
        with pytest.warns(UserWarning, match=rf"Row {LAST} is the last of its class"):
            scores = attributor.attribute(queries, [label] * 2)
        expected = np.tile(np.arange(30) == LAST, (2, 1))
        np.testing.assert_array_equal(np.isnan(scores), expected)
        exp = attributor.explain(queries, [label] * 2, k=6)
        assert (exp.indices >= 0).all()
        assert not (exp.indices == LAST).any()
    assert not (attributor.flipping_set(queries, max_rows=6).indices == LAST).any()
    np.testing.assert_array_equal(np.isnan(attributor.self_influence_), np.arange(30) == LAST)
    with pytest.raises(ValueError, match="every class must keep a row"):
        attributor.predict_without(queries, [LAST])
    assert np.isfinite(attributor.predict_without(queries, [LAST - 1])).all()


@pytest.mark.parametrize(
    ("y", "selection"), [(Y, "greedy"), (TWO, "additive")], ids=["classes", "binary"]
)
@pytest.mark.parametrize(
    "name",
    [
        *("logistic", "logistic, no intercept", "logistic, chosen", "ridge", "support vectors"),
        *("gradient descent", "against the rest", "Gaussian process", "pipeline"),
        *thorough(
            *("logistic, balanced", "ridge, chosen", "support vectors, balanced"),
            "gradient descent, hinge",
        ),
    ],
)
def test_they_have_no_score_and_are_not_named(name, y, selection):
    attributor = InfluenceAttributor(FAMILIES[name], selection=selection).fit(X, y)
    check_last_row(attributor, y)


def test_many_sparse_rows(monkeypatch):
    monkeypatch.setattr(_convex_problem, "MOST_FORMED", 2)
    attributor = InfluenceAttributor(LogisticRegression(**TIGHT)).fit(csr_matrix(X), Y)
    assert attributor._minima.implicit
    with pytest.warns(UserWarning, match="last of its class"):
        scores = attributor.attribute(csr_matrix(X[:3]))
    np.testing.assert_array_equal(np.isnan(scores), np.tile(np.arange(30) == LAST, (3, 1)))
    exp = attributor.explain(csr_matrix(X[:2]), k=8)
    assert (exp.indices >= 0).all()
    assert not (exp.indices == LAST).any()


@pytest.mark.parametrize("model", [LogisticRegression(**TIGHT), RidgeClassifier()])
def test_a_row_of_the_class_without_weight(model):
    """It keeps the class, but no free intercept; a squared loss bounds that."""
    y = Y.copy()
    y[3] = 2
    weights = np.ones(30)
    weights[3] = 0
    model = model.fit(X, y, sample_weight=weights)
    attributor = InfluenceAttributor(model).fit(X, y, sample_weight=weights)
    queries = X[:4]
    if isinstance(model, RidgeClassifier):
        scores = attributor.attribute(queries, [2] * 4)
        others = np.arange(30) != LAST
        again = RidgeClassifier().fit(X[others], y[others], sample_weight=weights[others])
        lead = [
            out[:, 2] - out[:, :2].max(1)
            for out in (model.decision_function(queries), again.decision_function(queries))
        ]
        np.testing.assert_allclose(scores[:, LAST], lead[0] - lead[1], rtol=1e-8)
    else:
        with pytest.warns(UserWarning, match=r"without one of 1 rows.*last of its class"):
            scores = attributor.attribute(queries, [2] * 4)
        assert np.isnan(scores[:, LAST]).all()
        with pytest.raises(ValueError, match="every class must keep a row with weight"):
            attributor.predict_without(queries, [LAST])
    np.testing.assert_allclose(scores[:, 3], 0, atol=1e-10)


ENSEMBLES = {
    "vote": VotingClassifier([("one", LogisticRegression(**TIGHT))], voting="soft"),
    "against the rest": OneVsRestClassifier(LinearSVC(C=0.1)),
    "against each other": OneVsOneClassifier(LogisticRegression(**TIGHT)),
    "probabilities against the rest": OneVsRestClassifier(LogisticRegression(**TIGHT)),
}


@pytest.mark.parametrize("candidates", ["all", "same_class"])
@pytest.mark.parametrize("name", ENSEMBLES)
def test_parts_of_ensembles(name, candidates):
    attributor = EnsembleAttributor(ENSEMBLES[name], candidates=candidates).fit(X, Y)
    with pytest.warns(UserWarning, match=rf"without one of 1 rows, row {LAST} among them"):
        scores = attributor.attribute(X[:6], [2] * 6)
    assert np.isnan(scores[:, LAST]).all()
    if candidates == "all":
        assert np.isfinite(np.delete(scores, LAST, 1)).all()
        exp = attributor.explain(X[:6], k=8)
        assert (exp.indices >= 0).all()
        assert not (exp.indices == LAST).any()


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_a_fold_with_one_row_of_a_class(method):
    """The class has two rows, one in each fold."""
    y = Y.copy()
    y[4] = 2
    folds = np.arange(30) % 2
    model = CalibratedClassifierCV(
        LogisticRegression(**TIGHT), method=method, cv=PredefinedSplit(folds)
    )
    attributor = EnsembleAttributor(model, candidates="all").fit(X, y)
    with pytest.warns(UserWarning, match="without one of 2 rows, row 4 among them"):
        scores = attributor.attribute(X[:3])
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(scores).any(0)), [4, LAST])


def test_a_bag_with_one_row_of_a_class():
    y = Y.copy()
    y[[4, 9]] = 2
    model = BaggingClassifier(LogisticRegression(**TIGHT), 4, random_state=1)
    model.fit(X, y)
    held = [set(rows) & {4, 9, LAST} for rows in model.estimators_samples_]
    alone = sorted({row for rows in held if len(rows) == 1 for row in rows})
    assert alone
    assert all(held)
    attributor = EnsembleAttributor(model, candidates="all").fit(X, y)
    with pytest.warns(UserWarning, match=rf"without one of {len(alone)} rows"):
        scores = attributor.attribute(X[:3], [2] * 3)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(scores).any(0)), alone)
