"""Shards in one process, whose rows are read block by block: for rows that memory does not hold.

In memory are two numbers for each pair of a query and a row, the covariance c and the diagonal
G_xx, which are overwritten from round to round.
"""

import torch

from .._utils.budget import block_numbers
from ._shards import (
    NUMBERS,
    Leaders,
    ShardState,
    conditioned,
    count_at_least,
    leaders,
    shard_scores,
    taken_of,
)


class RowBlocks:
    """Rows that are read in blocks, each times a root of its weight.

    Parameters
    ----------
    points : points
        Rows, which know ``len()``, ``n_components``, ``take(rows)`` and ``matrix()``; or also
        ``_numbered_blocks()``: slices of rows, and their features in double precision.
    roots : Tensor of shape (n_rows,), default=None
        What features of rows are multiplied by; None stands for 1.
    """

    def __init__(self, points, roots=None):
        self.points = points
        self.roots = roots

    def __len__(self):
        return len(self.points)

    def take(self, rows):
        """Select some of the rows (n,)."""
        rows = rows.cpu()
        roots = None if self.roots is None else self.roots[rows]
        return RowBlocks(self.points.take(rows), roots)

    def features(self, rows):
        """Read φ (n, n_features) of some rows (n,), times their roots."""
        features = self.points.take(rows.cpu()).matrix()
        if self.roots is None:
            return features
        return features * self.roots[rows.cpu()].to(features)[:, None]

    def numbered(self, n_columns=1):
        """Yield slices of rows and their φ, of no more rows than NUMBERS / n_columns."""
        most = max(1, block_numbers(NUMBERS) // n_columns)
        for whole, features in _numbered_blocks(self.points):
            for start in range(whole.start, whole.stop, most):
                rows = slice(start, min(start + most, whole.stop))
                block = features[rows.start - whole.start : rows.stop - whole.start]
                if self.roots is not None:
                    block = block * self.roots[rows].to(block)[:, None]
                yield rows, block

    def __iter__(self):
        """Yield φ block by block."""
        for _, block in self.numbered():
            yield block


def _numbered_blocks(points):
    """Yield slices of rows, and their features."""
    if hasattr(points, "_numbered_blocks"):
        yield from points._numbered_blocks()
        return
    for rows in slices_of(len(points), points.n_components):
        yield rows, points.take(torch.arange(rows.start, rows.stop)).matrix()


def slices_of(n_rows, n_columns):
    """List slices of rows with NUMBERS numbers in so many columns."""
    step = max(1, block_numbers(NUMBERS) // max(1, n_columns))
    return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


class LocalShards:
    """Shards as :class:`._sharded.ShardedSystem` asks them.

    Parameters
    ----------
    rule : ShardRule
        How rows are ranked.
    rows : RowBlocks
        The rows.
    diagonal, floor : Tensor of shape (n_rows,)
        G_xx before any pick, and its bound.
    """

    def __init__(self, rule, rows, diagonal, floor):
        self.rule = rule
        self.rows = rows
        self._diagonal = diagonal
        self._floor = floor

    def begin(self, queries, free, labels):
        self.free = free
        self.labels = labels
        flat = queries.flatten(0, 1)  # (B Q, n_features)
        # Made before any block is read, so that freed blocks leave no holes between them.
        covariance = queries.new_empty(*queries.shape[:2], len(self.rows))
        self._state = ShardState(covariance, self._diagonal.repeat(len(queries), 1), self._floor)
        for rows, block in self.rows.numbered(len(flat)):
            covariance[..., rows] = (flat @ block.mT).unflatten(0, queries.shape[:2])

    def leaders(self, excluded, full):
        free = self.free
        if full:
            barred = torch.tensor(full, device=self.labels.device)
            free = free.less(torch.isin(self.labels, barred))
        return joined_leaders(
            (rows.start, leaders(score)) for rows, score in self._scores(excluded, free)
        )

    def count(self, excluded, thresholds):
        return sum(count_at_least(score, thresholds) for _, score in self._scores(excluded))

    def condition(self, weights, at_pick):
        for rows, block in self.rows.numbered(weights.shape[0]):
            conditioned(part_of(self._state, rows), weights @ block.mT, at_pick, in_place=True)

    def gains(self):
        """Compute Σ c² / G_xx (B, n_rows) of each row alone."""
        gains = torch.empty_like(self._state.diagonal)
        for rows in slices_of(len(self.rows), self._state.covariance[..., 0].numel()):
            state = part_of(self._state, rows)
            gains[:, rows] = state.covariance.square().sum(1) / state.diagonal
        return gains

    def _scores(self, excluded, free=None):
        """Yield slices of rows and their scores (B, n_rows)."""
        free = self.free if free is None else free
        for rows in slices_of(len(self.rows), self._state.covariance[..., 0].numel()):
            taken = taken_of(excluded, rows.start, rows.stop)
            state = part_of(self._state, rows)
            yield rows, shard_scores(self.rule, state, free.part(rows), taken)


def part_of(state, rows):
    """Return the state of some rows, which shares memory with that of all."""
    return ShardState(state.covariance[..., rows], state.diagonal[:, rows], state.floor[rows])


def joined_leaders(found):
    """Make one of the Leaders of neighbouring shards, pairs of the first row and what leads."""
    best = first = None
    parts = []
    for start, one in found:
        here = torch.where(one.first < 0, -1, one.first + start)
        if best is None:
            best, first = one.best, here
        else:
            best = torch.maximum(best, one.best)
            first = torch.where(first < 0, here, first)
        parts.append((one.selections, one.rows + start, one.scores))
    return [Leaders(best, first, *(torch.cat(column) for column in zip(*parts, strict=True)))]
