"""What is picked from rows in shards is what is picked from all rows together."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_provenance.information import greedy_coreset_features
from sklearn_provenance.information._candidates import SameClass
from sklearn_provenance.information._shard_root import ShardRoots, squares_of
from sklearn_provenance.information._sharded import STATE_BYTES, ShardedSystem
from sklearn_provenance.information._shards import (
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
from sklearn_provenance.information._systems import FeatureSystem

from .test_block_system import problems

RULES = ["info_gain", "linear_response", "info_loss"]


class Shards:
    """Shards in this process, cut at some rows."""

    def __init__(self, rule, phi, cuts):
        self.rule = rule
        ends = [0, *sorted({cut for cut in cuts if cut < len(phi)}), len(phi)]
        self.parts = [slice(*pair) for pair in pairwise(ends)]
        self.blocks = [phi[part].numpy() for part in self.parts]

    def begin(self, queries, free, labels):
        self.free, self.labels = free, labels
        self.states = [shard_state(self.rule, block, queries) for block in self.blocks]

    def _asked(self, excluded, full=()):
        for state, part in zip(self.states, self.parts, strict=True):
            free = self.free.part(part)
            if full:
                free = free.less(torch.isin(self.labels[part], torch.tensor(full)))
            taken = taken_of(excluded, part.start, part.stop)
            yield part.start, shard_scores(self.rule, state, free, taken)

    def leaders(self, excluded, full):
        found = []
        for start, score in self._asked(excluded, full):
            one = leaders(score)
            first = torch.where(one.first < 0, -1, one.first + start)
            found.append(one._replace(rows=one.rows + start, first=first))
        return found

    def count(self, excluded, thresholds):
        return sum(count_at_least(score, thresholds) for _, score in self._asked(excluded))

    def condition(self, weights, at_pick):
        pairs = zip(self.states, self.blocks, strict=True)
        self.states = [
            conditioned(state, column_of(block, weights), at_pick) for state, block in pairs
        ]


def numbers_of(features):
    return (block for _, block in blocks_of(features))


def root_of(phi, noise_variance, cuts):
    """R of rows in shards, two of which are merged until one is left."""
    blocks = [block for block in np.split(phi.numpy(), sorted(set(cuts))) if len(block)]
    squares = sum(squares_of(numbers_of(block))[0] for block in blocks)
    roots = ShardRoots(squares, noise_variance)
    parts = [roots.of(numbers_of(block)) for block in blocks]
    while len(parts) > 1:
        parts = [roots.merged(parts[0], parts[1]), *parts[2:]]
    return roots.root(parts[0])


def sharded(phi, noise_variance, rule, cuts):
    root = None
    if rule == "info_loss":
        root = root_of(phi, noise_variance, cuts)
    shard_rule = ShardRule(noise_variance, root, rule != "linear_response")
    copies = FeatureSystem(phi, noise_variance, "info_gain").copies
    shards = Shards(shard_rule, phi, cuts)
    return ShardedSystem(shard_rule, shards, phi.__getitem__, len(phi), copies)


def told(changes):
    """Which picks rounding does not decide: not those after all is known that queries vary in."""
    return changes > 1e-9 * changes.max()


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=25, deadline=None)
@given(problem=problems(), cuts=st.lists(st.integers(1, 8), max_size=4), together=st.integers(1, 3))
def test_explained_as_one_machine(rule, problem, cuts, together):
    rows, queries, own, allowed, k, noise = problem
    phi = torch.as_tensor(rows)
    expected = FeatureSystem(phi, noise, rule).pick(queries, k, allowed, own)
    limit = together * STATE_BYTES * len(phi)
    found = sharded(phi, noise, rule, cuts).pick(queries, k, allowed, own, limit)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-9, atol=1e-11, equal_nan=True)
    torch.testing.assert_close(found[2], expected[2])


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=25, deadline=None)
@given(
    problem=problems(),
    cuts=st.lists(st.integers(1, 8), max_size=4),
    together=st.integers(1, 3),
    data=st.data(),
)
def test_queries_of_several_classes(rule, problem, cuts, together, data):
    """They are one selection; some run out of rows, or have none, before others."""
    rows, queries, own, _, k, noise = problem
    phi = torch.as_tensor(rows)
    classes = st.integers(0, 2)
    labels = torch.tensor(data.draw(st.lists(classes, min_size=len(phi), max_size=len(phi))))
    asked = data.draw(st.lists(classes, min_size=len(queries), max_size=len(queries)))
    same_class = SameClass(labels, torch.tensor(asked) if own is None else labels[own])
    expected = FeatureSystem(phi, noise, rule).pick(queries, k, same_class.masks(), own)
    limit = together * STATE_BYTES * len(phi)
    found = sharded(phi, noise, rule, cuts).pick(queries, k, same_class, own, limit)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-9, atol=1e-11, equal_nan=True)
    torch.testing.assert_close(found[2], expected[2])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [1, 7, 100])
def test_selected_as_one_machine(rule, size):
    random = np.random.default_rng(size)
    phi = torch.tensor(random.normal(size=(40, 6)))
    phi[30:] = phi[:10]  # copies tie, in other shards
    phi[11] = 0
    queries = torch.tensor(random.normal(size=(5, 6)))
    free = torch.tensor(random.random(40) < 0.8)
    labels = torch.tensor(random.integers(3, size=40))
    counts = torch.tensor([4, 0, 5])
    system = sharded(phi, 0.1, rule, range(size, 40, size))
    for more in ({}, {"labels": labels, "quotas": counts}):
        expected = greedy_coreset_features(phi, queries, 0.1, 38, rule, candidates=free, **more)
        quotas = (labels, counts) if more else None
        found = system.pick_together(queries, 38, free, quotas)
        assert (expected[0] == -1).any()
        is_told = told(expected[1].nan_to_num(0.0))
        assert is_told.sum() > 4
        torch.testing.assert_close(found[0][is_told], expected[0][is_told], rtol=0, atol=0)
        torch.testing.assert_close(found[1], expected[1], rtol=1e-9, atol=1e-11, equal_nan=True)
        assert ((found[0] == -1) == (expected[0] == -1)).all()


def test_nothing_to_tell():
    """Queries without any covariance: rows in order, as in one matrix."""
    phi = torch.eye(4, dtype=torch.float64)[[0, 1, 0, 1]]
    queries = torch.tensor([[0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    free = torch.tensor([False, True, True, True])
    expected = greedy_coreset_features(phi, queries, 0.1, 4, candidates=free)
    found = sharded(phi, 0.1, "info_gain", [2]).pick_together(queries, 4, free)
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert found[0].tolist() == [1, 2, 3, -1]


def exact_losses(rows, query, noise_variance, picks):
    """Nats of rows that are removed one after the other, from fractions."""
    phi = [[Fraction(int(entry)) for entry in row] for row in rows]
    n_features = len(query)
    axes = range(n_features)

    def without(covariance, row, sign):
        along = [sum(covariance[i][j] * row[j] for j in axes) for i in axes]
        scale = noise_variance + sign * sum(row[i] * along[i] for i in axes)
        return [[covariance[i][j] - sign * along[i] * along[j] / scale for j in axes] for i in axes]

    def variance(covariance):
        return sum(covariance[i][j] * query[i] * query[j] for i in axes for j in axes)

    covariance = [[Fraction(int(i == j)) for j in axes] for i in axes]
    for row in phi:
        covariance = without(covariance, row, 1)
    nats = []
    for pick in picks:
        before = variance(covariance)
        covariance = without(covariance, phi[pick], -1)
        nats.append(math.log(variance(covariance) / before) / 2)
    return torch.tensor(nats, dtype=torch.float64)


@pytest.mark.parametrize("seed", [0, 1])
def test_digits_of_losses_at_a_tiny_noise_variance(seed):
    """1e-7 of k_xx: only picks that leave no more rows than features lose digits."""
    random = np.random.default_rng(seed)
    phi = torch.tensor(random.integers(-9, 10, size=(20, 4)), dtype=torch.float64)
    query = [int(entry) for entry in random.integers(-9, 10, size=4)]
    noise = Fraction(1, 10**5)
    assert phi.square().sum(1).mean() * 1e-7 > float(noise)
    queries = torch.tensor([query], dtype=torch.float64)
    for system in (
        FeatureSystem(phi, float(noise), "info_loss"),
        sharded(phi, float(noise), "info_loss", [7, 15]),
    ):
        picks, nats, _ = system.pick(queries, 20)
        error = (nats[0] - exact_losses(phi, query, noise, picks[0].tolist())).abs()
        assert error[:15].max() < 1e-9
        assert error.max() < 1e-5


@pytest.mark.parametrize("noise_variance", [1.0, 1e-9])
def test_root(noise_variance):
    """By Gram matrices, and where these would lose digits by triangles."""
    phi = torch.as_tensor(np.random.default_rng(0).normal(size=(20, 5)))
    assert ShardRoots(phi.square().sum(), noise_variance).by_gram == (noise_variance == 1)
    root = root_of(phi, noise_variance, [2, 9, 10])
    expected = torch.eye(5) + phi.mT @ phi / noise_variance
    torch.testing.assert_close(root.mT @ root, expected, rtol=1e-13, atol=0)
    assert (root.tril(-1) == 0).all()
