"""Influence from explicit features that workers of a Dask cluster hold, in shards."""

import numpy as np
import torch

from ..._utils.cluster import Cluster, held
from ..._utils.pieces import RowPieces
from ...information._local_shards import RowBlocks
from ...information._mean_selection import common_copies, with_residuals
from ...information._mean_shards import gains_of, mean_state, own_drops
from ...information._sharded_means import ModelMeans, ShardedMeans
from ...information._shards import (
    ShardRule,
    barred,
    blocks_of,
    column_of,
    conditioned,
    count_at_least,
    leaders,
)
from ._greedy_by_workers import (
    as_arrays,
    copies_of_digests,
    digests_of,
    free_rows,
    merged_roots,
    named_shards,
    read_rows,
    taken_in,
    tensors,
)
from ._influence_in_blocks import roots_of


class SharedInfluence:
    """What is known of rows that workers share, whatever is asked of them later.

    Parameters
    ----------
    models : list of ModelInfluence
        What each model knows of the rows, whose points are explicit.
    copies : Tensor of shape (n_rows,), default=None
        The same number for rows whose inputs are copies of each other.
    """

    def __init__(self, models, copies):
        self.models = models
        self.copies = copies
        self._found = None

    def means(self, client):
        """Give the rows to workers, once in a call, and return what asks them."""
        return held(self, lambda: self._given(client))

    def _given(self, client):
        shards = SharedMeanShards(Cluster(client, "the influence of rows"), self.models)
        if self._found is None:
            numbers = range(len(self.models))
            copies = common_copies(
                [
                    with_residuals(shards.copies(number, self.copies), model.row_residuals)
                    for number, model in enumerate(self.models)
                ]
            )
            self._found = [shards.root(number) for number in numbers], copies
        roots, copies = self._found
        rules = [
            ShardRule(model.ridge, root) for model, root in zip(self.models, roots, strict=True)
        ]
        shards.rank_by(rules)
        known = [
            ModelMeans(rule, RowBlocks(model.points, model.roots).features, model.row_residuals)
            for model, rule in zip(self.models, rules, strict=True)
        ]
        n_rows = len(self.models[0].points)
        return MeansOfWorkers(known, shards, n_rows, copies, self.models[0].memory_limit)


class MeansOfWorkers(ShardedMeans):
    """Rows that workers hold, as :class:`._mean_shards.BlockMeans` are asked."""

    def paths(self, queries, sets):
        """Compute falls (n_queries, k) of each model; see :meth:`MeanSystem.path`."""
        return [one.path(asked, sets) for one, asked in zip(self.models, queries, strict=True)]

    def own_drops(self):
        """Compute falls (n_rows,) of each model; see :meth:`MeanSystem.own_drops`."""
        return self.shards.own_drops()


