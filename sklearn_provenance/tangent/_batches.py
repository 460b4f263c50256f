"""From the user's rows to batches on the network's device."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import issparse
from torch import nn

from .._utils.arguments import check_readable
from .._utils.dask_rows import DaskRows, computed, lazy_rows
from .._utils.rows import array_of
from .._utils.texts import check_no_texts
from ._outputs import all_finite


def as_batch(X, model):
    """Convert rows to tensors on the network's device.

    Parameters
    ----------
    X : torch.Tensor, array-like, sparse matrix, or mapping, tuple or list of tensors
        Rows, the first axis of each array. Floats are converted to the network's precision.
        Tensors of integers stay integers. Arrays of integers stay integers if the module has an
        embedding, which looks them up; otherwise they become floats.
    model : TangentModel
        An object with ``module``, ``dtype`` and ``device``.

    Returns
    -------
    torch.Tensor, or dict, tuple or list of tensors
        The same structure. A dense X that needs no conversion shares its memory.
    """
    if is_structure(X):
        return map_structure(X, lambda part: as_batch(part, model))
    check_readable(X, "X")
    check_no_texts(X)
    X = computed(X, "X")
    if issparse(X):
        X = X.toarray()
    if isinstance(X, torch.Tensor):
        x = X.detach()
        if x.layout is not torch.strided:
            x = x.to_dense()
    else:
        x = _tensor(array_of(X), model)
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"X must have at least one row, got shape {tuple(x.shape)}")
    if x.is_complex():
        raise ValueError(f"X must be real, got {x.dtype}")
    if x.is_floating_point():
        x = x.to(model.dtype)
        if not all_finite(x):
            raise ValueError("X contains NaN or infinity, or numbers too large for the network")
    return x.to(model.device)


def _tensor(x, model):
    """Convert an array to a tensor of a type that torch has and the module takes."""
    if x.dtype.kind not in "fiub":
        raise ValueError(f"X must be numeric, got an array of {x.dtype}")
    x = x.astype(_dtype(x.dtype, model), copy=False)
    if not x.flags.writeable or min(x.strides, default=0) < 0:  # torch takes neither
        x = x.copy()
    return torch.as_tensor(x)


def _dtype(dtype, model):
    """Choose the type of numbers for an array of some type."""
    if dtype.kind == "f":
        return np.float64 if dtype.itemsize > 8 else dtype.newbyteorder("=")
    tables = (nn.Embedding, nn.EmbeddingBag)
    if not any(isinstance(m, tables) for m in model.module.modules()):
        return np.float64
    return np.int32 if dtype == np.int32 else np.int64


def as_rows(X, model):
    """Convert rows as :func:`as_batch`, but what is sparse, mapped or of Dask batch by batch.

    Returns
    -------
    x : torch.Tensor, OnDemand, or dict, tuple or list of them
        Rows.
    n : int
        Their number.
    """
    x = _on_demand(X, model)
    return x, n_batch_rows(x)


def _on_demand(X, model):
    """Convert rows, except for those that are converted when they are indexed."""
    if is_structure(X):
        return map_structure(X, lambda part: _on_demand(part, model))
    if isinstance(X, OnDemand):
        return X
    X = lazy_rows(X)
    if issparse(X) or isinstance(X, np.memmap | DaskRows):
        return OnDemand(X, model)
    return as_batch(X, model)


class OnDemand:
    """Rows that become tensors when they are indexed.

    Parameters
    ----------
    source : sparse matrix, ndarray or DaskRows
        All rows.
    model : TangentModel
        See :func:`as_batch`.
    numbers : ndarray of int, default=None
        Numbers of these rows in ``source``; None is all of them.
    """

    def __init__(self, source, model, numbers=None):
        if issparse(source):
            source = source.tocsr()
        if source.ndim == 0 or source.shape[0] == 0:
            raise ValueError(f"X must have at least one row, got shape {source.shape}")
        self.source = source
        self.model = model
        self.numbers = numbers

    def __len__(self):
        if self.numbers is None:
            return self.source.shape[0]
        return len(self.numbers)

    @property
    def shape(self):
        return (len(self), *self.source.shape[1:])

    def __getitem__(self, rows):
        return as_batch(self.source[self._numbers(rows)], self.model)

    def only(self, rows):
        """Select some of the rows by their numbers, without converting them."""
        return OnDemand(self.source, self.model, self._numbers(rows))

    def is_floating_point(self):
        return self[:1].is_floating_point()

    def _numbers(self, rows):
        if isinstance(rows, torch.Tensor):
            rows = rows.cpu().numpy()
        if self.numbers is None:
            return rows
        return self.numbers[rows]


def is_structure(x):
    """Whether rows are spread over a mapping, or a tuple or list of tensors."""
    if isinstance(x, Mapping):
        return True
    if not isinstance(x, tuple | list) or not x:
        return False
    return all(isinstance(part, torch.Tensor | OnDemand) or is_structure(part) for part in x)


def map_structure(x, function):
    """Apply a function to every array of a structure; mappings become dicts."""
    if isinstance(x, Mapping):
        return {key: map_structure(value, function) for key, value in x.items()}
    if is_structure(x):
        parts = [map_structure(value, function) for value in x]
        if hasattr(x, "_fields"):  # a named tuple
            return type(x)(*parts)
        return type(x)(parts)
    return function(x)


def leaves(x):
    """List the arrays of a structure, in order."""
    found = []
    map_structure(x, found.append)
    return found


def take_batch(x, rows):
    """Select rows of a batch, as tensors."""
    return map_structure(x, lambda part: part[rows])


def copied(x, rows=None):
    """Select rows of x (None: all); return them, a copy that a module may write to, and n."""
    if rows is not None:
        x = take_batch(x, rows)
    return x, map_structure(x, torch.clone), n_batch_rows(x)


def only(x, rows):
    """Select rows of a batch, without converting those that are converted on demand."""

    def select(part):
        if isinstance(part, OnDemand):
            return part.only(rows)
        return part[rows]

    return map_structure(x, select)


def n_batch_rows(x):
    """Count the rows of a batch, in which a tuple or list is a structure of tensors."""
    sizes = {len(leaf) for leaf in leaves(x)}
    if len(sizes) != 1:
        raise ValueError(
            f"X must be tensors with one number of rows, got {sorted(sizes) or 'none'}"
        )
    return sizes.pop()
