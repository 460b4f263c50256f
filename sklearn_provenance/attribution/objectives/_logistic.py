"""Logistic regression: C Σ_i s_i ℓ(z_i, y_i) + (1 - ρ)/2 |w|² + ρ |w|_1, without the intercept."""

import numpy as np
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.utils.validation import check_is_fitted

from ...information._losses import LogisticLoss, MultinomialLoss
from ._base import Objective, Validated, assuming, label_positions, objective, row_weights
from ._linear import Fitted, linear_part, marks, weighted_classes
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
    ratio = estimator.l1_ratio_ if estimator.l1_ratio_ is not None else 0.0
    ratio = float(np.ravel(np.asarray(ratio, dtype=np.float64))[0])
    if estimator.penalty == "l1":
        ratio = 1.0
    elif not np.isfinite(ratio):
        ratio = 0.0
    stated = _objective(estimator, X, y, sample_weight, float(chosen[0]), ratio)
    return assuming(stated, "C_ is held fixed")


def _penalty(estimator):
    """C, infinite without a penalty, and the share of the L1 penalty."""
    penalty, ratio = estimator.penalty, estimator.l1_ratio
    if penalty is None:
        return np.inf, 0.0
    if penalty in ("l1", "l2"):
        return estimator.C, float(penalty == "l1")
    return estimator.C, float(ratio or 0)


def _objective(estimator, X, y, sample_weight, strength, l1_ratio):
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
            "penalty its objective is not smooth. Use l1_ratio=0, or OneVsRestClassifier"
        )
    prepare = Validated(estimator)
    X, labels = prepare(X), label_positions(estimator, y)
    masses = row_weights(sample_weight, len(labels))
    weights, balance = weighted_classes(estimator, labels, masses)
    # Everything is divided by C where that is infinite.
    scale = 1.0 if np.isinf(strength) else strength
    penalty = 0.0 if np.isinf(strength) else 1.0
    fitted = Fitted.of(estimator)
    if liblinear and estimator.fit_intercept:
        fitted = Fitted.of(estimator, estimator.intercept_scaling, free=False)
    if binary:
        loss, targets = LogisticLoss(), marks(labels)
    else:
        loss, targets = MultinomialLoss(), np.eye(len(estimator.classes_))[labels]
    part = linear_part(
        X,
        fitted,
        penalty * (1 - l1_ratio),
        l1_strength=penalty * l1_ratio,
        multinomial=not binary,
        targets=targets,
        loss=loss,
        weights=scale * weights,
        unit=scale,
        masses=masses,
        balance=balance,
    )
    classes = np.asarray(estimator.classes_)
    response = BinaryLogit() if binary else Softmax()
    stated = Objective((part,), response, prepare, classes)
    return assuming(stated, ACTIVE_SET) if l1_ratio else stated
