"""Rows and queries: checks, reading chunk by chunk, inner products in double precision."""

import numpy as np
import torch
from tqdm.auto import tqdm

from .._utils.budget import block_bytes
from .._utils.dask_rows import is_dask_array
from .._utils.row_arrays import RowArray, on_disk, read_together

# Bytes of rows that are read or recomputed at a time.
_CHUNK_BYTES = 2**24
# By bytes of a number. Numbers of rows that are shorter, or their squares, underflow: such a length
# is no basis for a bound or a division.
SMALLEST_NORM = {4: 1e-37, 8: 1e-150}


def check_vectors(rows):
    """Return rows as an ndarray or, from a GPU, a tensor that shares their memory."""
    accepted = "rows must be a dense array of float32 or float64"
    dtype = getattr(rows, "dtype", None)
    if dtype == np.float16 or (is_dask_array(rows) and dtype in (np.float32, np.float64)):
        rows = on_disk(rows)
    if is_dask_array(rows) or isinstance(rows, RowArray):
        pass
    elif isinstance(rows, torch.Tensor):
        rows = rows.detach()
        if rows.layout != torch.strided:
            raise ValueError(f"{accepted}, got layout {rows.layout}; pass rows.to_dense()")
    else:
        rows = np.asarray(rows)
    if rows.dtype not in (torch.float32, torch.float64, np.float32, np.float64):
        raise ValueError(f"{accepted}, got an array of {rows.dtype}")
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(
            f"rows must be an array of shape (n_rows, n_features) with at least one of each, got "
            f"shape {tuple(rows.shape)}"
        )
    if isinstance(rows, torch.Tensor) and rows.device.type == "cpu":
        return rows.numpy()
    return rows


def check_queries(queries, n_features):
    """Return queries as a finite float64 array of shape (n_queries, n_features)."""
    if isinstance(queries, torch.Tensor):
        queries = queries.detach().cpu()
    queries = np.asarray(queries)
    if queries.dtype.kind not in "fiu":
        raise ValueError(f"queries must be real numbers, got an array of {queries.dtype}")
    if queries.ndim != 2 or queries.shape[1] != n_features:
        raise ValueError(
            f"queries must have shape (n_queries, {n_features}), because the search index holds "
            f"rows of {n_features} features; got shape {queries.shape}"
        )
    queries = queries.astype(np.float64, order="C")
    finite = np.isfinite(queries).all(1)
    if not finite.all():
        raise ValueError(
            f"queries must be finite. Query {np.flatnonzero(~finite)[0]} holds NaN or infinity"
        )
    return queries


def unit_length(queries):
    """Divide queries by their length; zero stays zero."""
    largest = np.abs(queries).max(1, keepdims=True, initial=0)
    queries = queries / np.where(largest > 0, largest, 1)  # no square overflows now
    length = np.linalg.norm(queries, axis=1, keepdims=True)
    return queries / np.where(length > 0, length, 1)


def chunk_size(rows):
    """Count the rows that are read at once."""
    return int(np.clip(block_bytes(_CHUNK_BYTES) // (rows.itemsize * rows.shape[1]), 1, 2**16))


def read_chunks(rows, size, verbose=False):
    """Yield the first row and a tensor of each chunk of rows."""
    starts = range(0, len(rows), size)
    for start in tqdm(starts, desc="rows", unit="chunk", disable=not verbose):
        chunk = rows[start : start + size]
        if not isinstance(chunk, torch.Tensor):
            if not chunk.flags.carray:
                # torch takes no read-only memory, and cannot describe some memory layouts.
                chunk = chunk.copy(order="C")
            chunk = torch.from_numpy(chunk)
        yield start, chunk


def copy_vectors(rows, numbers):
    """Return copies of some rows as a C-contiguous array."""
    if isinstance(rows, torch.Tensor):
        return rows[torch.from_numpy(numbers).to(rows.device)].cpu().numpy()
    return np.ascontiguousarray(rows[numbers])


def largest_norm(rows, size, verbose=False, first=0):
    """Return the length of the longest row, at least SMALLEST_NORM; refuse non-finite rows.

    ``first`` is the number of the first of the rows, in errors.
    """
    largest = SMALLEST_NORM[rows.itemsize]
    for start, chunk in read_chunks(rows, size, verbose):
        norms = torch.linalg.vector_norm(chunk, dim=1)
        if not 1e-15 < float(norms.amax()) < 1e15:  # squares leave the range of float32
            norms = torch.linalg.vector_norm(chunk.double(), dim=1)
        finite = torch.isfinite(norms)
        if not finite.all():
            row = int((~finite).nonzero()[0])
            problem = "numbers whose squares overflow"
            if not torch.isfinite(chunk[row]).all():
                problem = "NaN or infinity"
            raise ValueError(
                f"rows must be finite. Row {first + start + row} holds {problem}; leave it out, or "
                "correct it"
            )
        largest = max(largest, float(norms.amax()))
    return largest


def best_of(rows, queries, candidates, k):
    """Rank the candidates of each query by their absolute products, and take the k best.

    Products are sums over features in float64. The order of summation depends on the number of
    features only, so equal rows have equal products. (Matrix products do not guarantee that.)

    Parameters
    ----------
    rows : ndarray or Tensor of shape (n_rows, n_features)
        All rows.
    queries : ndarray of shape (n_queries, n_features), float64
        Queries.
    candidates : ndarray of shape (n_queries, n_candidates), int64
        Row numbers, ascending, at least k for each query; -1 is skipped.
    k : int
        Rows to take for each query.

    Returns
    -------
    indices : ndarray of shape (n_queries, k), int64
        Row numbers, the best first.
    products : ndarray of shape (n_queries, k), float64
        Their inner products.
    """
    indices = np.empty((len(queries), k), np.int64)
    products = np.empty((len(queries), k))
    size = max(1, block_bytes(_CHUNK_BYTES) // (8 * rows.shape[1]))
    candidates = [numbers[numbers >= 0] for numbers in candidates]
    for some, source in read_together(rows, candidates):
        for i in range(some.start, some.stop):
            numbers = candidates[i]
            values = np.empty(len(numbers))
            for j in range(0, len(numbers), size):
                part = copy_vectors(source, numbers[j : j + size]).astype(np.float64, copy=False)
                values[j : j + size] = np.einsum("ij,j->i", part, queries[i])
            order = np.argsort(-np.abs(values), kind="stable")[:k]
            indices[i] = numbers[order]
            products[i] = values[order]
    if not np.isfinite(products).all():
        raise ValueError(
            "inner products must be finite; they overflow, or rows have changed since they were "
            "given to build. Scale rows and queries down, or call build again"
        )
    return indices, products
