"""Leverage, Cook's distance, DFBETAS and studentized residuals beside statsmodels and refits."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.svm import LinearSVC

from sklearn_provenance import InfluenceAttributor

from .test_influence import DATA, N_TRAIN, TIGHT, WEIGHTS, margin

sm = pytest.importorskip("statsmodels.api")
OLSInfluence = pytest.importorskip("statsmodels.stats.outliers_influence").OLSInfluence

NEWTON = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 1000}


def fitted(model, X, y, weights=None):
    model = model.fit(X, y, sample_weight=weights)
    return InfluenceAttributor(model).fit(X, y, sample_weight=weights)


def last(columns):
    """statsmodels has the intercept first."""
    return np.hstack([columns[:, 1:], columns[:, :1]])


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
def test_least_squares_is_as_in_statsmodels(weights):
    _, _, X, y = DATA["numbers"]
    ours = fitted(LinearRegression(), X, y, weights)
    root = np.sqrt(np.ones(N_TRAIN) if weights is None else weights)
    theirs = OLSInfluence(sm.OLS(root * y, root[:, None] * sm.add_constant(X)).fit())
    for one, other in (
        (ours.leverage_, theirs.hat_matrix_diag),
        (ours.cooks_distance_, theirs.cooks_distance[0]),
        (ours.studentized_residuals_, theirs.resid_studentized_internal),
        (ours.externally_studentized_residuals_, theirs.resid_studentized_external),
        (ours.dfbetas_, last(theirs.dfbetas)),
    ):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-8)


FAMILIES = {
    "Binomial": (LogisticRegression(C=np.inf, **NEWTON), "binary"),
    "Binomial, C": (LogisticRegression(C=1e9, **NEWTON), "binary"),
    "Poisson": (PoissonRegressor(alpha=0, **NEWTON), "counts"),
    "Gamma": (GammaRegressor(alpha=0, **NEWTON), "numbers"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_generalised_linear_models_are_as_in_statsmodels(name):
    model, data = FAMILIES[name]
    _, _, X, y = DATA[data]
    X = X[:, :3]
    ours = fitted(model, X, y)
    family = name.split(",")[0]
    link = {"link": sm.families.links.Log()} if family == "Gamma" else {}
    theirs = sm.GLM(y, sm.add_constant(X), getattr(sm.families, family)(**link)).fit(tol=1e-13)
    influence = theirs.get_influence(observed=False)  # the expected information, as here
    tolerance = 1e-5 if name.endswith("C") else 1e-8
    for one, other in (
        (ours.leverage_, influence.hat_matrix_diag),
        (ours.cooks_distance_, influence.cooks_distance[0]),
        (ours.studentized_residuals_, influence.resid_studentized),
        (ours.dfbetas_, last(influence.dfbetas)),
    ):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
    with pytest.raises(AttributeError, match="squared losses"):
        ours.externally_studentized_residuals_  # noqa: B018


def test_leverage_of_a_ridge_is_its_hat_matrix():
    """The derivative of each prediction in its own target."""
    _, _, X, y = DATA["numbers"]
    model = Ridge(alpha=7.0)
    ours = fitted(model, X, y)
    for row in range(0, N_TRAIN, 7):
        moved = y.copy()
        moved[row] += 1
        before = clone(model).fit(X, y).predict(X[row : row + 1])
        after = clone(model).fit(X, moved).predict(X[row : row + 1])
        assert ours.leverage_[row] == pytest.approx(float((after - before)[0]))
    assert ours.leverage_.sum() < X.shape[1] + 1


@pytest.mark.parametrize("kind", ["dense", "without intercept", "sparse"])
def test_dfbetas_of_a_ridge_are_changes_of_its_coefficients(kind):
    _, _, X, y = DATA["numbers"]
    model = Ridge(alpha=7.0, fit_intercept=kind != "without intercept")
    ours = fitted(clone(model).set_params(solver="auto"), *as_kind(kind, X, y))
    changes = []
    for row in range(3):
        without = clone(model).fit(np.delete(X, row, 0), np.delete(y, row))
        now = clone(model).fit(X, y)
        change = now.coef_ - without.coef_
        if model.fit_intercept:
            change = np.r_[change, now.intercept_ - without.intercept_]
        changes.append(change)
    ratio = ours.dfbetas_[:3] / np.array(changes)  # one over standard errors
    np.testing.assert_allclose(
        ratio / ratio[:, :1], ratio[:1] / ratio[0, 0] * np.ones((3, 1)), rtol=1e-4
    )


def as_kind(kind, X, y):
    if kind == "sparse":
        return csr_matrix(X), y
    return X, y


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (LogisticRegression(C=0.1, **TIGHT), "binary"),
        (LogisticRegression(C=0.1, **TIGHT), "classes"),
        (Ridge(), "numbers"),
        (LinearSVC(C=0.01, tol=1e-9, max_iter=10**5), "classes"),
    ],
)
def test_self_influence(model, data):
    _, _, X, y = DATA[data]
    ours = InfluenceAttributor(clone(model).fit(X, y)).fit(X, y)
    scores = ours.attribute(X, y)
    np.testing.assert_allclose(ours.self_influence_, np.diag(scores), atol=1e-12)
    rows = slice(5, 6)
    without = clone(model).fit(np.delete(X, 5, 0), np.delete(y, 5))
    drop = margin(ours.estimator_, X[rows], y[rows]) - margin(without, X[rows], y[rows])
    assert ours.self_influence_[5] == pytest.approx(drop[0], rel=1e-2, abs=1e-5)


def test_where_they_are_not_there():
    _, _, X, y = DATA["classes"]
    several = InfluenceAttributor(LogisticRegression(C=0.1)).fit(X, y)
    names = ("leverage_", "cooks_distance_", "dfbetas_", "studentized_residuals_")
    for name in names:
        assert not hasattr(several, name)
        assert not hasattr(InfluenceAttributor(Ridge()), name)
    assert not hasattr(InfluenceAttributor(Ridge()), "self_influence_")
    wide = np.random.default_rng(0).normal(size=(20, 50))
    few = InfluenceAttributor(Ridge()).fit(wide, np.arange(20.0))
    assert few.leverage_.shape == (20,)
    with pytest.raises(AttributeError, match="no more features than rows"):
        few.dfbetas_  # noqa: B018
