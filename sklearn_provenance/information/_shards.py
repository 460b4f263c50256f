"""What a shard of rows answers in a greedy selection whose rows different machines hold.

The selection is that of :mod:`._selection`, with G = σ² I + s Ψ Ψ^T. A shard has the features Φ of
its rows, and in a :class:`ShardState` the covariances c of the rows and the diagonal G_xx. Whoever
asks (:mod:`._sharded`) holds the directions of the rows that were picked, and tells each shard the
last one. In each round a shard answers with the rows that may be the best of all, and nothing else.

Shapes in comments: B selections, Q queries that each of them serves.
"""

from typing import NamedTuple

import torch

from .._utils.budget import block_numbers
from ._selection import tie_with

# Numbers of features that are held in double precision at a time: 8 MB.
NUMBERS = 2**20


class ShardRule:
    """The matrix G of which all shards have a part.

    Parameters
    ----------
    noise_variance : float
        σ².
    root : Tensor of shape (n_features, n_features), default=None
        Upper triangular R with R^T R = I + σ^-2 Φ^T Φ of all rows. Rows are then removed from all,
        with G = σ² I - Ψ Ψ^T and Ψ = Φ R^-1. None adds rows to none, with Ψ = Φ.
    divide : bool, default=True
        Whether to rank by Σ c² / G_xx, or by Σ c².
    """

    def __init__(self, noise_variance, root=None, divide=True):
        self.noise_variance = noise_variance
        self.root = root
        self.divide = divide
        self.sign = 1 if root is None else -1

    def coordinates(self, features):
        """Compute ψ (n, n_features) of features (n, n_features)."""
        if self.root is None:
            return features
        return torch.linalg.solve_triangular(self.root, features, upper=True, left=False)

    def weights(self, directions):
        """Compute w (n, n_features), for which φ·w = ψ·d, of directions d (n, n_features)."""
        if self.root is None:
            return directions
        return torch.linalg.solve_triangular(self.root, directions.mT, upper=True).mT

    def floor(self, features):
        """Compute the bound (n,) of G_xx, which no selection passes in exact arithmetic."""
        noise_variance = self.noise_variance
        if self.root is None:
            return features.new_full((len(features),), noise_variance)
        return noise_variance * (noise_variance / (noise_variance + features.square().sum(1)))

    def diagonal(self, products, floor):
        """Compute G_xx (n,) from products ψ·S^-1 ψ of rows, and its bounds."""
        # Rounding may pass the bound: it is known, so the entry is set to it.
        return torch.maximum(self.noise_variance + self.sign * products, floor)


class ShardState(NamedTuple):
    """What a shard knows of its rows, given the picks so far. It is never changed.

    Parameters
    ----------
    covariance : Tensor of shape (B, Q, n_rows)
        c.
    diagonal : Tensor of shape (B, n_rows), or (1, n_rows) before the first pick
        G_xx.
    floor : Tensor of shape (n_rows,)
        Bound of G_xx.
    """

    covariance: torch.Tensor
    diagonal: torch.Tensor
    floor: torch.Tensor


class Leaders(NamedTuple):
    """Rows of a shard that may be the first with the best score of all shards.

    Parameters
    ----------
    best : Tensor of shape (B,)
        Largest score of each selection; -inf where no row may be picked.
    first : Tensor of shape (B,)
        The first row that may be picked; -1 where there is none.
    selections, rows : Tensor of shape (m,)
        Rows that tie with the best of a selection, each with a larger score than those before it;
        selections and, in each, rows ascend.
    scores : Tensor of shape (m,)
        Their scores.
    """

    best: torch.Tensor
    first: torch.Tensor
    selections: torch.Tensor
    rows: torch.Tensor
    scores: torch.Tensor


def shard_state(rule, features, queries, roots=None):
    """Begin with rows (n_rows, n_features), and the weights (B, Q, n_features) of queries.

    ``roots`` (n_rows,) are what features of rows are multiplied by; None stands for 1.
    """
    flat = queries.flatten(0, 1)  # (B Q, n_features)
    covariance = queries.new_empty(len(flat), len(features))
    diagonal = queries.new_empty(1, len(features))
    floor = queries.new_empty(len(features))
    for rows, block in blocks_of(features, roots):
        covariance[:, rows] = flat @ block.mT
        floor[rows] = rule.floor(block)
        squares = rule.coordinates(block).square().sum(1)
        diagonal[0, rows] = rule.diagonal(squares, floor[rows])
    return ShardState(covariance.unflatten(0, queries.shape[:2]), diagonal, floor)


