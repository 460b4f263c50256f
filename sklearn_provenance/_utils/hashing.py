"""The one hasher: of values, arrays, networks and functions, and of rows of anything."""

import hashlib
import warnings
from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
import torch
from scipy.sparse import csr_array, issparse

from .code import is_library, together
from .digest import CHUNK, Digest

_WORDS = str, bytes, bool, int, float, complex, type(None), date, timedelta, np.generic
_WIDE = 2**13  # numbers in a row; in more, the zeros are not looked at


def fingerprint(*values):
    """Digest of values and of everything that they can reach.

    Parameters
    ----------
    *values : object
        Numbers, texts, containers, arrays, tensors, data frames, modules, functions, classes and
        objects. The device of a tensor and the order of a set do not matter.

    Returns
    -------
    str or None
        Hexadecimal digest, the same in every process. None, with a warning, if there is something
        that cannot be seen into, such as an open file: results must not be found by it then.
    """
    try:
        digest = Digest()
        digest.add(values)
        code = together(digest.uses)
        if code.only_written:
            digest = Digest(code)
            digest.add(values)
        blind = digest.blind
    except RecursionError:
        blind = ["objects nested too deeply"]
    if not blind:
        return digest.hash.hexdigest()
    warnings.warn(
        f"Nothing is kept on disk, since what it depends on cannot be seen: {', '.join(blind)}. "
        "Remove it from the model, or leave it out in its owner's __getstate__",
        UserWarning,
        stacklevel=3,
    )
    return None


def row_digests(X):
    """Numbers that identify the rows of X by what they hold.

    Parameters
    ----------
    X : array-like of shape (n, ...) or dict of array-likes
        Array, tensor, sparse matrix, data frame or list of anything; a dict has the inputs of each
        row. Numbers count by their value in double precision, not
        by their type.

    Returns
    -------
    digests : ndarray of shape (n, 4)
        Unsigned 32-bit integers.
    """
    if isinstance(X, Mapping):
        names = sorted(X, key=str)
        return _numbers(np.hstack([row_digests(X[name]) for name in names]), repr(names).encode())
    if issparse(X):
        return _numbers(X.tocsr())
    if isinstance(X, torch.Tensor):
        X = _as_numpy(X)
    if isinstance(X, list | tuple):
        X = [_as_numpy(row) if isinstance(row, torch.Tensor) else row for row in X]
    if type(X).__name__ in ("DataFrame", "Series") and is_library(type(X).__module__):
        return _columns(X)
    if isinstance(X, list) and all(isinstance(row, str) for row in X):
        return _table(_content(X[i : i + 1]) for i in range(len(X)))
    words = isinstance(X, list) and any(map(_has_words, X))
    rows = None if words else _as_array(X)
    if rows is not None and rows.dtype.kind in "biuf":
        return _numbers(rows)
    if words or (isinstance(X, list) and len(X) > 1):  # one row's type is not that of all
        parts = (_table([_content([row])]) if _has_words(row) else row_digests([row]) for row in X)
        return np.concatenate(list(parts))
    return _table(_content(rows[i : i + 1]) for i in range(len(rows)))


def _as_numpy(tensor):
    tensor = tensor.detach().cpu()
    tensor = tensor if tensor.layout is torch.strided else tensor.to_dense()
    return (tensor.double() if tensor.is_floating_point() else tensor).numpy()


def _has_words(row):
    return isinstance(row, list | tuple) and not {str, bytes, type(None)}.isdisjoint(map(type, row))


def _columns(frame):
    """Digests of the rows of a data frame: numbers together, then everything else."""
    if len(frame.shape) == 1:
        frame = frame.to_frame()
    numbers, others = [], []
    for i in range(frame.shape[1]):
        column = frame.iloc[:, i] if hasattr(frame, "iloc") else frame[:, i]
        # By the type of the column, which does not depend on the rows.
        if isinstance(column.dtype, np.dtype):
            is_number = column.dtype.kind in "biuf"
        else:
            is_number = hasattr(column.dtype, "is_numeric") and column.dtype.is_numeric()
        if is_number:
            numbers.append(np.asarray(column, dtype=np.float64))
        else:
            others.append(column.to_list())
    parts = []
    if numbers or not others:
        parts.append(_numbers(np.column_stack(numbers) if numbers else np.empty(frame.shape)))
    if others:
        rows = others[0] if len(others) == 1 else zip(*others, strict=True)
        parts.append(_table(_content([row]) for row in rows))
    return parts[0] if len(parts) == 1 else _numbers(np.hstack(parts))


def _table(contents, prefix=b""):
    start = hashlib.blake2b(prefix, digest_size=16)
    digests = []
    for content in contents:
        digest = start.copy()
        digest.update(content)
        digests.append(digest.digest())
    return np.frombuffer(b"".join(digests), dtype=np.uint32).reshape(-1, 4)


def _as_array(X):
    try:
        return np.asarray(X)
    except ValueError:  # rows of several lengths
        rows = np.empty(len(X), object)
        rows[:] = list(X)
        return rows


def _numbers(X, prefix=b""):
    """Digests of rows of numbers, some rows at a time."""
    X = X if issparse(X) else X.reshape(len(X), -1) if X.size else X.reshape(len(X), 0)
    step = max(1, CHUNK // (8 * max(1, X.shape[1])))
    if X.shape[1] <= _WIDE:
        blocks = (X[i : i + step] for i in range(0, X.shape[0], step))
        blocks = (block.toarray() if issparse(block) else block for block in blocks)
        # -0.0 equals 0.0.
        rows = (row for block in blocks for row in block.astype(np.float64, order="C") + 0.0)
    else:
        rows = (row for i in range(0, X.shape[0], step) for row in _entries(X[i : i + step]))
    return _table(rows, prefix)


def _entries(block):
    """Columns and values of what is not zero in each row."""
    block = csr_array(block, dtype=np.float64, copy=True)
    block.sum_duplicates()
    block.eliminate_zeros()
    for start, end in zip(block.indptr, block.indptr[1:], strict=False):
        yield block.indices[start:end].astype(np.int64).tobytes() + block.data[start:end].tobytes()


def _content(row):
    """What a row of anything holds, given as a list or array of length 1."""
    row = row if isinstance(row, list | tuple) else row.tolist()
    flat = row
    while len(flat) == 1 and isinstance(flat[0], list | tuple):
        flat = flat[0]
    if all(issubclass(kind, _WORDS) for kind in set(map(type, flat))):
        return repr(list(row)).encode(errors="surrogatepass")
    digest = Digest()
    digest.add(row)
    if digest.blind:
        raise TypeError(f"rows must hold values that can be pickled, got {digest.blind[0]}")
    return digest.hash.digest()
