"""Linear regressors and linear support vectors: φ = [x; 1], for every output alike."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, NuSVC

from sklearn_provenance.attribution import (
    InfoGainAttributor,
    InfoLossAttributor,
    RelatIFAttributor,
    TRAKAttributor,
)

WINE, CULTIVAR = load_wine(return_X_y=True)
WINE = StandardScaler().fit_transform(WINE)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
MODELS = [
    (SVC(kernel="linear"), WINE, CULTIVAR, 1),
    (NuSVC(kernel="linear", nu=0.1), WINE, np.array(["a", "b", "c"])[CULTIVAR], 1),
    (SVR(kernel="linear"), DIABETES[:150], PROGRESS[:150], 1),
    (LinearRegression(), DIABETES[:150], PROGRESS[:150], 1),
    (Ridge(fit_intercept=False), DIABETES[:150], PROGRESS[:150], 0),
    (Lasso(), DIABETES[:150], PROGRESS[:150], 1),
    (ElasticNet(), DIABETES[:150], PROGRESS[:150], 1),
]


@pytest.mark.parametrize("cls", [InfoGainAttributor, InfoLossAttributor, RelatIFAttributor])
@pytest.mark.parametrize(("model", "X", "y", "bias"), MODELS, ids=lambda v: type(v).__name__)
def test_answers_are_those_of_the_inputs(cls, model, X, y, bias):
    found = cls(model).fit(X, y)
    expected = cls(model, features=lambda rows: np.hstack([rows, np.full((len(rows), bias), 1.0)]))
    expected = expected.fit(X, y)
    a, b = found.explain(X[::30], k=4), expected.explain(X[::30], k=4)
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_allclose(a.scores, b.scores, rtol=1e-8)
    np.testing.assert_array_equal(a.query_labels, found.estimator_.predict(X[::30]))
    np.testing.assert_allclose(found.attribute(X[:5]), expected.attribute(X[:5]), rtol=1e-8)
    np.testing.assert_allclose(found.score(X[:20], y[:20]), expected.score(X[:20], y[:20]))
    assert found.transform(X[:3]).shape == (3, X.shape[1] + bias)


def test_the_gradient_of_a_regressor_in_its_coefficients():
    model = Ridge().fit(DIABETES, PROGRESS)
    phi, step = InfoGainAttributor(model).fit(DIABETES, PROGRESS).transform(DIABETES[:9]), 1e-3
    columns = []
    for column in range(10):
        coefficients = model.coef_.copy()
        model.coef_[column] += step
        above = model.predict(DIABETES[:9])
        model.coef_ = coefficients
        columns.append((above - model.predict(DIABETES[:9])) / step)
    np.testing.assert_allclose(phi[:, :10], np.stack(columns, 1), atol=1e-9)
    np.testing.assert_array_equal(phi[:, 10], 1)


def test_sparse_rows_pipelines_and_what_is_refused():
    sparse = csr_matrix(np.where(np.abs(WINE) > 1, WINE, 0))
    model = SVC(kernel="linear")
    dense = InfoGainAttributor(model).fit(sparse.toarray(), CULTIVAR)
    kept = InfoGainAttributor(model).fit(sparse, CULTIVAR)
    np.testing.assert_allclose(
        kept.explain(sparse[:4], k=3).scores, dense.explain(sparse.toarray()[:4], k=3).scores
    )
    pipeline = make_pipeline(StandardScaler(), Ridge())
    InfoGainAttributor(pipeline).fit(DIABETES, PROGRESS).explain(DIABETES[:2], k=2)
    with pytest.raises(TypeError, match=r"features=.*got SVC"):
        InfoGainAttributor(SVC()).fit(WINE, CULTIVAR)
    two = Ridge().fit(DIABETES, np.stack([PROGRESS, PROGRESS], 1))
    with pytest.raises(TypeError, match="several targets"):
        InfoGainAttributor(two).fit(DIABETES, PROGRESS)
    with pytest.raises(TypeError, match="estimator must be"):
        TRAKAttributor(Ridge()).fit(DIABETES, PROGRESS)
    with pytest.raises(ValueError, match="features"):
        InfoGainAttributor(Ridge()).fit(DIABETES, PROGRESS).explain(DIABETES[:, :3])
