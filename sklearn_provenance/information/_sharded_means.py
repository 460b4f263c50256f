"""What predictions without rows would be, from rows in shards: who asks them.

It is the recurrence of :mod:`._mean_system` with G = λ I - Ψ Ψ^T, where r takes the place of a
second c, and picks are those of :func:`._mean_selection.pick_mean` whatever the shards: scores that
agree to 1e-10 tie everywhere, and the lowest row wins. Whoever asks knows the residuals of all rows
before any goes, and follows those of the rows that are picked:

    r_j <- r_j - Σ_t l_t[j] r_t / sqrt(G_tt),   l_t[j] = -ψ_j·d_t

Shapes in comments: B selections at a time, n_models models.
"""

import torch

from ._candidates import CopyTable, Free, numbers_of
from ._mean_selection import rounding_of_falls
from ._mean_system import falls_of_sets
from ._selection import tie_with
from ._sharded import Directions, first_of_shards

# Bytes of a shard for each selection, row and model: c, r and the diagonal.
MEAN_STATE_BYTES = 24


class ModelMeans:
    """What one model knows of all rows.

    Parameters
    ----------
    rule : ShardRule
        λ and the root R of all rows.
    row_features : callable
        ``row_features(rows)`` gives φ (n, n_features) of some rows (n,), times the roots of their
        weights.
    residuals : Tensor of shape (n_rows,)
        Working residuals, times the roots of their weights.
    """

    def __init__(self, rule, row_features, residuals):
        self.rule = rule
        self.row_features = row_features
        self.residuals = residuals

    def path(self, queries, sets):
        """Compute falls with each row of sets (n_queries, k); see :meth:`MeanSystem.path`."""
        wanted, places = sets.clamp(min=0).to(queries.device).unique(return_inverse=True)
        rule = self.rule
        features = self.row_features(wanted)
        points = rule.coordinates(features)
        diagonal = rule.diagonal(points.square().sum(1), rule.floor(features))
        covariance = rule.coordinates(queries) @ points.mT

        def gram(at):
            part = rule.sign * (points[at] @ points[at].mT)
            part.diagonal().copy_(diagonal[at])
            return part

        return falls_of_sets(gram, covariance, self.residuals[wanted], places, sets)


