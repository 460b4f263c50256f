"""Greedy selection from rows in shards: who asks them, and learns their answers.

:mod:`._shards` says what a shard knows. Here are the directions d = S^-1 ψ_x / sqrt(G_xx) of the
rows that were picked, of which a shard hears the last: l = s Ψ d is its part of the column of G.
Picks are those of :class:`._systems.FeatureSystem`, whatever the shards: scores that agree to 1e-10
tie everywhere, and the lowest row wins. Shapes are those of :mod:`._shards`.

Where rows are removed until no more are left than features, and σ² is tiny beside k_xx, d is about
sqrt(k_xx) / σ times as long as ψ, and products ψ·d lose as many digits: with σ² = 1e-7 k_xx, nats
of those last picks err by some 1e-6, where a Cholesky factor of G among the picks, which takes k²
numbers for each selection, errs by 1e-8. Nats of all picks before have an error of 1e-10, as there.
"""

import torch

from ._candidates import CopyTable, Free
from ._selection import NOTHING, score_scale, tie_with
from ._systems import nats_of_removals
from ._validation import nats_of
from ._weight_space import path_reductions

# Bytes of a shard for each selection and row: one covariance and the diagonal.
STATE_BYTES = 16
# More than any row number.
_NO_ROW = torch.iinfo(torch.int64).max


