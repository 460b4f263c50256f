"""FaissIndex: FAISS, searched with both signs of each query."""

from contextlib import contextmanager
from math import ceil, isqrt
from typing import Literal

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions

from .._utils.arguments import whole
from .._utils.types import RandomState
from ._base import RowIndex, with_spare
from ._rows import copy_vectors, read_chunks

_KINDS = {
    "flat": "Flat",
    "scalar_quantized": "SQ8",
    "inverted_file": "IVF{},Flat",
    "quantized_inverted_file": "IVF{},SQ8",
}
# FAISS asks for at least 39 rows in a list.
_LEAST_ROWS_PER_LIST = 39
# Rows to learn from: for each list, and for the ranges of quantised features.
_LEARNT_PER_LIST = 64
_LEARNT_QUANTISED = 2**13


class FaissIndex(RowIndex):
    """Search for the rows with the largest absolute inner product by FAISS, on the CPU.

    FAISS has no metric for absolute inner products, so it searches for each query and its negative.
    FAISS holds a copy of the rows in single precision (or in bytes) and finds somewhat more than k
    of them. These are ranked by products in double precision, from the rows given to ``build``.
    The products, and the order of the rows that were found, are therefore exact for every kind.
    Only rows that FAISS did not find may be missing.

    It needs the package faiss: ``pip install sklearn-provenance[faiss]``.

    Parameters
    ----------
    kind : {"flat", "scalar_quantized", "inverted_file", "quantized_inverted_file"}, default="flat"
        What FAISS stores and reads.

        - ``"flat"``: all rows, in single precision. Exact up to its rounding.
        - ``"scalar_quantized"``: all rows, in a byte for each number, a quarter of the memory.
        - ``"inverted_file"``: rows in lists around centres of k-means, in single precision. A
          search reads the lists whose centres have the largest products with a query.
        - ``"quantized_inverted_file"``: such lists, in a byte for each number.
    n_lists : int or "auto", default="auto"
        Lists of inverted files. ``"auto"`` takes the square root of the number of rows, but
        no more lists than leave 39 rows in each on average.
    n_probe : int or "auto", default="auto"
        Lists of inverted files that are read for each sign of a query, or all if there are
        fewer. ``"auto"`` reads an eighth of them. More lists find more of the right rows; all lists
        are as exact as ``"flat"``. Where fewer than k rows are found, twice as many lists are read,
        until there are enough. The parameter may be changed between searches.
    random_state : int, RandomState instance or None, default=0
        Seed of k-means and of the sample of rows that FAISS learns from.
    verbose : bool, default=False
        Whether to show progress.

    Attributes
    ----------
    index_ : faiss.Index
        The index of FAISS, over rows divided by ``largest_norm_``.
    n_lists_ : int or None
        Lists of an inverted file; None for the other kinds.
    rows_ : ndarray or torch.Tensor of shape (n_rows, n_features)
        The rows given to ``build``, in the same memory.
    largest_norm_ : float
        Length of the longest row, or of one that was removed.

    See Also
    --------
    ExactIndex : Exact search that needs no copy and no other package.

    Notes
    -----
    What an inverted file finds depends on the data: ``benchmarks/retrieval.py`` measures it on
    tangent features, where an eighth of the lists is enough, and on independent Gaussian rows,
    where an inverted file finds about the share of the rows that it reads. An inverted file pays
    when few queries are searched at a time or rows are many. :class:`ExactIndex` is faster than
    ``"flat"``, because one product serves both signs. Graphs (HNSW) are not offered: on tangent
    features they find as much as an inverted file in about the same time, but take longer to build,
    and no setting makes them exact.

    If several rows have equal products, any of them may be among the k best.

    FAISS uses as many threads as torch does. On macOS, FAISS and torch from PyPI each bring an
    OpenMP runtime, and crashes of processes that use both have been reported.

    Examples
    --------
    >>> from sklearn_provenance.retrieval import FaissIndex
    >>> index = FaissIndex("inverted_file", n_probe=32)
    >>> index.build(features).search(queries, k=50)  # doctest: +SKIP
    """

    _shaped_by = ("kind", "n_lists", "random_state")
    _parameter_constraints = {
        **RowIndex._parameter_constraints,
        "kind": [StrOptions(set(_KINDS))],
        "n_lists": [whole(), StrOptions({"auto"})],
        "n_probe": [whole(), StrOptions({"auto"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        kind: Literal[
            "flat", "scalar_quantized", "inverted_file", "quantized_inverted_file"
        ] = "flat",
        *,
        n_lists: int | Literal["auto"] = "auto",
        n_probe: int | Literal["auto"] = "auto",
        random_state: RandomState = 0,
        verbose: bool = False,
    ) -> None:
        self.kind = kind
        self.n_lists = n_lists
        self.n_probe = n_probe
        self.random_state = random_state
        self.verbose = verbose

    def _build(self, rows, largest):
        faiss = _import_faiss()
        lists = None
        if self.kind.endswith("inverted_file"):
            lists = list_count(self.n_lists, len(rows))
        index = faiss.index_factory(
            rows.shape[1], _KINDS[self.kind].format(lists), faiss.METRIC_INNER_PRODUCT
        )
        with _threads_of_torch(faiss):
            self._train(index, rows, largest, lists)
            for _, chunk in read_chunks(rows, self._chunk_rows(rows), self.verbose):
                index.add((chunk / largest).float().cpu().numpy())
        self.index_ = index
        self.n_lists_ = lists
        self.scale_ = largest
        self.n_trained_ = len(rows)

    def _add(self, behind, ids, largest):
        faiss = _import_faiss()
        if self.kind != "flat" and (ids[-1] >= 2 * self.n_trained_ or largest > self.scale_):
            return False  # lists and ranges were learnt from other rows
        with _threads_of_torch(faiss):
            for start, chunk in read_chunks(behind, self._chunk_rows(behind), self.verbose):
                numbers = (chunk / self.scale_).float().cpu().numpy()
                if self.n_lists_ is None:
                    self.index_.add(numbers)
                else:
                    self.index_.add_with_ids(numbers, ids[start : start + len(chunk)])
        return True

    def _remove(self, ids):
        faiss = _import_faiss()
        self.index_.remove_ids(faiss.IDSelectorBatch(np.ascontiguousarray(ids)))
        return True

    @property
    def _keeps_ids(self):
        return self.n_lists_ is not None  # other kinds number what is left anew

    def _described(self):
        names = ("n_lists_", "scale_", "n_trained_")
        content = _import_faiss().serialize_index(self.index_)
        return {name: getattr(self, name) for name in names}, content

    def _restore(self, description, content):
        vars(self).update(description)
        self.index_ = _import_faiss().deserialize_index(content)

    def _probes(self):
        if self.n_probe == "auto":
            return ceil(self.n_lists_ / 8)
        return min(self.n_probe, self.n_lists_)

    def _train(self, index, rows, largest, lists):
        if index.is_trained:
            return
        n_sample = _LEARNT_QUANTISED
        random = check_random_state(self.random_state)
        if lists:
            n_sample = _LEARNT_PER_LIST * lists
            index.cp.seed = random.randint(2**31 - 1)
            index.cp.min_points_per_centroid = 1  # otherwise FAISS warns on stderr
        sample = np.arange(len(rows))
        if n_sample < len(rows):
            sample = np.sort(random.choice(len(rows), n_sample, replace=False))
        sample = copy_vectors(rows, sample)
        sample /= largest
        index.train(sample.astype(np.float32, copy=False))

    def _found(self, directions, k):
        faiss = _import_faiss()
        n_found = with_spare(k, len(self.rows_))
        queries = directions.astype(np.float32)
        with _threads_of_torch(faiss):
            if self.n_lists_ is None:
                return _both_signs(self.index_, queries, n_found)
            found = np.empty((len(queries), 2 * n_found), np.int64)
            n_probe = self._probes()
            unfinished = np.arange(len(queries))
            while len(unfinished):
                search = faiss.SearchParametersIVF(nprobe=n_probe)
                found[unfinished] = _both_signs(self.index_, queries[unfinished], n_found, search)
                unfinished = unfinished[(found[unfinished] >= 0).sum(1) < k]
                n_probe = min(2 * n_probe, self.n_lists_)  # all lists hold all rows: the loop ends
        return found


def _both_signs(index, queries, n, params=None):
    """Find the n rows with the largest and the n with the smallest products.

    Returns
    -------
    ndarray of shape (n_queries, 2 n), int64
        Row numbers, ascending; -1 if there are fewer, and in place of a row's second appearance.
    """
    found = [index.search(sign * queries, n, params=params)[1] for sign in (1, -1)]
    return without_repeats(np.concatenate(found, axis=1))


def without_repeats(found):
    """Sort row numbers (n_queries, n), with -1 in place of a row's second appearance."""
    found = np.sort(found, axis=1)
    found[:, 1:][found[:, 1:] == found[:, :-1]] = -1
    return found


def list_count(n_lists, n_rows):
    """Return the number of lists of an inverted file of some rows; see :class:`FaissIndex`."""
    if n_lists == "auto":
        return max(1, min(isqrt(n_rows), n_rows // _LEAST_ROWS_PER_LIST))
    if n_lists > n_rows:
        raise ValueError(f"n_lists must be at most the number of rows, {n_rows}; got {n_lists}")
    return int(n_lists)


def _import_faiss():
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "FaissIndex needs the package faiss: pip install sklearn-provenance[faiss]"
        ) from error
    return faiss


@contextmanager
def _threads_of_torch(faiss):
    """Let FAISS use the threads that torch uses, and leave its setting as it was.

    Both bring OpenMP. If torch was imported first, they may share one runtime and one setting;
    otherwise FAISS has its own setting and would use all cores.
    """
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(torch.get_num_threads())
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
