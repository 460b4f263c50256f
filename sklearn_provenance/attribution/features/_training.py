"""Training rows as points: measured once at each label that is asked for, exact copies alike."""

import numpy as np
import torch

from ..._utils.copies import find_copies, join

# Labels at which rows will be asked for, and bytes that points at several of them may take.
NOTHING_EXPECTED: tuple[list, float] = ([], 0.0)


class TrainingRows:
    """Training rows as points.

    Parameters
    ----------
    features : Features
        Make the points.
    inputs : object
        What ``features.inputs`` made of the training rows. A copy, because points are made of them
        long after fit.
    labels : ndarray of shape (n,)
        Positions of the rows' classes; their targets where these are numbers.
    kept : Kept
        Keeps the points within ``memory_limit``.
    """

    def __init__(self, features, inputs, labels, kept):
        self.features, self.inputs, self.labels = features, inputs, labels
        self._kept = kept
        self._hint = NOTHING_EXPECTED
        first = find_copies(inputs) if features.copies_tie else None
        # First row (n,) that each row is an exact copy of: whatever its label, and with its label.
        self._copies = None if first is None else torch.as_tensor(first)
        self._own_copies = None if first is None else torch.as_tensor(join(first, labels))

    def __len__(self):
        return len(self.labels)

    def own(self):
        """Measure every row at its own label."""
        return self._kept(("points", None), lambda: self._points(self.labels, self._own_copies))

    def at(self, label):
        """Measure all rows at one label, and find copies.

        None takes each row at its own label, as does any label on which features do not depend.
        """
        if label is None or not self.features.per_label:
            return self.own(), self._own_copies
        return self._kept(("points", label), lambda: self._points_at(label)), self._copies

    def expect(self, labels, together):
        """Say at which labels rows will be asked for, so that these share passes.

        Parameters
        ----------
        labels : array-like of int
            Positions of classes.
        together : float
            Bytes that points at several labels may take.
        """
        self._hint = (list(labels), together)

    def __getstate__(self):
        # A hint changes how rows are measured, and not what is found.
        return vars(self) | {"_hint": NOTHING_EXPECTED}

    def _points_at(self, label):
        """Measure all rows at a label, and at others that are expected and not kept."""
        expected, together = self._hint
        others = [one for one in expected if one != label]
        labels = [label, *(one for one in others if ("points", one) not in self._kept)]
        if len(labels) > 1:
            size = self.features.n_bytes(self.inputs) or 0
            self._kept.free(min(together, len(labels) * size))
        several = self.features.points_at(self.inputs, labels, together)
        for one, points in zip(labels, several, strict=False):
            if self._copies is not None:
                points.equalise(self._copies)
            if one != label:
                self._kept.put(("points", one), points)
        return several[0]

    def of_class(self, label):
        """Take the rows of one class at their label, and copies among them."""
        numbers = np.flatnonzero(self.labels == label)
        copies = self._own_copies
        if copies is not None:
            copies = copies[numbers]
        return self.own().take(numbers), copies

    def as_queries(self):
        """Measure every row at its own label, as queries are measured."""
        if self.features.rows_differ:
            return self.features.points(self.inputs, self.labels)
        return self.own()

    def likelihoods(self):
        """Measure every row of a language model by its log probability."""
        points = self.features.likelihood_points(self.inputs, self.labels)
        return self._equalised(points, self._own_copies)

    def _points(self, labels, copies):
        points = self.features.training_points(self.inputs, labels)
        return self._equalised(points, copies)

    @staticmethod
    def _equalised(points, copies):
        if copies is not None:
            points.equalise(copies)
        return points
