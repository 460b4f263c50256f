"""Stochastic gradient descent: (1/n) Σ_i s_i ℓ(z_i, y_i) + α/2 |w|², at its minimum."""

import numpy as np
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.utils.validation import check_is_fitted

from ...information._losses import (
    HuberLoss,
    LogisticLoss,
    ModifiedHuberLoss,
    SquaredEpsilonInsensitiveLoss,
    SquaredHingeLoss,
    SquaredLoss,
)
from ._base import Objective, Validated, label_positions, objective, row_weights
from ._linear import (
    Fitted,
    class_indicator,
    linear_part,
    problems_of_classes,
    signs,
    weighted_classes,
)
from ._one_vs_rest import one_vs_rest
from ._responses import BinaryDecision, BinaryLogit, Prediction


def _loss(estimator):
    """Return the loss of an estimator, which must be smooth, as its penalty must."""
    losses = {
        "log_loss": LogisticLoss(),
        "modified_huber": ModifiedHuberLoss(),
        "squared_hinge": SquaredHingeLoss(),
        "squared_error": SquaredLoss(),
        "huber": HuberLoss(estimator.epsilon),
        "squared_epsilon_insensitive": SquaredEpsilonInsensitiveLoss(estimator.epsilon),
    }
    if estimator.loss not in losses or estimator.penalty not in ("l2", None):
        raise ValueError(
            f'{type(estimator).__name__} must have penalty "l2" or None and one of the losses '
            f"{sorted(losses)} for an objective that is smooth; got penalty="
            f"{estimator.penalty!r} and loss={estimator.loss!r}"
        )
    return losses[estimator.loss]


def _strength(estimator, n_rows):
    """Return λ of the penalty beside the sum, not the mean, of the losses."""
    if estimator.penalty is None:
        return 0.0
    return estimator.alpha * n_rows


@objective.register(SGDClassifier)
def _(estimator, X, y, sample_weight=None):
    check_is_fitted(estimator)
    loss = _loss(estimator)
    if estimator.loss == "log_loss":
        target_of = class_indicator
        response = BinaryLogit()
    else:
        target_of = signs
        response = BinaryDecision()
    prepare = Validated(estimator)
    X = prepare(X)
    labels = label_positions(estimator, y)
    sample_weight = row_weights(sample_weight, len(labels))
    fitted = Fitted.of(estimator)
    classes = np.asarray(estimator.classes_)
    if len(classes) > 2:
        response = one_vs_rest(response)
    parts = []
    for k, (positive, weighted) in enumerate(problems_of_classes(labels, len(classes))):
        weights, balance = weighted_classes(estimator, labels, sample_weight, weighted)
        part = linear_part(
            X,
            fitted.output(k),
            _strength(estimator, len(labels)),
            targets=target_of(labels, positive),
            loss=loss,
            weights=weights,
            balance=balance,
            class_of=labels,
            averaged=True,
        )
        parts.append(part)
    return Objective(tuple(parts), response, prepare, classes)


@objective.register(SGDRegressor)
def _(estimator, X, y, sample_weight=None):
    check_is_fitted(estimator)
    loss = _loss(estimator)
    prepare = Validated(estimator)
    part = linear_part(
        prepare(X),
        Fitted.of(estimator),
        _strength(estimator, len(y)),
        targets=np.asarray(y, dtype=np.float64)[:, None],
        loss=loss,
        weights=row_weights(sample_weight, len(y)),
        averaged=True,
    )
    return Objective((part,), Prediction(), prepare)
