"""Greedy selection from rows that are read in blocks is the selection from rows in memory."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_provenance._utils.copies import find_copies
from sklearn_provenance._utils.row_arrays import RowArray, on_disk
from sklearn_provenance.information._streamed import STATE_BYTES, StreamedSystem
from sklearn_provenance.information._systems import FeatureSystem
from sklearn_provenance.tangent import _points
from sklearn_provenance.tangent._points import ExplicitPoints


def streamed(array, noise_variance, rule, n_together=2):
    copies = find_copies(np.asarray(array))
    if copies is not None:
        copies = torch.as_tensor(copies)
    points = ExplicitPoints(array, torch.zeros(len(array), dtype=torch.int64))
    limit = n_together * STATE_BYTES * len(array)
    return StreamedSystem(points, noise_variance, rule, limit, copies)


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


@pytest.mark.parametrize("rule", ["info_gain", "linear_response"])
@settings(max_examples=30, deadline=None)
@given(problem=problems(), numbers=st.sampled_from([1, 6, 2**20]))
def test_the_same_picks_as_in_memory(rule, problem, numbers):
    rows, queries, own, allowed, k, noise = problem
    reference = FeatureSystem(torch.as_tensor(rows), noise, rule)
    expected = reference.pick(queries, k, allowed, own)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_points, "_NUMBERS", numbers)
        found = streamed(rows, noise, rule).pick(queries, k, allowed, own)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], equal_nan=True)
    torch.testing.assert_close(found[2], expected[2])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_memory_maps_stay_on_disk(tmp_path, dtype):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 5)).astype(dtype)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert isinstance(on_disk(mapped), RowArray)
    queries = torch.as_tensor(rng.normal(size=(3, 5)))
    found = streamed(mapped, 2.0, "info_gain").pick(queries, 4)
    exact = FeatureSystem(torch.as_tensor(rows.astype(np.float64)), 2.0, "info_gain")
    expected = exact.pick(queries, 4)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1])
