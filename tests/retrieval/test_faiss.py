"""FaissIndex: exact where it claims to be, k rows always, and a good neighbour to torch."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from sklearn_provenance.retrieval import ExactIndex, FaissIndex, _faiss

from .reference import brute_force, close, problems

# Ties beyond what FAISS is asked for are broken as it finds them.
EXACT = problems(max_rows=30)


@given(EXACT)
def test_flat_is_brute_force(problem):
    pytest.importorskip("faiss")
    check(FaissIndex("flat"), *problem)


@given(EXACT, st.integers(1, 6))
def test_an_inverted_file_that_reads_all_lists_is_brute_force(problem, n_lists):
    pytest.importorskip("faiss")
    n_lists = min(n_lists, len(problem[0]))
    check(FaissIndex("inverted_file", n_lists=n_lists, n_probe=99), *problem)


def check(index, rows, queries, k):
    indices, products = index.build(rows).search(queries, k)
    expected, expected_products = brute_force(rows, queries, k)
    np.testing.assert_array_equal(indices, expected)
    close(products, expected_products, rows, queries)


@pytest.fixture
def clusters():
    pytest.importorskip("faiss")
    random = np.random.default_rng(0)
    centres = 4 * random.normal(size=(20, 32))
    rows = (centres[:, None] + random.normal(size=(20, 100, 32))).reshape(-1, 32)
    queries = centres[random.integers(0, 20, 40)] + random.normal(size=(40, 32))
    queries *= random.choice([-1, 1], (40, 1))
    return rows.astype(np.float32), queries


def recall(index, rows, queries, k=50):
    found, products = index.build(rows).search(queries, k)
    best, _ = ExactIndex().build(rows).search(queries, k)
    # What is found is k rows, with their exact products, in order.
    assert all(len(set(row)) == k for row in found.tolist())
    assert (np.diff(np.abs(products)) <= 0).all()
    exact = np.take_along_axis(queries @ rows.astype(float).T, found, axis=1)
    np.testing.assert_allclose(products, exact, rtol=1e-10, atol=1e-12)
    return np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(found, best, strict=True)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bytes_find_nearly_all(clusters, dtype):
    rows, queries = clusters
    assert recall(FaissIndex("scalar_quantized"), rows.astype(dtype), queries) > 0.99


def test_an_inverted_file_finds_more_in_more_lists(clusters):
    index = FaissIndex("inverted_file", n_lists=40)
    found = [recall(index.set_params(n_probe=n), *clusters) for n in (1, 4, 16, 40)]
    assert found == sorted(found)
    assert found[0] < 0.8
    assert found[2] > 0.95
    assert found[3] == 1


def test_the_default_inverted_file(clusters):
    index = FaissIndex("inverted_file")
    assert recall(index, *clusters) > 0.9
    assert index.n_lists_ == 44


def test_the_number_of_lists_read_may_change_between_searches(clusters):
    rows, queries = clusters
    index = FaissIndex("inverted_file", n_lists=40, n_probe=1).build(rows)
    few = index.search(queries, 50)[0]
    many = index.set_params(n_probe=40).search(queries, 50)[0]
    assert not np.array_equal(few, many)
    np.testing.assert_array_equal(many, ExactIndex().build(rows).search(queries, 50)[0])


@pytest.mark.parametrize("k", [60, 1500, 2000])
def test_never_fewer_rows_than_asked_for(clusters, k):
    """A list holds 50 rows on average; reading both signs gives some 100."""
    rows, queries = clusters
    found, _ = FaissIndex("inverted_file", n_lists=40, n_probe=1).build(rows).search(queries, k)
    assert found.shape == (len(queries), k)
    assert (np.sort(found)[:, 0] >= 0).all()
    assert (np.diff(np.sort(found)) > 0).all()  # no row twice


def test_more_lists_than_rows(clusters):
    with pytest.raises(ValueError, match="n_lists must be at most the number of rows, 30; got 31"):
        FaissIndex("inverted_file", n_lists=31).build(clusters[0][:30])


def test_the_same_seed_gives_the_same_lists(clusters):
    rows, queries = clusters
    index = FaissIndex("inverted_file", n_lists=8, n_probe=1)  # 64 rows a list: a sample is drawn
    first, again, other = (
        clone(index).set_params(random_state=seed).build(rows).search(queries, 50)[0]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_building_from_a_memory_map_keeps_it(clusters, tmp_path):
    rows, queries = clusters
    np.save(tmp_path / "rows.npy", rows)
    rows_map = np.load(tmp_path / "rows.npy", mmap_mode="r")
    index = FaissIndex().build(rows_map)
    assert np.shares_memory(index.rows_, rows_map)
    expected = ExactIndex().build(rows).search(queries, 7)
    np.testing.assert_array_equal(index.search(queries, 7)[0], expected[0])


def test_parameters_changed_after_building_wait_for_the_next(clusters):
    rows, queries = clusters
    index = FaissIndex("flat").build(rows)
    expected = index.search(queries, 7)[0]
    np.testing.assert_array_equal(
        index.set_params(kind="inverted_file").search(queries, 7)[0], expected
    )


def test_without_faiss(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    index = FaissIndex()  # parameters need no package
    with pytest.raises(ImportError, match=r"pip install sklearn-provenance\[faiss\]"):
        index.build(np.eye(3))


@pytest.mark.parametrize("first", [pytest.param("faiss", marks=pytest.mark.thorough), "torch"])
def test_threads_of_torch_are_used_and_left_alone(first, template):
    """Which of them is imported first decides whether they share an OpenMP runtime."""
    pytest.importorskip("faiss")
    script = f"""
