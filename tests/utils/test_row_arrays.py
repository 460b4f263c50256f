"""Rows on disk are read as arrays are indexed."""

import pickle

import numpy as np
import pytest

from sklearn_provenance._utils.copies import find_copies
from sklearn_provenance._utils.kept import n_bytes
from sklearn_provenance._utils.row_arrays import RowArray, named_file, on_disk


@pytest.fixture(params=[np.float16, np.float32, np.float64, ">f4"], ids=str)
def pair(request, tmp_path):
    """Rows in memory and the same on disk."""
    rows = np.random.default_rng(0).normal(size=(30, 4)).astype(request.param)
    rows[[7, 20]] = rows[3]
    np.save(tmp_path / "rows.npy", rows)
    return rows, on_disk(np.load(tmp_path / "rows.npy", mmap_mode="r"))


def test_rows_are_those_of_the_array(pair):
    rows, mapped = pair
    assert mapped.shape == rows.shape
    assert len(mapped) == 30
    mask = np.arange(30) % 2 == 0
    for some in (slice(3, 9), slice(None, None, 4), slice(9, 3), [4, 1, 1], mask):
        np.testing.assert_array_equal(mapped[some], rows[some])
        assert mapped[some].dtype == mapped.dtype
        assert mapped[some].flags.carray
    np.testing.assert_array_equal(np.asarray(mapped), rows)
    np.testing.assert_array_equal(
        np.concatenate([block for _, block in mapped.blocks(n_bytes=50)]), rows
    )
    some = mapped.taken([5, 2, 20]).taken([2, 0])
    np.testing.assert_array_equal(some[:], rows[[20, 5]])
    np.testing.assert_array_equal(some[[1]], rows[[5]])
    for wrong in ([30], [-1]):
        with pytest.raises(IndexError, match="between 0 and 29"):
            mapped[wrong]


def test_they_take_no_memory_and_are_pickled_by_content(pair):
    rows, mapped = pair
    assert n_bytes(mapped) == 0
    again = pickle.loads(pickle.dumps(mapped))
    np.testing.assert_array_equal(again[:], rows)


def test_copies_are_found(pair):
    rows, mapped = pair
    expected = np.arange(30)
    expected[[7, 20]] = 3
    np.testing.assert_array_equal(find_copies(mapped), expected)
    np.testing.assert_array_equal(find_copies([mapped, mapped]), expected)
    assert find_copies(mapped.taken(np.arange(7))) is None
    np.testing.assert_array_equal(find_copies(rows), expected)


def test_zeros_of_both_signs_are_equal(tmp_path):
    np.save(tmp_path / "rows.npy", np.array([[0.0, 1.0], [-0.0, 1.0]]))
    mapped = on_disk(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    np.testing.assert_array_equal(find_copies(mapped), [0, 0])


def test_maps_of_files_without_a_name_are_sent(tmp_path):
    with open(tmp_path / "rows", "wb+", buffering=0) as file:
        file.write(np.eye(3).tobytes())
        with open(file.fileno(), "rb", closefd=False) as nameless:
            rows = np.memmap(nameless, np.float64, "r", shape=(3, 3))
        assert rows.filename is None
        assert named_file(rows) is None
        np.testing.assert_array_equal(on_disk(rows)[:], np.eye(3))


def test_a_file_that_is_gone_is_named(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.eye(3))
    file = named_file(np.load(path, mmap_mode="r"))
    path.unlink()
    with pytest.raises(ValueError, match=r"rows\.npy must be the same file for workers"):
        file.open()


def test_what_may_be_written_to_is_in_memory(tmp_path):
    np.save(tmp_path / "rows.npy", np.eye(3))
    for mode in ("r+", "c"):
        assert not isinstance(on_disk(np.load(tmp_path / "rows.npy", mmap_mode=mode)), RowArray)
    view = np.asarray(np.load(tmp_path / "rows.npy", mmap_mode="r"))[1:]
    np.testing.assert_array_equal(on_disk(view)[:], np.eye(3)[1:])
    assert isinstance(on_disk(view), RowArray)
    assert on_disk(np.load(tmp_path / "rows.npy")) is not None
