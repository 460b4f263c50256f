"""Rows of numbers that stay on disk: what reads them reads some rows at a time."""

import mmap
import os
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from .budget import block_bytes
from .dask_rows import DaskRows, block_rows, lazy_rows, row_numbers

# Bytes of rows that are read at once where several queries name some of them.
_TOGETHER_BYTES = 2**25


class RowArray(ABC):
    """Rows (n_rows, n_columns) that are read when they are indexed, by a slice or by row numbers.

    What is read is a new array in single or double precision. Half precision becomes single, which
    is exact.

    Attributes
    ----------
    shape : tuple of int
        Numbers of rows and columns.
    dtype : numpy.dtype
        Type of what is read: float32 or float64.
    """

    ndim = 2
    shape: tuple[int, int]
    dtype: np.dtype

    def __len__(self):
        return self.shape[0]

    @property
    def itemsize(self):
        """Bytes of a number."""
        return self.dtype.itemsize

    @abstractmethod
    def _read(self, start, stop):
        """Read the rows from start to stop."""

    @abstractmethod
    def _gather(self, rows):
        """Read rows (n,), int64 and not negative."""

    def __getitem__(self, rows):
        rows = row_numbers(rows, len(self))
        return self._read(rows.start, rows.stop) if isinstance(rows, slice) else self._gather(rows)

    def __array__(self, dtype=None, copy=None):
        values = self._read(0, len(self))
        return values if dtype is None else values.astype(dtype, copy=False)

    def taken(self, rows: Any) -> "RowArray":
        """Select rows (n,) by their numbers without reading them."""
        return TakenRows(self, np.asarray(rows, dtype=np.int64))

    def blocks(self):
        """Yield slices of rows, and the rows, a few at a time."""
        step = block_rows(self.itemsize * self.shape[1])
        for start in range(0, len(self), step):
            rows = slice(start, min(start + step, len(self)))
            yield rows, self[rows]


class TakenRows(RowArray):
    """Some rows of others, in the order of their numbers (n,)."""

    def __init__(self, source, numbers):
        self.source = source
        self.numbers = numbers
        self.shape = (len(numbers), source.shape[1])
        self.dtype = source.dtype

    def _read(self, start, stop):
        return self.source[self.numbers[start:stop]]

    def _gather(self, rows):
        return self.source[self.numbers[rows]]

    def taken(self, rows):
        return TakenRows(self.source, self.numbers[np.asarray(rows, dtype=np.int64)])


class MappedRows(RowArray):
    """Rows of an array that is a read-only memory map.

    Pages that were read are given back to the operating system, which may keep them as long as it
    has memory to spare.

    Parameters
    ----------
    array : ndarray of shape (n_rows, n_columns)
        A memory map, or a view of one, of floats.
    """

    def __init__(self, array):
        # As a memory map it does not count as memory.
        self.array = array.view(np.memmap)
        self.shape = array.shape
        self.dtype = np.dtype(np.float64 if array.dtype.itemsize > 4 else np.float32)
        self._map = getattr(_memory_map(array), "_mmap", None)

    def _read(self, start, stop):
        return self._copied(slice(start, stop))

    def _gather(self, rows):
        return self._copied(rows)

    def _copied(self, rows):
        values = np.array(self.array[rows], dtype=self.dtype, order="C", subok=False)
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
        return values

    def __reduce__(self):
        return type(self), (np.array(self.array),)


class DaskFeatures(RowArray):
    """Rows φ (n_rows, n_columns) of a Dask array, in single or double precision.

    Parameters
    ----------
    rows : DaskRows of shape (n_rows, n_columns)
        The rows. Whole numbers are read in double precision.
    """

    def __init__(self, rows):
        is_single = rows.dtype.kind == "f" and rows.dtype.itemsize <= 4
        self.dtype = np.dtype(np.float32 if is_single else np.float64)
        self.rows = rows.astype(self.dtype)
        self.shape = rows.shape

    def _read(self, start, stop):
        return self.rows[start:stop]

    def _gather(self, rows):
        return self.rows[rows]

    def future(self, client, rows):
        """Have the workers of a client compute rows; see :meth:`DaskRows.future`."""
        return self.rows.future(client, rows)

    def __reduce__(self):
        return type(self), (self.rows,)


