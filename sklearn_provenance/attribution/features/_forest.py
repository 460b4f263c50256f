"""Leaves of a forest, and what each training row weighs in them.

Shapes in comments: n training rows, T trees, L leaves of all trees.
"""

import math

import numpy as np
import torch
from scipy.sparse import csr_matrix, vstack

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

    copies_tie = False  # copies of a row may be in the bags of other trees

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
        tolerance = _TOLERANCE * max(1.0, np.abs(targets).max())
        weights = in_bag_weights(self.forest, y, sample_weight)
        blocks = []  # of each tree; all trees at once would take several times the memory
        for number, (tree, in_bag) in enumerate(zip(self.trees.trees, weights, strict=True)):
            drawn = np.flatnonzero(in_bag)
            own, weight = leaves[drawn, number], in_bag[drawn]
            n_leaves = self.trees.n_leaves[number]
            share = weight / np.bincount(own, weights=weight, minlength=n_leaves)[own]
            block = csr_matrix((share, (own, drawn)), shape=(n_leaves, len(y)))
            nodes = tree.tree_
            # Trees of several outputs have values for the largest number of classes.
            values = nodes.value[nodes.children_left == -1, self.trees.output, : targets.shape[1]]
            if not np.allclose(block @ targets, values, rtol=_TOLERANCE, atol=tolerance):
                raise ValueError(
                    "X, y and sample_weight must be those that the forest was trained on, in the "
                    f"same order; the means of their targets in the leaves of tree {number} are "
                    "not the values that it holds. Where X has missing values, scikit-learn before "
                    "1.9 may train a tree on other leaves than it applies; impute them, or update"
                )
            blocks.append(block)
        return vstack(blocks, format="csr")

    def points(self, inputs, labels=None):
        """Return points of rows in leaves (n, T), computed when they are asked for."""
        return ForestPoints(self, inputs, torch.as_tensor(labels))

    def targets(self, y):
        """Return what is averaged: numbers (n, 1), or indicators (n, n_classes) of classes."""
        if self.model.classes is None:
            return np.asarray(y, dtype=np.float64)[:, None]
        return (np.asarray(y)[:, None] == self.model.classes).astype(np.float64)


class ForestPoints:
    """Rows in the leaves of a forest.

    Parameters
    ----------
    features : ForestFeatures
        The forest.
    leaves : ndarray of shape (n, T)
        Leaves of the rows.
    labels : Tensor of shape (n,)
        Label of each.
    """

    logits = None

    def __init__(self, features, leaves, labels):
        self.features, self.leaves, self.labels = features, leaves, labels

    def __len__(self):
        return len(self.labels)

    def take(self, rows):
        """Take some of the points."""
        rows = torch.as_tensor(rows)
        return ForestPoints(self.features, self.leaves[rows.numpy()], self.labels[rows])

    def votes(self):
        """Mark the leaves of each row by ones, in a csr matrix (n, L) with sorted columns."""
        n, n_trees = self.leaves.shape
        columns = (self.leaves + self.features.starts).ravel()
        starts = np.arange(0, n * n_trees + 1, n_trees)
        shape = n, self.features.n_columns
        return csr_matrix((np.ones(n * n_trees), columns, starts), shape=shape)

    def matrix(self):
        """Write the features out: 1 / √T in the leaves of each row, as :class:`LeafFeatures` do."""
        n_trees = self.leaves.shape[1]
        return torch.as_tensor(self.votes().toarray() / math.sqrt(n_trees))


def check_forest(model):
    """Return the forest of a model; its leaves must hold weighted means of their rows' targets."""
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
