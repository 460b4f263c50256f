"""Rows of X in whatever form users give them: checked, counted, taken, named, shown."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _get_feature_names,
)

from .arguments import check_readable
from .dask_rows import DaskRows, computed, lazy_rows
from .row_arrays import RowArray, is_file, on_disk
from .tensor_rows import stacked

IMAGE_CHANNELS = (1, 3, 4)


def as_given(X, name="X"):
    """Return rows or targets without gradients, those of Dask in memory, others as they are.

    Parameters
    ----------
    X : array-like, sparse matrix, data frame, tensor, list, or a Mapping of these
        Rows or targets as users give them.
    name : str, default="X"
        Name of the caller's argument.

    Returns
    -------
    same kind as X
        X; a tensor for a list of tensors, a dict for a Mapping with an entry that changes, an array
        for a Dask array.

    Raises
    ------
    TypeError
        If X is a Dataset or DataLoader of torch, or a data frame of Dask.
    ValueError
        If reading X would drop a part of it, or X is a tensor without values or with a layout.
    """
    if isinstance(X, Mapping) and not issparse(X):  # a matrix in DOK format is both
        entries = {key: as_given(value, name) for key, value in X.items()}
        if all(entries[key] is value for key, value in X.items()):
            return X
        return entries
    check_readable(X, name)
    X = computed(X, name)
    if isinstance(X, list | tuple) and X and all(isinstance(row, torch.Tensor) for row in X):
        X = stacked(X, name)
    if isinstance(X, torch.Tensor):
        if X.is_meta or X.layout != torch.strided:
            raise ValueError(
                f"{name} must be a dense tensor with values; got a tensor on {X.device} with "
                f"layout {X.layout}. Pass a dense tensor or a SciPy sparse matrix"
            )
        if X.requires_grad:
            X = X.detach()
    if "complex" in str(getattr(X, "dtype", "")):
        raise ValueError(f"Complex data not supported: {name} must be real; got {X.dtype}")
    return X


def check_rows(estimator, X, reset=False):
    """Check that X has one or more rows; a model checks their values.

    Parameters
    ----------
    estimator : estimator
        Estimator whose number and names of features are compared with those of X.
    X : array-like, sparse matrix, data frame, tensor, list or Mapping
        Rows as users give them.
    reset : bool, default=False
        Whether the estimator takes its number and names of features from X.

    Returns
    -------
    array, csr matrix, data frame, tensor, DaskRows or Mapping
        X as :func:`as_given` gives it; a list as an array, a Dask array of numbers as DaskRows.

    Raises
    ------
    TypeError
        If X is a Dataset or DataLoader of torch.
    ValueError
        If X is one row, or none, or has other features than the estimator has seen, or cannot be
        read whole.
    """
    X = lazy_rows(X)
    if not isinstance(X, DaskRows):
        X = as_given(X)
    if issparse(X):
        X = X.tocsr()
    elif not hasattr(X, "shape") and not isinstance(X, Mapping):
        X = array_of(X)
    if not isinstance(X, Mapping):
        _check_axes(X)
        _check_feature_names(estimator, X, reset=reset)
        _check_n_features(estimator, X, reset=reset)
    if not n_rows(X):
        raise ValueError("Found array with 0 sample(s): X has no rows")
    return X


def array_of(X, name="X"):
    """Return a list of rows as an array; raise a ValueError that says so if lengths differ."""
    try:
        return np.asarray(X)
    except ValueError as error:
        lengths = {len(row) for row in X if hasattr(row, "__len__")}
        found = str(error)
        if len(lengths) > 1:
            found = f"some have {min(lengths)} entries, others {max(lengths)}"
        raise ValueError(
            f"{name} must have rows of one shape; {found}. Cut or pad them to one length, or drop "
            "those that differ"
        ) from error


def _check_axes(X):
    """Raise a ValueError for a single number and a single row of numbers."""
    shape = X.shape
    kind = getattr(getattr(X, "dtype", None), "kind", "f")  # tensors have none
    if len(shape) == 0 or (len(shape) == 1 and kind in "fiubc"):
        raise ValueError(
            f"X must have two dimensions or more, got an array of shape {tuple(shape)}. Reshape "
            "your data with X.reshape(1, -1) if it is one row"
        )


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
    if isinstance(X, Mapping) and not issparse(X):
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
    """Take rows of X, keeping its kind.

    Parameters
    ----------
    X : array-like, sparse matrix, data frame, tensor, list, or a Mapping of these
        See :func:`n_rows`.
    rows : slice or array-like of int or bool
        Rows to take.

    Returns
    -------
    same kind as X
        The rows; a dict for other Mappings than tokenized texts, csr for other sparse formats, a
        list for a tuple, an array for a Dask array.
    """
    if isinstance(rows, torch.Tensor):
        rows = rows.cpu().numpy()
    X = lazy_rows(X)
    if isinstance(X, Mapping) and not issparse(X):
        if hasattr(X, "take_rows"):  # tokenized texts
            return X.take_rows(rows)
        return {key: take_rows(value, rows) for key, value in X.items()}
    if not isinstance(rows, slice):
        rows = np.asarray(rows)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        rows = rows.astype(np.int64, copy=False)
        if isinstance(X, list | tuple):
            return [X[row] for row in rows.tolist()]
        if isinstance(X, torch.Tensor):
            return X[torch.as_tensor(rows, device=X.device)]
    if isinstance(X, list | tuple):
        return list(X[rows])
    if issparse(X):
        return X.tocsr()[rows]
    if hasattr(X, "iloc") or hasattr(X, "columns"):  # data frames
        return _safe_indexing(X, rows)
    return X[rows]


def few_rows(n):
    """Return the first, the middle and the last of n rows."""
    return np.unique([0, n // 2, n - 1])


def copied(inputs, leave_files=False):
    """Copy rows or inputs, which users may change after fit.

    Dask arrays and read-only memory maps of numbers are not copied, and with ``leave_files`` no
    memory maps are.
    """
    if isinstance(inputs, Mapping) and not issparse(inputs):
        if hasattr(inputs, "take_rows"):  # tokenized texts
            return inputs.take_rows(slice(None))
        return {key: copied(value, leave_files) for key, value in inputs.items()}
    if isinstance(inputs, tuple | list):
        return type(inputs)(copied(value, leave_files) for value in inputs)
    if isinstance(inputs, torch.Tensor):
        return inputs.clone()
    if isinstance(inputs, np.ndarray):
        if isinstance(on_disk(inputs), RowArray) or (leave_files and is_file(inputs)):
            return inputs  # a file, which is not written to through these
        return inputs.copy(order="K")
    if isinstance(inputs, RowArray) or not hasattr(inputs, "copy"):
        return inputs  # such as the frames of Polars, which do not change
    return inputs.copy()


def own(values):
    """Copy what fit keeps of its arguments; memory maps stay files, and lists become arrays later.

    Users go on with their arrays: they scale rows in place, or put wrong labels in.
    """
    if values is None or isinstance(values, list | tuple):
        return values
    return copied(values, leave_files=True)


def axis_names(X):
    """Read the names of rows and columns from a data frame.

    Parameters
    ----------
    X : object
        Rows of any kind.

    Returns
    -------
    row_names : ndarray of shape (n,) or None
        The index of a pandas object; None where X has none or it counts the rows from 0. Names
        may repeat.
    column_names : list of str or None
        None where X has no columns with names, or they are not strings.
    """
    column_names = _get_feature_names(X)
    if column_names is not None:
        column_names = [str(name) for name in column_names]
    if not (hasattr(X, "iloc") and hasattr(X, "index")):
        return None, column_names
    row_names = X.index.to_numpy()
    if row_names.dtype.kind in "iu" and np.array_equal(row_names, np.arange(len(row_names))):
        row_names = None
    return row_names, column_names


def image_layout(shape):
    """Find out how images of a user's shape become channels-first.

    Parameters
    ----------
    shape : tuple of int
        (H, W), (C, H, W) or (H, W, C).

    Returns
    -------
    shape : tuple of int
        The same with a channel axis if it had none.
    axes : tuple of int or None
        Transposition of a batch of images of that shape; None where none is needed.

    Raises
    ------
    ValueError
        If the shape has the wrong number of axes or can be read both ways.
    """
    shape = tuple(int(s) for s in shape)
    if len(shape) == 2:
        return (1, *shape), None
    if len(shape) != 3:
        raise ValueError(
            f"an image has shape (H, W), (C, H, W) or (H, W, C); got {shape}. "
            "Pass input_shape for flat images"
        )
    is_channels_last = shape[2] in IMAGE_CHANNELS
    if is_channels_last and shape[0] in IMAGE_CHANNELS:
        raise ValueError(
            f"images of shape {shape} can be read as channels-first and as channels-last; "
            "move or add axes so that only one of the two fits"
        )
    if is_channels_last:
        return shape, (0, 3, 1, 2)
    return shape, None


def image_shape(X):
    """Return the shape (H, W) or (C, H, W) of rows that are images; None where it is unclear."""
    kind = getattr(getattr(X, "dtype", None), "kind", "O")
    if np.ndim(X) not in (3, 4) or kind not in "fiub":
        return None
    try:
        shape, axes = image_layout(X.shape[1:])
    except ValueError:  # channels first or last
        return None
    if axes is not None:
        shape = shape[2], *shape[:2]
    if X.ndim == 3:
        return shape[1:]
    if shape[0] not in IMAGE_CHANNELS:
        return None
    return shape


class Shown(NamedTuple):
    """Rows as an Explanation keeps them."""

    parts: list  # of ndarray, pandas object, csr matrix or None
    image_shape: tuple | None
    row_names: np.ndarray | None
    column_names: list | None


def shown(*parts):
    """Turn parts of some rows into forms that an Explanation keeps.

    Parameters
    ----------
    *parts : array-like, sparse matrix, data frame, tensor, list, Mapping or None
        Rows as users give them.

    Returns
    -------
    Shown
        The parts, with the shape of images and the names of the first part. Of a Mapping, the
        texts are kept, or else the first entry with two axes, such as token ids, or None.
    """
    names = axis_names(parts[0])
    parts = [_shown(X) for X in parts]
    return Shown(parts, image_shape(parts[0]), *names)


def _shown(X):
    """Turn rows into a form that an Explanation keeps."""
    X = lazy_rows(X)
    if isinstance(X, Mapping) and not issparse(X):
        if hasattr(X, "texts"):
            return X.texts
        tables = (np.asarray(_shown(value)) for value in X.values())
        return next((table for table in tables if table.ndim == 2), None)
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu()
        if X.dtype == torch.bfloat16:  # NumPy has no such numbers
            X = X.float()
        return X.numpy()
    if issparse(X):
        return X.tocsr()
    if X is None or isinstance(X, np.ndarray | DaskRows) or hasattr(X, "iloc"):
        return X
    if isinstance(X, list | tuple) and X and isinstance(X[0], str):
        return np.array(X, dtype=object)
    return np.asarray(X)
