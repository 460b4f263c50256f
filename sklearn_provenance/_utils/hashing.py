"""The one hasher: of values, arrays, networks and functions, and of rows of anything."""

import hashlib
import warnings
from collections.abc import Mapping
from datetime import date, timedelta
from itertools import chain

import numpy as np
import torch
from scipy.sparse import csr_array, issparse

from .budget import block_bytes
from .code import is_library, together
from .dask_rows import DaskRows
from .digest import CHUNK, Digest
from .row_arrays import RowArray

_WORDS = str, bytes, bool, int, float, complex, type(None), date, timedelta, np.generic
_WIDE = 2**13  # numbers in a row; in more, the zeros are not looked at


def fingerprint(*values):
    """Compute a digest of values and of everything that they can reach.

    Parameters
    ----------
    *values : object
        Numbers, texts, containers, arrays, tensors, data frames, modules, functions, classes and
        objects. The device of a tensor and the order of a set do not matter.

    Returns
    -------
    str or None
        Hexadecimal digest, the same in every process. None, with a warning, if something cannot be
        read, such as an open file: then results must not be looked up by the digest.
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
    """Compute numbers that identify the rows of X by their content.

    Parameters
    ----------
    X : array-like of shape (n, ...) or dict of array-likes
        Array, tensor, sparse matrix, data frame or list of anything; a dict has the inputs of each
        row. Numbers count by their value in double precision, not by their type.

    Returns
    -------
    digests : ndarray of shape (n, 4)
        Unsigned 32-bit integers.
    """
    if isinstance(X, Mapping) and not issparse(X):  # a matrix in DOK format is both
        names = sorted(X, key=str)
        return _numbers(np.hstack([row_digests(X[name]) for name in names]), repr(names).encode())
    if isinstance(X, RowArray):
        return _on_disk(X)
    if isinstance(X, DaskRows):
        return np.concatenate([_numbers(block) for _, block in X.blocks()])
    if issparse(X):
        return _numbers(X.tocsr())
    if isinstance(X, list | tuple):
        return _of_list([_as_numpy(row) for row in X])
    if type(X).__name__ in ("DataFrame", "Series") and is_library(type(X).__module__):
        return _columns(X)
    return _of_array(_as_array(_as_numpy(X)))


def _on_disk(X):
    """Compute the digests of rows that are too many to hash one by one: sums with random weights.

    Rows that differ in a number have the same two sums modulo 2^64 with a probability of 2^-64
    at most, since a difference in the highest bit of a word still leaves half of each sum.
    """
    words = X.shape[1] * X.itemsize // 4
    generator = np.random.default_rng(0)
    weights = generator.integers(2**64, size=(words, 2), dtype=np.uint64) | np.uint64(1)
    sums = np.empty((len(X), 2), np.uint64)
    for rows, block in X.blocks():
        block += 0.0  # -0.0 becomes 0.0, to which it is equal
        np.matmul(block.view(np.uint32).astype(np.uint64), weights, out=sums[rows])
    return sums.view(np.uint32)


def _of_list(X):
    """Compute the digests of the rows of a list."""
    if all(isinstance(row, str) for row in X):
        return _table(_content([row]) for row in X)
    if any(map(_has_words, X)):  # as an array, numbers would become words
        return np.concatenate([_of_row(row) for row in X])
    rows = _as_array(X)
    if rows.dtype.kind not in "biuf" and len(X) > 1:  # one row's type is not that of all
        return np.concatenate([_of_row(row) for row in X])
    return _of_array(rows)


def _of_row(row):
    """Compute the digest of one row of a list, (1, 4)."""
    if _has_words(row):
        return _table([_content([row])])
    return row_digests([row])


def _of_array(rows):
    """Compute the digests of the rows of an array."""
    if rows.dtype.kind in "biuf":
        return _numbers(rows)
    return _table(_content(rows[i : i + 1]) for i in range(len(rows)))


def _as_numpy(values):
    """Turn a tensor into an array, with floats in double precision; leave other values alone."""
    if not isinstance(values, torch.Tensor):
        return values
    values = values.detach().cpu()
    if values.layout is not torch.strided:
        values = values.to_dense()
    if values.is_floating_point():
        values = values.double()
    return values.numpy()


def _has_words(row):
    """Return whether a row is a list with texts or None."""
    return isinstance(row, list | tuple) and not {str, bytes, type(None)}.isdisjoint(map(type, row))


def _columns(frame):
    """Compute the digests of the rows of a data frame: numbers together, then everything else."""
    if len(frame.shape) == 1:
        frame = frame.to_frame()
    by_position = getattr(frame, "iloc", frame)
    numbers = []
    others = []
    for i in range(frame.shape[1]):
        column = by_position[:, i]
        if _is_numeric(column.dtype):
            numbers.append(np.asarray(column, dtype=np.float64))
        else:
            others.append(column.to_list())
    if not others:
        if not numbers:
            return _numbers(np.empty(frame.shape))
        return _numbers(np.column_stack(numbers))
    rows = others[0]
    if len(others) > 1:
        rows = zip(*others, strict=True)
    digests = _table(_content([row]) for row in rows)
    if not numbers:
        return digests
    return _numbers(np.hstack([_numbers(np.column_stack(numbers)), digests]))


def _is_numeric(dtype):
    """Return whether a column of a data frame holds numbers, whatever its rows are."""
    if isinstance(dtype, np.dtype):
        return dtype.kind in "biuf"
    return hasattr(dtype, "is_numeric") and dtype.is_numeric()


def _table(contents, prefix=b""):
    """Compute digests of bytes, (n, 4), which all begin with the same prefix."""
    start = hashlib.blake2b(prefix, digest_size=16)
    digests = []
    for content in contents:
        digest = start.copy()
        digest.update(content)
        digests.append(digest.digest())
    return np.frombuffer(b"".join(digests), dtype=np.uint32).reshape(-1, 4)


def _as_array(X):
    """Return rows as an array; rows of several lengths become objects."""
    try:
        return np.asarray(X)
    except ValueError:  # rows of several lengths
        rows = np.empty(len(X), object)
        rows[:] = list(X)
        return rows


def _numbers(X, prefix=b""):
    """Compute the digests of rows of numbers, some rows at a time."""
    if not issparse(X):
        X = X.reshape(len(X), int(np.prod(X.shape[1:])) if X.size else 0)
    step = max(1, block_bytes(CHUNK) // (8 * max(1, X.shape[1])))
    content = _entries if X.shape[1] > _WIDE else _values
    blocks = (X[i : i + step] for i in range(0, X.shape[0], step))
    return _table(chain.from_iterable(map(content, blocks)), prefix)


def _values(block):
    """Return the values of each row."""
    if issparse(block):
        values = block.toarray().astype(np.float64, order="C", copy=False)
    else:
        values = np.array(block, dtype=np.float64, order="C")
    values += 0.0  # -0.0 becomes 0.0, to which it is equal
    return values


def _entries(block):
    """Yield columns and values of the non-zero numbers of each row."""
    block = csr_array(block, dtype=np.float64, copy=True)
    block.sum_duplicates()
    block.eliminate_zeros()
    for start, end in zip(block.indptr, block.indptr[1:], strict=False):
        yield block.indices[start:end].astype(np.int64).tobytes() + block.data[start:end].tobytes()


def _content(row):
    """Return the content of a row as bytes; the row is in a list or array of length 1."""
    if not isinstance(row, list | tuple):
        row = row.tolist()
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
