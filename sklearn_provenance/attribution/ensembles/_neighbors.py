"""Neighbors: a prediction is a weighted mean over the nearest training rows."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.neighbors._base import NeighborsBase
from sklearn.utils.validation import check_is_fitted

from ..models._single_output import SingleOutput
from ._base import (
    SUPPORTED,
    Ensemble,
    Output,
    Part,
    Probability,
    UnknownEnsembleError,
    class_positions,
    ensemble,
)
from ._mean import Mean, equal


@ensemble.register(SingleOutput)
def _(estimator, X, y):
    inner = estimator.estimator
    if not isinstance(inner, NeighborsBase):
        raise UnknownEnsembleError(
            f"estimator must be {SUPPORTED}; got an output of {type(inner).__name__}"
        )
    return _classifier(estimator, y) if is_classifier(inner) else _regressor(estimator, y)


@ensemble.register(KNeighborsClassifier)
@ensemble.register(RadiusNeighborsClassifier)
def _(estimator, X, y):
    check_is_fitted(estimator)
    if isinstance(estimator.classes_, list):
        raise TypeError(
            f"{type(estimator).__name__} was fitted on several targets; attribution explains one. "
            "Pass single_output(estimator, output) and the targets of that output"
        )
    return _classifier(estimator, y)


def _classifier(estimator, y):
    classes, _ = class_positions(estimator, y)
    part = Part(estimator, np.asarray(y), "predict_proba")
    return Ensemble((part,), Mean(equal(1)), Probability(), classes)


@ensemble.register(KNeighborsRegressor)
@ensemble.register(RadiusNeighborsRegressor)
def _(estimator, X, y):
    check_is_fitted(estimator)
    return _regressor(estimator, y)


def _regressor(estimator, y):
    part = Part(estimator, np.asarray(y, dtype=np.float64))
    return Ensemble((part,), Mean(equal(1)), Output())
