"""The exact scan by workers of a Dask cluster, each of which searches pieces of the rows."""

import copy

import numpy as np

from .._utils.cluster import Cluster
from .._utils.pieces import RowPieces, read_piece
from ._rows import chunk_size, largest_norm


def norm_by_workers(client, rows, verbose):
    """Return the length of the longest row, as :func:`largest_norm`."""
    cluster = Cluster(client, "the norms of rows")
    pieces = RowPieces(rows)
    shared = cluster.shared(pieces.file)
    norms = cluster.in_order(_norm_of_piece, shared, pieces, len(pieces), verbose)
    return max(norms)


def _norm_of_piece(file, start, piece):
    rows = read_piece(file, piece)
    return largest_norm(rows, chunk_size(rows), first=start)


def search_by_workers(client, index, queries, k):
    """Find k rows for each query, as ``index._find`` does.

    The products that rank rows are sums in double precision whose order depends on the number of
    features only. They are the same in every piece, and so are the k best of all pieces.
    """
    cluster = Cluster(client, "the exact scan")
    pieces = RowPieces(index.rows_)
    searcher = copy.copy(index)
    searcher.verbose = False
    del searcher.rows_
    shared = cluster.shared(pieces.file, searcher, queries)
    indices = np.empty((len(queries), 0), np.int64)
    products = np.empty((len(queries), 0))
    arguments = ((start, piece, k) for start, piece in pieces)
    found = cluster.in_order(_search_piece, shared, arguments, len(pieces), index.verbose)
    for of_piece, values in found:
        indices = np.concatenate([indices, of_piece], 1)
        products = np.concatenate([products, values], 1)
        # Pieces come in the order of rows: of equal products the lowest number stays first.
        order = np.argsort(-np.abs(products), axis=1, kind="stable")[:, :k]
        indices = np.take_along_axis(indices, order, 1)
        products = np.take_along_axis(products, order, 1)
    return indices, products


def _search_piece(file, searcher, queries, start, piece, k):
    """Search a piece; workers must not ask for workers, so this is the scan of one machine."""
    part = copy.copy(searcher)
    part.rows_ = read_piece(file, piece)
    indices, products = part._find(queries, min(k, len(part.rows_)))
    return indices + start, products
