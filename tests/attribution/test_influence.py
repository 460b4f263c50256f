"""InfluenceAttributor against training again without rows."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array, csr_matrix
from scipy.special import logsumexp
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    TweedieRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import InfluenceAttributor
from sklearn_provenance.attribution.objectives import _linear
from sklearn_provenance.information import _convex_problem

from ..checks import thorough
from ..versions import L1, L2_CV

N_QUERIES, N_TRAIN = 6, 80
TIGHT = {"tol": 1e-9, "max_iter": 20000}
NEWTON = {"solver": "newton-cholesky", "tol": 1e-10}


def _data(loader):
    X, y = loader(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[: N_QUERIES + N_TRAIN]
    X = StandardScaler().fit_transform(X[order])
    y = y[order]
    return X[:N_QUERIES], y[:N_QUERIES], X[N_QUERIES:], y[N_QUERIES:]


def _counts():
    Xq, yq, X, y = _data(load_diabetes)
    return Xq, np.round(yq / 30), X, np.round(y / 30)


DATA = {
    "binary": _data(load_breast_cancer),
    "classes": _data(load_wine),
    "numbers": _data(load_diabetes),
    "counts": _counts(),
}
WEIGHTS = np.random.default_rng(1).uniform(0.3, 3, N_TRAIN)
SMOOTH = {
    "logistic": (LogisticRegression(C=0.1, **TIGHT), "binary"),
    "no intercept": (LogisticRegression(C=0.1, fit_intercept=False, **TIGHT), "binary"),
    "balanced": (LogisticRegression(C=0.1, class_weight="balanced", **TIGHT), "binary"),
    "class weights": (LogisticRegression(C=0.1, class_weight={0: 3, 1: 0.5}, **TIGHT), "binary"),
    "liblinear": (
        LogisticRegression(solver="liblinear", C=0.3, intercept_scaling=2.0, **TIGHT),
        "binary",
    ),
    "multinomial": (LogisticRegression(C=0.1, **TIGHT), "classes"),
    "balanced classes": (
        LogisticRegression(C=0.1, class_weight="balanced", **TIGHT),
        "classes",
    ),
    "Poisson": (PoissonRegressor(alpha=0.1, **NEWTON), "counts"),
    "Gamma": (GammaRegressor(alpha=0.1, **NEWTON), "numbers"),
    "Tweedie": (TweedieRegressor(power=1.5, alpha=0.1, **NEWTON), "numbers"),
}
SQUARED = {
    "least squares": (LinearRegression(), "numbers"),
    "Ridge": (Ridge(alpha=3.0), "numbers"),
    "Ridge, no intercept": (Ridge(alpha=3.0, fit_intercept=False), "numbers"),
    "normal": (TweedieRegressor(power=0, alpha=0.1, **NEWTON), "numbers"),
    "RidgeClassifier": (RidgeClassifier(), "binary"),
    "RidgeClassifier, classes": (RidgeClassifier(class_weight="balanced"), "classes"),
}


def answer(model, X):
    if hasattr(model, "predict_proba"):
        return model.predict_proba(X)
    return model.decision_function(X) if hasattr(model, "classes_") else model.predict(X)


def margin(model, X, y):
    """The margin from the estimator's own outputs."""
    if not hasattr(model, "classes_"):
        return model.predict(X)
    outputs, labels = model.decision_function(X), np.searchsorted(model.classes_, y)
    if outputs.ndim == 1:
        return np.where(labels == 1, outputs, -outputs)
    margins = []
    for row, label in zip(outputs, labels, strict=True):
        others = np.delete(row, label)
        most = logsumexp(others) if hasattr(model, "predict_proba") else others.max()
        margins.append(row[label] - most)
    return np.array(margins)


