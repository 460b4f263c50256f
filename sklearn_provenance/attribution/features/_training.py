"""The rows given to fit, measured at whatever label is asked for."""

import numpy as np
import torch

from ..._utils.kept import Kept


class TrainingRows:
    """Training rows as points; those at their own labels are kept.

    Parameters
    ----------
    features : Features
        Gives points.
    inputs : ndarray, Tensor, csr matrix or dict of Tensor
        A copy: points are made of them long after fit.
    labels : ndarray of shape (n,), int64
        Positions of their labels.
    memory_limit : float
        Bytes that points at other labels may take.
    """

    def __init__(self, features, inputs, labels, memory_limit):
        self.features, self.inputs, self.labels = features, inputs, labels
        self._kept = Kept(memory_limit)

    def __len__(self):
        return len(self.labels)

    def own(self):
        """Every row at its own label."""
        return self._kept(None, lambda: self._points(self.labels))

    def at(self, label):
        """All rows at one label, or at their own where features do not depend on it.

        Parameters
        ----------
        label : int
            Position of a class.

        Returns
        -------
        points
            All rows.
        """
        if not self.features.per_label:
            return self.own()
        return self._kept(label, lambda: self._points(np.full(len(self), label)))

    def of_class(self, label):
        """The rows of one class at their label, and their numbers."""
        numbers = np.flatnonzero(self.labels == label)
        return self.own().take(numbers), numbers

    def as_queries(self):
        """Every row at its own label, as queries are measured."""
        if self.features.rows_differ:
            return self.features.points(self.inputs, self.labels)
        return self.own()

    def _points(self, labels):
        return self.features.training_points(self.inputs, labels)


def copied(inputs):
    """A copy of inputs, which users may change after fit."""
    if isinstance(inputs, dict):
        return {key: copied(value) for key, value in inputs.items()}
    if isinstance(inputs, tuple | list):
        return type(inputs)(copied(value) for value in inputs)
    return inputs.clone() if isinstance(inputs, torch.Tensor) else inputs.copy()
