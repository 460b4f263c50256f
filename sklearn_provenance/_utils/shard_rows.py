"""Rows of numbers in the shards of a table, read when they are asked for."""

import numpy as np
from numpy.lib import format as npy

from .encoding import decode
from .row_arrays import RowArray
from .shards import check_file, damaged, missing


class ShardRows(RowArray):
    """A column of numbers of a table, read when it is asked for and checked when first read.

    Parameters
    ----------
    table : ShardedTable
        Where the files are.
    manifest : dict
        What :meth:`ShardedTable.read` gave.
    name : str
        Name of the column.
    width : int
        Columns of numbers.
    encoding : str
        How numbers are stored, one of :data:`.encoding.DTYPES`.
    exponents : ndarray of shape (n_rows,), default=None
        What :func:`encode` gave for half precision.
    """

    def __init__(self, table, manifest, name, width, encoding, exponents=None):
        shards = manifest["shards"]
        self.table = table
        self.files = [(table.path(name, shard), shard["files"][name]) for shard in shards]
        self.starts = np.cumsum([0, *(shard["n_rows"] for shard in shards)])
        self.shape = (int(self.starts[-1]), width)
        self.dtype = np.dtype(np.float64 if encoding == "float64" else np.float32)
        self.encoding = encoding
        self.exponents = exponents
        self._checked = set()

    def _open(self, number):
        """Open a shard that has its checksum; return the file, where numbers begin and their type.

        The checksum says that this package wrote the file.
        """
        path, digest = self.files[number]
        if number not in self._checked:
            check_file(path, digest)
            self._checked.add(number)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise missing(path) from None
        npy.read_magic(file)
        _, _, stored = npy.read_array_header_1_0(file)
        return file, file.tell(), stored

    def _read(self, start, stop):
        values = np.empty((stop - start, self.shape[1]), self.dtype)
        first = np.searchsorted(self.starts, start, side="right") - 1
        done = 0
        for number in range(first, len(self.files)):
            low = max(start, self.starts[number])
            high = min(stop, self.starts[number + 1])
            if low >= high:
                break
            file, offset, stored = self._open(number)
            with file:
                run = self._run(file, offset, stored, low - self.starts[number], high - low)
            values[done : done + high - low] = self._decode(run, slice(low, high))
            done += high - low
        return values

    def _run(self, file, offset, stored, start, count):
        """Read consecutive rows of an open shard."""
        width = self.shape[1]
        file.seek(offset + int(start) * width * stored.itemsize)
        size = int(count) * width * stored.itemsize
        content = file.read(size)
        if len(content) != size:
            raise damaged(file.name)
        return np.frombuffer(content, stored).reshape(-1, width)

    def _gather(self, rows):
        values = np.empty((len(rows), self.shape[1]), self.dtype)
        order = np.argsort(rows, kind="stable")
        numbers = np.searchsorted(self.starts, rows[order], side="right") - 1
        for number in np.unique(numbers):
            places = order[numbers == number]  # of the answer, rows ascending
            file, offset, stored = self._open(number)
            with file:
                for part in _near(rows[places]):
                    at = places[part]
                    first, last = rows[at[0]], rows[at[-1]]
                    start = first - self.starts[number]
                    run = self._run(file, offset, stored, start, last - first + 1)
                    values[at] = self._decode(run[rows[at] - first], rows[at])
        return values

    def _decode(self, stored, rows):
        exponents = None
        if self.exponents is not None:
            exponents = self.exponents[rows]
        return decode(stored, self.encoding, exponents)


def _near(rows):
    """Split ascending rows into slices of which every fourth row or more is wanted."""
    starts = np.flatnonzero(np.diff(rows, prepend=rows[0] - 9) > 4)
    most = 2**12  # rows in memory beside those that are wanted
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        for low in range(start, stop, most):
            yield slice(low, min(low + most, stop))