class Retrained:
    """An estimator, its attributor, and the truth."""

    def __init__(self, model, data, weights=None, **params):
        self.Xq, self.yq, self.X, self.y = DATA[data]
        self.weights = weights
        self.model = self.train(model, np.arange(N_TRAIN))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.attributor = InfluenceAttributor(self.model, **params)
            self.attributor.fit(self.X, self.y, sample_weight=weights)

    def train(self, model, rows):
        kwargs = {} if self.weights is None else {"sample_weight": self.weights[rows]}
        return clone(model).fit(self.X[rows], self.y[rows], **kwargs)

    def without(self, rows):
        return self.train(self.model, np.setdiff1d(np.arange(N_TRAIN), rows))

    def drop(self, rows):
        before, after = (
            margin(model, self.Xq, self.yq) for model in (self.model, self.without(rows))
        )
        return before - after

    def leave_one_out(self, rows=range(N_TRAIN)):
        return np.stack([self.drop([row]) for row in rows], 1)


@pytest.mark.parametrize("weights", [WEIGHTS, *thorough(None)], ids=["weighted", ""])
@pytest.mark.parametrize("name", SMOOTH)
def test_scores_are_those_of_training_again(name, weights):
    retrained = Retrained(*SMOOTH[name], weights)
    scores = retrained.attributor.attribute(retrained.Xq, retrained.yq)[:, ::3]
    truth = retrained.leave_one_out(range(0, N_TRAIN, 3))
    ranks = [spearmanr(a, b)[0] for a, b in zip(scores, truth, strict=True)]
    assert np.mean(ranks) > 0.999
    assert np.polyfit(scores.ravel(), truth.ravel(), 1)[0] == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
@pytest.mark.parametrize("name", SQUARED)
def test_scores_of_squared_losses_are_exact(name, weights):
    retrained = Retrained(*SQUARED[name], weights)
    scores = retrained.attributor.attribute(retrained.Xq, retrained.yq)[:, ::3]
    truth = retrained.leave_one_out(range(0, N_TRAIN, 3))
    np.testing.assert_allclose(scores, truth, atol=2e-7 * abs(truth).max())


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
@pytest.mark.parametrize("name", {**SMOOTH, **SQUARED})
def test_predictions_without_a_set_of_rows(name, weights):
    retrained = Retrained(*{**SMOOTH, **SQUARED}[name], weights)
    rows = np.random.default_rng(2).choice(N_TRAIN, 25, replace=False)
    outputs = retrained.attributor.predict_without(retrained.Xq, rows)
    truth = answer(retrained.without(rows), retrained.Xq)
    change = abs(truth - answer(retrained.model, retrained.Xq)).max()
    np.testing.assert_allclose(outputs, truth, atol=1e-4 * change)


@pytest.mark.parametrize("name", ["logistic", "balanced classes", "Poisson", "RidgeClassifier"])
def test_picks_fulfil_what_their_scores_say(name):
    """Scores add up to the fall of the margin after training again without all picks."""
    retrained = Retrained(*{**SMOOTH, **SQUARED}[name])
    exp = retrained.attributor.explain(retrained.Xq, retrained.yq, k=8)
    assert all(len(set(rows)) == 8 for rows in exp.indices.tolist())
    for i in range(3):
        truth = retrained.drop(exp.indices[i])[i]
        assert exp.scores[i].sum() == pytest.approx(truth, rel=1e-3)
        truth = retrained.drop(exp.indices[i, :3])[i]
        assert exp.scores[i, :3].sum() == pytest.approx(truth, rel=1e-3)
    if name != "Poisson":
        assert (exp.exemplar_labels.shape, exp.query_labels.tolist()) == (
            (N_QUERIES, 8),
            retrained.yq.tolist(),
        )


def test_greedy_picks_are_best_one_by_one():
    """By training again without each further row, for the squared loss, where a step is exact."""
    retrained = Retrained(*SQUARED["Ridge"])
    exp = retrained.attributor.explain(retrained.Xq[:1], k=3)
    picked = []
    for row in exp.indices[0]:
        others = np.setdiff1d(np.arange(N_TRAIN), picked)
        drops = [retrained.drop([*picked, other])[0] for other in others]
        assert row == others[np.argmax(drops)]
        picked.append(row)


