"""Leaves of a forest, and what each training row weighs in them.

Shapes in comments: n training rows, T trees, L leaves of all trees.
"""

import numpy as np
from scipy.sparse import csr_matrix

from ._leaves import LeafFeatures

_SUPPORTED = (
    "a fitted or unfitted RandomForest*, ExtraTrees*, DecisionTree* or ExtraTree* of scikit-learn, "
    "or a Pipeline, search or FrozenEstimator around one"
)
# Criteria with which the value of a leaf is no mean of its rows.
_NO_MEAN = {"absolute_error": "the median", "pinball": "a quantile"}
# How near the mean of a leaf must be to the value that its tree holds, in units of all values.
_TOLERANCE = 1e-7


class ForestFeatures(LeafFeatures):
    """Leaves of a forest whose predictions are weighted means of the training targets.

    Parameters
    ----------
    model : FittedModel
        The model.
    inputs : ndarray of shape (n, T)
        Leaves of the training rows.
    y : ndarray of shape (n,)
        Their targets, as they were given.
    sample_weight : ndarray of shape (n,) or None
        Weights that the forest was fitted with.

    Attributes
    ----------
    shares : csr matrix of shape (L, n)
        Share of each row in the mean of each leaf.
    bootstrap : bool
        Whether each tree has training rows that are out of its bag.

    Raises
    ------
    TypeError
        If the model is no forest.
    ValueError
        If its leaves hold no means, or not those of these rows.
    """

    def __init__(self, model, inputs, y, sample_weight=None):
        super().__init__(model, share=True)
        self.forest = check_forest(model)
        self.bootstrap = getattr(self.forest, "bootstrap", False)
        self.shares = self._shares(inputs, y, sample_weight)

    def _shares(self, leaves, y, sample_weight):
        from ..models._in_bag import in_bag_weights  # imports trees, which take a while

        targets = self.targets(y)  # (n, n_outputs)
        n_samples = getattr(self.forest, "_n_samples", len(y))
        if n_samples != len(y):
            raise ValueError(
                "X and y must be the rows that the forest was trained on; it was trained on "
                f"{n_samples} rows, and got {len(y)}"
            )
        entries, columns = [], []
        scale = max(1.0, np.abs(targets).max())
        weights = in_bag_weights(self.forest, y, sample_weight)
        for number, (tree, in_bag) in enumerate(zip(self.trees.trees, weights, strict=True)):
            own, n_leaves = leaves[:, number], self.trees.n_leaves[number]
            total = np.bincount(own, weights=in_bag, minlength=n_leaves)  # (n_leaves,)
            share = np.divide(in_bag, total[own], out=np.zeros(len(y)), where=in_bag > 0)
            means = np.stack(
                [np.bincount(own, weights=share * t, minlength=n_leaves) for t in targets.T], 1
            )
            values = tree.tree_.value[tree.tree_.children_left == -1, 0]
            if not np.allclose(means, values, rtol=_TOLERANCE, atol=_TOLERANCE * scale):
                raise ValueError(
                    "X, y and sample_weight must be those that the forest was trained on, in the "
                    f"same order; the means of their targets in the leaves of tree {number} are "
                    "not the values that it holds"
                )
            entries.append(share)
            columns.append(own + self.starts[number])
        rows = np.tile(np.arange(len(y)), len(columns))
        entries, columns = np.concatenate(entries), np.concatenate(columns)
        kept = entries > 0
        shape = self.n_columns, len(y)
        return csr_matrix((entries[kept], (columns[kept], rows[kept])), shape=shape)

    def targets(self, y):
        """What is averaged: numbers (n, 1), or indicators (n, n_classes) of classes."""
        if self.model.classes is None:
            return np.asarray(y, dtype=np.float64)[:, None]
        return (np.asarray(y)[:, None] == self.model.classes).astype(np.float64)


def check_forest(model):
    """The forest of a model, whose leaves must hold weighted means of their rows' targets."""
    from sklearn.ensemble._forest import BaseForest
    from sklearn.tree import BaseDecisionTree

    forest = getattr(model.trees, "estimator", model.estimator)
    if not isinstance(forest, BaseForest | BaseDecisionTree):
        raise TypeError(f"estimator must be {_SUPPORTED}; got {type(forest).__name__}")
    if forest.criterion in _NO_MEAN:
        raise ValueError(
            "criterion must be one with which leaves hold means of their rows' targets; with "
            f"{forest.criterion!r} they hold {_NO_MEAN[forest.criterion]}, which is no weighted sum"
        )
    constraints = getattr(forest, "monotonic_cst", None)
    if constraints is not None and np.any(constraints):
        raise ValueError(
            "monotonic_cst must be None, because it clips the values of leaves, which are no "
            "longer means of their rows' targets"
        )
    return forest
