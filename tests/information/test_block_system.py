"""Greedy selection from rows that are read in blocks is the selection from rows in memory."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sklearn_provenance._utils.copies import find_copies
from sklearn_provenance._utils.row_arrays import RowArray, on_disk
from sklearn_provenance.information import _scanned_shards
from sklearn_provenance.information._block_system import BlockSystem, bytes_of_rows
from sklearn_provenance.information._sharded import STATE_BYTES
from sklearn_provenance.information._systems import FeatureSystem, KernelSystem
from sklearn_provenance.tangent._points import ExplicitPoints

RULES = ["info_gain", "linear_response", "info_loss"]
# Rows that may be the best of a query in a scan; None scans no rows.
SCANS = [None, 1, 3, 2048]


def in_blocks(array, noise_variance, rule, n_together=2, more=0):
    """Rows within a budget of two numbers for each of some queries, and ``more`` for scans."""
    copies = find_copies(np.asarray(array))
    if copies is not None:
        copies = torch.as_tensor(copies)
    points = ExplicitPoints(array, torch.zeros(len(array), dtype=torch.int64))
    limit = bytes_of_rows(*array.shape) + n_together * STATE_BYTES * len(array) + more
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
@given(problem=problems(), numbers=st.sampled_from([1, 6, 2**20]), scanned=st.sampled_from(SCANS))
def test_the_same_picks_as_in_memory(rule, small_blocks, problem, numbers, scanned):
    rows, queries, own, allowed, k, noise = problem
    reference = FeatureSystem(torch.as_tensor(rows), noise, rule)
    expected = reference.pick(queries, k, allowed, own)
    small_blocks(numbers)
    with pytest.MonkeyPatch.context() as patch:
        if scanned:
            patch.setattr(_scanned_shards, "MOST", scanned)
        found = in_blocks(rows, noise, rule, more=1e6 * bool(scanned)).pick(
            queries, k, allowed, own
        )
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
    scanned = in_blocks(rows, 0.5, rule, more=1e6)
    features = torch.as_tensor(rows)
    kernel = KernelSystem(features @ features.mT, 0.5, rule)
    pair = queries @ features.mT, queries.square().sum(1)
    asking = [(memory, queries), (blocks, queries), (scanned, queries), (kernel, pair)]
    for system, asked in asking:
        picks, nats, n_tied = system.pick(asked, 3)
        assert picks.tolist() == 3 * [[0, 1, 2]]
        torch.testing.assert_close(nats, torch.zeros_like(nats), rtol=0, atol=1e-12)
        assert n_tied.tolist() == 3 * [37]
        if system is not kernel:
            assert system.pick_together(asked, 3)[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("rule", RULES)
def test_no_candidates(rule):
    rows = np.random.default_rng(0).normal(size=(9, 3))
    nothing = torch.zeros(9, dtype=torch.bool)
    for more in (0, 1e6):
        system = in_blocks(rows, 0.1, rule, more=more)
        picks, nats, n_tied = system.pick(torch.ones(2, 3, dtype=torch.float64), 4, nothing)
        assert (picks == -1).all()
        assert nats.isnan().all()
        assert n_tied.tolist() == [0, 0]


@pytest.fixture
def scans(monkeypatch):
    """List the selections of each scan that were lost, and the rows that were scored for others."""
    seen = []
    possible = _scanned_shards.ScannedShards._possible

    def watched(self, excluded):
        found = possible(self, excluded)
        seen.append((int(self.lost.sum()), max(map(len, found))))
        return found

    monkeypatch.setattr(_scanned_shards.ScannedShards, "_possible", watched)
    return seen


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("factor", [10.0, 1.0, 1e-3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("is_own", [False, True])
def test_scans_find_the_rows_that_all_numbers_of_pairs_find(scans, rule, factor, dtype, is_own):
    """Rows of very different lengths, in clusters, with ties; noise from large to small."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(30, 12))
    rows = centres[random.integers(30, size=3000)] + 0.4 * random.normal(size=(3000, 12))
    rows = (rows * random.lognormal(sigma=0.7, size=(3000, 1))).astype(dtype)
    rows[[50, 700, 2999]] = rows[7]
    queries = torch.as_tensor(centres[:9] + 0.4 * random.normal(size=(9, 12)))
    queries[3] = torch.as_tensor(rows[7])
    own = None
    if is_own:
        own = torch.arange(0, 900, 100)
        queries = torch.as_tensor(rows)[own].double()
    allowed = torch.as_tensor(random.random(3000) < 0.7)
    noise = factor * float(np.square(rows, dtype=np.float64).sum(1).mean())
    for candidates in (None, allowed):
        expected = in_blocks(rows, noise, rule).pick(queries, 6, candidates, own)
        assert scans == []
        found = in_blocks(rows, noise, rule, more=1e7).pick(queries, 6, candidates, own)
        torch.testing.assert_close(found[0], expected[0])
        torch.testing.assert_close(found[1], expected[1], rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(found[2], expected[2])
        assert len(scans) == 6 or scans[-1] == (9, 0)  # no more where all are lost
        if factor == 10.0:
            assert not any(n_lost for n_lost, _ in scans)
            assert max(n_scored for _, n_scored in scans) < 400
        scans.clear()


def test_scans_hold_where_single_precision_would_decide_wrongly(scans):
    """Products that differ in the ninth digit, beside a row that is much longer and orthogonal."""
    random = np.random.default_rng(0)
    rows = np.zeros((2500, 3))
    rows[:, 0] = 1 + 1e-9 * random.permutation(2500)
    rows[17, 1] = 1e3
    queries = torch.tensor([[1.0, 0.0, 0.0], [0.5, 1e-9, 0.0]], dtype=torch.float64)
    found = in_blocks(rows, 1e7, "info_gain", more=1e7).pick(queries, 4)
    expected = FeatureSystem(torch.as_tensor(rows), 1e7, "info_gain").pick(queries, 4)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[2], expected[2])
    assert scans[0][0] == 2  # all rows may be the best in single precision


def test_scans_allow_for_the_rounding_of_sums(scans):
    """Terms of products cancel: what is left of the best rows differs by less than its rounding."""
    random = np.random.default_rng(0)
    rows = np.empty((3000, 2))
    rows[:, 0] = random.uniform(0.5, 1.0, 3000)
    left = 1e-9 * random.random(3000)
    left[:50] = 1e-5 * (1 + 1e-3 * random.permutation(50))
    rows[:, 1] = left - rows[:, 0]
    queries = torch.ones(1, 2, dtype=torch.float64)
    found = in_blocks(rows, 100.0, "linear_response", more=1e7).pick(queries, 5)
    expected = FeatureSystem(torch.as_tensor(rows), 100.0, "linear_response").pick(queries, 5)
    torch.testing.assert_close(found[0], expected[0])
    assert scans[0] == (0, 50)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_scans_are_in_double_precision_where_single_is_less(monkeypatch, precision):
    seen = set()
    blocks = _scanned_shards.ScannedShards._blocks

    def watched(self, n_asked, dtype):
        seen.add(dtype)
        return blocks(self, n_asked, dtype)

    monkeypatch.setattr(_scanned_shards.ScannedShards, "_blocks", watched)
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    queries = torch.ones(1, 3, dtype=torch.float64)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        in_blocks(rows, 1.0, "info_gain", more=1e6).pick(queries, 2)
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == {torch.float64}
    in_blocks(rows, 1.0, "info_gain", more=1e6).pick(queries, 2)
    assert seen == {torch.float64, torch.float32}


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
