"""Logistic regression: C Σ_i s_i ℓ(z_i, y_i) + (1 - ρ)/2 |w|² + ρ |w|_1, without the intercept."""

import numpy as np
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.utils.validation import check_is_fitted

from ...information._losses import LogisticLoss, MultinomialLoss
from ._base import Objective, Validated, assuming, label_positions, objective, row_weights
from ._linear import Fitted, class_indicator, linear_part, weighted_classes
from ._responses import BinaryLogit, Softmax

ACTIVE_SET = "coefficients that the L1 penalty holds at 0 stay there, the signs of others are fixed"


@objective.register(LogisticRegression)
def _(estimator, X, y, sample_weight=None):
    check_is_fitted(estimator)
    strength, l1_ratio = _penalty(estimator)
    return _objective(estimator, X, y, sample_weight, strength, l1_ratio)


@objective.register(LogisticRegressionCV)
def _(estimator, X, y, sample_weight=None):
    check_is_fitted(estimator)
    if not estimator.refit:
        raise ValueError(
            "LogisticRegressionCV must have refit=True; with refit=False its coefficients are "
            "averages over folds, which minimise nothing"
        )
    chosen = np.unique(estimator.C_)
    if len(chosen) != 1:
        raise ValueError(f"LogisticRegressionCV must have one C for all classes; got {chosen}")
    # Depending on the version, a chosen ratio is missing, a number, or an array of one per class.
    ratio = np.ravel(np.asarray(estimator.l1_ratio_, dtype=np.float64))[0]  # None becomes nan
    if estimator.penalty == "l1":
        ratio = 1.0
    elif not np.isfinite(ratio):
        ratio = 0.0
    stated = _objective(estimator, X, y, sample_weight, float(chosen[0]), float(ratio))
    return assuming(stated, "C_ is held fixed")


def _penalty(estimator):
    """Return C, infinite without a penalty, and the share of the L1 penalty."""
    if estimator.penalty is None:
        return np.inf, 0.0
    if estimator.penalty in ("l1", "l2"):
        return estimator.C, float(estimator.penalty == "l1")
    return estimator.C, float(estimator.l1_ratio or 0)


def _objective(estimator, X, y, sample_weight, strength, l1_ratio):
    """State a logistic regression with C = strength and a share l1_ratio of the L1 penalty."""
    multi_class = getattr(estimator, "multi_class", "deprecated")  # before scikit-learn 1.8
    binary = len(estimator.classes_) == 2
    liblinear = estimator.solver == "liblinear"
    if (
        multi_class == "ovr"
        or (binary and multi_class == "multinomial")
        or (liblinear and not binary)
    ):
        raise ValueError(
            'multi_class must be "auto" or the default; one-vs-rest goes through '
            "OneVsRestClassifier(LogisticRegression())"
        )
    if l1_ratio and not binary:
        raise ValueError(
            "LogisticRegression of several classes must have an L2 penalty or none: with an L1 "
            "penalty its objective is not smooth. Use l1_ratio=0 (before scikit-learn 1.8, "
            "penalty='l2'), or OneVsRestClassifier"
        )
    prepare = Validated(estimator)
    X = prepare(X)
    labels = label_positions(estimator, y)
    masses = row_weights(sample_weight, len(labels))
    weights, balance = weighted_classes(estimator, labels, masses)
    penalty = 1.0
    if np.isinf(strength):  # everything is divided by C
        strength = 1.0
        penalty = 0.0
    fitted = Fitted.of(estimator)
    if liblinear and estimator.fit_intercept:
        fitted = Fitted.of(estimator, estimator.intercept_scaling, free=False)
    if binary:
        loss = LogisticLoss()
        targets = class_indicator(labels)
        response = BinaryLogit()
    else:
        loss = MultinomialLoss()
        targets = np.eye(len(estimator.classes_))[labels]
        response = Softmax()
    part = linear_part(
        X,
        fitted,
        penalty * (1 - l1_ratio),
        l1_strength=penalty * l1_ratio,
        multinomial=not binary,
        targets=targets,
        loss=loss,
        weights=strength * weights,
        unit=strength,
        masses=masses,
        balance=balance,
        class_of=labels,
    )
    stated = Objective((part,), response, prepare, np.asarray(estimator.classes_))
    if l1_ratio:
        return assuming(stated, ACTIVE_SET)
    return stated