@pytest.mark.parametrize("name", ["balanced", "multinomial", "Poisson"])
def test_greedy_picks_are_those_of_problems_that_are_solved_anew(name):
    """Inverse Hessians that are updated name the rows that new ones do, with the same drops."""
    retrained = Retrained(*SMOOTH[name])
    attributor = retrained.attributor
    exp = attributor.explain(retrained.Xq[:2], k=8)
    labels = attributor._labels(retrained.Xq, None)
    for number, designs in enumerate(
        zip(*attributor._minima.designs(retrained.Xq[:2]), strict=True)
    ):
        label = None if labels is None else labels[number]
        minima = attributor._minima
        allowed = np.ones(N_TRAIN, dtype=bool)
        for row, drop in zip(exp.indices[number], exp.scores[number], strict=True):
            assert row == np.argmax(minima.gains(designs, label, allowed, 1))
            allowed[row] = False
            fewer = minima.without([row])
            expected = minima.margin(designs, label) - fewer.margin(designs, label)
            np.testing.assert_allclose(drop, expected, rtol=1e-5)
            minima = fewer


def test_a_set_does_more_than_the_rows_that_are_best_alone():
    retrained = Retrained(*SMOOTH["logistic"])
    alone = retrained.attributor.attribute(retrained.Xq, retrained.yq)
    exp = retrained.attributor.explain(retrained.Xq, retrained.yq, k=20)
    jointly = [retrained.drop(rows)[i] for i, rows in enumerate(exp.indices)]
    best = [retrained.drop(rows)[i] for i, rows in enumerate(np.argsort(-alone)[:, :20])]
    assert np.mean(jointly) > np.mean(best)


@pytest.mark.parametrize("direction", ["down", "up", "any"])
def test_directions(direction):
    retrained = Retrained(*SQUARED["Ridge"], direction=direction)
    exp = retrained.attributor.explain(retrained.Xq, k=4)
    total = exp.scores.sum(1)
    assert np.allclose(total, [retrained.drop(rows)[i] for i, rows in enumerate(exp.indices)])
    if direction == "down":
        assert (exp.scores > 0).all()
    elif direction == "up":
        assert (exp.scores < 0).all()
    else:
        other = [
            InfluenceAttributor(retrained.model, direction=one)
            .fit(retrained.X, retrained.y)
            .explain(retrained.Xq, k=4)
            .scores.sum(1)
            for one in ("down", "up")
        ]
        np.testing.assert_allclose(abs(total), np.abs(other).max(0))


def test_active_sets_are_said_to_be_fixed():
    for model, data in (
        (Lasso(alpha=1.0, tol=1e-10, max_iter=10**5), "numbers"),
        (ElasticNet(alpha=0.1, tol=1e-10, max_iter=10**5), "numbers"),
        (LogisticRegression(**L1, solver="liblinear", tol=1e-6, C=0.5), "binary"),
    ):
        retrained = Retrained(model, data)
        assert any("L1" in text for text in retrained.attributor.assumptions_)
        # Where the active set stays, leaving a row out is as exact as elsewhere.
        scores = retrained.attributor.attribute(retrained.Xq, retrained.yq)
        same = []
        for row in range(12):
            coefficients = retrained.without([row]).coef_
            if np.array_equal(np.sign(coefficients), np.sign(retrained.model.coef_)):
                same.append(row)
                np.testing.assert_allclose(
                    scores[:, row], retrained.drop([row]), rtol=0.1, atol=1e-3
                )
        assert same


def test_more_features_than_rows():
    X = np.random.default_rng(3).normal(size=(40, 90))
    y = np.arange(40) % 3
    model = LogisticRegression(C=0.1, **TIGHT)
    for rows in (X, csr_matrix(X)):
        fitted = clone(model).fit(rows, y)
        attributor = InfluenceAttributor(fitted).fit(rows, y)
        assert attributor.distance_ < 1e-5
        truth = clone(model).fit(np.delete(X, 7, 0), np.delete(y, 7)).predict_proba(X[:5])
        np.testing.assert_allclose(attributor.predict_without(rows[:5], [7]), truth, atol=1e-6)


