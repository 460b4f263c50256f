"""How gradient boosting found the values of its leaves: losses, and the steps of each family.

In every round each output gets a tree, whose leaves take a Newton step, a = -η G / (H + λ), with G
and H the sums of gradients g and Hessians h of the loss over the training rows of the leaf.

Shapes in comments: n rows, O outputs.
"""

from dataclasses import dataclass
from functools import singledispatch

import numpy as np
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.model_selection import train_test_split
from sklearn.utils import compute_sample_weight

from ...information._losses import (
    LogisticLoss,
    Loss,
    MultinomialLoss,
    ScalarLoss,
    SquaredLoss,
    TweedieLoss,
)


@dataclass(frozen=True, eq=False)
class Newton:
    """The steps of a fitted boosting model.

    Parameters
    ----------
    loss : Loss
        Loss of a row in its outputs.
    gradient_factor, hessian_factor : float
        What a family multiplies gradients and Hessians by where it takes steps.
    l2 : float
        λ.
    row_weights : ndarray of shape (n,) or None
        What training rows weigh beside their sample weights; zero for rows held out.
    base : ndarray of shape (O,) or None
        Outputs before the first round, where the first trees hold them; None where they do not.
    """

    loss: Loss
    gradient_factor: float = 1.0
    hessian_factor: float = 1.0
    l2: float = 0.0
    row_weights: np.ndarray | None = None
    base: np.ndarray | None = None

    def derivatives(self, outputs, labels):
        """Compute gradients and Hessians (n, O) of the loss in outputs (n, O), for labels (n,)."""
        targets = self.targets(labels, outputs.shape[1])
        curvature = self.loss.curvature(outputs, targets)  # (n, O, O)
        gradient = self.gradient_factor * self.loss.gradient(outputs, targets)
        return gradient, self.hessian_factor * np.einsum("noo->no", curvature)

    @staticmethod
    def targets(labels, n_outputs):
        """Return targets of the loss: indicators (n, O) of classes, or what labels (n, 1) are."""
        if n_outputs > 1:
            return (labels[:, None] == np.arange(n_outputs)).astype(np.float64)
        return labels[:, None].astype(np.float64)


class ExponentialLoss(ScalarLoss):
    """exp(-(2 t - 1) z), for targets 0 and 1."""

    def elementwise(self, outputs, targets):
        return np.exp(-(2 * targets - 1) * outputs)

    def gradient(self, outputs, targets):
        return -(2 * targets - 1) * self.elementwise(outputs, targets)

    def second(self, outputs, targets):
        return self.elementwise(outputs, targets)


@singledispatch
def newton_steps(estimator, y, positions, sample_weight):
    """Say how a fitted boosting model took its steps.

    Parameters
    ----------
    estimator : object
        Fitted.
    y : ndarray of shape (n,)
        Targets that it was fitted on, as they were given.
    positions : ndarray of shape (n,)
        Positions of classes, or y.
    sample_weight : ndarray of shape (n,) or None
        Weights that it was fitted with.

    Returns
    -------
    Newton
        Its steps.

    Raises
    ------
    TypeError
        If it is no boosting whose steps are known.
    ValueError
        If its loss or a parameter keeps them from being taken again.
    """
    raise TypeError(
        "estimator must be a GradientBoosting* or HistGradientBoosting* of scikit-learn, an XGB* "
        "of XGBoost or LGBM* of LightGBM, or a Pipeline, search or FrozenEstimator around one; got "
        f"{type(estimator).__name__}"
    )


def refuse(estimator, name, allowed, reason):
    """Raise for a parameter that keeps steps from being taken again."""
    raise ValueError(
        f"{name} of {type(estimator).__name__} must be {allowed}, {reason}; got "
        f"{getattr(estimator, name, None)!r}"
    )


def all_rows(estimator, name="subsample"):
    """Refuse trees that saw some of the rows."""
    value = getattr(estimator, name)
    if value is not None and value < 1:
        refuse(estimator, name, "1", "because which rows a tree saw is not kept")


def log_loss(n_outputs):
    """Make the log loss of as many outputs."""
    if n_outputs == 1:
        return LogisticLoss()
    return MultinomialLoss()


@newton_steps.register(BaseGradientBoosting)
def _(estimator, y, positions, sample_weight):
    all_rows(estimator)
    n_outputs = estimator.n_trees_per_iteration_
    factor = 1.0
    if estimator.loss == "log_loss":
        loss = log_loss(n_outputs)
        if n_outputs > 1:
            factor = (n_outputs - 1) / n_outputs  # Friedman (2001), algorithm 6
    elif estimator.loss in ("exponential", "squared_error"):
        losses = {"exponential": ExponentialLoss(), "squared_error": SquaredLoss()}
        loss = losses[estimator.loss]
    else:
        allowed = "'log_loss', 'exponential' or 'squared_error'"
        refuse(estimator, "loss", allowed, "with which leaves take Newton steps")
    held_out = None
    if estimator.n_iter_no_change is not None:
        if not isinstance(estimator.random_state, int | np.integer):
            allowed = "an integer where n_iter_no_change is given"
            refuse(estimator, "random_state", allowed, "by which the rows held out are drawn again")
        held_out = held_out_rows(estimator, y, estimator.random_state)
    return Newton(loss, gradient_factor=factor, row_weights=held_out)


@newton_steps.register(BaseHistGradientBoosting)
def _(estimator, y, positions, sample_weight):
    losses = {
        "log_loss": log_loss(estimator.n_trees_per_iteration_),
        "squared_error": SquaredLoss(),
        "poisson": TweedieLoss(1),
        "gamma": TweedieLoss(2),
    }
    if estimator.loss not in losses:
        allowed = "'log_loss', 'squared_error', 'poisson' or 'gamma'"
        refuse(estimator, "loss", allowed, "with which leaves take Newton steps")
    weights = None
    if estimator.do_early_stopping_ and estimator.validation_fraction is not None:
        weights = held_out_rows(estimator, positions, estimator._random_seed)
    if getattr(estimator, "class_weight", None) is not None:
        of_class = compute_sample_weight(estimator.class_weight, y)
        weights = of_class if weights is None else of_class * weights
    return Newton(losses[estimator.loss], l2=estimator.l2_regularization, row_weights=weights)


def held_out_rows(estimator, targets, seed):
    """Give ones to rows that trees were fitted on and zeros to those that stopped them."""
    stratify = None
    if hasattr(estimator, "classes_"):
        stratify = targets
    kept, _ = train_test_split(
        np.arange(len(targets)),
        test_size=estimator.validation_fraction,
        random_state=seed,
        stratify=stratify,
    )
    weights = np.zeros(len(targets))
    weights[kept] = 1
    return weights
