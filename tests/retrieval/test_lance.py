"""What inverted files of LanceDB do besides the contract of all search indexes."""

import sys

import numpy as np
import pytest

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


def test_the_package_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(ImportError, match=r"pip install sklearn-provenance\[lance\]"):
        LanceIndex(tmp_path / "database").build(ROWS)
