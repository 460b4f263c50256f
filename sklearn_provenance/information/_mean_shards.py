"""Shards of rows for predictions without them: what they know, and those in this process.

A state is a :class:`._shards.ShardState` for each model, in which r is a second covariance beside
c. Shapes in comments: B selections, m rows of a shard.
"""

from itertools import chain

import torch

from ._block_system import ROW_BYTES, among, copies_of_blocks, diagonal_of_blocks
from ._candidates import SameClass
from ._local_shards import joined_leaders, part_of, slices_of
from ._mean_selection import common_copies, with_residuals
from ._sharded_means import (
    MEAN_STATE_BYTES,
    ModelMeans,
    ShardedMeans,
    named_rows,
    pick_by_masks,
)
from ._shards import (
    ShardRule,
    ShardState,
    barred,
    conditioned,
    count_at_least,
    leaders,
    shard_state,
    taken_of,
)


def mean_state(rule, features, queries, residuals, roots=None):
    """Begin with rows (m, n_features), and the weights (B, n_features) of queries.

    ``residuals`` (m,) are r before any row goes, ``roots`` (m,) what features are multiplied by.
    """
    state = shard_state(rule, features, queries[:, None], roots)
    residuals = residuals.expand(len(queries), 1, -1)
    return state._replace(covariance=torch.cat([state.covariance, residuals], 1))


def gains_of(states):
    """Compute falls (B, m) without each row alone, summed over models."""
    return sum(state.covariance.prod(1) / state.diagonal for state in states)


class LocalMeanShards:
    """Shards in this process, as :class:`._sharded_means.ShardedMeans` asks them.

    Parameters
    ----------
    rules : list of ShardRule
        How each model sees rows.
    rows : list of RowBlocks
        The rows, as each model sees them.
    diagonals, floors, residuals : list of Tensor of shape (n_rows,)
        G_xx before any row goes, its bound, and r, for each model.
    """

    def __init__(self, rules, rows, diagonals, floors, residuals):
        self.rules = rules
        self.rows = rows
        self.diagonals = diagonals
        self.floors = floors
        self.residuals = residuals

    def begin(self, queries, free):
        self.free = free
        self._states = []
        for number, rows in enumerate(self.rows):
            weights = queries[number]
            n = len(weights)
            # Made before any block is read, so that freed blocks leave no holes between them.
            covariance = weights.new_empty(n, 2, len(rows))
            diagonal = self.diagonals[number].repeat(n, 1)
            self._states.append(ShardState(covariance, diagonal, self.floors[number]))
            covariance[:, 1] = self.residuals[number]
            for part, block in rows.numbered(n):
                covariance[:, 0, part] = weights @ block.mT

    def condition(self, told):
        for state, rows, (weights, at_pick) in zip(self._states, self.rows, told, strict=True):
            for part, block in rows.numbered(len(weights)):
                conditioned(part_of(state, part), weights @ block.mT, at_pick, in_place=True)

    def gains(self):
        gains = torch.empty_like(self._states[0].diagonal)
        for part, of_part in self._gains():
            gains[:, part] = of_part
        return gains

    def leaders(self, excluded, sign, slack):
        scores = self._scores(excluded, sign)
        return joined_leaders((part.start, leaders(score, slack)) for part, score in scores)

    def count(self, excluded, thresholds, sign):
        scores = self._scores(excluded, sign)
        return sum(count_at_least(score, thresholds) for _, score in scores)

    def _gains(self):
        """Yield slices of rows and their falls (B, m)."""
        n_rows = len(self.rows[0])
        for part in slices_of(n_rows, 2 * len(self._states[0].diagonal)):
            yield part, gains_of([part_of(state, part) for state in self._states])

    def _scores(self, excluded, sign):
        """Yield slices of rows and their scores (B, m)."""
        for part, gains in self._gains():
            taken = taken_of(excluded, part.start, part.stop)
            yield part, barred(sign * gains, self.free.part(part), taken)


def bytes_of_means(n_rows, n_features):
    """Count the bytes that one query takes, from rows of models with so many features each."""
    of_rows = (ROW_BYTES + 8 + MEAN_STATE_BYTES) * n_rows * len(n_features)
    return of_rows + sum(8 * n**2 for n in n_features)


