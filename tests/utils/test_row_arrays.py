"""Rows that are read when they are indexed."""

import numpy as np
import pytest

from sklearn_provenance._utils.dask_rows import lazy_rows
from sklearn_provenance._utils.row_arrays import RowArray, read_together


class Counted(RowArray):
    """Rows that remember which of them were read."""

    def __init__(self, values):
        self.values = values
        self.shape, self.dtype = values.shape, values.dtype
        self.read = []

    def _read(self, start, stop):
        return self._gather(np.arange(start, stop))

    def _gather(self, rows):
        self.read.extend(rows.tolist())
        return self.values[rows]


@pytest.mark.parametrize("n_bytes", [1, 2000, 2**25])
def test_rows_that_several_sets_name_are_read_once(monkeypatch, n_bytes):
    monkeypatch.setattr("sklearn_provenance._utils.row_arrays._TOGETHER_BYTES", n_bytes)
    rng = np.random.default_rng(0)
    rows = Counted(rng.normal(size=(50, 6)))
    sets = [rng.permutation(50)[:20] for _ in range(8)]
    sets[3] = sets[3][:0]
    found = []
    for some, source in read_together(rows, sets):
        found += [source[numbers] for numbers in sets[some]]
    for numbers, values in zip(sets, found, strict=True):
        np.testing.assert_array_equal(values, rows.values[numbers])
    is_once = len(rows.read) == len(set(rows.read))
    assert is_once == (n_bytes == 2**25)


def make_dask_rows(values):
    dask_array = pytest.importorskip("dask.array")
    return lazy_rows(dask_array.from_array(values, chunks=(3, values.shape[1])), "X")


MADE = {"file": Counted, "Dask": make_dask_rows}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
@pytest.mark.parametrize(
    "rows",
    [
        slice(2, 7),
        slice(7, 2),
        slice(-4, None),
        slice(None, None, 3),
        slice(8, 1, -2),
        [4, 0, -1, 4],
        np.array([3, 1], np.uint8),
        np.arange(10) % 3 == 1,
        np.array([], int),
    ],
    ids=str,
)
def test_indexed_as_numpy_does(make, rows):
    values = np.random.default_rng(1).normal(size=(10, 4))
    np.testing.assert_array_equal(make(values)[rows], values[rows])


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 10], "between 0 and 9; got 10"),
        ([-11], "between 0 and 9; got -11"),
        ([1.5], "whole numbers or a mask of booleans; got float64"),
        (np.ones(9, dtype=bool), r"10 values, one a row; got \(9,\)"),
    ],
    ids=str,
)
def test_no_such_rows(make, rows, message):
    with pytest.raises(IndexError, match=message):
        make(np.ones((10, 4)))[rows]
