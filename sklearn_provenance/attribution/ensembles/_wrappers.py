"""Estimators around one kind of model: calibration, thresholds, transformed and chosen targets.

Shapes in comments: n training rows, C classes.
"""

import copy
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import RANSACRegressor
from sklearn.model_selection import (
    FixedThresholdClassifier,
    TunedThresholdClassifierCV,
    check_cv,
)
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils.validation import check_is_fitted

from ..objectives._responses import Decisions
from ._base import Ensemble, Output, Part, Probability, class_positions, ensemble
from ._classes import SideBySide
from ._mean import Mean, equal


class _Told(ClassifierMixin, BaseEstimator):
    """A classifier whose outputs are told; calibrators are asked for what they make of them."""

    def __init__(self, classes, method, outputs):
        self.classes_ = classes
        setattr(self, method, lambda X: outputs)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Means of calibrated probabilities."""

    pairs: list  # calibrated classifiers of scikit-learn, with their calibrators
    method: str  # whose outputs are calibrated

    def __call__(self, outputs):
        """Compute probabilities (..., C)."""
        return sum(map(self._calibrate, self.pairs, outputs)) / len(outputs)

    def _calibrate(self, pair, output):
        flat = output.reshape(-1, output.shape[-1])
        known = ~np.isnan(flat).any(1)  # isotonic regression refuses nan
        values = flat[known]
        if flat.shape[1] == 1:
            values = values[:, 0]
        told = copy.copy(pair)
        told.estimator = _Told(pair.estimator.classes_, self.method, values)
        probabilities = told.predict_proba(np.empty((len(values), 1)))
        calibrated = np.full((len(flat), probabilities.shape[1]), np.nan)
        calibrated[known] = probabilities
        return calibrated.reshape(*output.shape[:-1], -1)


@ensemble.register(CalibratedClassifierCV)
def _(estimator, X, y):
    check_is_fitted(estimator)
    classes, _ = class_positions(estimator, y)
    y, pairs = np.asarray(y), estimator.calibrated_classifiers_
    models = [pair.estimator for pair in pairs]
    with_decisions = all(hasattr(model, "decision_function") for model in models)
    method = "decision_function" if with_decisions else "predict_proba"
    weights = [None]
    if len(pairs) > 1:
        weights = _folds(estimator, X, y)
    pairs_of = zip(models, weights, strict=True)
    parts = tuple(Part(model, y, method, seen) for model, seen in pairs_of)
    return Ensemble(
        parts, Calibrated(pairs, method), Probability(), classes, assumptions=("the calibrators",)
    )


def _folds(estimator, X, y):
    """Say for each part whether it was fitted on each row (n,), as the folds were drawn."""
    cv = check_cv(estimator.cv, y, classifier=True)
    if getattr(cv, "shuffle", False) and not isinstance(cv.random_state, int | np.integer):
        raise ValueError(
            "CalibratedClassifierCV must have a cv with a random_state that is an integer, so that "
            f"its folds can be drawn again; got {cv}. Fit it with such a cv, or ensemble=False"
        )
    folds = []
    for train, _ in cv.split(np.empty((len(y), 1)), y):
        folds.append(np.bincount(train, minlength=len(y)).astype(np.float64))
    if len(folds) != len(estimator.calibrated_classifiers_):
        raise ValueError(
            "cv of CalibratedClassifierCV must give its folds again, as an integer or a splitter "
            f"does; it has {len(estimator.calibrated_classifiers_)} classifiers, and cv gave "
            f"{len(folds)} folds now"
        )
    return folds


@dataclass(frozen=True, eq=False)
class Undone:
    """Predictions in the units of y, from those of the regressor inside."""

    transformer: object

    def __call__(self, outputs):
        """Compute predictions (..., 1)."""
        values = outputs[0]
        undone = self.transformer.inverse_transform(values.reshape(-1, 1))
        return np.asarray(undone, dtype=np.float64).reshape(values.shape)


@ensemble.register(TransformedTargetRegressor)
def _(estimator, X, y):
    check_is_fitted(estimator)
    targets = estimator.transformer_.transform(np.asarray(y, dtype=np.float64)[:, None])
    targets = np.asarray(targets, dtype=np.float64).reshape(len(y), -1)
    if targets.shape[1] != 1:
        raise TypeError(
            "the transformer of TransformedTargetRegressor must give one target; got "
            f"{targets.shape[1]}. Explain its regressor_ with the targets that transformer_ gives"
        )
    part = Part(estimator.regressor_, targets[:, 0])
    fixed = ("the transformation of the targets",)
    return Ensemble((part,), Undone(estimator.transformer_), Output(), assumptions=fixed)


def _around(part, classes, *assumptions):
    """Return an ensemble of one classifier, whose labels another estimator predicts."""
    if hasattr(part.estimator, "predict_proba"):
        return Ensemble((part,), Mean(equal(1)), Probability(), classes, assumptions=assumptions)
    # Thresholds alone take classifiers without probabilities, and these tell two classes apart.
    return Ensemble((part,), SideBySide(), Decisions(), classes, assumptions=assumptions)


def _method(estimator):
    return "predict_proba" if hasattr(estimator, "predict_proba") else "decision_function"


@ensemble.register(FixedThresholdClassifier)
@ensemble.register(TunedThresholdClassifierCV)
def _(estimator, X, y):
    check_is_fitted(estimator)
    if getattr(estimator, "refit", True) is False:
        raise ValueError(
            "TunedThresholdClassifierCV must have refit=True; with refit=False its estimator_ was "
            "fitted on a part of the rows. Explain estimator_ with those rows"
        )
    classes, _ = class_positions(estimator, y)
    inner = estimator.estimator_
    return _around(Part(inner, np.asarray(y), _method(inner)), classes, "the threshold")


@ensemble.register(SelfTrainingClassifier)
def _(estimator, X, y):
    check_is_fitted(estimator)
    targets = np.asarray(estimator.transduction_)
    _check_n_rows(estimator, len(targets), len(y))
    inner = estimator.estimator_
    labelled = (estimator.labeled_iter_ >= 0).astype(np.float64)
    part = Part(inner, targets, _method(inner), labelled)
    return _around(part, np.asarray(estimator.classes_), "the labels that it gave to rows")


@ensemble.register(RANSACRegressor)
def _(estimator, X, y):
    check_is_fitted(estimator)
    inliers = np.asarray(estimator.inlier_mask_)
    _check_n_rows(estimator, len(inliers), len(y))
    targets = np.asarray(y, dtype=np.float64)
    part = Part(estimator.estimator_, targets, weights=inliers.astype(np.float64))
    return Ensemble((part,), Mean(equal(1)), Output(), assumptions=("which rows are inliers",))


def _check_n_rows(estimator, n_fitted, n_given):
    """Raise unless an estimator was fitted on as many rows as are given."""
    if n_fitted != n_given:
        raise ValueError(
            f"X and y must be the rows that {type(estimator).__name__} was fitted on; it was "
            f"fitted on {n_fitted} rows, and got {n_given}"
        )