def _memory_map(array):
    """Find the memory map that an array is a view of, or None."""
    found = None
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and getattr(array, "_mmap", None) is not None:
            found = array
        array = array.base
    return found


def is_file(array: Any) -> bool:
    """Return whether the numbers of an array lie in a memory map."""
    return _memory_map(array) is not None


def on_disk(array: Any, name: str = "rows") -> Any:
    """Wrap rows (n_rows, n_columns) that are a read-only memory map of floats, or a Dask array.

    All else is returned as it is. A memory map that may be written to is no file of this process
    alone, and is treated as an array in memory.
    """
    array = lazy_rows(array, name)
    if isinstance(array, DaskRows) and array.ndim == 2:
        return DaskFeatures(array)
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
        return array
    if array.dtype.itemsize > 8 or array.flags.writeable or _memory_map(array) is None:
        return array
    return MappedRows(array)


def read_together(rows, sets):
    """Read rows on disk for several sets of their numbers at once, as many as take a block.

    Parameters
    ----------
    rows : ndarray, torch.Tensor or RowArray of shape (n_rows, n_columns)
        Rows.
    sets : list of ndarray of shape (n,), int64
        The numbers of the rows of each set.

    Yields
    ------
    some : slice
        Some of the sets.
    source : ndarray, torch.Tensor or RowArray
        What their rows can be taken from, by their numbers: ``rows`` unless they are on disk.
    """
    if not isinstance(rows, RowArray) or not sets:
        yield slice(0, len(sets)), rows
        return
    most = block_bytes(_TOGETHER_BYTES) // max(1, rows.itemsize * rows.shape[1])
    start = 0
    while start < len(sets):
        stop = start + 1
        n_numbers = len(sets[start])
        while stop < len(sets) and n_numbers + len(sets[stop]) <= most:
            n_numbers += len(sets[stop])
            stop += 1
        source = rows
        if stop > start + 1:
            numbers = np.unique(np.concatenate(sets[start:stop]))
            source = SomeRows(rows[numbers], numbers)
        yield slice(start, stop), source
        start = stop


class SomeRows(RowArray):
    """Rows in memory, under the numbers (n,), ascending, that they have among others."""

    def __init__(self, values, numbers):
        self.values = values
        self.numbers = numbers
        self.shape = (int(numbers[-1]) + 1 if len(numbers) else 0, values.shape[1])
        self.dtype = values.dtype

    def _read(self, start, stop):
        return self._gather(np.arange(start, stop))

    def _gather(self, rows):
        return self.values[np.searchsorted(self.numbers, rows)]


class FileArray:
    """An array in a file that is named to other processes in place of its numbers.

    Parameters
    ----------
    array : numpy.memmap
        A memory map of the file, or a view of it whose numbers lie one after the other.
    """

    def __init__(self, array):
        source = _memory_map(array)
        start = array.__array_interface__["data"][0] - source.__array_interface__["data"][0]
        self.path = str(source.filename)
        self.offset = source.offset + start
        self.shape = array.shape
        self.dtype = array.dtype
        self.size = os.path.getsize(self.path)

    def open(self):
        """Map the file."""
        try:
            same = os.path.getsize(self.path) == self.size
        except OSError:
            same = False
        if not same:
            raise ValueError(
                f"{self.path} must be the same file for workers as for the client, but a worker "
                "finds none, or another. Put it on a file system that they share"
            )
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


class FileRows(MappedRows):
    """Rows of a memory map, of which a pickle holds the path."""

    def __init__(self, file):
        super().__init__(file.open())
        self.file = file

    def __reduce__(self):
        return type(self), (self.file,)


def named_file(array):
    """Return the file of a memory map or of rows on disk, small enough to be sent, or None."""
    if isinstance(array, MappedRows):
        file = named_file(array.array)
        return file if file is None else FileRows(file)
    if isinstance(array, RowArray):
        return None if isinstance(array, TakenRows | DaskFeatures) else array
    if not isinstance(array, np.ndarray) or array.flags.writeable or not array.flags.c_contiguous:
        return None
    source = _memory_map(array)
    if source is None or source.filename is None:
        return None
    return FileArray(array)