@pytest.mark.parametrize("kind", [csr_matrix, csr_array])
def test_sparse_rows_are_explained_as_dense_ones(kind):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 8)) * (rng.random((60, 8)) < 0.4), np.arange(60) % 2
    model = LogisticRegression(fit_intercept=False, **TIGHT).fit(X, y)
    expected = InfluenceAttributor(model).fit(X, y)
    attributor = InfluenceAttributor(model).fit(kind(X), y)
    for exp, found in (
        (expected.explain(X[:5], k=3), attributor.explain(kind(X[:5]), k=3)),
        (expected.explain(k=3), attributor.explain(k=3)),
        (expected.flipping_set(X[:5]), attributor.flipping_set(kind(X[:5]))),
    ):
        np.testing.assert_array_equal(found.indices, exp.indices)
        np.testing.assert_allclose(found.scores, exp.scores, rtol=1e-6)


@pytest.mark.parametrize("kind", [csr_matrix, csr_array])
def test_sparse_queries_among_dense_rows_are_those_numbers(kind):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 8)) * (rng.random((60, 8)) < 0.4) + 0.5, np.arange(60) % 2
    X[:5, :3] = 0
    attributor = InfluenceAttributor(LogisticRegression(**TIGHT)).fit(X, y)
    names = [f"column {number}" for number in range(8)]
    framed = InfluenceAttributor(LogisticRegression(**TIGHT))
    framed.fit(pd.DataFrame(X, columns=names), y)
    expected, found = (attributor.explain(rows, k=3) for rows in (X[:5], kind(X[:5])))
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.scores, expected.scores)
    np.testing.assert_allclose(attributor.attribute(kind(X[:5])), attributor.attribute(X[:5]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that queries have no names of columns
        explanation = framed.explain(kind(X[:5]), k=3)
    parts = explanation.contributions
    sums = [
        np.asarray(part.sum(1)).ravel() + own
        for part, own in zip(parts.pairs, parts.intercepts, strict=True)
    ]
    np.testing.assert_allclose(sums, explanation.scores)


def test_sparse_texts_through_a_pipeline():
    texts = ["a fine film", "a dull film", "fine acting", "dull acting", "just fine", "so dull"] * 4
    labels = np.array(["good", "bad"] * 12)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(**TIGHT)).fit(texts, labels)
    attributor = InfluenceAttributor(model).fit(texts, labels)
    exp = attributor.explain(["a fine book"], k=3)
    assert exp.query_labels.tolist() == ["good"]
    assert (exp.exemplar_labels == "good").all()
    assert any("steps" in text for text in attributor.assumptions_)
    features, keep = model[0].transform(texts), np.setdiff1d(np.arange(24), exp.indices[0])
    again = LogisticRegression(**TIGHT).fit(features[keep], labels[keep])
    truth = again.predict_proba(model[0].transform(["a fine book"]))
    np.testing.assert_allclose(
        attributor.predict_without(["a fine book"], exp.indices[0]), truth, atol=1e-6
    )


def test_parameters_that_were_chosen_are_held_fixed():
    Xq, yq, X, y = DATA["binary"]
    search = GridSearchCV(LogisticRegression(**TIGHT), {"C": [0.01, 0.1]}).fit(X, y)
    by_search = InfluenceAttributor(search).fit(X, y)
    alone = InfluenceAttributor(search.best_estimator_).fit(X, y)
    np.testing.assert_array_equal(by_search.attribute(Xq), alone.attribute(Xq))
    assert by_search.assumptions_
    found = LogisticRegressionCV(Cs=[0.1], scoring="accuracy", **L2_CV, **TIGHT).fit(X, y)
    fixed = LogisticRegression(C=0.1, **TIGHT).fit(X, y)
    scores = [InfluenceAttributor(m).fit(X, y).attribute(Xq, yq) for m in (found, fixed)]
    np.testing.assert_allclose(*scores, atol=1e-6)
    for cv, plain in (
        (RidgeCV([2.0]), Ridge(2.0)),
        (RidgeClassifierCV([2.0]), RidgeClassifier(2.0)),
    ):
        scores = [InfluenceAttributor(m).fit(X, y).attribute(Xq) for m in (cv, plain)]
        np.testing.assert_allclose(*scores, atol=1e-8)


@pytest.mark.parametrize(
    ("kind", "model"), [("binary", LogisticRegression()), ("numbers", Ridge())]
)
def test_score_reads_tensors_and_refuses_masks(kind, model):
    Xq, yq, X, y = DATA[kind]
    attributor = InfluenceAttributor(model).fit(X, y)
    weights = np.arange(len(yq)) + 1.0
    expected = attributor.estimator_.score(Xq, yq, weights)
    assert attributor.score(Xq, yq, weights) == pytest.approx(expected)
    found = attributor.score(Xq, torch.as_tensor(yq), torch.as_tensor(weights))
    assert found == pytest.approx(expected)
    with pytest.raises(ValueError, match="y must not be a masked array"):
        attributor.score(Xq, np.ma.masked_array(yq))


def test_candidates_of_the_same_class():
    Xq, yq, X, y = DATA["classes"]
    attributor = InfluenceAttributor(LogisticRegression(C=0.1, **TIGHT), candidates="same_class")
    attributor.fit(X, y)
    scores = attributor.attribute(Xq, yq)
    np.testing.assert_array_equal(np.isfinite(scores), yq[:, None] == y)
    exp = attributor.explain(Xq, yq, k=3)
    assert (exp.exemplar_labels == yq[:, None]).all()
    with pytest.raises(ValueError, match="needs classes"):
        InfluenceAttributor(Ridge(), candidates="same_class").fit(X, y)


def test_training_rows_are_explained_by_the_others():
    _, _, X, y = DATA["binary"]
    attributor = InfluenceAttributor(LogisticRegression(C=0.1)).fit(X, y)
    exp = attributor.explain(k=2)
    assert (exp.indices != np.arange(N_TRAIN)[:, None]).all()
    np.testing.assert_array_equal(exp.query_labels, y)
    with pytest.raises(ValueError, match="without X"):
        attributor.explain(None, y)


def test_a_number_in_second_place_is_k():
    Xq, _, X, y = DATA["numbers"]
    attributor = InfluenceAttributor(Ridge()).fit(X, y)
    found, expected = attributor.explain(Xq, 3), attributor.explain(Xq, k=3)
    np.testing.assert_array_equal(found.indices, expected.indices)


def test_rows_of_each_query():
    Xq, _, X, y = DATA["numbers"]
    attributor = InfluenceAttributor(Ridge()).fit(X, y)
    rows = np.array([[1, 2], [5, -1]])
    found = attributor.predict_without(Xq[:2], rows)
    np.testing.assert_allclose(found[0], attributor.predict_without(Xq[:1], [2, 1])[0])
    np.testing.assert_allclose(found[1], attributor.predict_without(Xq[1:2], [5])[0])
    np.testing.assert_allclose(attributor.predict_without(Xq, []), attributor.predict(Xq))


def test_more_steps_are_closer_and_small_memory_changes_nothing():
    Xq, yq, X, y = DATA["classes"]
    model = LogisticRegression(C=1, **TIGHT).fit(X, y)
    truth = InfluenceAttributor(model, n_steps=12).fit(X, y).attribute(Xq, yq)
    errors = [
        abs(InfluenceAttributor(model, n_steps=n).fit(X, y).attribute(Xq, yq) - truth).max()
        for n in (1, 2, 3)
    ]
    assert errors[0] > errors[1] > errors[2]
    small = InfluenceAttributor(model, n_steps=12, memory_limit=1e5).fit(X, y)
    assert sum(len(rows) for rows, _ in small._rows.blocks()) == len(X) > 1
    assert sum(1 for _ in small._rows.blocks()) > 1
    np.testing.assert_allclose(small.attribute(Xq, yq), truth, atol=1e-12)


def test_rows_that_need_more_steps_get_them():
    """Almost separable, so that the Hessian changes much without a row."""
    retrained = Retrained(LogisticRegression(C=100, tol=1e-10, max_iter=10**5), "binary")
    scores = retrained.attributor.attribute(retrained.Xq, retrained.yq)
    truth = retrained.leave_one_out()
    two = InfluenceAttributor(retrained.model, n_steps=2).fit(retrained.X, retrained.y)
    errors = [
        abs(drops - truth).max() / abs(truth).max()
        for drops in (scores, two.attribute(retrained.Xq, retrained.yq))
    ]
    assert errors[0] < 0.03
    assert errors[1] > 0.3


def test_fitted_attributors_are_pickled():
    Xq, yq, X, y = DATA["binary"]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, **TIGHT))
    attributor = InfluenceAttributor(model).fit(X, y)
    scores = attributor.attribute(Xq, yq)
    again = pickle.loads(pickle.dumps(attributor))
    np.testing.assert_array_equal(again.attribute(Xq, yq), scores)


