"""Kernels kept on disk: nothing is linearised where they are all there."""

from functools import cached_property

import numpy as np
import torch

from ..._utils.rows import take_rows
from ...tangent import TangentRows
from ._base import Features


class RememberedFeatures(Features):
    """Features whose kernels, norms and Jacobians are kept on disk.

    Parameters
    ----------
    features : ExactFeatures
        Computes what is not there.
    cache : Cache
        Finds what is.
    """

    def __init__(self, features, cache):
        self.features, self.cache, self.model = features, cache, features.model
        self.per_label, self.rows_differ = features.per_label, features.rows_differ

    @property
    def coverage(self):
        """How the gradient of each parameter is computed."""
        return self.features.coverage

    def inputs(self, X):
        """What the network takes."""
        return self.features.inputs(X)

    def points(self, inputs, labels=None):
        """Points of rows at labels (n,); None takes the predicted ones."""
        return RememberedPoints(self, self.features.points, inputs, labels)

    def training_points(self, inputs, labels):
        """Points of training rows at labels (n,)."""
        return RememberedPoints(self, self.features.training_points, inputs, labels)

    def n_features_out(self, inputs):
        """Columns of the Jacobian."""
        return self.features.n_features_out(inputs)

    def transform(self, X):
        """The Jacobian at the predicted labels."""
        return self.features.transform(X)


class RememberedPoints:
    """Points that are linearised when something of them is not on disk.

    Parameters
    ----------
    features : RememberedFeatures
        Whose points they are.
    make : callable
        ``make(inputs, labels)`` gives them.
    inputs, labels
        Of the points.
    """

    most_components = TangentRows.most_components

    def __init__(self, features, make, inputs, labels):
        self.features, self.make, self.inputs = features, make, inputs
        self.kind = make.__name__
        if labels is None:
            predicted = features.cache("labels", self._predict, inputs, None)
            labels = torch.as_tensor(predicted)
        self.labels = torch.as_tensor(labels)

    @cached_property
    def points(self):
        """The points themselves."""
        return self.make(self.inputs, self.labels)

    def _predict(self, inputs, _):
        self.points = self.make(inputs, None)
        return self.points.labels.numpy()

    def __len__(self):
        return len(self.labels)

    @property
    def logits(self):
        """Logits of the points."""
        return self.points.logits

    @property
    def n_components(self):
        """Parameters with influence."""
        return self.features.features.tangent.n_components

    def take(self, rows):
        """Some of the points."""
        rows = torch.as_tensor(rows)
        taken = RememberedPoints(
            self.features, self.make, take_rows(self.inputs, rows), self.labels[rows]
        )
        if "points" in vars(self):
            taken.points = self.points.take(rows)
        return taken

    def identity(self):
        """Arrays that tell these points from others, for results kept on disk."""
        return self.features.cache.key, self.inputs, self.labels

    def norms(self):
        """Squared norms (n,)."""
        return self._remembered("norms", lambda *_: self.points.norms())

    def matrix(self):
        """φ (n, n_components)."""
        return self._remembered("matrix", lambda *_: self.points.matrix())

    def inner(self, other=None):
        """Kernel (n, n_other)."""
        if other is None:
            return self._remembered("inner", lambda *_: self.points.inner())
        rest = other.inputs, np.asarray(other.labels)
        return self._remembered("inner", lambda *_: self.points.inner(other.points), *rest)

    def _remembered(self, what, function, *rest):
        """From disk, or by a function of the points."""
        arrays = self.inputs, np.asarray(self.labels), *rest
        return self.features.cache(f"{self.kind} {what}", function, *arrays)
