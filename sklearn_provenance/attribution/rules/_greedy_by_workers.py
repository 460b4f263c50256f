"""Greedy selection from explicit features that workers of a Dask cluster hold, in shards."""

import numpy as np
import torch

from ..._utils.cluster import Cluster, held
from ..._utils.copies import all_differ, first_equal
from ..._utils.hashing import row_digests
from ..._utils.pieces import RowPieces, read_piece
from ...information._candidates import Free
from ...information._coreset import check_quotas, scale_of_queries
from ...information._ranking import first_of
from ...information._shard_root import ShardRoots, squares_of
from ...information._sharded import ShardedSystem
from ...information._shards import (
    Leaders,
    ShardRule,
    blocks_of,
    column_of,
    conditioned,
    count_at_least,
    leaders,
    shard_scores,
    shard_state,
    taken_of,
)
from ...information._validation import check_scale_of


class SharedRows:
    """What is known of rows that workers share, whatever is asked of them later.

    Parameters
    ----------
    points : ExplicitPoints
        Training rows.
    noise_variance : float
        σ².
    rule : str
        Name of the rule in :mod:`sklearn_provenance.information`.
    copies : Tensor of shape (n_rows,), default=None
        The same number for rows whose inputs are copies of each other.
    """

    def __init__(self, points, noise_variance, rule, copies=None):
        self.points = points
        self.noise_variance = noise_variance
        self.divide = rule != "linear_response"
        self.removes = rule == "info_loss"
        self.copies = copies
        self._found = None

    def system(self, client, what):
        """Give the rows to workers, once in a call, and return them as a :class:`ShardedSystem`."""
        return held(self, lambda: self._given(client, what))

    def _given(self, client, what):
        shards = SharedShards(Cluster(client, what), self.points.array)
        if self._found is None:
            root = None
            if self.removes:
                root, largest = shards.root(self.noise_variance)
                check_scale_of(largest, self.noise_variance)
            self._found = root, shards.copies(self.copies)
        root, copies = self._found
        rule = ShardRule(self.noise_variance, root, self.divide)
        shards.rank_by(rule)
        return ShardedSystem(rule, shards, self._features, len(self.points), copies)

    def pick(self, client, queries, k, allowed, own, memory_limit):
        """Pick k rows for each query (n_queries, n_features); see :meth:`ShardedSystem.pick`."""
        system = self.system(client, "the greedy selection")
        if own is not None:
            own = own.cpu()
        return system.pick(queries.cpu(), k, allowed, own, memory_limit)

    def select(self, client, queries, k, *, normalize, candidates, labels=None, quotas=None):
        """Pick k rows for all queries together, as :func:`greedy_coreset_features`."""
        queries = queries.cpu()
        if normalize:
            queries = queries / scale_of_queries(queries.square().sum(1))
        quotas = check_quotas(labels, quotas, len(self.points), queries.device)
        return self.system(client, "the coreset").pick_together(queries, k, candidates, quotas)[0]

    def _features(self, rows):
        """Read φ (n, n_features) of some rows."""
        return self.points.take(rows).matrix().cpu()


class SharedShards:
    """Shards as chains of futures: a worker that is lost is made good from the first of them.

    A state is never changed, so that a step that is done again gives the same. The methods that
    :class:`ShardedSystem` calls are said there.
    """

    def __init__(self, cluster, rows):
        self.cluster = cluster
        pieces = RowPieces(rows)
        self.parts = [pieces.rows(start) for start in pieces.starts]
        self.file = cluster.shared(pieces.file)
        self.blocks = [cluster.submit(read_rows, self.file, piece) for _, piece in pieces]

    def root(self, noise_variance):
        """Compute the root R of all rows, see :class:`ShardRule`, and the largest |φ|²."""
        found = self._results(
            [self.cluster.submit(_squares, self.file, block) for block in self.blocks]
        )
        total = sum(squares for squares, _ in found)
        roots = ShardRoots(total, noise_variance)
        shared = self.cluster.shared(roots)
        merged = merged_roots(self.cluster, shared, self._of_blocks(_root_of_shard, shared))
        return roots.root(merged), max(largest for _, largest in found)

    def copies(self, inputs):
        """Return the first row that each row is a copy of, or None where all differ.

        ``inputs`` says of which rows the inputs are copies; others may have the same features.
        """
        return copies_of_digests(self._results(self._of_blocks(digests_of, self.file)), inputs)

    def rank_by(self, rule):
        """Take the rule by which rows are picked."""
        self.rule = self.cluster.shared(rule)

    def begin(self, queries, free, labels):
        self.free = []
        for part in self.parts:
            of_part = None if labels is None else labels[part].numpy()
            self.free.append(self.cluster.sent(as_arrays(free.part(part)), of_part))
        queries = self.cluster.sent(queries.numpy())
        self.states = [
            self.cluster.submit(_begin, self.rule, block, queries) for block in self.blocks
        ]

    def leaders(self, excluded, full):
        answers = self._results(self._asked(_leaders, excluded, full))
        return named_shards(self.parts, answers)

    def count(self, excluded, thresholds):
        counts = self._results(self._asked(_count, excluded, thresholds.numpy()))
        return torch.as_tensor(sum(counts))

    def condition(self, weights, at_pick):
        pick = self.cluster.sent(weights.numpy(), at_pick.numpy())
        self.states = [
            self.cluster.submit(_condition, self.rule, state, block, pick)
            for state, block in zip(self.states, self.blocks, strict=True)
        ]

    def _of_blocks(self, function, shared, *arguments):
        """Call a function of the rows of each shard; return futures."""
        submit = self.cluster.submit
        return [submit(function, shared, block, *arguments) for block in self.blocks]

    def _asked(self, function, excluded, *arguments):
        """Ask all shards, of which each hears of the rows that it may not answer with."""
        futures = []
        for state, free, part in zip(self.states, self.free, self.parts, strict=True):
            taken = taken_in(excluded, part)
            futures.append(self.cluster.submit(function, self.rule, state, free, taken, *arguments))
        return futures

    def _results(self, futures):
        return [self.cluster.result(future) for future in futures]


