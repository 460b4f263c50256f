"""Rows whose kernels are kept on disk: nothing is linearised where they are all there."""

from functools import cached_property

import numpy as np
import torch

from .._utils.rows import take_rows
from ._rows import TangentRows


class RememberedRows:
    """As :class:`TangentRows`, made when something of them is not on disk.

    Parameters
    ----------
    model : TangentModel
        The linearised network.
    cache : Cache
        Finds kernels, norms and Jacobians.
    kind : str
        Tells apart rows that are measured in different ways.
    X, labels, **settings
        As :class:`TangentRows` takes them.
    """

    most_components = TangentRows.most_components

    def __init__(self, model, cache, kind, X, labels=None, **settings):
        self.model, self.cache, self.kind = model, cache, kind
        self.X, self.settings = X, settings
        if labels is None:
            labels = cache("labels", self._predict, X, None)
        self.labels, self._copies = torch.as_tensor(labels), None

    @cached_property
    def rows(self):
        """The rows themselves."""
        rows = TangentRows(self.model, self.X, self.labels, **self.settings)
        if self._copies is not None:
            rows.equalise(self._copies)
        return rows

    def equalise(self, copies):
        """Give each row the gradient of the first row that it is a copy of, when it is computed."""
        self._copies = copies

    def _predict(self, X, _):
        self.rows = TangentRows(self.model, X, **self.settings)
        return self.rows.labels.numpy()

    def __len__(self):
        return len(self.labels)

    @property
    def logits(self):
        """Logits of the rows."""
        return self.rows.logits

    @property
    def n_components(self):
        """Parameters with influence."""
        return self.model.n_components

    def take(self, numbers):
        """Some of the rows."""
        numbers = torch.as_tensor(numbers)
        X, labels = take_rows(self.X, numbers), self.labels[numbers]
        taken = RememberedRows(self.model, self.cache, self.kind, X, labels, **self.settings)
        if "rows" in vars(self):
            taken.rows = self.rows.take(numbers)
        return taken

    def identity(self):
        """Arrays that tell these rows from others, for results kept on disk."""
        return self.cache.key, self.X, self.labels

    def norms(self):
        """Squared norms (n,)."""
        return self._remembered("norms", lambda *_: self.rows.norms())

    def matrix(self):
        """φ (n, n_components)."""
        return self._remembered("matrix", lambda *_: self.rows.matrix())

    def inner(self, other=None):
        """Kernel (n, n_other)."""
        if other is None:
            return self._remembered("inner", lambda *_: self.rows.inner())
        rest = other.X, np.asarray(other.labels)
        return self._remembered("inner", lambda *_: self.rows.inner(other.rows), *rest)

    def _remembered(self, what, function, *rest):
        """From disk, or by a function of the rows."""
        arrays = self.X, np.asarray(self.labels), *rest
        return self.cache(f"{self.kind} {what}", function, *arrays)
