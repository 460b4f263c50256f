"""What workers of a Dask cluster do with pieces of features: coresets, the density of targets."""

import numpy as np
import torch

from ..._utils.cluster import Cluster
from ..._utils.copies import all_differ, first_equal
from ..._utils.hashing import row_digests
from ..._utils.pieces import RowPieces, read_piece
from ...information._coreset import check_quotas, scale_of_queries
from ...information._coreset_shards import (
    RoundsOfPicks,
    conditioned,
    leaders,
    shard_state,
)
from ...information._density import in_fewer_rows


def select_by_workers(client, points, queries, k, settings, *, divide):
    """Pick k rows for all queries together, as :func:`greedy_coreset_features`.

    Parameters
    ----------
    client : dask.distributed.Client
        The client.
    points : ExplicitPoints
        Training rows.
    queries : Tensor of shape (n_queries, n_features)
        Features of queries.
    k : int
        Rows to pick.
    settings : dict
        ``noise_variance, normalize, candidates, labels, quotas`` of the function.
    divide : bool
        Whether to rank by Σ c² / G_xx, or by Σ c².

    Returns
    -------
    Tensor of shape (k,)
        Rows in order of selection.
    """
    queries = queries.cpu()
    noise_variance = float(settings["noise_variance"])
    if settings["normalize"]:
        queries = queries / scale_of_queries(queries.square().sum(1))
    n_rows = len(points)
    free = settings["candidates"]
    if free is None:
        free = torch.ones(n_rows, dtype=torch.bool)
    quotas = check_quotas(settings["labels"], settings["quotas"], n_rows, torch.device("cpu"))
    cluster = Cluster(client, "the coreset")
    shards = _ShardsOnWorkers(cluster, points.array, queries, noise_variance, divide, free, quotas)

    def row_features(row):
        return points.take(torch.tensor([row])).matrix()[0].cpu()

    rounds = RoundsOfPicks(queries, noise_variance, row_features, free, shards.copies(), quotas)
    return rounds.pick(shards, k)[0]


class _ShardsOnWorkers:
    """Shards as chains of futures: a worker that is lost is made good from the first of them.

    A state is never changed, so that a step that is done again gives the same.
    """

    def __init__(self, cluster, rows, queries, noise_variance, divide, free, quotas):
        self.cluster = cluster
        self.shared = cluster.shared(queries.numpy(), noise_variance, divide)
        pieces = RowPieces(rows)
        file = cluster.shared(pieces.file)
        self.starts = np.array(pieces.starts)
        self.taken = [[] for _ in self.starts]
        self.blocks = []
        self.states = []
        self.free = []
        for start, piece in pieces:
            part = pieces.rows(start)
            labels = None if quotas is None else quotas[0][part].numpy()
            block = cluster.submit(_read, file, piece)
            self.blocks.append(block)
            self.states.append(cluster.submit(_begin, self.shared, block))
            self.free.append(cluster.submit(_free, self.shared, free[part].numpy(), labels))

    def copies(self):
        """Return the first row that each row is a copy of, or None where all differ."""
        digests = [self.cluster.submit(_digests, self.shared, block) for block in self.blocks]
        digests = np.concatenate([self.cluster.result(one) for one in digests])  # (n_rows, 4)
        if all_differ(digests):
            return None
        return torch.as_tensor(first_equal(digests))

    def leaders(self, full):
        """Ask all shards for their best rows; see :class:`RoundsOfPicks`."""
        found = [
            self.cluster.submit(_leaders, self.shared, state, free, taken, full)
            for state, free, taken in zip(self.states, self.free, self.taken, strict=True)
        ]
        answers = []
        for start, future in zip(self.starts.tolist(), found, strict=True):
            one = self.cluster.result(future)
            rows = [start + row for row in one.rows]
            first = one.first if one.first < 0 else start + one.first
            answers.append(one._replace(rows=rows, first=first))
        return answers

    def condition(self, row, direction, at_pick):
        """Tell all shards of a pick."""
        shard = int(np.searchsorted(self.starts, row, side="right")) - 1
        self.taken[shard] = [*self.taken[shard], row - int(self.starts[shard])]
        pick = direction.numpy(), at_pick.numpy()
        self.states = [
            self.cluster.submit(_condition, self.shared, state, block, *pick)
            for state, block in zip(self.states, self.blocks, strict=True)
        ]


def _read(file, piece):
    return read_piece(file, piece)


def _begin(queries, noise_variance, divide, block):
    return shard_state(block, torch.from_numpy(queries), noise_variance)


def _free(queries, noise_variance, divide, free, labels):
    return free, labels


def _digests(queries, noise_variance, divide, block):
    return row_digests(block + 0.0)  # -0.0 equals 0.0


def _leaders(queries, noise_variance, divide, state, free, taken, full):
    free, labels = free
    if full:
        free = free & ~np.isin(labels, full)
    return leaders(state, divide, torch.from_numpy(free.copy()), taken)


def _condition(queries, noise_variance, divide, state, block, direction, at_pick):
    pick = torch.from_numpy(direction.copy()), torch.from_numpy(at_pick.copy())
    return conditioned(state, block, *pick, noise_variance)


def fewer_rows_by_workers(client, points, targets, scale):
    """Compress scaled features and targets, as :func:`in_fewer_rows`, piece by piece.

    Parameters
    ----------
    client : dask.distributed.Client
        The client.
    points : ExplicitPoints
        Training rows.
    targets : Tensor of shape (n_rows, n_targets)
        Their centred targets.
    scale : float
        What features are divided by.

    Returns
    -------
    features, targets : Tensor
        As few rows as keep every residual norm.
    """
    cluster = Cluster(client, "the density of targets")
    pieces = RowPieces(points.array)
    shared = cluster.shared(pieces.file, scale)
    targets = targets.cpu()
    arguments = ((piece, targets[pieces.rows(start)].numpy()) for start, piece in pieces)
    parts = cluster.in_order(_fewer_rows, shared, arguments, len(pieces))
    return in_fewer_rows((torch.from_numpy(phi), torch.from_numpy(t)) for phi, t in parts)


def _fewer_rows(file, scale, piece, targets):
    rows = read_piece(file, piece)
    phi = torch.tensor(rows, dtype=torch.float64) / scale
    features, targets = in_fewer_rows([(phi, torch.tensor(targets))])
    return features.numpy(), targets.numpy()
