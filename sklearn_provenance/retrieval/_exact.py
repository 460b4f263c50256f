"""ExactIndex: one pass over all rows, chunk by chunk."""

from typing import Literal

import numpy as np
import torch
from sklearn.utils._param_validation import StrOptions

from .._utils.arguments import whole
from .._utils.budget import block_bytes
from .._utils.cluster import current_client
from .._utils.numeric import single_precision_is_kept
from ._base import RowIndex, with_spare
from ._by_workers import search_by_workers
from ._largest import merge_largest
from ._rows import chunk_size, read_chunks

# Bytes that a block of queries may take.
_BLOCK_BYTES = 2**26
# Bytes that each product of a query and a row takes at most, when many products tie.
_PRODUCT_BYTES = 32


class ExactIndex(RowIndex):
    """Exact search for the rows with the largest absolute inner product.

    A search reads all rows once, chunk by chunk, for all queries together. Rows may lie in a file
    larger than memory, opened with ``numpy.load(path, mmap_mode="r")``, in a Dask array, or on a
    GPU. A search needs memory for a few chunks, for products (64 MB at most) and about 50 bytes for
    each row that is returned. It uses as many threads as torch does.

    Rows in single precision are ranked by products in single precision first. A bound on rounding
    errors, which holds for every order of summation, says which rows may be among the k best. These
    are ranked again in double precision. A query with too many such rows is searched again in
    double precision. Equal rows tie exactly, and the lowest row numbers come first. There is one
    exception: if more than about k / 2 (at least 32) other rows equal the k-th up to the rounding
    of double precision, the lowest numbers are taken and the last digits are not compared.

    With a Dask client, each worker searches pieces of the rows; see :ref:`workers`. The answer is
    the same, but for that exception: each piece compares the last digits of its own rows.

    Parameters
    ----------
    chunk_rows : int or "auto", default="auto"
        Rows that are read at a time; ``"auto"`` reads 16 MB.
    verbose : bool, default=False
        Whether to show progress.

    Attributes
    ----------
    rows_ : ndarray or torch.Tensor of shape (n_rows, n_features)
        The rows given to ``build``, in the same memory.
    largest_norm_ : float
        Length of the longest row.

    See Also
    --------
    FaissIndex : Search with FAISS, exact or approximate.

    Notes
    -----
    A pickle of a search index holds the rows, also if they are a memory map.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_provenance.retrieval import ExactIndex
    >>> rows = np.array([[1.0, 0.0], [0.0, 1.0], [-3.0, 1.0]])
    >>> indices, products = ExactIndex().build(rows).search([[1.0, 0.0]], k=2)
    >>> indices
    array([[2, 0]])
    >>> products
    array([[-3.,  1.]])
    """

    _parameter_constraints = {
        **RowIndex._parameter_constraints,
        "chunk_rows": [whole(), StrOptions({"auto"})],
    }

    def __init__(
        self, chunk_rows: int | Literal["auto"] = "auto", *, verbose: bool = False
    ) -> None:
        self.chunk_rows = chunk_rows
        self.verbose = verbose

    def _build(self, rows, largest):
        """Do nothing: the search needs the rows only."""

    def _chunk_rows(self, rows):
        if self.chunk_rows == "auto":
            return chunk_size(rows)
        return int(self.chunk_rows)

    def _find(self, queries, k):
        client = current_client()
        if client is None:
            return super()._find(queries, k)
        return search_by_workers(client, self, queries, k)

    def _candidates(self, directions, k):
        """Find all rows that may be among the k best, whatever rounding did."""
        n_found = with_spare(k, len(self.rows_))
        candidates = np.empty((len(directions), n_found), np.int64)
        undecided = np.arange(len(directions))  # queries
        for dtype in self._precisions():
            rounding = self._rounding(dtype)
            scores, numbers = self._scan(directions[undecided], n_found, dtype, rounding)
            # Rounding changes the k-th score and a row's score, each here and in float64.
            lowest = np.partition(scores, n_found - k, axis=1)[:, n_found - k] - 4 * rounding
            possible = scores >= lowest[:, None]
            candidates[undecided] = np.where(possible, numbers, -1)
            # The rows that were not found score no more than the least of those that were, plus
            # the width of a tie on either side.
            complete = scores.min(1, initial=np.inf) + 4 * rounding < lowest
            undecided = undecided[~complete]
            if n_found == len(self.rows_) or not len(undecided):
                break
        return candidates

    def _precisions(self):
        """List the precisions to search in; the second decides what the first cannot."""
        single = str(self.rows_.dtype).endswith("float32") and 1e-15 < self.largest_norm_ < 1e15
        if single and single_precision_is_kept():
            return [torch.float32, torch.float64]
        return [torch.float64]

    def _rounding(self, dtype):
        """Bound the rounding error of an inner product of a row and a query of length 1."""
        return (self.rows_.shape[1] + 2) * torch.finfo(dtype).eps / 2 * self.largest_norm_

    def _scan(self, directions, n_found, dtype, rounding):
        """Find the rows with the largest scores |q·x|, in ascending order of their numbers.

        Returns
        -------
        scores, numbers : ndarray of shape (n_queries, n_found)
            Scores and row numbers.
        """
        rows = self.rows_
        size = self._chunk_rows(rows)
        device = getattr(rows, "device", "cpu")
        queries = torch.from_numpy(directions).to(device, dtype)
        # The score -inf marks a place where no row is yet: every row scores more.
        shape = (len(queries), n_found)
        scores = torch.full(shape, -torch.inf, dtype=dtype, device=device)
        numbers = torch.full(shape, -1, device=device)
        query_bytes = _PRODUCT_BYTES * (n_found + min(size, len(rows)))
        step = max(1, block_bytes(_BLOCK_BYTES) // query_bytes)
        for start, chunk in read_chunks(rows, size, self.verbose):
            chunk = chunk.to(dtype)
            for i in range(0, len(queries), step):
                block = slice(i, i + step)
                products = (queries[block] @ chunk.mT).abs_()  # (b, n_chunk)
                scores[block], numbers[block] = merge_largest(
                    scores[block], numbers[block], products, start, 2 * rounding
                )
        return scores.double().cpu().numpy(), numbers.cpu().numpy()
