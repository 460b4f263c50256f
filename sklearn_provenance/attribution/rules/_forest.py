"""The weight that each training row has in the prediction of a forest.

Shapes in comments: q queries, n training rows, T trees, L leaves of all trees.
"""

from itertools import pairwise

import numpy as np
import torch
from scipy.sparse import csr_matrix

from ..._utils.budget import block_bytes
from ...information._ranking import largest
from ._base import Rule

# A leaf that has lost this share of its weight has lost all of it: what is left is rounding.
_ALL = 1 - 1e-12
# Bytes of the votes of some queries that are looked at together.
_BLOCK = 2**26


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
        """Return scores as they are; copies of a row do not tie if different trees drew them."""
        return scores

    def scores(self, queries, rows=None, own=None):
        """Return the weights of rows."""
        weights = torch.as_tensor(self.weights(queries, own).toarray())
        return weights if rows is None else weights[:, rows]

    def pick(self, queries, k, rows=None, own=None):
        """Pick k rows for each query, and only rows that have weight in its prediction."""
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
            entries = slice(start, stop)  # of this query in the sparse matrix
            ranked = largest(torch.as_tensor(weights.data[None, entries]), k)
            places, values[query], n_tied[query] = (part[0] for part in ranked)
            columns = torch.as_tensor(weights.indices[entries], dtype=torch.int64)
            picks[query] = torch.where(places >= 0, columns[places], -1)
        if rows is not None and len(rows):  # from places among the candidates to row numbers
            picks = torch.where(picks >= 0, torch.as_tensor(rows)[picks], -1)
        return picks, values, n_tied

    def weights(self, queries, own=None):
        """Compute the weights of all rows.

        Parameters
        ----------
        queries : ForestPoints
            Queries in their T leaves.
        own : Tensor of shape (q,), default=None
            Training row that each query is. It gets no weight. Trees that drew it do not vote.
            Where trees have no bags, its share in a leaf goes to the other rows of the leaf, and a
            leaf without other rows does not vote.

        Returns
        -------
        csr matrix of shape (q, n)
            Weights, which add up to one; all zero where no tree votes.
        """
        votes = queries.votes()
        if own is None:
            return mean_of(votes, self.shares)
        own = np.asarray(own)
        own_shares = self.shares.T.tocsr()[own]  # (q, L)
        # A row has shares only in leaves that it falls into, and each of these has a vote of 1. So
        # the sum holds, for each vote, 1 and the share that the leaf loses with the row.
        votes = csr_matrix(votes + own_shares)
        lost = votes.data - 1
        if self.bootstrap:
            votes.data = (lost == 0).astype(float)  # the row is out of the bag of these trees
        else:
            votes.data = gain(lost)
        weights = mean_of(votes, self.shares)
        weights.data[weights.indices == own[rows_of(weights)]] = 0
        weights.eliminate_zeros()
        return weights

    def outputs_without(self, queries, rows, targets):
        """Average targets (n, n_outputs) without some rows; nan where no leaf has others.

        The weights of rows, which may be as many numbers as q times n, are not written out.
        """
        kept = np.ones(self.shares.shape[1])
        kept[rows] = 0
        growth = gain(self.shares @ (1 - kept))  # (L,)
        sums = self.shares @ (kept[:, None] * targets)  # (L, n_outputs), of the leaves' other rows
        outputs = np.empty((len(queries), targets.shape[1]))
        n_trees = queries.leaves.shape[1]
        step = max(1, block_bytes(_BLOCK) // (32 * n_trees))  # of votes and of what they become
        for start in range(0, len(queries), step):
            part = torch.arange(start, min(start + step, len(queries)))
            votes = queries.take(part).votes()
            votes.data = growth[votes.indices]
            votes = mean_votes(votes)
            block = votes @ sums
            block[np.diff(votes.indptr) == 0] = np.nan
            outputs[part.numpy()] = block
        return outputs


def mean_of(votes, shares):
    """Average shares (q, n) over the leaves that vote; votes of zero do not count."""
    return csr_matrix(mean_votes(votes) @ shares)


def mean_votes(votes):
    """Divide votes (q, L) by how many of a query are not zero, which alone are left."""
    votes = csr_matrix(votes)
    votes.eliminate_zeros()
    n_votes = np.diff(votes.indptr)
    votes.data /= n_votes[rows_of(votes)]
    return votes


def gain(lost):
    """Compute the factor by which the shares of a leaf grow after a loss; 0 where all is lost."""
    rest = 1 - lost
    return np.divide(1, rest, out=np.zeros_like(rest), where=lost < _ALL)


def rows_of(matrix):
    """List the row of each entry of a csr matrix."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