class SharedMeanShards:
    """Shards as chains of futures: a worker that is lost is made good from the first of them.

    The methods that :class:`ShardedMeans` calls are said there.
    """

    def __init__(self, cluster, models):
        self.cluster = cluster
        self.models = models
        # All models have the same rows in a shard.
        of_models = [model.points.array for model in models]
        step = min(RowPieces(array).step for array in of_models)
        pieces = [RowPieces(array, step) for array in of_models]
        self.parts = [pieces[0].rows(start) for start in pieces[0].starts]
        self.files = [cluster.shared(one.file) for one in pieces]
        pairs = list(zip(self.files, pieces, strict=True))
        self.blocks = [
            [cluster.submit(read_rows, file, piece) for _, piece in one] for file, one in pairs
        ]
        # Residuals, and roots of weights, of each shard.
        self.known = [[self._sent(model, part) for part in self.parts] for model in models]

    def _sent(self, model, part):
        roots = None if model.roots is None else model.roots[part].numpy()
        return self.cluster.sent(model.row_residuals[part].numpy(), roots)

    def root(self, number):
        """Compute the root R of a model: of all its rows, and those that never go."""
        submit = self.cluster.submit
        model = self.models[number]
        roots = roots_of(model)
        shared = self.cluster.shared(roots)
        pairs = zip(self.blocks[number], self.known[number], strict=True)
        parts = [submit(_root_of_shard, shared, block, known) for block, known in pairs]
        if model.rest is not None:
            pieces = RowPieces(model.rest.array)
            file = self.cluster.shared(pieces.file)
            blocks = [submit(read_rows, file, piece) for _, piece in pieces]
            parts += [submit(_root_of_rest, shared, block) for block in blocks]
        return roots.root(merged_roots(self.cluster, shared, parts))

    def copies(self, number, inputs):
        """Return the first row that is the same to a model; see :meth:`SharedShards.copies`."""
        submit = self.cluster.submit
        futures = [submit(digests_of, self.files[number], b) for b in self.blocks[number]]
        return copies_of_digests(self._results(futures), inputs)

    def rank_by(self, rules):
        """Take the rule of each model."""
        self.rules = [self.cluster.shared(rule) for rule in rules]

    def begin(self, queries, free):
        self.free = [self.cluster.sent(*as_arrays(free.part(part))) for part in self.parts]
        queries = [self.cluster.sent(one.numpy()) for one in queries]
        self.states = [
            [
                self.cluster.submit(_begin, rule, block, known, asked)
                for block, known in zip(blocks, of_model, strict=True)
            ]
            for rule, blocks, of_model, asked in zip(
                self.rules, self.blocks, self.known, queries, strict=True
            )
        ]

    def condition(self, told):
        states = []
        for number, (weights, at_pick) in enumerate(told):
            pick = self.cluster.sent(weights.numpy(), at_pick.numpy())
            shards = zip(self.states[number], self.blocks[number], self.known[number], strict=True)
            states.append(
                [self.cluster.submit(_condition, self.rules[number], *one, pick) for one in shards]
            )
        self.states = states

    def gains(self):
        futures = [
            self.cluster.submit(_gains, self.rules[0], *states)
            for states in zip(*self.states, strict=True)
        ]
        return torch.cat([torch.tensor(part) for part in self._results(futures)], 1)

    def leaders(self, excluded, sign, slack):
        asked = self._asked(_leaders, excluded, sign, slack.numpy())
        return named_shards(self.parts, self._results(asked))

    def count(self, excluded, thresholds, sign):
        counts = self._results(self._asked(_count, excluded, sign, thresholds.numpy()))
        return torch.as_tensor(sum(counts))

    def own_drops(self):
        """Compute falls (n_rows,) of each model at rows without themselves."""
        drops = []
        for rule, blocks, known in zip(self.rules, self.blocks, self.known, strict=True):
            pairs = zip(blocks, known, strict=True)
            futures = [self.cluster.submit(_own_drops, rule, *pair) for pair in pairs]
            drops.append(torch.as_tensor(np.concatenate(self._results(futures))))
        return drops

    def _asked(self, function, excluded, *arguments):
        """Ask all shards, of which each hears of the rows that it may not answer with."""
        futures = []
        for part, free, *states in zip(self.parts, self.free, *self.states, strict=True):
            told = taken_in(excluded, part), *arguments
            futures.append(self.cluster.submit(function, self.rules[0], free, told, *states))
        return futures

    def _results(self, futures):
        return [self.cluster.result(future) for future in futures]


# What workers do. Arrays that travel are read-only, of which torch makes no tensors.


def _root_of_shard(roots, block, known):
    return roots.of(part for _, part in blocks_of(block, _tensor(known[1]))).numpy()


def _root_of_rest(roots, block):
    return roots.of(part for _, part in blocks_of(block)).numpy()


def _begin(rule, block, known, queries):
    residuals, roots = known
    asked = torch.tensor(queries[0])
    return mean_state(rule, block, asked, torch.tensor(residuals), _tensor(roots))


def _condition(rule, state, block, known, pick):
    weights, at_pick = pick
    scaled = column_of(block, torch.tensor(weights), _tensor(known[1]))
    return conditioned(state, scaled, torch.tensor(at_pick))


def _gains(rule, *states):
    return gains_of(states).numpy()


def _leaders(rule, free, told, *states):
    score = _scores(free, told, states)
    return tuple(part.numpy() for part in leaders(score, torch.tensor(told[2])))


def _count(rule, free, told, *states):
    return count_at_least(_scores(free, told, states), torch.tensor(told[2])).numpy()


def _scores(free, told, states):
    taken, sign, *_ = told
    return barred(sign * gains_of(states), free_rows(free), tensors(taken))


def _own_drops(rule, block, known):
    residuals, roots = known
    nothing = torch.zeros(1, block.shape[1], dtype=torch.float64)
    state = mean_state(rule, block, nothing, torch.tensor(residuals), _tensor(roots))
    return own_drops(rule, state.diagonal[0], torch.tensor(residuals)).numpy()


def _tensor(array):
    return None if array is None else torch.tensor(array)
