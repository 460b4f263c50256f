"""The rows given to fit, measured at whatever label is asked for."""

import numpy as np
import torch

from ..._utils.copies import find_copies, join


class TrainingRows:
    """Training rows as points, which ``kept`` keeps.

    ``inputs`` are a copy, because points are made of them long after fit.
    """

    def __init__(self, features, inputs, labels, kept):
        self.features, self.inputs, self.labels = features, inputs, labels
        self._kept = kept
        first = find_copies(inputs)
        # First row (n,) that each row is an exact copy of, whatever the labels, and with labels.
        self._copies = None if first is None else torch.as_tensor(first)
        self._own_copies = None if first is None else torch.as_tensor(join(first, labels))

    def __len__(self):
        return len(self.labels)

    def own(self):
        """Every row at its own label."""
        return self._kept(("points", None), lambda: self._points(self.labels, self._own_copies))

    def at(self, label):
        """All rows at one label, or at their own where features do not depend on it, and copies."""
        if label is None or not self.features.per_label:
            return self.own(), self._own_copies
        labels = np.full(len(self), label)
        points = self._kept(("points", label), lambda: self._points(labels, self._copies))
        return points, self._copies

    def of_class(self, label):
        """The rows of one class at their label, and copies among them."""
        numbers, copies = np.flatnonzero(self.labels == label), self._own_copies
        return self.own().take(numbers), None if copies is None else copies[numbers]

    def as_queries(self):
        """Every row at its own label, as queries are measured."""
        if self.features.rows_differ:
            return self.features.points(self.inputs, self.labels)
        return self.own()

    def _points(self, labels, copies):
        points = self.features.training_points(self.inputs, labels)
        if copies is not None:
            points.equalise(copies)
        return points
