"""What inverted files of LanceDB do besides the contract of all search indexes."""

import sys

import numpy as np
import pytest

from sklearn_provenance._utils.row_arrays import RowArray
from sklearn_provenance.retrieval import LanceIndex

pytest.importorskip("lancedb")
ROWS = np.random.default_rng(0).normal(size=(300, 6))


def test_more_lists_are_read_until_k_rows_are_found(tmp_path):
    index = LanceIndex(tmp_path / "database", "inverted_file", n_lists=8).build(ROWS)
    rows, _ = index.search(ROWS[:2], k=300)  # at first one list is read, which has fewer
    np.testing.assert_array_equal(np.sort(rows, axis=1), [np.arange(300)] * 2)


def test_lists_are_made_again_for_twice_as_many_rows(tmp_path):
    index = LanceIndex(tmp_path / "database", "inverted_file", n_lists=4).build(ROWS[:100])
    table = index.table_name_
    index.add(ROWS[:199])
    assert (index.table_name_, index.n_listed_) == (table, 100)
    index.add(ROWS[:201])
    assert index.table_name_ != table
    assert index.n_listed_ == 201


class Unreadable(RowArray):
    """Rows of a file that is damaged behind the first pass."""

    shape = ROWS.shape
    dtype = ROWS.dtype

    def __init__(self, n_passes):
        self.n_passes = n_passes

    def _read(self, start, stop):
        return self._gather(np.arange(start, stop))

    def _gather(self, rows):
        self.n_passes -= 1
        if self.n_passes < 0:
            raise ValueError("features.npy is damaged")
        return ROWS[rows]


def test_rows_that_cannot_be_read_are_no_fault_of_the_database(tmp_path):
    index = LanceIndex(tmp_path / "database")
    with pytest.raises(ValueError, match=r"^features.npy is damaged$"):
        index.build(Unreadable(1))
    index.build(ROWS[:100])
    with pytest.raises(ValueError, match=r"^features.npy is damaged$"):
        index.add(Unreadable(1))
    assert len(index.search(ROWS[:1], 100)[0][0]) == 100


def test_the_package_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(ImportError, match=r"pip install sklearn-provenance\[lance\]"):
        LanceIndex(tmp_path / "database").build(ROWS)
