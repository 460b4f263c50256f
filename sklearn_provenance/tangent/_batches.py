"""From the user's rows to batches on the network's device."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import issparse
from torch import nn

from .._utils.arguments import check_readable


def as_batch(X, model):
    """Tensors on the network's device.

    Parameters
    ----------
    X : torch.Tensor, array-like, sparse matrix, or mapping, tuple or list of tensors
        Rows, the first axis of each array. Floats take the network's precision. Tensors of
        integers stay integers; arrays of integers do where the module has an embedding to look
        them up in, and become floats elsewhere.
    model : TangentModel
        Has ``module``, ``dtype`` and ``device``.

    Returns
    -------
    torch.Tensor, or dict, tuple or list of tensors
        The same structure. A dense X that needs no conversion shares its memory.
    """
    if is_structure(X):
        return map_structure(X, lambda part: as_batch(part, model))
    if isinstance(X, OnDemand):
        return X[slice(None)]
    check_readable(X, "X")
    if issparse(X):
        X = X.toarray()
    if isinstance(X, torch.Tensor):
        x = X.detach()
        if x.layout is not torch.strided:
            x = x.to_dense()
        if x.is_inference():
            x = x.clone()  # autograd cannot keep it
    else:
        x = _tensor(np.asarray(X), getattr(model, "module", None))
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"X must have at least one row, got shape {tuple(x.shape)}")
    if x.is_complex():
        raise ValueError(f"X must be real, got {x.dtype}")
    if x.is_floating_point():
        x = x.to(model.dtype)
        if not x.isfinite().all():
            raise ValueError("X contains NaN or infinity, or numbers too large for the network")
    return x.to(model.device)


def _tensor(x, module):
    if x.dtype.kind not in "fiub":
        raise ValueError(f"X must be numeric, got an array of {x.dtype}")
    if x.dtype.kind != "f":
        looks_up = module is not None and any(
            isinstance(m, nn.Embedding | nn.EmbeddingBag) for m in module.modules()
        )
        if not looks_up:
            x = x.astype(np.float64)
        elif x.dtype not in (np.int32, np.int64):
            x = x.astype(np.int64)
    elif x.dtype.itemsize > 8:
        x = x.astype(np.float64)
    if not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    takes = x.flags.writeable and min(x.strides, default=0) >= 0
    return torch.as_tensor(x if takes else x.copy())


def as_rows(X, model):
    """As :func:`as_batch`, but sparse matrices and memory maps are converted batch by batch.

    Returns
    -------
    x : torch.Tensor, OnDemand, or dict, tuple or list of them
        Rows.
    n : int
        Their number.
    """
    x = _converted(X, model)
    return x, n_rows(x)


def _converted(X, model):
    if is_structure(X):
        return map_structure(X, lambda part: _converted(part, model))
    if isinstance(X, OnDemand):
        return X
    if issparse(X) or isinstance(X, np.memmap):
        return OnDemand(X, model)
    return as_batch(X, model)


class OnDemand:
    """Rows that become tensors when they are indexed.

    Parameters
    ----------
    source : sparse matrix or ndarray
        All rows.
    model : TangentModel
        See :func:`as_batch`.
    numbers : ndarray of int, default=None
        Rows of ``source`` that these are; None is all.
    """

    def __init__(self, source, model, numbers=None):
        if issparse(source):
            source = source.tocsr()
        if source.ndim == 0 or source.shape[0] == 0:
            raise ValueError(f"X must have at least one row, got shape {source.shape}")
        self.source, self.model, self.numbers = source, model, numbers

    def __len__(self):
        return self.source.shape[0] if self.numbers is None else len(self.numbers)

    @property
    def shape(self):
        return (len(self), *self.source.shape[1:])

    def __getitem__(self, rows):
        return as_batch(self.source[self._numbers(rows)], self.model)

    def only(self, rows):
        """Some of the rows, still to be converted."""
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]
        return OnDemand(self.source, self.model, self._numbers(rows))

    def is_floating_point(self):
        return self[:1].is_floating_point()

    def _numbers(self, rows):
        if isinstance(rows, torch.Tensor):
            rows = rows.cpu().numpy()
        return rows if self.numbers is None else self.numbers[rows]


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
        return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
    return function(x)


def leaves(x):
    """The arrays of a structure, in order."""
    if isinstance(x, Mapping):
        return [leaf for value in x.values() for leaf in leaves(value)]
    if is_structure(x):
        return [leaf for value in x for leaf in leaves(value)]
    return [x]


def take(x, rows):
    """Rows of a batch, as tensors."""
    return map_structure(x, lambda part: part[rows])


def copied(x, rows=None):
    """Rows of x (None: all), a copy that a module may write to, and their number."""
    if rows is not None:
        x = take(x, rows)
    return x, map_structure(x, torch.clone), n_rows(x)


def only(x, rows):
    """Rows of a batch; what is converted on demand stays so."""
    return map_structure(
        x, lambda part: part.only(rows) if isinstance(part, OnDemand) else part[rows]
    )


def n_rows(x):
    """Number of rows of a batch."""
    sizes = {len(leaf) for leaf in leaves(x)}
    if len(sizes) != 1:
        raise ValueError(
            f"X must be tensors with one number of rows, got {sorted(sizes) or 'none'}"
        )
    return sizes.pop()
