"""Rows of X, in whatever form users give them, as numbers that a module takes."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import issparse

from .dask_rows import DaskRows
from .rows import as_given, n_rows
from .texts import check_no_texts


def as_ndarray(values):
    """Return values as an ndarray, also those of a tensor, which array_api_dispatch gives."""
    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    if values.dtype == torch.bfloat16:  # which NumPy does not know
        values = values.float()
    return values.detach().cpu().numpy()


def in_bytes(n_bytes):
    """Write a number of bytes in three digits, such as "1.23 MB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 999.5 or unit == "GB":
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000


def as_numbers(X):
    """Return rows as numbers that a module may take.

    Parameters
    ----------
    X : array-like, tensor, data frame, sparse matrix, or a Mapping of arrays and tensors
        Rows.

    Returns
    -------
    ndarray, torch.Tensor, csr matrix, DaskRows or dict of torch.Tensor
        Tensors as they are. Floats in single precision unless they are in double, integers as a
        tensor, which stays one. DaskRows of other numbers than integers stay where they are.

    Raises
    ------
    ValueError
        If X is not numeric.
    """
    if isinstance(X, DaskRows) and X.dtype.kind in "fb":
        return X.astype(_float_of(X.dtype))
    check_no_texts(X)
    X = as_given(X)
    if isinstance(X, Mapping):
        for key, value in X.items():
            _check_lengths(key, value)
        x = {key: _as_tensor(as_numbers(value)) for key, value in X.items()}
        n_rows(x)  # raises if the entries disagree
        return x
    if isinstance(X, torch.Tensor):
        return X
    if issparse(X):
        X = X.tocsr()
    else:
        X = _as_array(X)
        if X.dtype.kind == "u" and X.dtype.itemsize > 1:  # types that torch does not have
            X = X.astype(np.int64)
        if X.dtype.kind in "iu":
            return _as_tensor(X)
    return X.astype(_float_of(X.dtype), copy=False)


def _float_of(dtype):
    """Choose the precision of numbers for a module, which takes them to its own."""
    return np.float64 if dtype.kind == "f" and dtype.itemsize >= 8 else np.float32


def _check_lengths(key, rows):
    """Raise if an entry of a Mapping is a list of lists of several lengths, such as tokens."""
    if not isinstance(rows, list | tuple) or not all(isinstance(r, list | tuple) for r in rows):
        return
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise ValueError(
            f"X[{key!r}] must have rows of one length; got {min(lengths)} to {max(lengths)}. Pad "
            "tokens, as tokenizer(texts, padding=True, return_tensors='pt') does"
        )


def is_integer(x):
    """Return whether rows are a tensor of integers."""
    return isinstance(x, torch.Tensor) and not x.is_floating_point() and x.dtype != torch.bool


def _as_tensor(x):
    """Return numbers as a tensor."""
    if isinstance(x, torch.Tensor):
        return x
    if issparse(x):
        x = x.toarray()
    return torch.tensor(np.ascontiguousarray(x))


def _as_array(X):
    """Return rows as an array of numbers, or raise a ValueError."""
    try:
        if not isinstance(X, np.memmap):  # whose rows are read when they are needed
            X = np.asarray(X)
        if X.dtype == object:
            X = X.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"X must be numeric, with rows of one shape; got {type(X).__name__}: {error}"
        ) from error
    if X.dtype.kind not in "fiub":
        raise ValueError(f"X must be numeric; got an array of {X.dtype}")
    return X


def single_precision_is_kept():
    """Return whether products of matrices in single precision are computed in that precision."""
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # precision is set for each backend, perhaps to less
        return False
