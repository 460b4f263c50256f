"""What the indices share: validation, and products recomputed from the rows."""

from numbers import Integral

from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from ._rows import best_of, check_queries, check_rows, chunk_size, largest_norm, unit_length


class RowIndex(BaseEstimator):
    """Base class of the indices: subclasses find candidates, it ranks them exactly.

    A subclass defines ``_build(rows, largest)`` and ``_candidates(directions, k)``.
    """

    _parameter_constraints = {"verbose": ["boolean"]}

    def build(self, rows):
        """Take rows to search in.

        They are read once, chunk by chunk.

        Parameters
        ----------
        rows : ndarray, numpy.memmap or torch.Tensor of shape (n_rows, n_features)
            Rows in single or double precision. The index refers to them and copies none, so they
            must stay as they are.

        Returns
        -------
        RowIndex
            Itself.

        Raises
        ------
        ValueError
            If a parameter is out of range, the shape or type is none of these, or a row holds NaN
            or infinity.
        """
        self._validate_params()
        rows = check_rows(rows)
        largest = largest_norm(rows, self._chunk_rows(rows), self.verbose)
        self._build(rows, largest)
        self.rows_, self.largest_norm_ = rows, largest
        return self

    def search(self, queries, k):
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
            Row numbers in order of decreasing absolute product; the lower number first where
            products are equal.
        products : ndarray of shape (n_queries, k), float64
            Inner products with their signs, computed from the rows in double precision.

        Raises
        ------
        NotFittedError
            If nothing was built.
        ValueError
            If k is out of range, queries do not fit the rows or are not finite, or products
            overflow.
        """
        if not hasattr(self, "rows_"):
            raise NotFittedError(
                f"This {type(self).__name__} holds no rows yet: call build(rows) first."
            )
        n_rows, n_features = self.rows_.shape
        queries = check_queries(queries, n_features)
        if not isinstance(k, Integral) or isinstance(k, bool) or not 1 <= k <= n_rows:
            raise ValueError(
                f"k must be an integer from 1 to the number of rows, {n_rows}, got {k!r}."
            )
        k = int(k)
        return best_of(self.rows_, queries, self._candidates(unit_length(queries), k), k)

    def _chunk_rows(self, rows):
        return chunk_size(rows)


def with_spare(k, n_rows):
    """Rows to find before the k best are told apart in double precision."""
    return min(n_rows, k + max(32, k // 2))