class ShardedMeans:
    """Rows in shards, as several models see them.

    Parameters
    ----------
    models : list of ModelMeans
        What is known of all rows.
    shards : object
        The shards, in the order of their rows:

        - ``begin(queries, free)`` makes a state of each from weights (B, n_features) for each
          model, and :class:`._candidates.Free` rows,
        - ``condition(told)`` tells each of picks, for each model: weights (B, n_features) of the
          column l, and c and r over sqrt(G_xx) (B, 2),
        - ``gains()`` gives falls (B, n_rows) without each row alone, summed over models,
        - ``leaders(excluded, sign, slack)`` gives Leaders by these times ``sign``, with numbers of
          all rows, where rows ``excluded`` (B, t) may not be picked and falls of ``slack`` (B,) may
          be rounding alone,
        - ``count(excluded, thresholds, sign)`` counts rows by :func:`._shards.count_at_least`.
    n_rows : int
        Number of all rows.
    copies : Tensor of shape (n_rows,), default=None
        The first row that each row is a copy of; of copies the first that is free is picked.
    memory_limit : float, default=2**30
        Bytes that states of shards may take together.
    """

    def __init__(self, models, shards, n_rows, copies=None, memory_limit=2**30):
        self.models = models
        self.shards = shards
        self.n_rows = n_rows
        self.copies = None if copies is None else CopyTable(copies)
        size = MEAN_STATE_BYTES * max(1, n_rows) * len(models)
        self.together = max(1, int(memory_limit // size))

    def drops(self, queries, rows, own=None):
        """Compute mean falls (n_queries, m) without each of m rows alone.

        Parameters
        ----------
        queries : list of Tensor of shape (n_queries, n_features)
            φ_* for each model.
        rows : Tensor of shape (m,)
            Rows.
        own : Tensor of shape (n_queries,), default=None
            The row that each query is, which is left out before.
        """
        n_queries = len(queries[0])
        drops = queries[0].new_empty(n_queries, len(rows))
        for block in self._blocks(n_queries):
            rounds = _Removals(self, [one[block] for one in queries], 1)
            rounds.begin(Free.of(None, self.n_rows, drops.device))
            if own is not None:
                self.shards.condition(rounds.learn(own[block])[0])
            drops[block] = self.shards.gains()[:, rows] / len(self.models)
        return drops

    def pick(self, queries, k, sign=1, candidates=None, own=None):
        """Pick k rows for each query greedily; see :func:`._mean_selection.pick_mean`.

        ``queries`` are φ_* (n_queries, n_features) for each model. ``candidates`` may be
        :class:`._candidates.SameClass`, too, for which all queries are one selection.
        """
        if isinstance(candidates, torch.Tensor) and candidates.ndim == 2:
            return pick_by_masks(self.pick, queries, k, sign, candidates, own)
        first = queries[0]
        free = Free.of(candidates, self.n_rows, first.device)
        n_picks = min(k, free.most())
        picks = first.new_full((len(first), k), -1, dtype=torch.int64)
        falls = first.new_full((len(first), k), torch.nan)
        n_tied = picks.new_zeros(len(first))
        for block in self._blocks(len(first) if n_picks else 0):
            part = [one[block] for one in queries]
            own_rows = None if own is None else own[block]
            found = self._pick_block(part, n_picks, sign, free.queries(block), own_rows)
            picks[block, :n_picks], falls[block, :n_picks], tied = found
            if n_picks == k:
                n_tied[block] = tied
        return picks, falls, n_tied

    def _pick_block(self, queries, n_picks, sign, free, own):
        """Return picks, their falls (B, n_picks), and rows (B,) that tie with the last one."""
        rounds = _Removals(self, queries, n_picks + (own is not None))
        shards = self.shards
        rounds.begin(free)
        excluded = queries[0].new_empty(len(queries[0]), 0, dtype=torch.int64)
        if own is not None:
            excluded = own[:, None]
            shards.condition(rounds.learn(own)[0])
        n_before = excluded.shape[1]
        slack = rounds.rounding()
        falls = []
        n_tied = None
        for done in range(n_picks):
            found = shards.leaders(excluded, sign, slack)
            best = torch.stack([one.best for one in found]).amax(0)  # (B,)
            is_there = best > -torch.inf
            thresholds = tie_with(best, slack)
            pick = first_of_shards(found, thresholds, is_there)
            if self.copies is not None:
                pick = self.copies.first_free(pick, excluded, free)
            if done + 1 == n_picks:
                n_tied = shards.count(excluded, thresholds, sign) - 1
                n_tied = n_tied.clamp(min=0).masked_fill(~is_there, 0)
            told, fall = rounds.learn(pick)
            falls.append(fall.masked_fill(pick < 0, torch.nan))
            excluded = torch.cat([excluded, pick[:, None]], 1)
            if done + 1 < n_picks:
                shards.condition(told)
        return excluded[:, n_before:], torch.stack(falls, 1), n_tied

    def _blocks(self, n_queries):
        """Return slices of queries whose states fit."""
        return [slice(start, start + self.together) for start in range(0, n_queries, self.together)]


class _Removals:
    """Rows that go, one after the other, of some selections (B,)."""

    def __init__(self, means, queries, n_most):
        self.means = means
        self.models = means.models
        self.points = [  # ψ_* (B, 1, n_features)
            model.rule.coordinates(one)[:, None]
            for model, one in zip(self.models, queries, strict=True)
        ]
        pairs = zip(self.models, self.points, strict=True)
        self.directions = [Directions(model.rule, points, n_most) for model, points in pairs]
        # r / sqrt(G_xx) (B, t) of the rows that went.
        self.scaled = [queries[0].new_empty(len(queries[0]), 0) for _ in self.models]

    def begin(self, free):
        pairs = zip(self.models, self.points, strict=True)
        self.means.shards.begin([model.rule.weights(one[:, 0]) for model, one in pairs], free)

    def rounding(self):
        """Compute how large a fall (B,) may be from rounding alone, summed over models."""
        pairs = zip(self.models, self.points, strict=True)
        return sum(
            rounding_of_falls(
                points.square().sum((1, 2)), model.residuals, model.rule.noise_variance
            )
            for model, points in pairs
        )

    def learn(self, pick):
        """Leave one row (B,) out of each selection; return what shards are told, and falls."""
        rows = pick.clamp(min=0)
        distinct, places = rows.unique(return_inverse=True)
        told = []
        falls = []
        for number, model in enumerate(self.models):
            directions = self.directions[number]
            before = self.scaled[number]
            features = model.row_features(distinct)[places]  # (B, n_features)
            # A selection that has run out of rows stays as it is.
            features = features.masked_fill_((pick < 0)[:, None], 0.0)
            residual = model.residuals[rows]  # (B,)
            along = directions.along(features)  # (B, t)
            residual = residual - model.rule.sign * (along * before).sum(1)
            weights, covariance, root = directions.add(features)
            scaled = residual[:, None] / root
            self.scaled[number] = torch.cat([before, scaled], 1)
            at_pick = torch.cat([covariance, scaled], 1)
            told.append((weights, at_pick))
            falls.append(at_pick.prod(1))
        return told, sum(falls) / len(falls)


def pick_by_masks(pick, queries, k, sign, candidates, own):
    """Pick for queries with candidates of their own (n_queries, n_rows), by those that are alike.

    ``pick`` takes the same arguments for queries with the same candidates (n_rows,).
    """
    masks, kinds = candidates.unique(dim=0, return_inverse=True)
    n_queries = len(candidates)
    picks = queries[0].new_full((n_queries, k), -1, dtype=torch.int64)
    falls = queries[0].new_full((n_queries, k), torch.nan)
    n_tied = picks.new_zeros(n_queries)
    for kind, mask in enumerate(masks):
        of_kind = (kinds == kind).nonzero()[:, 0].to(picks.device)
        own_rows = None if own is None else own[of_kind.to(own.device)]
        asked = [one[of_kind] for one in queries]
        picks[of_kind], falls[of_kind], n_tied[of_kind] = pick(asked, k, sign, mask, own_rows)
    return picks, falls, n_tied


def named_rows(found, rows):
    """Turn picks among some rows (n,) into the numbers of these; None stands for all."""
    picks, falls, n_tied = found
    return picks if rows is None else numbers_of(picks, rows), falls, n_tied