class ShardedSystem:
    """Rows in shards, which are asked in rounds.

    Parameters
    ----------
    rule : ShardRule
        How rows are ranked.
    shards : object
        The shards, in the order of their rows:

        - ``begin(queries, free, labels)`` makes a state of each from weights (B, Q, n_features),
          :class:`._candidates.Free` rows and labels (n_rows,) or None,
        - ``leaders(excluded, full)`` gives Leaders of each, with numbers of all rows, where rows
          ``excluded`` (B, t) may not be picked and none of labels in the list ``full``,
        - ``count(excluded, thresholds)`` counts rows of all shards by :func:`count_at_least`,
        - ``condition(weights, at_pick)`` tells each of picks: weights (B, n_features) of the column
          l, and c / sqrt(G_xx) (B, Q), see :func:`conditioned`.
    row_features : callable
        ``row_features(rows)`` gives φ (n, n_features) of some rows (n,).
    n_rows : int
        Number of all rows.
    copies : Tensor of shape (n_rows,), default=None
        The first row that each row is a copy of; of copies the first that is free is picked.
    """

    def __init__(self, rule, shards, row_features, n_rows, copies=None):
        self.rule = rule
        self.shards = shards
        self.row_features = row_features
        self.n_rows = n_rows
        self.copies = None if copies is None else CopyTable(copies)

    def pick(self, queries, k, candidates=None, own=None, memory_limit=2**30):
        """Pick k rows for each query (n_queries, n_features); see :meth:`GreedySystem.pick`.

        ``candidates`` is a mask (n_rows,) for all queries, :class:`._candidates.SameClass`, or
        None. States of shards may take ``memory_limit`` bytes together.
        """
        free = Free.of(candidates, self.n_rows, queries.device)
        n_picks = min(k, free.most())
        picks = queries.new_full((len(queries), k), -1, dtype=torch.int64)
        nats = queries.new_full((len(queries), k), torch.nan)
        n_tied = picks.new_zeros(len(queries))
        step = max(1, int(memory_limit // (STATE_BYTES * max(1, self.n_rows))))
        for start in range(0, len(queries), step):
            block = slice(start, start + step)
            own_rows = None if own is None else own[block]
            asked = queries[block, None], n_picks, free.queries(block), own_rows
            rows, gains, tied = _Rounds(self, *asked).run()
            picks[block, :n_picks] = rows
            nats[block, :n_picks] = self._nats(queries[block], rows, gains, own_rows)
            if n_picks == k:
                n_tied[block] = tied
        return picks, nats, n_tied

    def pick_together(self, queries, k, candidates=None, quotas=None):
        """Pick k rows for all queries (n_queries, n_features); see :func:`greedy_coreset`."""
        free = Free.of(candidates, self.n_rows, queries.device)
        n_picks = min(k, free.most())
        rows, changes, _ = _Rounds(self, queries[None], n_picks, free, None, quotas).run()
        missing = (0, k - n_picks)
        picks = torch.nn.functional.pad(rows[0], missing, value=-1)
        return picks, torch.nn.functional.pad(changes[0], missing, value=torch.nan)

    def features_of(self, rows):
        """Read φ (*shape, n_features) of rows (*shape); 0 in place of row -1."""
        distinct, places = rows.clamp(min=0).unique(return_inverse=True)
        return self.row_features(distinct)[places].masked_fill_((rows < 0)[..., None], 0.0)

    def _nats(self, queries, picks, gains, own):
        """Compute the nats of each pick (n_queries, k) after those before it."""
        rule = self.rule
        if rule.root is None:
            # From an orthonormal basis of the picks, which is more accurate than the recurrence.
            distinct, places = picks.clamp(min=0).unique(return_inverse=True)
            features = self.row_features(distinct)
            places = torch.where(picks >= 0, places, -1)
            reductions, after = path_reductions(features, queries, rule.noise_variance, places)
            return nats_of(reductions, after).masked_fill(picks < 0, torch.nan)
        variance = rule.coordinates(queries).square().sum(1)
        if own is not None:
            features = self.features_of(own)
            squares = rule.coordinates(features).square().sum(1)
            variance = variance * (
                rule.noise_variance / rule.diagonal(squares, rule.floor(features))
            )
        return nats_of_removals(gains, variance)


class Directions:
    """The directions d of the rows that each selection has picked.

    Parameters
    ----------
    rule : ShardRule
        How rows are ranked.
    queries : Tensor of shape (B, Q, n_features)
        ψ_* of the queries that each selection serves.
    n_picks : int
        Most rows that will be picked.
    """

    def __init__(self, rule, queries, n_picks):
        self.rule = rule
        self.queries = queries
        shape = (len(queries), n_picks, queries.shape[2])
        self._kept = queries.new_empty(shape)
        self.n_done = 0

    def along(self, features):
        """Compute ψ·d (B, t) of rows (B, n_features), one of each selection, with each d so far."""
        start = self.rule.coordinates(features)
        return (start[:, None] @ self._kept[:, : self.n_done].mT)[:, 0]

    def add(self, features):
        """Condition on rows (B, n_features), one of each selection.

        Returns
        -------
        weights : Tensor of shape (B, n_features)
            What makes l = g / sqrt(G_xx) of features, with the column g of the pick.
        at_pick : Tensor of shape (B, Q)
            c / sqrt(G_xx) of the pick.
        root : Tensor of shape (B, 1)
            sqrt(G_xx).
        """
        rule = self.rule
        start = rule.coordinates(features)
        before = self._kept[:, : self.n_done]  # (B, t, n_features)
        along = (start[:, None] @ before.mT) @ before  # (B, 1, n_features)
        point = start - rule.sign * along[:, 0]  # S^-1 ψ_x
        root = rule.diagonal((start * point).sum(1), rule.floor(features)).sqrt()[:, None]
        direction = point / root
        self._kept[:, self.n_done] = direction
        self.n_done += 1
        at_pick = (self.queries @ direction[:, :, None])[:, :, 0]
        return rule.sign * rule.weights(direction), at_pick, root


class _Rounds:
    """The rounds of some selections.

    Parameters
    ----------
    system : ShardedSystem
        The rows.
    queries : Tensor of shape (B, Q, n_features)
        φ_* of the queries that each selection serves.
    n_picks : int
        Rows to pick for each.
    free : Free
        Rows that each may pick.
    own : Tensor of shape (B,), default=None
        The row that the query of each selection is. It is not picked; where rows are removed, it
        goes first.
    quotas : tuple of (labels, counts), default=None
        Label of each row, and how many rows of each label may be picked; for one selection.
    """

    def __init__(self, system, queries, n_picks, free, own=None, quotas=None):
        self.system = system
        self.rule = system.rule
        self.n_picks = n_picks
        self.free = free
        self.own = own
        self.excluded = queries.new_empty(len(queries), 0, dtype=torch.int64)
        if own is not None:
            self.excluded = own[:, None]
        self.withholds = own is not None and self.rule.sign < 0
        if self.withholds:
            # What is asked of a row is its own features, whatever its query was measured at.
            queries = system.features_of(own)[:, None]
        flat = self.rule.coordinates(queries.flatten(0, 1))
        self.queries = flat.unflatten(0, queries.shape[:2])  # (B, Q, n_features): ψ_*
        self.directions = Directions(self.rule, self.queries, n_picks + self.withholds)
        self.labels = None
        if quotas is not None:
            self.labels, counts = quotas
            self.left = counts.clone()

    def run(self):
        """Pick; return picks and Σ c² / G_xx of each (B, n_picks), and the rows that tie (B,)."""
        shards = self.system.shards
        n_selections = len(self.queries)
        picks = self.queries.new_full((n_selections, self.n_picks), -1, dtype=torch.int64)
        gains = self.queries.new_full(picks.shape, torch.nan)
        n_tied = picks.new_zeros(n_selections)
        if not self.n_picks:
            return picks, gains, n_tied
        weights = self.rule.weights(self.queries.flatten(0, 1)).reshape(self.queries.shape)
        shards.begin(weights, self.free, self.labels)
        if self.withholds:
            shards.condition(*self._learn(self.own))
        variance = self.queries.square().sum((1, 2))
        nothing = NOTHING * score_scale(variance, self.rule.noise_variance, self.rule.divide)
        for done in range(self.n_picks):
            found = shards.leaders(self.excluded, self._full())
            best = torch.stack([one.best for one in found]).amax(0)  # (B,)
            if not done:
                nothing = torch.maximum(nothing, NOTHING * best)
            if not (best > -torch.inf).any():
                break
            # Scores far below the first one may be rounding alone: then all rows tie.
            thresholds = torch.where(best > nothing, tie_with(best), 0.0)
            pick = self._first_copies(first_of_shards(found, thresholds, best > nothing))
            if done + 1 == self.n_picks:
                n_tied = (shards.count(self.excluded, thresholds) - 1).clamp(min=0)
            weights, at_pick = self._learn(pick)
            picks[:, done] = pick
            gains[:, done] = at_pick.square().sum(1).masked_fill(pick < 0, torch.nan)
            self.excluded = torch.cat([self.excluded, pick[:, None]], 1)
            if self.labels is not None:
                self.left[self.labels[pick]] -= 1
            if done + 1 < self.n_picks:
                shards.condition(weights, at_pick)
        return picks, gains, n_tied

    def _learn(self, pick):
        """Condition on one row (B,) of each selection; return what shards are told."""
        weights, at_pick, _ = self.directions.add(self.system.features_of(pick))
        return weights, at_pick

    def _full(self):
        """List the labels of which no more rows may be picked."""
        if self.labels is None:
            return []
        return (self.left <= 0).nonzero()[:, 0].tolist()

    def _first_copies(self, pick):
        """Replace rows by the first of their copies that may be picked."""
        if self.system.copies is None:
            return pick
        free = self.free
        if self.labels is not None:
            free = free.less((self.left <= 0)[self.labels])
        return self.system.copies.first_free(pick, self.excluded, free)


def first_of_shards(found, thresholds, told):
    """Return the first row (B,) of all shards that reaches a threshold (B,); -1 where none may.

    Where the best score is not ``told`` (B,) from rounding, it is the first row that may be picked.
    """
    pick = torch.full_like(found[0].first, -1)
    for one in found:
        reach = one.scores >= thresholds[one.selections]
        leading = torch.full_like(pick, _NO_ROW)
        leading.scatter_reduce_(0, one.selections[reach], one.rows[reach], "amin")
        leading[leading == _NO_ROW] = -1
        here = torch.where(told, leading, one.first)
        pick = torch.where(pick < 0, here, pick)
    return pick
