"""Rows that are read when they are indexed."""

import numpy as np
import pytest

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