def test_an_estimator_that_is_not_at_a_minimum_is_named():
    Xq, yq, X, y = DATA["binary"]
    with pytest.warns(ConvergenceWarning):
        stopped = LogisticRegression(C=100, max_iter=2).fit(X, y)
    with pytest.warns(ConvergenceWarning, match=r"norm of the gradient is .* Lower tol"):
        attributor = InfluenceAttributor(stopped).fit(X, y)
    assert attributor.gradient_norm_ > 1
    converged = InfluenceAttributor(LogisticRegression(C=100, **TIGHT)).fit(X, y)
    found = [one.attribute(Xq, yq) for one in (attributor, converged)]
    np.testing.assert_allclose(*found, atol=1e-4)
    fitted = LogisticRegression(C=0.1, **TIGHT).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="give all rows"):
        InfluenceAttributor(fitted).fit(X[:40], y[:40])
    with pytest.warns(ConvergenceWarning, match="give all rows and weights"):
        InfluenceAttributor(fitted).fit(X, y, sample_weight=WEIGHTS)


class TestRefusals:
    def test_estimators_without_an_objective(self):
        _, _, X, y = DATA["binary"]
        with pytest.raises(TypeError, match=r"smooth convex objective.*got RandomForest"):
            InfluenceAttributor(RandomForestClassifier(n_estimators=2)).fit(X, y)
        with pytest.raises(TypeError, match="fit and predict"):
            InfluenceAttributor("ridge").fit(X, y)

    def test_objectives_that_are_not_smooth(self):
        _, _, X, y = DATA["numbers"]
        with pytest.raises(ValueError, match="positive must be False"):
            InfluenceAttributor(Ridge(positive=True)).fit(X, y)
        model = TweedieRegressor(power=1, link="identity", alpha=10.0).fit(X * 0.01, y)
        with pytest.raises(ValueError, match="link must be"):
            InfluenceAttributor(model).fit(X * 0.01, y)
        _, _, X, y = DATA["classes"]
        model = LogisticRegression(**L1, solver="saga", tol=0.1)
        with pytest.raises(ValueError, match="L2 penalty or none"):
            InfluenceAttributor(model).fit(X, y)

    @pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    def test_problems_without_a_unique_minimum(self):
        X = np.r_[np.linspace(-2, -1, 10), np.linspace(1, 2, 10)][:, None]
        y = np.arange(20) // 10
        with pytest.raises(ValueError, match=r"exactly one minimum.*separated"):
            InfluenceAttributor(LogisticRegression(C=np.inf)).fit(X, y)
        with pytest.raises(ValueError, match=r"exactly one minimum.*columns depend"):
            InfluenceAttributor(LinearRegression()).fit(np.hstack([X, X]), y.astype(float))

    def test_lasso_without_coefficients(self):
        _, _, X, y = DATA["numbers"]
        with pytest.raises(ValueError, match="Lower alpha"):
            InfluenceAttributor(Lasso(alpha=1e6, fit_intercept=False)).fit(X, y)

    def test_several_targets(self):
        _, _, X, y = DATA["numbers"]
        model = Ridge().fit(X, np.stack([y, y], 1))
        with pytest.raises(ValueError, match="one target"):
            InfluenceAttributor(model).fit(X, y)

    def test_labels_and_rows(self):
        Xq, _, X, y = DATA["binary"]
        attributor = InfluenceAttributor(LogisticRegression(C=0.1)).fit(X, y)
        with pytest.raises(ValueError, match="does not know"):
            attributor.attribute(Xq, np.full(N_QUERIES, 7))
        for rows in ([N_TRAIN], [-1], [[0]], [0.5]):
            with pytest.raises(ValueError, match="rows"):
                attributor.predict_without(Xq, rows)
        with pytest.raises(ValueError, match=r"must keep a row, but rows holds all .* class 0$"):
            attributor.predict_without(Xq, np.flatnonzero(y == 0))
        with pytest.raises(ValueError, match="k must be between"):
            attributor.explain(Xq, k=N_TRAIN + 1)
        with pytest.raises(ValueError, match="no row has the label"):
            InfluenceAttributor(attributor.estimator_).fit(X[y == 0], y[y == 0])

    def test_a_fit_that_fails_changes_nothing(self):
        Xq, _, X, y = DATA["binary"]
        attributor = InfluenceAttributor(LogisticRegression(C=0.1, **TIGHT)).fit(X, y)
        before = attributor.attribute(Xq)
        attributor.candidates = "none"
        with pytest.raises(ValueError, match="candidates"):
            attributor.fit(X[:20], y[:20])
        attributor.candidates = "all"
        with pytest.raises(ValueError, match="inconsistent"):
            attributor.fit(X, y[:20])
        np.testing.assert_array_equal(attributor.attribute(Xq), before)


