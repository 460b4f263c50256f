"""Neighbours: a prediction is a weighted mean over the nearest training rows."""

import numpy as np
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.utils.validation import check_is_fitted

from ._base import Ensemble, Output, Part, Probability, class_positions, ensemble
from ._mean import Mean, equal


@ensemble.register(KNeighborsClassifier)
@ensemble.register(RadiusNeighborsClassifier)
def _(estimator, X, y):
    check_is_fitted(estimator)
    if isinstance(estimator.classes_, list):
        raise TypeError(
            f"{type(estimator).__name__} was fitted on several targets; attribution explains one. "
            "Fit an estimator for each target"
        )
    classes, _ = class_positions(estimator, y)
    part = Part(estimator, np.asarray(y), "predict_proba")
    return Ensemble((part,), Mean(equal(1)), Probability(), classes)


@ensemble.register(KNeighborsRegressor)
@ensemble.register(RadiusNeighborsRegressor)
def _(estimator, X, y):
    check_is_fitted(estimator)
    part = Part(estimator, np.asarray(y, dtype=np.float64))
    return Ensemble((part,), Mean(equal(1)), Output())
