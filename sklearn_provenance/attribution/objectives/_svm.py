"""Linear support vector machines of liblinear: C Σ_i s_i max(0, ·)² + ½ |w|² + ½ b²/scaling²."""

import numpy as np
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, NuSVR
from sklearn.utils.validation import check_is_fitted

from ...information._losses import SquaredEpsilonInsensitiveLoss, SquaredHingeLoss
from ._base import Objective, Validated, label_positions, objective, row_weights
from ._linear import Fitted, linear_part, problems_of_classes, signs, weighted_classes
from ._responses import Prediction, decisions


def _fitted(estimator):
    """Read coefficients of liblinear, which penalises the intercept."""
    return Fitted.of(estimator, estimator.intercept_scaling, free=False)


@objective.register(LinearSVC)
def _(estimator, X, y, sample_weight=None):
    check_is_fitted(estimator)
    if (estimator.loss, estimator.penalty, estimator.multi_class) != ("squared_hinge", "l2", "ovr"):
        raise ValueError(
            'LinearSVC must have loss="squared_hinge", penalty="l2" and multi_class="ovr" for an '
            f"objective that is smooth; got loss={estimator.loss!r}, penalty="
            f"{estimator.penalty!r} and multi_class={estimator.multi_class!r}"
        )
    prepare = Validated(estimator)
    X = prepare(X)
    labels = label_positions(estimator, y)
    masses = row_weights(sample_weight, len(labels))
    fitted = _fitted(estimator)
    classes = np.asarray(estimator.classes_)
    parts = []
    for k, (positive, weighted) in enumerate(problems_of_classes(labels, len(classes))):
        weights, balance = weighted_classes(estimator, labels, masses, weighted)
        part = linear_part(
            X,
            fitted.output(k),
            1.0,
            targets=signs(labels, positive),
            loss=SquaredHingeLoss(),
            weights=estimator.C * weights,
            masses=masses,
            balance=balance,
            class_of=labels,
        )
        parts.append(part)
    return Objective(tuple(parts), decisions(len(classes)), prepare, classes)


@objective.register(LinearSVR)
def _(estimator, X, y, sample_weight=None):
    check_is_fitted(estimator)
    if estimator.loss != "squared_epsilon_insensitive":
        raise ValueError(
            'LinearSVR must have loss="squared_epsilon_insensitive" for an objective that is '
            f"smooth; got loss={estimator.loss!r}"
        )
    prepare = Validated(estimator)
    part = linear_part(
        prepare(X),
        _fitted(estimator),
        1.0,
        targets=np.asarray(y, dtype=np.float64)[:, None],
        loss=SquaredEpsilonInsensitiveLoss(estimator.epsilon),
        weights=estimator.C * row_weights(sample_weight, len(y)),
    )
    return Objective((part,), Prediction(), prepare)


@objective.register(SVC)
@objective.register(NuSVC)
@objective.register(SVR)
@objective.register(NuSVR)
def _(estimator, X, y, sample_weight=None):
    other = "LinearSVC, on features of the kernel, or a GaussianProcessClassifier"
    if not hasattr(estimator, "classes_"):
        other = "KernelRidge with the same kernel"
    raise ValueError(
        f"{type(estimator).__name__} minimises a loss with kinks, at which its support vectors "
        f"lie, so that no Newton step leads to the minimum without a row. Use {other}"
    )
