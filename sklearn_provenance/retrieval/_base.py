"""What the search indexes share: validation, and products recomputed from the rows."""

from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from .._utils.cluster import current_client
from ._by_workers import norm_by_workers
from ._rows import best_of, check_queries, check_vectors, chunk_size, largest_norm, unit_length


class RowIndex(BaseEstimator):
    """Base class of search indexes: a subclass finds candidates, this class ranks them exactly.

    A subclass defines ``_build(rows, largest)`` and ``_candidates(directions, k)``.
    """

    rows_: Any
    largest_norm_: float

    _parameter_constraints = {"verbose": ["verbose"]}

    def build(self, rows: np.ndarray | torch.Tensor) -> Self:
        """Take rows to search in.

        The rows are read once, chunk by chunk.

        Parameters
        ----------
        rows : ndarray, numpy.memmap or torch.Tensor of shape (n_rows, n_features)
            Rows in single or double precision. The search index refers to them and copies none,
            so they must not change.

        Returns
        -------
        self : RowIndex
            The search index itself.

        Raises
        ------
        ValueError
            If a parameter is out of range, rows have another shape or type, or a row holds NaN or
            infinity.
        """
        self._validate_params()
        rows = check_vectors(rows)
        client = current_client()
        if client is None:
            largest = largest_norm(rows, self._chunk_rows(rows), self.verbose)
        else:
            largest = norm_by_workers(client, rows, self.verbose)
        self._build(rows, largest)
        self.rows_ = rows
        self.largest_norm_ = largest
        return self

    def search(self, queries: ArrayLike, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the rows with the largest absolute inner product with each query.

        Parameters
        ----------
        queries : array-like or torch.Tensor of shape (n_queries, n_features)
            Queries.
        k : int
            Number of rows for each query, at most ``n_rows``.

        Returns
        -------
        indices : ndarray of shape (n_queries, k), int64
            Row numbers in order of decreasing absolute product. Of rows with equal products the
            lower number comes first.
        products : ndarray of shape (n_queries, k), float64
            Inner products with their signs, computed from the rows in double precision.

        Raises
        ------
        NotFittedError
            If ``build`` was not called before.
        ValueError
            If k is out of range, queries have another number of features than the rows or are not
            finite, or products overflow.
        """
        if not hasattr(self, "rows_"):
            raise NotFittedError(
                f"This {type(self).__name__} holds no rows yet: call build(rows) first"
            )
        n_rows, n_features = self.rows_.shape
        queries = check_queries(queries, n_features)
        if not isinstance(k, Integral) or isinstance(k, bool) or not 1 <= k <= n_rows:
            raise ValueError(
                f"k must be an integer from 1 to the number of rows, {n_rows}; got {k!r}"
            )
        return self._find(queries, int(k))

    def _find(self, queries, k):
        """Find k rows for each of the queries, which are checked."""
        candidates = self._candidates(unit_length(queries), k)
        return best_of(self.rows_, queries, candidates, k)

    def _build(self, rows, largest):
        """Prepare for searches in checked rows, of which the longest has the length ``largest``."""
        raise NotImplementedError

    def _candidates(self, directions, k):
        """Find rows (n_queries, >= k) for queries of length 1; -1 stands for no row."""
        raise NotImplementedError

    def _chunk_rows(self, rows):
        return chunk_size(rows)


def with_spare(k, n_rows):
    """Count the rows to find before double precision decides which are the k best."""
    return min(n_rows, k + max(32, k // 2))
