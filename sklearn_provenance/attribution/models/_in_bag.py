"""What each training row weighs in each tree of a forest, drawn again as scikit-learn drew it.

Shapes in comments: n training rows, T trees.
"""

import inspect

import numpy as np
from sklearn.ensemble._forest import BaseForest, ForestClassifier, _generate_sample_indices
from sklearn.tree import BaseDecisionTree
from sklearn.utils import compute_sample_weight
from sklearn.utils.class_weight import compute_class_weight

# From 1.9 on, weighted rows are drawn more often; before, counts were multiplied by the weights.
_DRAWN_BY_WEIGHT = "sample_weight" in inspect.signature(_generate_sample_indices).parameters

# From 1.9 on, forests balance the weights of classes; before, the numbers of their rows.
_BALANCED_BY_WEIGHT = (
    "sample_weight" in inspect.signature(ForestClassifier._validate_y_class_weight).parameters
)


def in_bag_weights(estimator, y, sample_weight=None):
    """Yield weights of the training rows in each tree.

    Parameters
    ----------
    estimator : BaseForest or BaseDecisionTree
        Fitted.
    y : ndarray of shape (n,)
        Targets that it was fitted on.
    sample_weight : ndarray of shape (n,), default=None
        Weights that it was fitted with; None takes those that it keeps, if it does.

    Yields
    ------
    ndarray of shape (n,)
        What each row weighs in the means of a tree's leaves: counts of a bootstrap sample, times
        weights of classes and rows. Rows out of the tree's bag weigh nothing.
    """
    weights = _row_weights(estimator, y, sample_weight)
    every_row = weights
    if weights is None:
        every_row = np.ones(len(y))
    if isinstance(estimator, BaseDecisionTree):
        yield every_row
        return
    for tree in estimator.estimators_:
        if not estimator.bootstrap:
            yield every_row
            continue
        arguments = tree.random_state, len(y), estimator._n_samples_bootstrap
        if _DRAWN_BY_WEIGHT:
            arguments += (weights,)
        drawn = _generate_sample_indices(*arguments)
        in_bag = np.bincount(drawn, minlength=len(y)).astype(np.float64)
        if weights is not None and not _DRAWN_BY_WEIGHT:
            in_bag *= weights
        if estimator.class_weight == "balanced_subsample":
            in_bag *= compute_sample_weight("balanced", y, indices=drawn)
        yield in_bag


def _row_weights(estimator, y, sample_weight):
    """Find weights (n,) of rows and classes, the same in all trees; None where all are one."""
    kept = getattr(estimator, "_sample_weight", None)
    if sample_weight is None and kept is not None:
        if len(kept) != len(y):
            return None  # another number of rows is refused later
        return kept
    class_weight = getattr(estimator, "class_weight", None)
    is_forest = isinstance(estimator, BaseForest)
    if class_weight is None or (
        is_forest and class_weight == "balanced_subsample" and estimator.bootstrap
    ):
        return sample_weight
    if isinstance(class_weight, str) and is_forest:
        masses = sample_weight if _BALANCED_BY_WEIGHT else None
        classes = np.unique(y)
        values = compute_class_weight("balanced", classes=classes, y=y, sample_weight=masses)
        class_weight = dict(zip(classes.tolist(), values, strict=True))
    weights = compute_sample_weight(class_weight, y)
    if sample_weight is not None:
        weights = weights * sample_weight
    return weights