class BlockMeans:
    """Rows that are read in blocks, as several models see them.

    Parameters
    ----------
    rows : list of RowBlocks
        The rows, as each model sees them.
    residuals : list of Tensor of shape (n_rows,)
        Their working residuals, times the roots of their weights.
    roots : list of ShardRoots
        How R of each model is found.
    rests : list of iterable
        Blocks of rows that each model conditions on in addition, and that never go.
    memory_limit : float
        Bytes that numbers of queries and rows, and the roots, may take.
    copies : Tensor of shape (n_rows,), default=None
        The same number for rows whose inputs are copies of each other.
    """

    def __init__(self, rows, residuals, roots, rests, memory_limit, copies=None):
        self.rows = rows
        self.rules = []
        self.diagonals = []
        self.floors = []
        probes = []
        for blocks, of_model, rest in zip(rows, roots, rests, strict=True):
            root = of_model.root(of_model.of(chain(blocks, rest)))
            rule = ShardRule(of_model.noise_variance, root)
            diagonal, floor, probe = diagonal_of_blocks(rule, blocks)
            self.rules.append(rule)
            self.diagonals.append(diagonal)
            self.floors.append(floor)
            probes.append(probe)
        self.residuals = [
            residual.to(diagonal)
            for residual, diagonal in zip(residuals, self.diagonals, strict=True)
        ]
        self.copies = common_copies(
            [
                with_residuals(copies_of_blocks(blocks, probe, copies), residual)
                for blocks, probe, residual in zip(rows, probes, self.residuals, strict=True)
            ]
        )
        n_rows = len(rows[0])
        n_features = [len(rule.root) for rule in self.rules]
        one = MEAN_STATE_BYTES * n_rows * len(rows)
        self.left = memory_limit - (bytes_of_means(n_rows, n_features) - one)

    def drops(self, queries, rows, own=None):
        """Compute mean falls without rows; see :meth:`ShardedMeans.drops`."""
        mask = torch.zeros(len(self.rows[0]), dtype=torch.bool).index_fill(0, rows.cpu(), True)
        device = queries[0].device
        some, _, own = among(mask, own, len(mask), device)
        at = rows.to(device)
        if some is not None:
            at = torch.searchsorted(some, at)
        return self._means(some).drops(queries, at, own)

    def pick(self, queries, k, sign=1, candidates=None, own=None):
        """Pick k rows for each query greedily; see :meth:`ShardedMeans.pick`."""
        if isinstance(candidates, SameClass):
            candidates = candidates.masks()
        if candidates is not None and candidates.ndim == 2:
            return pick_by_masks(self.pick, queries, k, sign, candidates, own)
        device = queries[0].device
        some, free, own = among(candidates, own, len(self.rows[0]), device)
        return named_rows(self._means(some).pick(queries, k, sign, free, own), some)

    def paths(self, queries, sets):
        """Compute falls (n_queries, k) of each model; see :meth:`MeanSystem.path`."""
        models = self._means(None).models
        return [model.path(one, sets) for model, one in zip(models, queries, strict=True)]

    def own_drops(self):
        """Compute falls (n_rows,) of each model; see :meth:`MeanSystem.own_drops`."""
        parts = zip(self.rules, self.diagonals, self.residuals, strict=True)
        return [own_drops(rule, diagonal, residual) for rule, diagonal, residual in parts]

    def _means(self, some):
        """Make the system of some rows (n,), or of all; calls from threads have one each."""
        rows, copies = self.rows, self.copies
        known = [self.diagonals, self.floors, self.residuals]
        if some is not None:
            rows = [blocks.take(some) for blocks in rows]
            known = [[one[some] for one in of_models] for of_models in known]
            copies = None if copies is None else copies[some]
        shards = LocalMeanShards(self.rules, rows, *known)
        parts = zip(self.rules, rows, known[2], strict=True)
        models = [ModelMeans(rule, blocks.features, residual) for rule, blocks, residual in parts]
        return ShardedMeans(models, shards, len(rows[0]), copies, self.left)


def own_drops(rule, diagonal, residuals):
    """Compute falls (n,) of the predictions at rows without themselves, M r / (1 - M)."""
    kept = diagonal / rule.noise_variance  # 1 - M
    return (1 - kept) / kept * residuals
