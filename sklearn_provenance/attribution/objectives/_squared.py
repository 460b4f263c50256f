"""Least squares with and without penalties: ½ Σ_i s_i (z_i - y_i)² + penalty."""

import numpy as np
from sklearn.linear_model import (
    ElasticNet,
    ElasticNetCV,
    LassoCV,
    LinearRegression,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
)
from sklearn.utils.validation import check_is_fitted

from ...information._losses import SquaredLoss
from ._base import Objective, Validated, assuming, label_positions, objective, row_weights
from ._linear import Fitted, linear_part, positive_classes, signs, weighted_classes
from ._logistic import ACTIVE_SET
from ._responses import Prediction, decisions

ALPHA = "alpha_ is held fixed"


def one_target(estimator, y):
    """Return targets (n, 1) of a regressor with one output and free signs."""
    check_is_fitted(estimator)
    if np.ndim(estimator.coef_) > 1 and len(estimator.coef_) > 1:
        raise ValueError(
            f"{type(estimator).__name__} must be fitted on one target; got {len(estimator.coef_)}"
        )
    if getattr(estimator, "positive", False):
        raise ValueError(
            "positive must be False: with a bound on coefficients the objective is not smooth"
        )
    return np.asarray(y, dtype=np.float64)[:, None]


def _regression(estimator, X, y, sample_weight, strength, **problem):
    """State least squares with a penalty of strength λ."""
    targets = one_target(estimator, y)
    prepare = Validated(estimator)
    weights = row_weights(sample_weight, len(targets))
    part = linear_part(
        prepare(X),
        Fitted.of(estimator),
        strength,
        targets=targets,
        loss=SquaredLoss(),
        weights=weights,
        masses=weights,
        **problem,
    )
    return Objective((part,), Prediction(), prepare)


@objective.register(LinearRegression)
def _(estimator, X, y, sample_weight=None):
    return _regression(estimator, X, y, sample_weight, 0.0)


@objective.register(Ridge)
def _(estimator, X, y, sample_weight=None):
    return _regression(estimator, X, y, sample_weight, _one(estimator.alpha))


@objective.register(RidgeCV)
def _(estimator, X, y, sample_weight=None):
    stated = _regression(estimator, X, y, sample_weight, _one(estimator.alpha_))
    return assuming(stated, ALPHA)


def _one(alpha):
    """Return one penalty from a number or an array of one."""
    alpha = np.ravel(np.asarray(alpha, dtype=np.float64))
    if len(alpha) != 1:
        raise ValueError(f"alpha must be one number; got {len(alpha)}")
    return float(alpha[0])


def _elastic_net(estimator, X, y, sample_weight, alpha, l1_ratio):
    """State least squares with a penalty that is L1 by a share, and L2 by the rest."""
    # The loss is an average: with the sum, the penalty is multiplied by the rows' weight.
    total = row_weights(sample_weight, len(y)).sum()
    stated = _regression(
        estimator,
        X,
        y,
        sample_weight,
        total * alpha * (1 - l1_ratio),
        l1_strength=total * alpha * l1_ratio,
        averaged=True,
    )
    if l1_ratio:
        return assuming(stated, ACTIVE_SET)
    return stated


@objective.register(ElasticNet)  # Lasso is one
def _(estimator, X, y, sample_weight=None):
    return _elastic_net(estimator, X, y, sample_weight, estimator.alpha, estimator.l1_ratio)


@objective.register(ElasticNetCV)
def _(estimator, X, y, sample_weight=None):
    ratio = estimator.l1_ratio_
    stated = _elastic_net(estimator, X, y, sample_weight, estimator.alpha_, ratio)
    return assuming(stated, "alpha_ and l1_ratio_ are held fixed")


@objective.register(LassoCV)
def _(estimator, X, y, sample_weight=None):
    stated = _elastic_net(estimator, X, y, sample_weight, estimator.alpha_, 1.0)
    return assuming(stated, ALPHA)


def _classifier(estimator, X, y, sample_weight, strength):
    """State least squares of targets 1 and -1, for each class where there are more than two."""
    check_is_fitted(estimator)
    binarizer = estimator._label_binarizer
    if binarizer.y_type_.startswith("multilabel"):
        raise TypeError(
            f"{type(estimator).__name__} was fitted on multilabel targets; attribution explains "
            "one class"
        )
    if getattr(estimator, "positive", False):
        raise ValueError(
            "positive must be False: with a bound on coefficients the objective is not smooth"
        )
    prepare = Validated(estimator)
    X = prepare(X)
    labels = label_positions(estimator, y)
    sample_weight = row_weights(sample_weight, len(labels))
    # Unlike other classifiers it balances the numbers of rows, not their weights.
    weights, balance = weighted_classes(estimator, labels, sample_weight)
    fitted = Fitted.of(estimator)
    classes = np.asarray(estimator.classes_)
    parts = tuple(
        linear_part(
            X,
            fitted.output(k),
            strength,
            targets=signs(labels, positive),
            loss=SquaredLoss(),
            weights=weights,
            balance=balance,
            class_of=labels,
        )
        for k, positive in enumerate(positive_classes(len(classes)))
    )
    return Objective(parts, decisions(len(classes)), prepare, classes)


@objective.register(RidgeClassifier)
def _(estimator, X, y, sample_weight=None):
    return _classifier(estimator, X, y, sample_weight, _one(estimator.alpha))


@objective.register(RidgeClassifierCV)
def _(estimator, X, y, sample_weight=None):
    stated = _classifier(estimator, X, y, sample_weight, _one(estimator.alpha_))
    return assuming(stated, ALPHA)
