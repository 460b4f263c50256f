"""One subset for many queries, of rows in shards that different machines hold.

The selection is that of :mod:`._coreset` from features. A shard has the covariances c of its rows
with the queries and the diagonal G_xx. Whoever asks holds the directions d of the rows that were
picked, d = S_A^-1 φ_x / sqrt(σ² + v_x), and tells each shard the last one and c_x / sqrt(σ² + v_x)
of every query. In each round a shard answers with its best rows and nothing else.
"""

from typing import NamedTuple

import torch

from ._selection import NOTHING, TIE

# Numbers of features that are held in double precision at a time: 8 MB.
_NUMBERS = 2**20


class ShardState(NamedTuple):
    """What a shard knows of its rows, given the picks so far. It is never changed.

    Parameters
    ----------
    covariance : Tensor of shape (n_queries, n_rows)
        c.
    diagonal : Tensor of shape (n_rows,)
        G_xx = σ² + v_x.
    """

    covariance: torch.Tensor
    diagonal: torch.Tensor


class Leaders(NamedTuple):
    """The rows of a shard that may be the first with the best score of all shards.

    Parameters
    ----------
    best : float
        Largest score of the shard; -inf where no row may be picked.
    rows : list of int
        Rows that tie with it, ascending, each with a larger score than those before it.
    scores : list of float
        Their scores.
    first : int
        The first row that may be picked; -1 where there is none.
    """

    best: float
    rows: list
    scores: list
    first: int


def shard_state(features, queries, noise_variance):
    """Begin: covariances and variances of the rows (n_rows, n_features) of a shard."""
    covariance = queries.new_empty(len(queries), len(features))
    diagonal = queries.new_empty(len(features))
    for rows, block in _blocks(features):
        covariance[:, rows] = queries @ block.mT
        diagonal[rows] = block.square().sum(1) + noise_variance
    return ShardState(covariance, diagonal)


def conditioned(state, features, direction, at_pick, noise_variance):
    """Condition a shard on a pick: its direction (n_features,) and c / sqrt(G_xx) (n_queries,)."""
    scaled = torch.empty_like(state.diagonal)  # l
    for rows, block in _blocks(features):
        scaled[rows] = block @ direction
    covariance = state.covariance.addcmul(at_pick[:, None], scaled, value=-1)
    # Rounding may lower σ² + v below σ²: the bound is known, so the entry is set to it.
    diagonal = state.diagonal.addcmul(scaled, scaled, value=-1).clamp_(min=noise_variance)
    return ShardState(covariance, diagonal)


def leaders(state, divide, free, taken):
    """Find the rows of a shard that may be picked next.

    Parameters
    ----------
    state : ShardState
        The shard.
    divide : bool
        Whether to rank by Σ c² / G_xx, or by Σ c².
    free : Tensor of shape (n_rows,), bool
        Rows that may be picked at all.
    taken : list of int
        Rows that are picked already.

    Returns
    -------
    Leaders
        Rows counted in the shard.
    """
    score = state.covariance.square().sum(0)  # (n_rows,)
    if divide:
        score /= state.diagonal
    score[~free] = -torch.inf
    score[taken] = -torch.inf
    best = score.max().item()
    if best == -torch.inf:
        return Leaders(best, [], [], -1)
    near = (score >= best * (1 - TIE)).nonzero()[:, 0]
    values = score[near]
    records = torch.ones_like(near, dtype=torch.bool)
    records[1:] = values[1:] > values.cummax(0).values[:-1]
    first = int((score > -torch.inf).int().argmax())
    return Leaders(best, near[records].tolist(), values[records].tolist(), first)


class RoundsOfPicks:
    """Greedy selection whose rows lie in shards; :meth:`pick` asks all shards in each round.

    Parameters
    ----------
    queries : Tensor of shape (n_queries, n_features)
        φ_*.
    noise_variance : float
        σ².
    row_features : callable
        ``row_features(row)`` gives φ (n_features,) of one row.
    free : Tensor of shape (n_rows,), bool
        Rows that may be picked.
    copies : Tensor of shape (n_rows,), default=None
        The first row that each row is a copy of; of copies the first that is free is picked.
    quotas : tuple of (labels, counts), default=None
        Label of each row, and how many rows of each label may be picked.
    """

    def __init__(self, queries, noise_variance, row_features, free, copies=None, quotas=None):
        self.queries = queries
        self.noise_variance = noise_variance
        self.row_features = row_features
        self.free = free.clone()
        self.copies = copies
        self.labels = None
        if quotas is not None:
            self.labels, counts = quotas
            self.left = counts.clone()
            self.free &= self.left[self.labels] > 0

    def pick(self, shards, k):
        """Pick k rows.

        Parameters
        ----------
        shards : object
            ``shards.leaders(full)`` gives Leaders of all rows, shard by shard, where rows of the
            labels in ``full`` may not be picked any longer; ``shards.condition(row, direction,
            at_pick)`` tells the shards of a pick.
        k : int
            Rows to pick.

        Returns
        -------
        picks : Tensor of shape (k,), int64
            Rows in order; -1 where none is left.
        changes : Tensor of shape (k,)
            By how much the sum of the queries' variances falls with each; nan where none is left.
        """
        picks = torch.full((k,), -1, dtype=torch.int64)
        changes = self.queries.new_full((k,), torch.nan)
        directions = self.queries.new_empty(k, self.queries.shape[1])
        nothing = None
        for done in range(k):
            found = shards.leaders(self._full())
            best = max(one.best for one in found)
            if best == -torch.inf:
                break
            if nothing is None:
                nothing = NOTHING * max(best, 0.0)
            row = self._first_copy(_first_best(found, best, nothing))
            point = self.row_features(row)
            before = directions[:done]
            solved = point - (before @ point) @ before  # S_A^-1 φ_x
            root = (self.noise_variance + (point @ solved).clamp(min=0)).sqrt()
            directions[done] = solved / root
            at_pick = (self.queries @ solved) / root
            picks[done] = row
            changes[done] = at_pick.square().sum()
            self.free[row] = False
            if self.labels is not None:
                self.left[self.labels[row]] -= 1
            if done + 1 < k:
                shards.condition(row, directions[done], at_pick)
        return picks, changes

    def _full(self):
        """List the labels of which no more rows may be picked."""
        if self.labels is None:
            return []
        return (self.left <= 0).nonzero()[:, 0].tolist()

    def _first_copy(self, row):
        """Replace a row by the first of its copies that may be picked."""
        if self.copies is None:
            return row
        same = (self.copies == self.copies[row]) & self.free
        return int(same.int().argmax())


def _first_best(found, best, nothing):
    """Return the first row of all shards that ties with the best."""
    if best <= nothing:  # scores may be rounding alone: then all rows tie
        return next(one.first for one in found if one.first >= 0)
    threshold = best * (1 - TIE)
    return next(
        row
        for one in found
        for row, score in zip(one.rows, one.scores, strict=True)
        if score >= threshold
    )


def _blocks(features):
    """Yield slices of rows, and their features in double precision."""
    step = max(1, _NUMBERS // features.shape[1])
    for start in range(0, len(features), step):
        rows = slice(start, min(start + step, len(features)))
        yield rows, torch.tensor(features[rows], dtype=torch.float64)
