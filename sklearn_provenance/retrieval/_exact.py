"""ExactIndex: one pass over all rows, by chunks."""

import numpy as np
import torch
from sklearn.utils._param_validation import StrOptions

from .._utils.arguments import whole
from ._base import RowIndex, with_spare
from ._rows import chunk_size, read_chunks

# Bytes that a block of queries may take, and what each product with a row of a chunk takes at most
# when many tie.
_BLOCK_BYTES, _PRODUCT_BYTES = 2**26, 32


class ExactIndex(RowIndex):
    """Exact search for the rows with the largest absolute inner product.

    A search reads all rows once, chunk by chunk, for all queries together. Rows may lie in a file
    larger than memory, opened with ``numpy.load(path, mmap_mode="r")``, or on a GPU. Memory goes to
    a few chunks, to products (64 MB at most) and to some 50 bytes for each row asked for. The
    threads are those that torch uses.

    Rows in single precision are ranked by products in single precision first. Those that rounding
    may have kept from the k best, by a bound that holds for every order of summation, are told
    apart in double precision; a query with too many of them is searched again, in double precision
    throughout. Equal rows tie exactly, and the lowest row numbers come first. Only where more than
    some k / 2 (32 at least) other rows are as good as the k-th to within the rounding of double
    precision, the lowest numbers are taken without looking at the last digits.

    Parameters
    ----------
    chunk_rows : int or "auto", default="auto"
        Rows that are read at a time; ``"auto"`` takes 16 MB.
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
    A pickle of an index holds the rows, also those of a memory map.

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

    def __init__(self, chunk_rows="auto", *, verbose=False):
        self.chunk_rows = chunk_rows
        self.verbose = verbose

    def _build(self, rows, largest):
        pass  # a reference to the rows is all

    def _chunk_rows(self, rows):
        return chunk_size(rows) if self.chunk_rows == "auto" else int(self.chunk_rows)

    def _candidates(self, directions, k):
        """All rows that rounding allows among the k best; -1 fills up."""
        n_found = with_spare(k, len(self.rows_))
        candidates = np.empty((len(directions), n_found), np.int64)
        open_ = np.arange(len(directions))
        for dtype in self._precisions():
            rounding = self._rounding(dtype)
            scores, numbers = self._scan(directions[open_], n_found, dtype, rounding)
            # Rounding moves the k-th score and a row's own, each in the scan and in float64.
            lowest = np.partition(scores, n_found - k, axis=1)[:, n_found - k] - 4 * rounding
            possible = scores >= lowest[:, None]
            candidates[open_] = np.where(possible, numbers, -1)
            # No row left out has more than the least score kept and a tie's width on either side.
            complete = scores.min(1, initial=np.inf) + 4 * rounding < lowest
            open_ = open_[~complete]
            if n_found == len(self.rows_) or not len(open_):
                break
        return candidates

    def _precisions(self):
        """Precisions to search in, the second where the first cannot tell."""
        single = str(self.rows_.dtype).endswith("float32") and 1e-15 < self.largest_norm_ < 1e15
        try:
            single &= torch.get_float32_matmul_precision() == "highest"
        except RuntimeError:  # precision is set for each backend, perhaps to less
            single = False
        return [torch.float32, torch.float64] if single else [torch.float64]

    def _rounding(self, dtype):
        """Largest error of a product with a query of length one, by rounding it and the sum."""
        return (self.rows_.shape[1] + 2) * torch.finfo(dtype).eps / 2 * self.largest_norm_

    def _scan(self, directions, n_found, dtype, rounding):
        """The rows with the largest scores |q·x|, ascending, and their scores."""
        rows = self.rows_
        size = self._chunk_rows(rows)
        device = rows.device if isinstance(rows, torch.Tensor) else "cpu"
        queries = torch.from_numpy(directions).to(device, dtype)
        # Scores below every other keep the places that are not yet taken.
        shape = len(queries), n_found
        scores = torch.full(shape, -torch.inf, dtype=dtype, device=device)
        numbers = torch.full(shape, -1, device=device)
        step = max(1, _BLOCK_BYTES // (_PRODUCT_BYTES * (n_found + min(size, len(rows)))))
        for start, chunk in read_chunks(rows, size, self.verbose):
            chunk = chunk.to(dtype)
            for i in range(0, len(queries), step):
                block = slice(i, i + step)
                found = scores[block], numbers[block]
                products = (queries[block] @ chunk.mT).abs_()
                scores[block], numbers[block] = _update(*found, products, start, 2 * rounding)
        return scores.double().cpu().numpy(), numbers.cpu().numpy()


def _update(scores, numbers, products, start, tie):
    """The n best of those found so far and a chunk, in ascending order of their numbers.

    Parameters
    ----------
    scores, numbers : Tensor of shape (n_queries, n)
        What is found so far, before row `start`.
    products : Tensor of shape (n_queries, n_chunk)
        Scores of the rows from `start` on.
    start : int
    tie : float
        Scores that are within it of the n-th count as equal to it; the lowest numbers are taken.

    Returns
    -------
    scores, numbers : Tensor of shape (n_queries, n)
    """
    n, n_chunk = scores.shape[1], products.shape[1]
    top = products.topk(min(n + 1, n_chunk))
    if not (top.values[:, 0] < torch.inf).all():  # NaN comes first
        raise ValueError(
            "Inner products are not finite: rows have changed since they were given to build. "
            "Build the index again."
        )
    columns = top.indices[:, :n].sort(1).values
    all_scores = torch.cat([scores, products.gather(1, columns)], 1)
    all_numbers = torch.cat([numbers, columns + start], 1)
    kept, last = _largest(all_scores, n, tie)
    best = all_scores.gather(1, kept), all_numbers.gather(1, kept)
    if n_chunk > n:
        # Where the best of the chunk that were not looked at tie with the last, look at all.
        crowded = top.values[:, n] >= last - tie
        if crowded.any():
            all_scores = torch.cat([scores[crowded], products[crowded]], 1)
            kept, _ = _largest(all_scores, n, tie)
            best[0][crowded] = all_scores.gather(1, kept)
            found = numbers[crowded].gather(1, kept.clamp(max=n - 1))
            best[1][crowded] = torch.where(kept < n, found, kept - n + start)
    return best


def _largest(scores, n, tie):
    """Positions of the n largest scores, ascending, and the n-th largest."""
    last = scores.topk(n).values[:, -1]
    above = scores > last[:, None] + tie
    equal = (scores >= last[:, None] - tie) & ~above
    room = n - above.sum(1, keepdim=True)
    above |= equal & (equal.cumsum(1) <= room)
    return above.nonzero()[:, 1].view(len(scores), n), last
