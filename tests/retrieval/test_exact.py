"""ExactIndex against brute force, whatever the memory of the rows and the size of chunks."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_provenance.retrieval import ExactIndex
from sklearn_provenance.retrieval._rows import copy_vectors, read_chunks

from ..checks import thorough
from .reference import brute_force, close, make_rows, problems


@given(problems(), st.one_of(st.just("auto"), st.integers(1, 130)))
def test_search_is_brute_force(problem, chunk_rows):
    rows, queries, k = problem
    indices, products = ExactIndex(chunk_rows).build(rows).search(queries, k)
    expected, expected_products = brute_force(rows, queries, k)
    assert indices.dtype == np.int64
    assert products.dtype == np.float64
    np.testing.assert_array_equal(indices, expected)
    close(products, expected_products, rows, queries)


@pytest.mark.parametrize(
    ("dtype", "chunk_rows"),
    [
        (np.float32, 333),
        (np.float64, "auto"),
        *thorough(*((t, n) for t in (np.float32, np.float64) for n in (7, 333, "auto"))),
    ],
)
def test_ties_beyond_what_is_kept_go_to_the_lowest_rows(dtype, chunk_rows):
    """Matrix products of equal rows differ in the last bit by where they stand."""
    random = np.random.default_rng(0)
    rows = make_rows("repeated", 2000, 37, random).astype(dtype)
    queries = random.normal(size=(20, 37))
    index = ExactIndex(chunk_rows).build(rows)
    for k in (1, 10, 700):
        indices, _ = index.search(queries, k)
        np.testing.assert_array_equal(indices, brute_force(rows, queries, k)[0])


def test_single_precision_ranks_like_double():
    """Rows whose order single-precision products cannot tell, more than are kept at once."""
    random = np.random.default_rng(0)
    rows = make_rows("last bit", 1500, 200, random)
    queries = random.normal(size=(10, 200))
    expected, _ = brute_force(rows, queries, 20)
    single = np.argsort(-np.abs(queries.astype(np.float32) @ rows.T), kind="stable")[:, :20]
    assert (single != expected).mean() > 0.5
    indices, _ = ExactIndex().build(rows).search(queries, 20)
    np.testing.assert_array_equal(indices, expected)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_matrix_products_of_reduced_precision_are_not_used(precision):
    """Bounds on rounding do not hold for them. What torch makes of it depends on the processor."""
    index = ExactIndex().build(np.eye(3, dtype=np.float32))
    assert index._precisions() == [torch.float32, torch.float64]
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        assert index._precisions() == [torch.float64]
    finally:
        torch.set_float32_matmul_precision(before)


def test_precisions_that_differ_between_devices_count_as_reduced(monkeypatch):
    """torch then refuses to name one for all."""

    def refuse():
        raise RuntimeError("the precision was set by two APIs")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", refuse)
    rows = make_rows("last bit", 60, 8, np.random.default_rng(0)).astype(np.float32)
    queries = np.random.default_rng(1).normal(size=(3, 8))
    index = ExactIndex().build(rows)
    assert index._precisions() == [torch.float64]
    np.testing.assert_array_equal(index.search(queries, 5)[0], brute_force(rows, queries, 5)[0])


@pytest.mark.parametrize("chunk_rows", [1, 7, 40])
def test_rows_of_a_tensor_are_those_of_an_array(chunk_rows):
    """As they come from a GPU; on a CPU, tensors become arrays before."""
    rows = np.random.default_rng(0).normal(size=(30, 5))
    tensor = torch.as_tensor(rows)
    chunks = [chunk for _, chunk in read_chunks(tensor, chunk_rows)]
    assert torch.equal(torch.cat(chunks), tensor)
    numbers = np.array([7, 0, 7, 29])
    np.testing.assert_array_equal(copy_vectors(tensor, numbers), rows[numbers])


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e-25, 1e25, 1e150])
def test_scales_that_single_precision_or_squares_cannot_hold(scale):
    random = np.random.default_rng(0)
    rows, queries = random.normal(size=(30, 5)), random.normal(size=(4, 5))
    expected, _ = brute_force(rows, queries, 30)
    dtype = np.float32 if 1e-30 < scale < 1e30 else np.float64
    # In single precision what is left of the rows is ranked.
    scaled = (rows * scale).astype(dtype)
    if dtype == np.float32:
        expected, _ = brute_force(scaled.astype(float) / scale, queries, 30)
    indices, _ = ExactIndex().build(scaled).search(queries, 30)
    np.testing.assert_array_equal(indices, expected)
    indices, _ = ExactIndex().build(rows).search(queries * scale, 30)
    np.testing.assert_array_equal(indices, brute_force(rows, queries, 30)[0])


def variants(rows, folder):
    """The same rows in different memory."""
    np.save(folder / "rows.npy", rows)
    unaligned = np.frombuffer(b"x" + rows.tobytes(), np.uint8)[1:].view(rows.dtype)
    fixed = rows.copy()
    fixed.flags.writeable = False
    wide = np.repeat(rows, 2, axis=1)
    return {
        "memory map": np.load(folder / "rows.npy", mmap_mode="r"),
        "read-only": fixed,
        "Fortran order": np.asfortranarray(rows),
        "every other column": wide[:, ::2],
        "negative strides": rows[::-1, ::-1].copy()[::-1, ::-1],
        "unaligned": unaligned.reshape(rows.shape),
        "tensor": torch.from_numpy(rows.copy()),
        "tensor with gradient": torch.from_numpy(rows.copy()).requires_grad_(),
        "transposed tensor": torch.from_numpy(rows.T.copy()).T,
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_of_rows_does_not_matter_and_is_not_copied(dtype, tmp_path):
    random = np.random.default_rng(0)
    rows = random.normal(size=(53, 9)).astype(dtype)
    queries = random.normal(size=(4, 9))
    expected = ExactIndex().build(rows).search(queries, 11)
    for name, variant in variants(rows, tmp_path).items():
        index = ExactIndex(chunk_rows=10).build(variant)
        memory = variant.detach().numpy() if isinstance(variant, torch.Tensor) else variant
        assert np.shares_memory(index.rows_, memory), name
        indices, products = index.search(queries, 11)
        np.testing.assert_array_equal(indices, expected[0], err_msg=name)
        np.testing.assert_array_equal(products, expected[1], err_msg=name)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_a_file_larger_than_the_memory_allowed(tmp_path, template):
    script = f"""
