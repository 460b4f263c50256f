"""A coreset of rows in shards is that of all rows together."""

import numpy as np
import pytest
import torch

from sklearn_provenance.information import greedy_coreset_features
from sklearn_provenance.information._coreset_shards import (
    RoundsOfPicks,
    conditioned,
    leaders,
    shard_state,
)
from sklearn_provenance.information._systems import FeatureSystem


class Shards:
    """Shards in this process."""

    def __init__(self, phi, queries, noise_variance, divide, size, free, labels=None):
        self.settings = noise_variance, divide
        self.starts = range(0, len(phi), size)
        self.parts = [slice(start, start + size) for start in self.starts]
        self.blocks = [phi[part].numpy() for part in self.parts]
        self.states = [shard_state(block, queries, noise_variance) for block in self.blocks]
        self.free, self.labels = free, labels
        self.taken = []

    def leaders(self, full):
        found = []
        for state, part in zip(self.states, self.parts, strict=True):
            free = self.free[part]
            if full:
                free = free & ~torch.isin(self.labels[part], torch.tensor(full))
            end = part.start + len(free)
            taken = [row - part.start for row in self.taken if part.start <= row < end]
            one = leaders(state, self.settings[1], free, taken)
            first = one.first if one.first < 0 else one.first + part.start
            found.append(one._replace(rows=[row + part.start for row in one.rows], first=first))
        return found

    def condition(self, row, direction, at_pick):
        self.taken.append(row)
        pairs = zip(self.states, self.blocks, strict=True)
        pick = direction, at_pick, self.settings[0]
        self.states = [conditioned(state, block, *pick) for state, block in pairs]


def pick(phi, queries, noise_variance, k, rule, size, free, labels=None, counts=None):
    quotas = None if counts is None else (labels, counts)
    copies = FeatureSystem(phi, noise_variance, rule).copies
    shards = Shards(phi, queries, noise_variance, rule == "info_gain", size, free, labels)
    rounds = RoundsOfPicks(queries, noise_variance, phi.__getitem__, free, copies, quotas)
    return rounds.pick(shards, k)


@pytest.mark.parametrize("rule", ["info_gain", "linear_response"])
@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("seed", range(3))
def test_shards(rule, size, seed):
    random = np.random.default_rng(seed)
    phi = torch.tensor(random.normal(size=(40, 6)))
    phi[30:] = phi[:10]  # copies tie, in other shards
    phi[11] = 0
    queries = torch.tensor(random.normal(size=(5, 6)))
    free = torch.tensor(random.random(40) < 0.8)
    labels = torch.tensor(random.integers(3, size=40))
    counts = torch.tensor([4, 0, 5])
    for more in ({}, {"labels": labels, "quotas": counts}):
        expected = greedy_coreset_features(phi, queries, 0.1, 38, rule, candidates=free, **more)
        quotas = (labels, counts) if more else ()
        found = pick(phi, queries, 0.1, 38, rule, size, free, *quotas)
        assert (expected[0] == -1).any()
        # Once all that queries vary in is known, rounding decides which rows tie.
        told = expected[1] > 1e-9 * expected[1][0]
        assert told.sum() > 4
        torch.testing.assert_close(found[0][told], expected[0][told], rtol=0, atol=0)
        torch.testing.assert_close(found[1], expected[1], rtol=1e-9, atol=1e-12, equal_nan=True)
        assert ((found[0] == -1) == (expected[0] == -1)).all()


def test_nothing_to_tell():
    """Queries without any covariance: rows in order, as in one matrix."""
    phi = torch.eye(4, dtype=torch.float64)[[0, 1, 0, 1]]
    queries = torch.tensor([[0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    free = torch.tensor([False, True, True, True])
    expected = greedy_coreset_features(phi, queries, 0.1, 4, candidates=free)
    found = pick(phi, queries, 0.1, 4, "info_gain", 2, free)
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert found[0].tolist() == [1, 2, 3, -1]