import {first}
import faiss
import torch
import numpy as np
from sklearn_provenance.retrieval import FaissIndex
torch.set_num_threads(2)
faiss_before = faiss.omp_get_max_threads()
used = []
add = faiss.IndexFlat.add
faiss.IndexFlat.add = lambda *a: (used.append(faiss.omp_get_max_threads()), add(*a))[1]
rows = np.random.default_rng(0).normal(size=(900, 40)).astype(np.float32)
FaissIndex().build(rows).search(rows[:50], 5)
FaissIndex("inverted_file").build(rows).search(rows[:50], 5)
a = torch.randn(100, 100)
assert torch.isfinite(a @ a).all()
try:
    FaissIndex().build(rows).search(rows, 5000)
except ValueError:
    pass
assert torch.get_num_threads() == 2
assert faiss.omp_get_max_threads() == faiss_before
print(set(used) == {{2}})
"""
    if first == "torch":  # as the package does
        done = template.run(script)
    else:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n"


def test_the_setting_of_threads_survives_an_error(monkeypatch):
    """Of an OpenMP runtime that is not torch's: whether FAISS has one depends on the build."""
    faiss = pytest.importorskip("faiss")
    threads = [5]
    monkeypatch.setattr(faiss, "omp_get_max_threads", lambda: threads[-1])
    monkeypatch.setattr(faiss, "omp_set_num_threads", threads.append)

    def fail(*arguments, **options):
        assert threads[-1] == torch.get_num_threads()
        raise ArithmeticError

    monkeypatch.setattr(faiss.IndexFlat, "search", fail)
    index = FaissIndex().build(np.eye(3))
    with pytest.raises(ArithmeticError):
        index.search(np.eye(3), 1)
    monkeypatch.setattr(faiss.IndexFlat, "add", fail)
    with pytest.raises(ArithmeticError):
        index.build(np.eye(3))
    assert threads == [5, *[torch.get_num_threads(), 5] * 3]


def test_each_use_of_the_seed_counts(clusters, monkeypatch):
    """The rows that are learned from, and where k-means starts."""
    rows, queries = clusters
    lists = FaissIndex("inverted_file", n_lists=32, n_probe=1)  # learns from all 2000 rows
    monkeypatch.setattr(_faiss, "_LEARNT_QUANTISED", 20)
    bytes_ = FaissIndex("scalar_quantized")  # has no other use
    for index in (lists, bytes_):
        zero, one = (
            faiss_bytes(clone(index).set_params(random_state=seed).build(rows)) for seed in (0, 1)
        )
        assert zero != one


def faiss_bytes(index):
    faiss = pytest.importorskip("faiss")
    return faiss.serialize_index(index.index_).tobytes()
