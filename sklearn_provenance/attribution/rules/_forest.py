"""The share of a forest's prediction that each training row holds.

Shapes in comments: q queries, n training rows, T trees, L leaves of all trees.
"""

from itertools import pairwise

import numpy as np
import torch
from scipy.sparse import csr_matrix

from ...information._ranking import largest
from ._base import Rule

# A leaf that lost this share of its weight has lost all but rounding.
_ALL = 1 - 1e-12


class ForestRule(Rule):
    """Score rows by their weight w_i in the prediction Σ_i w_i y_i.

    The value of a leaf is a weighted mean of the targets of its rows, and a forest predicts the
    mean of the values of T leaves.

    Parameters
    ----------
    shares : csr matrix of shape (L, n)
        Share of each row in the mean of each leaf; its rows add up to one.
    bootstrap : bool
        Whether each tree has training rows that are out of its bag.
    """

    name = "Forest"
    unit = "weight in the prediction"
    needs_all_rows = True

    def __init__(self, shares, bootstrap):
        self.shares, self.bootstrap = shares, bootstrap

    def settled(self, scores, rows=None):
        """Scores as they are: copies of a row may be in the bags of other trees."""
        return scores

    def scores(self, queries, rows=None, own=None):
        """Weights of rows."""
        weights = torch.as_tensor(self.weights(queries, own).toarray())
        return weights if rows is None else weights[:, rows]

    def pick(self, queries, k, rows=None, own=None):
        """Pick k rows for each query; those without weight are no part of the prediction."""
        weights = self.weights(queries, own)
        if rows is not None:
            weights = weights[:, np.asarray(rows)]
        weights.eliminate_zeros()
        weights.sort_indices()  # of ties, the first row comes first
        shape = weights.shape[0], k
        picks = torch.full(shape, -1, dtype=torch.int64)
        values = torch.full(shape, torch.nan, dtype=torch.float64)
        n_tied = torch.zeros(len(picks), dtype=torch.int64)
        for query, (start, stop) in enumerate(pairwise(weights.indptr)):
            if start == stop:
                continue
            places, values[[query]], n_tied[[query]] = largest(
                torch.as_tensor(weights.data[None, start:stop]), k
            )
            columns = torch.as_tensor(weights.indices[start:stop], dtype=torch.int64)
            picks[query] = torch.where(places[0] >= 0, columns[places[0]], -1)
        if rows is not None and len(rows):
            picks = torch.where(picks >= 0, torch.as_tensor(rows)[picks], -1)
        return picks, values, n_tied

    def weights(self, queries, own=None):
        """Weights of all rows.

        Parameters
        ----------
        queries : ForestPoints
            Queries in their T leaves.
        own : Tensor of shape (q,), default=None
            Row that each query is, which then has no weight. Only the trees vote that it is out of
            the bag of. Where trees have no bags, its share in a leaf goes to the others there.

        Returns
        -------
        csr matrix of shape (q, n)
            Weights, which add up to one; all zero where no tree votes.
        """
        votes = queries.votes()
        if own is None:
            return mean_of(votes, self.shares)
        own = np.asarray(own)
        # A row's shares are in leaves that it votes with, so that the sum has the entries of votes.
        joined = csr_matrix(votes + self.shares.T.tocsr()[own])
        lost = joined.data - 1
        joined.data = (lost == 0).astype(float) if self.bootstrap else gain(lost)
        weights = mean_of(joined, self.shares)
        weights.data[weights.indices == own[rows_of(weights)]] = 0
        weights.eliminate_zeros()
        return weights

    def weights_without(self, queries, rows):
        """Weights (q, n) once rows are taken out of all leaves, whose means are of the others."""
        gone = np.zeros(self.shares.shape[1], dtype=bool)
        gone[rows] = True
        lost = self.shares @ gone.astype(float)  # (L,)
        votes = queries.votes()
        votes.data = gain(lost)[votes.indices]
        weights = mean_of(votes, self.shares)
        weights.data[gone[weights.indices]] = 0
        weights.eliminate_zeros()
        return weights


def mean_of(votes, shares):
    """Mean shares (q, n) over the leaves that vote; votes of zero do not count."""
    votes = csr_matrix(votes)
    votes.eliminate_zeros()
    n_votes = np.diff(votes.indptr)
    votes.data /= n_votes[rows_of(votes)]
    return csr_matrix(votes @ shares)


def gain(lost):
    """Factor by which the rest of a leaf gains where a share was lost; 0 where nothing is left."""
    rest = 1 - lost
    return np.divide(1, rest, out=np.zeros_like(rest), where=lost < _ALL)


def rows_of(matrix):
    """Row of each entry of a csr matrix."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
