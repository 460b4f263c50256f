"""Predictions without rows that are in shards are those without rows that are in memory."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sklearn_provenance.information._candidates import SameClass
from sklearn_provenance.information._local_shards import RowBlocks
from sklearn_provenance.information._mean_shards import BlockMeans, bytes_of_means
from sklearn_provenance.information._mean_system import MeanSystem, SystemMeans
from sklearn_provenance.information._shard_root import ShardRoots
from sklearn_provenance.information._sharded_means import MEAN_STATE_BYTES
from sklearn_provenance.information._systems import FeatureSystem
from sklearn_provenance.tangent._points import ExplicitPoints

from .test_block_system import orthogonal, problems


def points_of(array):
    return ExplicitPoints(array, torch.zeros(len(array), dtype=torch.int64))


def both(models, ridge, n_together=2, copies=None):
    """The rows in memory, and the same in blocks, by (φ, r, weights, rest) of each model."""
    systems = []
    rows = []
    residuals = []
    roots = []
    rests = []
    for phi, residual, weights, rest in models:
        root = torch.ones(len(phi), dtype=torch.float64)
        if weights is not None:
            root = torch.as_tensor(weights).sqrt()
        scaled = torch.as_tensor(phi) * root[:, None]
        residual = torch.as_tensor(residual) * root
        everything = scaled
        padded = residual
        if rest is not None:
            everything = torch.cat([scaled, torch.as_tensor(rest)])
            padded = torch.cat([residual, torch.zeros(len(rest), dtype=torch.float64)])
        systems.append(MeanSystem(FeatureSystem(everything, ridge, "info_loss"), padded))
        rows.append(RowBlocks(points_of(phi), None if weights is None else root))
        residuals.append(residual)
        roots.append(ShardRoots(everything.square().sum(), ridge))
        rests.append(() if rest is None else RowBlocks(points_of(rest)))
    n_rows = len(models[0][0])
    n_features = [phi.shape[1] for phi, *_ in models]
    limit = bytes_of_means(n_rows, n_features)
    limit += (n_together - 1) * MEAN_STATE_BYTES * n_rows * len(models)
    blocks = BlockMeans(rows, residuals, roots, rests, limit, copies)
    assert max(1, blocks._means(None).together) == n_together
    return SystemMeans(systems, n_rows), blocks


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("kind", ["one", "weighted", "rest", "several"])
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    problem=problems(),
    numbers=st.sampled_from([1, 6, 2**20]),
    sign=st.sampled_from([1, -1]),
    seed=st.integers(0, 9),
)
def test_as_in_memory(kind, small_blocks, problem, numbers, sign, seed):
    """Rows of small whole numbers, of which some are equal and tie."""
    rows, queries, own, allowed, k, _ = problem
    random = np.random.default_rng(seed)
    residuals = random.integers(-2, 3, len(rows)).astype(float)
    weights = random.integers(1, 3, len(rows)) / 4
    rest = random.integers(-2, 3, rows.shape).astype(float)
    plain = (rows, residuals, None, None)
    models = {
        "one": [plain],
        "weighted": [(rows, residuals, weights, None)],
        "rest": [(rows, residuals, weights, rest)],
        "several": [plain, (rows[:, ::-1].copy(), residuals, weights, rest)],
    }[kind]
    small_blocks(numbers)
    memory, blocks = both(models, 2.0)
    asked = [queries, queries.flip(1)][: len(models)]
    expected = memory.pick(asked, k, sign, allowed, own)
    found = blocks.pick(asked, k, sign, allowed, own)
    torch.testing.assert_close(found[0], expected[0])
    close(found[1], expected[1])
    torch.testing.assert_close(found[2], expected[2])
    some = torch.arange(len(rows)) if allowed is None else allowed.nonzero()[:, 0]
    close(blocks.drops(asked, some, own), memory.drops(asked, some, own))
    sets = expected[0]
    pairs = zip(blocks.paths(asked, sets), memory.paths(asked, sets), strict=True)
    for one, other in pairs:
        close(one, other)
    for one, other in zip(blocks.own_drops(), memory.own_drops(), strict=True):
        close(one, other[: len(rows)])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("numbers", [1, 2**20])
def test_rows_without_effect_tie(small_blocks, numbers, sign):
    """Rows are orthogonal to the query, but roots of weights leave digits in the products."""
    small_blocks(numbers)
    rows, roots, queries = orthogonal()
    weights = roots**2
    residuals = np.random.default_rng(1).normal(size=40)
    memory, blocks = both([(rows, residuals, weights, None)], 2.0)
    kernel = MeanSystem.from_kernel(
        torch.as_tensor(rows @ rows.T), torch.as_tensor(residuals), 2.0, torch.as_tensor(weights)
    )
    cross = queries @ torch.as_tensor(rows).mT * torch.as_tensor(roots)
    for found in (
        memory.pick([queries], 3, sign),
        blocks.pick([queries], 3, sign),
        SystemMeans([kernel], 40).pick([(cross, queries.square().sum(1))], 3, sign),
    ):
        assert found[0].tolist() == 3 * [[0, 1, 2]]
        close(found[1], torch.zeros(3, 3, dtype=torch.float64))
        assert found[2].tolist() == 3 * [37]


def test_candidates_of_each_query():
    random = np.random.default_rng(0)
    rows = random.normal(size=(30, 4))
    memory, blocks = both([(rows, random.normal(size=30), None, None)], 1.0)
    queries = torch.as_tensor(random.normal(size=(6, 4)))
    masks = torch.as_tensor(random.random((3, 30)) < 0.3)[[0, 2, 0, 1, 2, 0]]
    masks[3] = False
    expected = memory.pick([queries], 12, 1, masks)
    found = blocks.pick([queries], 12, 1, masks)
    assert (found[0][3] == -1).all()
    assert (found[0] == -1).any(1).all()
    torch.testing.assert_close(found[0], expected[0])
    close(found[1], expected[1])


@pytest.mark.parametrize("sign", [1, -1])
def test_queries_of_several_classes(sign):
    """One selection for all, in shards; queries run out of rows after 2, 5 and 0 picks."""
    random = np.random.default_rng(0)
    rows = random.integers(-2, 3, size=(30, 4)).astype(float)
    rows[20:] = rows[:10]
    memory, blocks = both([(rows, random.integers(-2, 3, 30) * 1.0, None, None)], 1.0, 4)
    labels = torch.tensor([0, 1, *([2] * 16), 0, 1, 1, 1, 1, *([2] * 7)])
    same_class = SameClass(labels, torch.tensor([0, 2, 1, 3, 2, 0, 1]))
    queries = torch.as_tensor(random.normal(size=(7, 4)))
    for own in (None, torch.tensor([0, 2, 1, 3, 4, 18, 19])):
        expected = memory.pick([queries], 12, sign, same_class, own)
        for found in (
            blocks._means(None).pick([queries], 12, sign, same_class, own),
            blocks.pick([queries], 12, sign, same_class, own),
        ):
            torch.testing.assert_close(found[0], expected[0])
            close(found[1], expected[1])
            torch.testing.assert_close(found[2], expected[2])
    assert (found[0] >= 0).sum(1).tolist() == [1, 12, 4, 0, 12, 1, 4]


def test_rows_whose_inputs_are_copies():
    """They are picked in order although rounding parts their features; others are not copies."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(8, 3))
    rows[[4, 7]] = rows[1] * (1 + 1e-8 * random.random((2, 1)))
    residuals = random.normal(size=8)
    residuals[4] = residuals[1]  # that of row 7 differs
    copies = torch.arange(8)
    copies[[4, 7]] = 1
    _, blocks = both([(rows, residuals, None, None)], 1.0, copies=copies)
    assert blocks.copies.tolist() == [0, 1, 2, 3, 1, 5, 6, 7]
