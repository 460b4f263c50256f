"""Posterior cosines from explicit features that workers of a Dask cluster hold, in shards."""

import torch

from ..._utils.cluster import Cluster, held
from ...information._root_posterior import RootPosterior, lengths_of, over_lengths
from ...information._shards import ShardRule, blocks_of, column_of
from ._greedy_by_workers import SharedShards


class SharedPosterior:
    """What is known of rows that workers share, whatever is asked of them later.

    Parameters
    ----------
    points : ExplicitPoints
        Training rows.
    noise_variance : float
        σ².
    """

    def __init__(self, points, noise_variance):
        self.points = points
        self.noise_variance = noise_variance
        self._found = None

    def posterior(self, client):
        """Give the rows to workers, once in a call, and return their :class:`RootPosterior`."""
        return held(self, lambda: self._given(client))

    def _given(self, client):
        shards = CosineShards(Cluster(client, "the cosines of rows"), self.points.array)
        if self._found is None:
            self._found = shards.root(self.noise_variance)
        root, largest = self._found
        rule = ShardRule(self.noise_variance, root)
        shards.rank_by(rule)
        return RootPosterior(rule, largest, self._features, shards.products, len(self.points))

    def _features(self, rows):
        """Read φ (n, n_features) of some rows."""
        return self.points.take(rows).matrix().cpu()


class CosineShards(SharedShards):
    """Shards that know |ψ_x| of their rows."""

    def rank_by(self, rule):
        """Take the posterior, and have workers compute |ψ_x|."""
        super().rank_by(rule)
        self.lengths = self._of_blocks(_lengths, self.rule)

    def products(self, weights, rows):
        """Compute w·φ_x / |ψ_x| (m, n) of weights and rows; see :class:`RootPosterior`."""
        sent = self.cluster.sent(weights.numpy())
        futures = []
        for part, block, lengths in zip(self.parts, self.blocks, self.lengths, strict=True):
            ends = torch.searchsorted(rows, torch.tensor([part.start, part.stop]))
            of_part = rows[ends[0] : ends[1]] - part.start
            if not len(of_part):
                continue
            wanted = None if len(of_part) == part.stop - part.start else of_part.numpy()
            futures.append(self.cluster.submit(_products, self.rule, block, lengths, sent, wanted))
        found = [torch.tensor(array) for array in self._results(futures)]
        return torch.cat(found, 1) if found else weights.new_empty(len(weights), 0)


# What workers do. Arrays that travel are read-only, of which torch makes no tensors.


def _lengths(rule, block):
    out = torch.empty(len(block), dtype=torch.float64)
    return lengths_of(rule, blocks_of(block), out).numpy()


def _products(rule, block, lengths, weights, wanted):
    if wanted is not None:
        block, lengths = block[wanted], lengths[wanted]
    products = column_of(block, torch.tensor(weights[0]))
    return over_lengths(products, torch.tensor(lengths)).numpy()
