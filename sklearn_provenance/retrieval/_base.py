"""What the search indexes share: validation, and products recomputed from the rows."""

from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from .._utils.cluster import current_client
from .._utils.row_arrays import RowArray
from .._utils.types import Path
from ._by_workers import norm_by_workers
from ._rows import best_of, check_queries, check_vectors, chunk_size, largest_norm, unit_length
from ._saved import as_runs, from_runs, read_index, write_index


class RowIndex(BaseEstimator):
    """Base class of search indexes: a subclass finds candidates, this class ranks them exactly.

    A subclass defines ``_build(rows, largest)`` and either ``_candidates(directions, k)`` or, where
    rows have identifiers that stay when others are removed, ``_found(directions, k)``. What a
    subclass holds beside the rows is changed by ``_add`` and ``_remove``, which return False where
    it has to be built again, and written by ``_described`` and ``_restore``.
    """

    rows_: Any
    largest_norm_: float
    # Identifiers (n_rows,) of the rows, ascending; None where these are their numbers.
    _ids: np.ndarray | None = None
    _keeps_ids = True
    # Parameters on which what is saved depends.
    _shaped_by: tuple = ()

    _parameter_constraints: dict = {"verbose": ["verbose"]}

    def build(self, rows: np.ndarray | torch.Tensor) -> Self:
        """Take rows to search in.

        The rows are read once, chunk by chunk.

        Parameters
        ----------
        rows : ndarray, numpy.memmap, dask.array.Array or torch.Tensor of shape (n_rows, n_features)
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
        self._ids = None
        return self

    def add(self, rows: np.ndarray | torch.Tensor) -> Self:
        """Take rows behind those that the search index has.

        A search index that was made for much fewer rows, or quantised for shorter ones, is built
        again.

        Parameters
        ----------
        rows : ndarray, numpy.memmap, dask.array.Array or torch.Tensor of shape (n_rows, n_features)
            All rows: those that the search index has, unchanged, and new ones behind them.

        Returns
        -------
        self : RowIndex
            The search index itself.

        Raises
        ------
        NotFittedError
            If ``build`` was not called before.
        ValueError
            If rows are fewer than before, have another number of features, or are not finite.
        """
        rows = self._check_rows(rows, "add")
        n_before = len(self.rows_)
        if len(rows) < n_before:
            raise ValueError(
                f"rows must be the {n_before} rows that the search index has, and new ones behind "
                f"them; got {len(rows)} rows"
            )
        if len(rows) > n_before:
            behind = _behind(rows, n_before)
            largest = largest_norm(behind, chunk_size(behind), self.verbose, first=n_before)
            ids = np.arange(n_before)
            if self._ids is not None:
                ids = self._ids
            new = int(ids[-1]) + 1 + np.arange(len(behind))
            if not self._add(behind, new, largest):
                return self.build(rows)
            self.largest_norm_ = max(self.largest_norm_, largest)
            if self._ids is not None:
                self._ids = np.concatenate([ids, new])
        self.rows_ = rows
        return self

    def remove(self, rows: np.ndarray | torch.Tensor, numbers: ArrayLike) -> Self:
        """Forget some of the rows. Those that are left are numbered anew from 0.

        Parameters
        ----------
        rows : ndarray, numpy.memmap, dask.array.Array or torch.Tensor of shape (n_rows, n_features)
            The rows that are left, in the order that they had.
        numbers : array-like of shape (n,), int
            Numbers of the rows that are removed, before that.

        Returns
        -------
        self : RowIndex
            The search index itself.

        Raises
        ------
        NotFittedError
            If ``build`` was not called before.
        ValueError
            If numbers are not those of rows, or the rows that are left are more or fewer.
        """
        rows = self._check_rows(rows, "remove")
        n_before = len(self.rows_)
        numbers = np.asarray(numbers)
        if numbers.size and numbers.dtype.kind not in "iu":
            raise ValueError(f"numbers must be integers; got an array of {numbers.dtype}")
        numbers = np.unique(numbers.astype(np.int64))
        if len(numbers) and not 0 <= numbers[0] <= numbers[-1] < n_before:
            raise ValueError(f"numbers must lie between 0 and {n_before - 1}; got {numbers}")
        if len(rows) != n_before - len(numbers):
            raise ValueError(
                f"rows must be the {n_before - len(numbers)} that are left of {n_before}; got "
                f"{len(rows)}"
            )
        if len(numbers):
            ids = np.arange(n_before)
            if self._ids is not None:
                ids = self._ids
            if not self._remove(ids[numbers]):
                return self.build(rows)
            if self._keeps_ids:
                self._ids = np.delete(ids, numbers)
        self.rows_ = rows
        return self

    def save(self, path: Path) -> None:
        """Write the search index to a file, without the rows.

        Parameters
        ----------
        path : str or pathlib.Path
            The file.

        Raises
        ------
        NotFittedError
            If ``build`` was not called before.
        """
        self._check_built("save")
        extra, content = self._described()
        description = {
            "class": type(self).__name__,
            "shaped_by": self._shape(),
            "n_rows": len(self.rows_),
            "n_features": int(self.rows_.shape[1]),
            "largest_norm": self.largest_norm_,
            "ids": None if self._ids is None else as_runs(self._ids),
            "extra": extra,
        }
        write_index(path, description, content)

    def load(self, path: Path, rows: np.ndarray | torch.Tensor) -> Self:
        """Read what :meth:`save` wrote, in place of building the search index.

        Parameters
        ----------
        path : str or pathlib.Path
            The file.
        rows : ndarray, numpy.memmap, dask.array.Array or torch.Tensor of shape (n_rows, n_features)
            The same rows. Only their number and width are compared.

        Returns
        -------
        self : RowIndex
            The search index itself.

        Raises
        ------
        ValueError
            If the file is none of a search index, or is one of other parameters or rows.
        """
        self._validate_params()
        description, content = read_index(path)
        rows = check_vectors(rows)
        wanted = {
            "class": type(self).__name__,
            "shaped_by": self._shape(),
            "n_rows": len(rows),
            "n_features": int(rows.shape[1]),
        }
        for name, value in wanted.items():
            if description[name] != value:
                raise ValueError(
                    f"{path} must hold a search index whose {name} is {value!r}; it is "
                    f"{description[name]!r}. Build the search index again"
                )
        self._restore(description["extra"], content)
        self._ids = None if description["ids"] is None else from_runs(description["ids"])
        self.rows_ = rows
        self.largest_norm_ = description["largest_norm"]
        return self

    def _shape(self):
        """Return the parameters on which what is saved depends, as JSON values."""
        params = self.get_params()
        values = {name: params[name] for name in self._shaped_by}
        return {
            name: value if value is None or isinstance(value, int) else str(value)
            for name, value in values.items()
        }

    def _check_built(self, method):
        if not hasattr(self, "rows_"):
            raise NotFittedError(
                f"This {type(self).__name__} holds no rows yet: call build(rows) before {method}"
            )

    def _check_rows(self, rows, method):
        """Check rows that take the place of those that the search index has."""
        self._check_built(method)
        rows = check_vectors(rows)
        if rows.shape[1] != self.rows_.shape[1]:
            raise ValueError(
                f"rows must have {self.rows_.shape[1]} features, as those that the search index "
                f"has; got {rows.shape[1]}"
            )
        return rows

    def _add(self, behind, ids, largest):
        """Take further rows, of which the longest has the length ``largest``."""
        return True

    def _remove(self, ids):
        """Forget the rows with some identifiers."""
        return True

    def _described(self):
        """Return JSON values by name, and bytes, from which :meth:`_restore` makes the index."""
        return {}, b""

    def _restore(self, description, content):
        """Take what :meth:`_described` gave."""

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
        """Find rows (n_queries, >= k) for queries of length 1, ascending; -1 for no row."""
        found = self._found(directions, k)
        if self._ids is None:
            return found
        return np.where(found >= 0, np.searchsorted(self._ids, found), -1)

    def _found(self, directions, k):
        """Find identifiers of rows, as :meth:`_candidates` finds rows."""
        raise NotImplementedError

    def _chunk_rows(self, rows):
        return chunk_size(rows)


def _behind(rows, start):
    """Return the rows from a row on, without reading those of a file."""
    if isinstance(rows, RowArray):
        return rows.taken(np.arange(start, len(rows)))
    return rows[start:]


def with_spare(k, n_rows):
    """Count the rows to find before double precision decides which are the k best."""
    return min(n_rows, k + max(32, k // 2))
