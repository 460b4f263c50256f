"""Queries as they are, for rules that ask fitted models."""

import math

import torch

from ..._utils.rows import take_rows
from ._base import Features
from ._rows import predicted


class RowPoints:
    """Rows as they were given, with labels.

    Parameters
    ----------
    X : array-like of shape (n, ...)
        Rows.
    labels : Tensor of shape (n,)
        Positions of classes, or numbers.
    """

    logits = None

    def __init__(self, X, labels):
        self.X, self.labels = X, labels

    def __len__(self):
        return len(self.labels)

    def take(self, rows):
        """Return some of the points."""
        numbers = torch.as_tensor(rows)
        return RowPoints(take_rows(self.X, rows), self.labels[numbers])

    def equalise(self, copies):
        """Do nothing: copies are equal already."""


class QueryRows(Features):
    """No features: rows as the estimator takes them."""

    needs_targets = False

    def __init__(self, model):
        self.model = model

    def points(self, inputs, labels=None):
        """Return rows at labels, which must be given."""
        return RowPoints(inputs, torch.as_tensor(labels))

    def query(self, X, labels=None):
        """Return queries at labels; the model predicts those that are not given."""
        return self.points(X, predicted(self.model, X) if labels is None else labels)

    def components(self, inputs):
        """Return None."""
        return 1, math.inf

    def n_features_out(self, inputs):
        """Return None."""
        raise NotImplementedError
