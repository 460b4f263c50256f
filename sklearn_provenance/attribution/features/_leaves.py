"""Leaves of trees as features: which rows the trees of an ensemble keep together.

φ has an entry for every leaf of every tree, which is zero but for the leaves that the row is in.
Where predictions are averaged over T trees the others are 1 / √T, so that the kernel is the share
of trees in which two rows meet; trees that have weights count by their squares. In boosting,
outputs are o_k = Σ_t η v_t[leaf], summed over the trees of output k. Their gradient in the leaves'
values v, with the structure of the trees held fixed, is η times the indicator of the leaf, so that
the kernel of an output is η² times the number of its trees in which two rows meet: a tangent
kernel.

Shapes in comments: n rows, T trees, O outputs, C classes.
"""

import math

import numpy as np
import torch
from scipy.sparse import csr_matrix

from ...information._softmax import measurement_gradient
from ...tangent import TangentFeatures
from ...tangent._points import SparsePoints
from ._base import Features
from ._rows import predicted


class LeafFeatures(Features):
    """Indicators of leaves, scaled so that inner products have a meaning.

    Parameters
    ----------
    model : FittedModel
        A model with trees.
    measurement : {"label_logit", "margin"}, default="label_logit"
        Of boosting with several outputs. Others have one kernel for all labels.
    share : bool, default=False
        Whether the kernel is the share of trees in which two rows meet, for boosting too.
    """

    needs_targets = False

    def __init__(self, model, measurement="label_logit", share=False):
        self.model, self.trees = model, model.trees
        self.measurement = measurement
        self.averaged = share or self.trees.rate is None
        self.by_output = not self.averaged and self.trees.n_outputs > 1
        self.per_label = self.by_output and measurement == "label_logit"
        ends = np.cumsum(self.trees.n_leaves)
        self.n_columns = int(ends[-1])
        self.starts = ends - self.trees.n_leaves  # first column of each tree

    def points(self, inputs, labels=None):
        """Return points of rows that are in leaves (n, n_trees), at labels, which must be given."""
        labels = torch.as_tensor(labels)
        entries = np.broadcast_to(self._entries(inputs, labels), inputs.shape)
        return SparsePoints(self.indicators(inputs, entries), labels)

    def indicators(self, leaves, entries):
        """Make a sparse matrix (n, n_columns) of entries (n, T) in the columns of leaves (n, T)."""
        columns = leaves + self.starts
        kept = entries != 0
        ends = np.concatenate([[0], np.cumsum(kept.sum(1))])
        shape = len(leaves), self.n_columns
        return csr_matrix((entries[kept], columns[kept], ends), shape=shape)

    def _entries(self, leaves, labels):
        """Return entries of φ, of a shape that broadcasts to (n, T)."""
        trees = self.trees
        if self.averaged and trees.shares is not None:
            return trees.shares / np.linalg.norm(trees.shares)
        if self.averaged:
            return 1 / math.sqrt(len(trees.n_leaves))
        if not self.by_output:
            if self.model.classes is None or len(self.model.classes) > 2:
                return trees.rate
            # Logits (-z/2, z/2); the sign is that of the label, for "label_logit" one for all.
            if self.measurement == "label_logit":
                return trees.rate / 2
            return trees.rate * (2 * labels.numpy()[:, None] - 1)
        if self.per_label:
            return trees.rate * (trees.outputs == labels.numpy()[:, None])
        gradient = measurement_gradient(trees.raw(leaves), labels, self.measurement)  # (n, C)
        return trees.rate * gradient.numpy()[:, trees.outputs]

    def query(self, X, labels=None):
        """Return points of queries; the model predicts labels that are not given."""
        if labels is None:
            labels = predicted(self.model, X)
        return self.points(self.inputs(X), labels)

    def n_features_out(self, inputs):
        """Count the leaves of all trees."""
        return self.n_columns

    def components(self, inputs):
        """Count the leaves, and those that pay to be used where they are sparse."""
        return self.n_columns, SparsePoints.most_components


def leaf_features(model, kind, settings, row_measurement):
    """Return features of a model with trees, where they are all that is asked for."""
    name = type(model.estimator).__name__
    if isinstance(kind, TangentFeatures) or row_measurement is not None:
        raise TypeError(
            f"estimator must have gradients here, and {name} has trees. InfoGainAttributor, "
            'InfoLossAttributor, RelatIFAttributor (features="auto") and RepSimAttributor compare '
            "their leaves"
        )
    if callable(settings.measurement):
        raise TypeError(
            'measurement must be "label_logit" or "margin" where leaves of trees are compared; got '
            "a callable"
        )
    if settings.ntk_parameterization:
        raise ValueError(
            "ntk_parameterization must be False where leaves of trees are compared; got "
            f"{settings.ntk_parameterization!r}"
        )
    return LeafFeatures(model, settings.measurement)