def column_of(features, weights, roots=None):
    """Compute l = g / sqrt(G_xx) (B, n_rows) of features, from weights (B, n_features)."""
    scaled = weights.new_empty(len(weights), len(features))
    for rows, block in blocks_of(features, roots):
        scaled[:, rows] = weights @ block.mT
    return scaled


def conditioned(state, scaled, at_pick, in_place=False):
    """Condition a shard on one pick of each selection.

    Parameters
    ----------
    state : ShardState
        The shard.
    scaled : Tensor of shape (B, n_rows)
        l = g / sqrt(G_xx), with the column g of the pick.
    at_pick : Tensor of shape (B, Q)
        c / sqrt(G_xx) of the pick.
    in_place : bool, default=False
        Whether the tensors of the state may be overwritten.

    Returns
    -------
    ShardState
        A new one, or the same.
    """
    out = state[:2] if in_place else (None, None)
    products = at_pick[:, :, None], scaled[:, None]
    covariance = torch.addcmul(state.covariance, *products, value=-1, out=out[0])
    diagonal = torch.addcmul(state.diagonal, scaled, scaled, value=-1, out=out[1])
    # Rounding may pass the bound: it is known, so the entry is set to it.
    diagonal = torch.maximum(diagonal, state.floor, out=out[1])
    return ShardState(covariance, diagonal, state.floor)


def leaders(score, slack=0.0):
    """Find the rows of a shard that may be picked next.

    Parameters
    ----------
    score : Tensor of shape (B, n_rows)
        Scores; -inf where a row may not be picked.
    slack : float or Tensor of shape (B,), default=0.0
        How large a score may be from rounding alone.

    Returns
    -------
    Leaders
        Rows counted in the shard.
    """
    best = score.amax(1)
    allowed = score > -torch.inf
    first = torch.where(allowed.any(1), allowed.int().argmax(1), -1)
    near = allowed & (score >= tie_with(best, slack)[:, None])
    selections, rows = near.nonzero(as_tuple=True)
    scores = score[selections, rows]
    records = torch.ones_like(rows, dtype=torch.bool)
    start = 0
    for of_selection in scores.split(near.sum(1).tolist()):
        stop = start + len(of_selection)
        before = of_selection.cummax(0).values[:-1]
        records[start + 1 : stop] = of_selection[1:] > before
        start = stop
    return Leaders(best, first, selections[records], rows[records], scores[records])


def count_at_least(score, thresholds):
    """Count the rows (B,) whose scores (B, n_rows) reach thresholds (B,)."""
    return (score >= thresholds[:, None]).sum(1)


def taken_of(excluded, start, stop):
    """Find which of the rows (B, t) that selections may not pick are in a shard from start to stop.

    Returns
    -------
    selections, rows : Tensor of shape (m,)
        Rows counted in the shard.
    """
    inside = (excluded >= start) & (excluded < stop)
    return inside.nonzero(as_tuple=True)[0], excluded[inside] - start


def shard_scores(rule, state, free, taken):
    """Compute scores (B, n_rows) of the rows of a shard; -inf where a row may not be picked.

    Parameters
    ----------
    rule : ShardRule
        How rows are ranked.
    state : ShardState
        The shard.
    free : Free
        Rows of the shard that each selection may pick at all.
    taken : tuple of Tensor of shape (m,)
        Selections, and the rows that each of these may not pick any more, see :func:`taken_of`.
    """
    score = state.covariance.square().sum(1)
    if rule.divide:
        score /= state.diagonal
    return barred(score, free, taken)


def barred(score, free, taken):
    """Set scores (B, n_rows) of rows to -inf that may not be picked; see :func:`shard_scores`."""
    free.bar(score)
    score[taken] = -torch.inf
    return score


def blocks_of(features, roots=None):
    """Yield slices of rows, and their features in double precision, times ``roots`` (n_rows,)."""
    step = max(1, block_numbers(NUMBERS) // features.shape[1])
    for start in range(0, len(features), step):
        rows = slice(start, min(start + step, len(features)))
        block = torch.tensor(features[rows], dtype=torch.float64)
        if roots is not None:
            block *= roots[rows, None]
        yield rows, block