def copies_of_digests(digests, inputs):
    """Return the first row that each row is a copy of; see :meth:`SharedShards.copies`.

    ``digests`` are those of features, (n_rows, 4) in parts.
    """
    digests = np.concatenate(digests)
    if inputs is not None:
        digests = digests[first_of(inputs).numpy()]
    if all_differ(digests):
        return None
    return torch.as_tensor(first_equal(digests))


def merged_roots(cluster, shared, parts):
    """Make one matrix of those of shards (futures); pairs depend on the shards alone.

    ``shared`` is the future of :class:`ShardRoots`.
    """
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        merged = [cluster.submit(_merged_roots, shared, *pair) for pair in pairs]
        if len(parts) % 2:
            merged.append(parts[-1])
        parts = merged
    return torch.tensor(cluster.result(parts[0]))


def named_shards(parts, answers):
    """Make Leaders of arrays that shards give, with numbers of all rows, in order of the shards."""
    found = []
    for part, arrays in zip(parts, answers, strict=True):
        one = Leaders(*(torch.tensor(array) for array in arrays))
        first = torch.where(one.first < 0, -1, one.first + part.start)
        found.append(one._replace(rows=one.rows + part.start, first=first))
    return found


def as_arrays(free):
    """Make a tuple of arrays, or None, of Free rows."""
    return tuple(None if one is None else one.numpy() for one in free)


def taken_in(excluded, part):
    """Find which of the rows (B, t) that selections may not pick are in a shard; as arrays."""
    return tuple(places.numpy() for places in taken_of(excluded, part.start, part.stop))


# What workers do. Arrays that travel are read-only, of which torch makes no tensors.


def read_rows(file, piece):
    """Read the rows of a shard."""
    return read_piece(file, piece)


def _squares(file, block):
    return squares_of(_numbers(block))


def digests_of(file, block):
    """Compute digests (n_rows, 4) of the rows of a shard, the same for equal ones."""
    return row_digests(block + 0.0)  # -0.0 equals 0.0


def _root_of_shard(roots, block):
    return roots.of(_numbers(block)).numpy()


def _merged_roots(roots, first, second):
    return roots.merged(torch.tensor(first), torch.tensor(second)).numpy()


def _begin(rule, block, queries):
    return shard_state(rule, block, torch.tensor(queries[0]))


def _condition(rule, state, block, pick):
    weights, at_pick = pick
    scaled = column_of(block, torch.tensor(weights))
    return conditioned(state, scaled, torch.tensor(at_pick))


def _leaders(rule, state, free, taken, full):
    free, labels = free
    free = free_rows(free)
    if full:
        free = free.less(torch.isin(torch.tensor(labels), torch.tensor(full)))
    score = shard_scores(rule, state, free, tensors(taken))
    return tuple(part.numpy() for part in leaders(score))


def _count(rule, state, free, taken, thresholds):
    score = shard_scores(rule, state, free_rows(free[0]), tensors(taken))
    return count_at_least(score, torch.tensor(thresholds)).numpy()


def _numbers(block):
    """Yield features block by block, in double precision."""
    return (part for _, part in blocks_of(block))


def tensors(arrays):
    """Make tensors of arrays."""
    return tuple(torch.tensor(array) for array in arrays)


def free_rows(arrays):
    """Make Free rows of arrays; see :func:`as_arrays`."""
    return Free(*(None if array is None else torch.tensor(array) for array in arrays))