import resource
from pathlib import Path
import numpy as np
import torch
from sklearn_provenance.retrieval import ExactIndex
torch.set_num_threads(1)
rows = np.lib.format.open_memmap({str(tmp_path / "rows.npy")!r}, "w+", np.float32, (130_000, 250))
random = np.random.default_rng(0)
some = np.unique([*random.choice(1000, 60), *random.choice(len(rows), 60)])
rows[some] = random.normal(size=(len(some), 250))
rows.flush()
rows = np.load({str(tmp_path / "rows.npy")!r}, mmap_mode="r")
queries = random.normal(size=(250, 250))
expected = some[np.argsort(-np.abs(queries @ rows[some].T), kind="stable")[:, :10]]
ExactIndex().build(rows[:100]).search(queries[:2], 3)
status = Path("/proc/self/status").read_text()
held = int(status.split("VmData:")[1].split()[0]) * 1024
limit = held + 105 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
assert min(rows.nbytes, 4 * len(queries) * len(rows)) > 120 * 2**20
try:
    np.ones(rows.shape, np.float32)
except MemoryError:
    indices, _ = ExactIndex().build(rows).search(queries, 10)
    print((indices == expected).all())
"""
    done = template.run(script)
    assert done.stdout == "True\n", done.stderr


def test_rows_that_change_after_building():
    rows = np.random.default_rng(0).normal(size=(20, 3))
    index = ExactIndex().build(rows)
    rows[3, 1] = np.nan
    with pytest.raises(ValueError, match="must not change after build"):
        index.search(np.ones((1, 3)), 2)


def test_products_that_overflow():
    with pytest.raises(ValueError, match="overflow"):
        ExactIndex().build(np.full((2, 3), 1e150)).search(np.full((1, 3), 1e200), 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_on_a_gpu(dtype):
    random = np.random.default_rng(0)
    rows = torch.from_numpy(make_rows("repeated", 3000, 40, random)).to("cuda", dtype)
    queries = random.normal(size=(6, 40))
    index = ExactIndex(chunk_rows=700).build(rows)
    assert index.rows_.data_ptr() == rows.data_ptr()
    indices, _ = index.search(torch.from_numpy(queries).cuda(), 12)
    np.testing.assert_array_equal(indices, brute_force(rows.cpu(), queries, 12)[0])
