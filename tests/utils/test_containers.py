"""What is inside of pipelines, searches and frozen estimators."""

from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance._utils.containers import inside, steps_before, without_frozen

X, Y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 4.0]


def test_inside():
    ridge = Ridge()
    search = GridSearchCV(ridge, {"alpha": [1.0]}, cv=2)
    assert inside(make_pipeline(StandardScaler(), ridge)) is ridge
    assert inside(FrozenEstimator(ridge)) is ridge
    assert inside(ridge) is None
    assert inside(search) is None  # not fitted yet
    search.fit(X, Y)
    assert inside(search) is search.best_estimator_
    assert inside(FrozenEstimator(search)) is search


def test_steps_before_the_last_do_something():
    scaler = StandardScaler()
    assert steps_before(make_pipeline("passthrough", scaler, None, Ridge())) == (scaler,)
    assert steps_before(make_pipeline(Ridge())) == ()


def test_frozen_estimators_are_opened_however_deep_they_are():
    ridge = Ridge()
    assert without_frozen(FrozenEstimator(FrozenEstimator(ridge))) is ridge
    assert without_frozen(ridge) is ridge
