"""What all indices share: parameters, bad inputs, copies."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sklearn_provenance.retrieval import ExactIndex, FaissIndex, make_index

from .reference import brute_force

INDICES = [
    ExactIndex(chunk_rows=7),
    FaissIndex("flat"),
    FaissIndex("scalar_quantized"),
    FaissIndex("inverted_file", n_lists=4, n_probe=4),
    FaissIndex("quantized_inverted_file", n_lists=4, n_probe=4),
]


@pytest.fixture(params=INDICES, ids=str)
def index(request):
    if isinstance(request.param, FaissIndex):
        pytest.importorskip("faiss")
    return clone(request.param)


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    return random.normal(size=(40, 6)), random.normal(size=(3, 6))


@pytest.mark.parametrize("container", ["list", "float32", "integers", "tensor", "read-only"])
def test_queries_of_any_kind(index, data, container):
    rows, queries = data
    queries = np.round(4 * queries)
    given = {
        "list": queries.tolist(),
        "float32": queries.astype(np.float32),
        "integers": queries.astype(int),
        "tensor": torch.tensor(queries, requires_grad=True),
        "read-only": np.broadcast_to(queries, queries.shape),
    }[container]
    indices, products = index.build(rows).search(given, 5)
    expected, expected_products = brute_force(rows, queries, 5)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(products, expected_products, rtol=1e-12)


@pytest.mark.parametrize("k", [1, 5])
def test_few_rows(index, k):
    index.set_params(**({"n_lists": 1} if "n_lists" in index.get_params() else {}))
    rows, queries = np.diag(np.arange(1.0, k + 1)), -np.eye(k)
    indices, products = index.build(rows).search(queries, k)
    expected, expected_products = brute_force(rows, queries, k)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(products, expected_products)


def test_zero_rows_zero_queries_and_none(index, data):
    rows, queries = data
    rows[5:] = 0
    queries[1] = 0
    indices, products = index.build(rows).search(queries, 40)
    np.testing.assert_array_equal(indices, brute_force(rows, queries, 40)[0])
    assert not products[1].any()
    indices, products = index.build(np.zeros_like(rows)).search(queries, 40)
    np.testing.assert_array_equal(indices, np.tile(np.arange(40), (3, 1)))
    indices, products = index.search(np.empty((0, 6)), 2)
    assert indices.shape == products.shape == (0, 2)


def test_neither_rows_nor_queries_change(index, data):
    rows, queries = data
    before = rows.copy(), queries.copy()
    index.build(rows).search(queries, 3)
    np.testing.assert_array_equal(rows, before[0])
    np.testing.assert_array_equal(queries, before[1])


def test_search_before_build(index):
    with pytest.raises(NotFittedError, match=r"call build\(rows\) first"):
        index.search(np.ones((1, 3)), 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite(index, data, value):
    rows, queries = data
    expected = index.build(rows).search(queries, 4)
    broken = rows.copy()
    broken[23, 2] = value
    with pytest.raises(ValueError, match="Row 23 holds NaN or infinity"):
        index.build(broken)
    # What was built before is still there.
    np.testing.assert_array_equal(index.search(queries, 4)[0], expected[0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((3, 2), int), "float32 or float64, got an array of int64"),
        (np.ones((3, 2), np.float16), "got an array of float16"),
        (torch.ones((3, 2), dtype=torch.bfloat16), "got an array of torch.bfloat16"),
        (torch.eye(3).to_sparse(), "got layout torch.sparse_coo"),
        (np.ones(3), r"got shape \(3,\)"),
        (np.ones((0, 2)), r"got shape \(0, 2\)"),
        (np.ones((2, 0)), r"got shape \(2, 0\)"),
        (np.full((3, 2), 1e200), "Row 0 holds numbers whose squares overflow"),
    ],
)
def test_rows_that_cannot_be_searched(index, rows, message):
    with pytest.raises(ValueError, match=message):
        index.build(rows)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (np.ones((2, 5)), r"shape \(n_queries, 6\).*got shape \(2, 5\)"),
        (np.ones(6), r"got shape \(6,\)"),
        (np.array([[1.0] * 6, [1, 2, np.nan, 4, 5, 6]]), "Query 1 holds NaN or infinity"),
        (np.ones((2, 6), complex), "real numbers"),
        (np.full((2, 6), "a"), "real numbers"),
    ],
)
def test_queries_that_do_not_fit(index, data, queries, message):
    with pytest.raises(ValueError, match=message):
        index.build(data[0]).search(queries, 1)


@pytest.mark.parametrize("k", [0, -1, 41, 2.0, True, "3", None])
def test_k_out_of_range(index, data, k):
    with pytest.raises(ValueError, match="k must be an integer from 1 to the number of rows, 40"):
        index.build(data[0]).search(data[1], k)


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"verbose": "yes"}, "verbose"),
        ({"chunk_rows": 0}, "chunk_rows"),
        ({"kind": "graph"}, "kind"),
        ({"n_lists": 0}, "n_lists"),
        ({"n_probe": 1.5}, "n_probe"),
        ({"random_state": "seed"}, "random_state"),
    ],
)
def test_parameters_are_checked_by_build(index, data, parameters, name):
    if name not in index.get_params():
        pytest.skip("no such parameter")
    with pytest.raises(ValueError, match=f"The '{name}' parameter"):
        index.set_params(**parameters).build(data[0])


def test_clone_and_copies(index, data):
    rows, queries = data
    expected = index.build(rows).search(queries, 9)
    fresh = clone(index)
    assert fresh.get_params() == index.get_params()
    with pytest.raises(NotFittedError):
        fresh.search(queries, 9)
    for copy in (pickle.loads(pickle.dumps(index)), deepcopy(index)):
        for found, wanted in zip(copy.search(queries, 9), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
        assert not np.shares_memory(copy.rows_, rows)


def test_an_index_of_a_memory_map_can_be_pickled(index, data, tmp_path):
    rows, queries = data
    np.save(tmp_path / "rows.npy", rows)
    index.build(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    expected = index.search(queries, 9)
    stored = pickle.dumps(index)
    del index
    (tmp_path / "rows.npy").unlink()
    np.testing.assert_array_equal(pickle.loads(stored).search(queries, 9)[0], expected[0])


def test_building_again_replaces_the_rows(index, data):
    rows, queries = data
    index.build(rows[:, :4])
    indices, _ = index.build(rows[10:]).search(queries, 5)
    np.testing.assert_array_equal(indices, brute_force(rows[10:], queries, 5)[0])


def test_progress(index, data, capfd):
    index.build(data[0]).search(data[1], 2)
    assert capfd.readouterr() == ("", "")
    index.set_params(verbose=True).build(data[0])
    assert "rows" in capfd.readouterr().err


def test_make_index():
    assert make_index(None) is None
    assert type(make_index("exact")) is ExactIndex
    assert type(make_index("faiss")) is FaissIndex
    own = ExactIndex(chunk_rows=3).build(np.eye(2))
    made = make_index(own)
    assert made.chunk_rows == 3
    assert not hasattr(made, "rows_")

    class Plain:
        settings = None

        def build(self, rows):
            return self

        def search(self, queries, k):
            return None

    plain = Plain()
    plain.settings = [1]
    made = make_index(plain)
    made.settings.append(2)
    assert plain.settings == [1]


@pytest.mark.parametrize("index", ["hnsw", ""])
def test_a_name_that_is_not_known(index):
    with pytest.raises(ValueError, match="None, 'exact', 'faiss' or an object with build"):
        make_index(index)


@pytest.mark.parametrize("index", [ExactIndex, 3, np.eye(2), [ExactIndex()]])
def test_an_object_that_is_no_index(index):
    with pytest.raises(TypeError, match="None, 'exact', 'faiss' or an object with build"):
        make_index(index)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_queries_whose_squares_leave_the_range_of_numbers(index, data, scale):
    rows, queries = (np.asarray(part, dtype=np.float64) for part in data)
    index.build(rows)
    expected, products = index.search(queries, 3)
    found, scaled = index.search(scale * queries, 3)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(scaled, scale * products, rtol=1e-10)
