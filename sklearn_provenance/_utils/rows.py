"""Rows of X in whatever form users give them: counted, taken, named, shown."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _get_feature_names


def n_rows(X):
    """Count the rows of X.

    Parameters
    ----------
    X : array-like, sparse matrix, data frame, tensor, list, or a Mapping of these
        A Mapping holds one entry per input, each with all rows.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    ValueError
        If X has no axis of rows, or the entries of a Mapping disagree.
    """
    if isinstance(X, Mapping):
        counts = {key: n_rows(value) for key, value in X.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(f"The entries of X must have one number of rows each; got {counts}")
        return next(iter(counts.values()))
    if not hasattr(X, "shape"):
        if not hasattr(X, "__len__") or isinstance(X, str):
            raise ValueError(f"X must have rows; got a single {type(X).__name__}")
        return len(X)
    if not len(X.shape):
        raise ValueError(f"X must have rows; got an array of shape {tuple(X.shape)}")
    return int(X.shape[0])


def take_rows(X, rows):
    """Take rows of X; its kind stays as it is.

    Parameters
    ----------
    X : array-like, sparse matrix, data frame, tensor, list, or a Mapping of these
        See :func:`n_rows`.
    rows : slice or array-like of int or bool
        Rows to take.

    Returns
    -------
    same kind as X
        The rows; a dict for a Mapping, csr for other sparse formats, a list for a tuple.
    """
    if isinstance(X, Mapping):
        return {key: take_rows(value, rows) for key, value in X.items()}
    if isinstance(rows, torch.Tensor):
        rows = rows.cpu().numpy()
    if not isinstance(rows, slice):
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64, copy=False)
    if isinstance(X, torch.Tensor):
        return X[rows if isinstance(rows, slice) else torch.as_tensor(rows, device=X.device)]
    if isinstance(X, np.ndarray):
        return X[rows]
    if issparse(X):
        return X.tocsr()[rows]
    if isinstance(X, list | tuple):
        return list(X[rows]) if isinstance(rows, slice) else [X[i] for i in rows.tolist()]
    return _safe_indexing(X, rows)


def few_rows(n):
    """The first, the middle and the last of n rows."""
    return np.unique([0, n // 2, n - 1])


def copied(inputs):
    """A copy of inputs, which users may change after fit."""
    if isinstance(inputs, dict):
        return {key: copied(value) for key, value in inputs.items()}
    if isinstance(inputs, tuple | list):
        return type(inputs)(copied(value) for value in inputs)
    return inputs.clone() if isinstance(inputs, torch.Tensor) else inputs.copy()


def row_names(X):
    """Read the names of rows from the index of a pandas object.

    Parameters
    ----------
    X : object
        Rows of any kind.

    Returns
    -------
    ndarray of shape (n,) or None
        The index; None where X has none or it counts the rows from 0. Names may repeat.
    """
    if not (hasattr(X, "iloc") and hasattr(X, "index")):
        return None
    names = X.index.to_numpy()
    counted = names.dtype.kind in "iu" and np.array_equal(names, np.arange(len(names)))
    return None if counted else names


def feature_names(X):
    """Read the column names of a data frame.

    Parameters
    ----------
    X : object
        Rows of any kind.

    Returns
    -------
    list of str or None
        Names; None where X has no columns with names, or they are not strings.
    """
    names = _get_feature_names(X)
    return None if names is None else [str(name) for name in names]


def shown(X):
    """Turn rows into a form that an Explanation keeps.

    Parameters
    ----------
    X : array-like, sparse matrix, data frame, tensor, list, Mapping or None
        Rows as users give them.

    Returns
    -------
    ndarray, pandas object, csr matrix or None
        Rows. Of a Mapping the first entry with two axes, such as token ids; None if there is none.
    """
    if isinstance(X, Mapping):
        tables = (np.asarray(shown(value)) for value in X.values())
        return next((table for table in tables if table.ndim == 2), None)
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu()
        return X.float().numpy() if X.dtype == torch.bfloat16 else X.numpy()
    if issparse(X):
        return X.tocsr()
    if X is None or isinstance(X, np.ndarray) or hasattr(X, "iloc"):
        return X
    if isinstance(X, list | tuple) and X and isinstance(X[0], str):
        return np.array(X, dtype=object)
    return np.asarray(X)
