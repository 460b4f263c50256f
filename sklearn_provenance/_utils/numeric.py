"""Rows of X, in whatever form users give them, as numbers that a module takes."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import issparse

from .arguments import check_readable
from .rows import n_rows


def as_given(X, name="X"):
    """X without the gradient of tensors, refused where something of it would be dropped."""
    if isinstance(X, Mapping) and not issparse(X):  # a matrix in DOK format is both
        return {key: as_given(value, name) for key, value in X.items()}
    check_readable(X, name)
    if isinstance(X, list | tuple) and X and all(isinstance(row, torch.Tensor) for row in X):
        X = torch.stack(list(X))
    if isinstance(X, torch.Tensor):
        if X.is_meta or X.layout != torch.strided:
            raise ValueError(
                f"{name} must be a dense tensor with values; got a tensor on {X.device} with "
                f"layout {X.layout}. Pass a dense tensor or a SciPy sparse matrix"
            )
        X = X.detach()
    if "complex" in str(getattr(X, "dtype", "")):
        raise ValueError(f"Complex data not supported: {name} must be real; got {X.dtype}")
    return X


def as_ndarray(values):
    """Return values as an ndarray, also those of a tensor, which array_api_dispatch gives."""
    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    if values.dtype == torch.bfloat16:  # which NumPy does not know
        values = values.float()
    return values.detach().cpu().numpy()


def as_numbers(X):
    """Numbers that a module may take.

    Parameters
    ----------
    X : array-like, tensor, data frame, sparse matrix, or a Mapping of arrays and tensors
        Rows.

    Returns
    -------
    ndarray, torch.Tensor, csr matrix or dict of torch.Tensor
        Tensors as they are. Floats in single precision unless they are in double, integers as a
        tensor, which stays one.

    Raises
    ------
    ValueError
        If X is not numeric.
    """
    X = as_given(X)
    if isinstance(X, Mapping):
        x = {key: _as_tensor(as_numbers(value)) for key, value in X.items()}
        n_rows(x)  # raises if the entries disagree
        return x
    if isinstance(X, torch.Tensor):
        return X
    X = X.tocsr() if issparse(X) else _as_array(X)
    if X.dtype.kind in "iu" and not issparse(X):
        unknown_to_torch = X.dtype.kind == "u" and X.dtype.itemsize > 1
        return _as_tensor(X.astype(np.int64) if unknown_to_torch else X)
    if X.dtype.kind == "f" and X.dtype.itemsize >= 8:
        return X.astype(np.float64, copy=False)
    return X.astype(np.float32, copy=False)


def is_integer(x):
    """Whether rows are a tensor of integers."""
    return isinstance(x, torch.Tensor) and not x.is_floating_point() and x.dtype != torch.bool


def _as_tensor(x):
    if isinstance(x, torch.Tensor):
        return x
    return torch.tensor(np.ascontiguousarray(x.toarray() if issparse(x) else x))


def _as_array(X):
    try:
        # Rows of a memory map are read when they are needed.
        X = X if isinstance(X, np.memmap) else np.asarray(X)
        if X.dtype == object:
            X = X.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"X must be numeric, with rows of one shape; got {type(X).__name__}: {error}"
        ) from error
    if X.dtype.kind not in "fiub":
        raise ValueError(
            f"X must be numeric; got an array of {X.dtype}. A module takes numbers: put what makes "
            "numbers of texts, such as a tokenizer, before it"
        )
    return X
