"""Rows whose kernels are kept on disk: if all are there, the network is not linearised."""

from functools import cached_property

import numpy as np
import torch

from .._utils.rows import take_rows
from ..information._ranking import first_of
from ._rows import TangentRows


class RememberedRows:
    """Rows with the methods of :class:`TangentRows`, which are made if a result is not on disk.

    Parameters
    ----------
    model : TangentModel
        The linearised network.
    cache : Cache
        Finds kernels, norms and Jacobians.
    kind : str
        Distinguishes rows that are measured in different ways.
    X, labels, **settings
        Arguments of :class:`TangentRows`.
    make : callable, default=None
        Makes the :class:`TangentRows`, maybe in one pass with others.
    """

    most_components = TangentRows.most_components

    def __init__(self, model, cache, kind, X, labels=None, make=None, **settings):
        self.model = model
        self.cache = cache
        self.kind = kind
        self.X = X
        self.settings = settings
        self._copies = None
        self._make = make
        if labels is None:
            labels = cache("labels", self._predict, X, None)
        self.labels = torch.as_tensor(labels)

    @cached_property
    def rows(self):
        """The :class:`TangentRows`."""
        if self._make is None:
            rows = TangentRows(self.model, self.X, self.labels, **self.settings)
        else:
            rows = self._make()
        if self._copies is not None:
            rows.equalise(self._copies)
        return rows

    def equalise(self, copies):
        """Give each row the gradient of the first row that it is a copy of, when it is computed."""
        self._copies = copies
        if "rows" in vars(self):  # they were made
            self.rows.equalise(copies)

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
        """Select some of the rows."""
        numbers = torch.as_tensor(numbers)
        taken = RememberedRows(
            self.model,
            self.cache,
            self.kind,
            take_rows(self.X, numbers),
            self.labels[numbers],
            **self.settings,
        )
        if self._copies is not None:
            taken._copies = first_of(self._copies[numbers])
        if "rows" in vars(self):
            taken.rows = self.rows.take(numbers)
        return taken

    def identity(self):
        """Return arrays that tell these rows from others, for results kept on disk."""
        return self.cache.key, self.X, self.labels

    def norms(self):
        """Compute squared norms (n,)."""
        return self._remembered("norms", lambda *_: self.rows.norms())

    def matrix(self):
        """Write φ (n, n_components) out."""
        return self._remembered("matrix", lambda *_: self.rows.matrix())

    def inner(self, other=None):
        """Compute the kernel (n, n_other)."""
        if other is None:
            return self._remembered("inner", lambda *_: self.rows.inner())
        return self._remembered(
            "inner", lambda *_: self.rows.inner(other.rows), other.X, np.asarray(other.labels)
        )

    def inner_sum(self, other):
        """Compute the sums (n_other,) of the kernel over these rows."""
        return self._remembered(
            "inner sum",
            lambda *_: self.rows.inner_sum(other.rows),
            other.X,
            np.asarray(other.labels),
        )

    def _remembered(self, name, function, *others):
        """Find a result on disk, or compute it by a function of the rows and other arrays."""
        labels = np.asarray(self.labels)
        return self.cache(f"{self.kind} {name}", function, self.X, labels, *others)