def test_many_sparse_rows_and_features(monkeypatch):
    """Neither the Hessian nor all pairs of rows are formed; leverages are estimated."""
    rng = np.random.default_rng(5)
    X = csr_matrix(rng.normal(size=(150, 200)) * (rng.random((150, 200)) < 0.1))
    y = (X @ rng.normal(size=200) + rng.normal(size=150) > 0).astype(int)
    fitted = LogisticRegression(class_weight="balanced", **TIGHT).fit(X, y)
    exact = InfluenceAttributor(fitted, n_steps=1).fit(X, y)
    for module in (_convex_problem, _linear):
        monkeypatch.setattr(module, "MOST_FORMED", 10)
    large = InfluenceAttributor(fitted).fit(X, y)
    assert large.n_steps_ == 1
    scores, expected = large.attribute(X[:9], y[:9]), exact.attribute(X[:9], y[:9])
    np.testing.assert_allclose(scores, expected, atol=0.06 * abs(expected).max())
    ranks = [spearmanr(a, b)[0] for a, b in zip(scores, expected, strict=True)]
    assert np.mean(ranks) > 0.995
    rows = np.arange(30)
    outputs = large.predict_without(X[:9], rows), exact.predict_without(X[:9], rows)
    np.testing.assert_allclose(*outputs, atol=1e-7)
    exp = large.explain(X[:2], y[:2], k=4)
    log_odds = [
        np.log(large.predict_without(X[:1], some)[0, y[0]] ** -1 - 1)
        for some in (exp.indices[0], [])
    ]
    assert exp.scores[0].sum() == pytest.approx(log_odds[0] - log_odds[1], rel=1e-4)
    np.testing.assert_allclose(
        large.self_influence_, exact.self_influence_, atol=0.1 * exact.self_influence_.max()
    )
    with pytest.raises(AttributeError, match="not formed"):
        large.leverage_  # noqa: B018
