"""Greedy selection from rows that are read in blocks is the selection from rows in memory."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sklearn_provenance._utils.copies import find_copies
from sklearn_provenance._utils.row_arrays import RowArray, on_disk
from sklearn_provenance.information._block_system import BlockSystem, bytes_of_rows
from sklearn_provenance.information._sharded import STATE_BYTES
from sklearn_provenance.information._systems import FeatureSystem, KernelSystem
from sklearn_provenance.tangent._points import ExplicitPoints

RULES = ["info_gain", "linear_response", "info_loss"]


def in_blocks(array, noise_variance, rule, n_together=2):
    copies = find_copies(np.asarray(array))
    if copies is not None:
        copies = torch.as_tensor(copies)
    points = ExplicitPoints(array, torch.zeros(len(array), dtype=torch.int64))
    limit = bytes_of_rows(*array.shape) + n_together * STATE_BYTES * len(array)
    return BlockSystem(points, noise_variance, rule, limit, copies)


@st.composite
def problems(draw):
    """Rows of small whole numbers, some equal, some zero, of which queries may be some."""
    n, d = draw(st.integers(2, 9)), draw(st.integers(1, 4))
    entries = st.lists(st.integers(-3, 3), min_size=d, max_size=d)
    rows = np.array(draw(st.lists(entries, min_size=n, max_size=n)), dtype=float)
    own = torch.as_tensor(draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=4)))
    if draw(st.booleans()):
        queries, own = torch.as_tensor(rows)[own], own
    else:
        queries = torch.as_tensor(draw(st.lists(entries, min_size=1, max_size=4))).double()
        own = None
    allowed = None
    if draw(st.booleans()):
        allowed = torch.as_tensor(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    return rows, queries, own, allowed, draw(st.integers(1, n)), 10.0 ** draw(st.floats(-2, 3))


@pytest.mark.parametrize("rule", RULES)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(problem=problems(), numbers=st.sampled_from([1, 6, 2**20]))
def test_the_same_picks_as_in_memory(rule, small_blocks, problem, numbers):
    rows, queries, own, allowed, k, noise = problem
    reference = FeatureSystem(torch.as_tensor(rows), noise, rule)
    expected = reference.pick(queries, k, allowed, own)
    small_blocks(numbers)
    found = in_blocks(rows, noise, rule).pick(queries, k, allowed, own)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-9, atol=1e-11, equal_nan=True)
    torch.testing.assert_close(found[2], expected[2])


def orthogonal():
    """Rows whose scaled products with queries are 0 but for rounding: (rows, roots, queries)."""
    random = np.random.default_rng(0)
    rows = np.zeros((40, 6))
    rows[1:, :3] = rows[1:, 5:2:-1] = random.integers(-3, 4, (39, 3))
    queries = random.normal(size=(3, 6))
    queries[:, 3:] = -queries[:, 2::-1]
    return rows, np.sqrt(random.integers(1, 9, 40) / 7), torch.as_tensor(queries)


@pytest.mark.parametrize("rule", RULES)
def test_rows_without_effect_tie(rule):
    rows, roots, queries = orthogonal()
    rows = rows * roots[:, None]
    memory = FeatureSystem(torch.as_tensor(rows), 0.5, rule)
    blocks = in_blocks(rows, 0.5, rule)
    features = torch.as_tensor(rows)
    kernel = KernelSystem(features @ features.mT, 0.5, rule)
    pair = queries @ features.mT, queries.square().sum(1)
    for system, asked in ((memory, queries), (blocks, queries), (kernel, pair)):
        picks, nats, n_tied = system.pick(asked, 3)
        assert picks.tolist() == 3 * [[0, 1, 2]]
        torch.testing.assert_close(nats, torch.zeros_like(nats), rtol=0, atol=1e-12)
        assert n_tied.tolist() == 3 * [37]
        if system is not kernel:
            assert system.pick_together(asked, 3)[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("rule", RULES)
def test_no_candidates(rule):
    rows = np.random.default_rng(0).normal(size=(9, 3))
    system = in_blocks(rows, 0.1, rule)
    nothing = torch.zeros(9, dtype=torch.bool)
    picks, nats, n_tied = system.pick(torch.ones(2, 3, dtype=torch.float64), 4, nothing)
    assert (picks == -1).all()
    assert nats.isnan().all()
    assert n_tied.tolist() == [0, 0]


@pytest.mark.parametrize("numbers", [1, 50, 2**20])
@pytest.mark.parametrize("noise_variance", [1.0, 1e-9])
def test_losses_of_rows_alone(small_blocks, numbers, noise_variance):
    """By Gram matrices, and where these would lose digits by triangles."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(30, 4))
    queries = torch.as_tensor(random.normal(size=(5, 4)))
    wanted = torch.tensor([3, 0, 29, 17])
    reference = FeatureSystem(torch.as_tensor(rows), noise_variance, "info_loss")
    expected = reference.loss(queries, wanted)
    small_blocks(numbers)
    system = in_blocks(rows, noise_variance, "info_loss")
    torch.testing.assert_close(system.loss(queries, wanted), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(system.loss(queries, torch.arange(30))[:, wanted], expected)


@pytest.mark.parametrize("rule", RULES)
def test_rows_whose_inputs_are_copies(rule):
    """They are copies though their features differ by rounding, as those of a store may."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(12, 3))
    rows[[5, 9]] = rows[1] * (1 + 1e-8 * random.random((2, 1)))
    rows[11] = rows[2]  # a copy by its features alone
    copies = torch.arange(12)
    copies[[5, 9]] = 1
    points = ExplicitPoints(rows, torch.zeros(12, dtype=torch.int64))
    system = BlockSystem(points, 0.1, rule, 1e6, copies)
    assert system.copies[[1, 2, 5, 9, 11]].tolist() == [1, 2, 1, 1, 2]
    picks, _, n_tied = system.pick(torch.as_tensor(rows[[1, 2]]), 12)
    for query in picks.tolist():
        for of_kind in ([1, 5, 9], [2, 11]):
            assert [row for row in query if row in of_kind] == of_kind


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_memory_maps_stay_on_disk(tmp_path, dtype):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 5)).astype(dtype)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert isinstance(on_disk(mapped), RowArray)
    queries = torch.as_tensor(rng.normal(size=(3, 5)))
    found = in_blocks(mapped, 2.0, "info_gain").pick(queries, 4)
    exact = FeatureSystem(torch.as_tensor(rows.astype(np.float64)), 2.0, "info_gain")
    expected = exact.pick(queries, 4)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1])
