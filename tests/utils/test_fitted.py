"""Whether an estimator is fitted, and which one is used."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance._utils.fitted import column_of_targets, is_fitted, resolve

X, Y = np.eye(3), np.arange(3)


class Predicts:
    """Not of scikit-learn: nothing says whether it is fitted."""

    def predict(self, X):
        return np.zeros(len(X))


class NeverFitted(BaseEstimator):
    """Of scikit-learn, without fit."""

    def predict(self, X):
        return np.zeros(len(X))


class Regressor(Predicts):
    _estimator_type = "regressor"


@pytest.mark.parametrize(
    ("estimator", "fitted"),
    [
        (LinearRegression(), False), (LinearRegression().fit(X, Y), True), (Predicts(), True),
        (NeverFitted(), False),
        (GaussianProcessRegressor(), False), (make_pipeline(GaussianProcessRegressor()), False),
        (GaussianProcessRegressor().fit(X, Y), True),
        (make_pipeline(StandardScaler(), GaussianProcessRegressor()).fit(X, Y), True),
        (make_pipeline(StandardScaler(), LinearRegression()), False),
        (make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y), True),
    ],
)  # fmt: skip
def test_what_counts_as_fitted(estimator, fitted):
    assert is_fitted(estimator) == fitted
    if fitted:
        assert resolve(estimator, "auto", X, Y) is estimator


def test_a_fitted_estimator_is_fitted_again_where_that_is_asked_for():
    before = LogisticRegression(C=2).fit(X, Y)
    after = resolve(before, False, X, Y[::-1])
    assert after is not before
    assert after.get_params() == before.get_params()
    np.testing.assert_array_equal(after.predict(X), Y[::-1])


def test_what_neither_is_a_module_nor_predicts_is_refused():
    message = "must be a torch.nn.Module, or have fit and predict; got list"
    with pytest.raises(TypeError, match=message):
        resolve([LinearRegression()], "auto", X, Y)


@pytest.mark.parametrize("estimator", [Regressor(), LinearRegression(), Predicts()])
def test_columns_of_targets_are_for_skorch_alone(estimator):
    assert column_of_targets(estimator, Y[:, None]) is None
