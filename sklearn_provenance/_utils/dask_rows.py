"""Rows that are a Dask array: a chunk is computed when some of its rows are read.

Dask itself is imported nowhere: who has such an array has imported it.
"""

import threading
from collections import OrderedDict

import numpy as np

from .budget import block_bytes
from .cluster import current_client, is_task
from .kept import check_fits

# Bytes of rows that are read at once, with the budget that is usual.
_BLOCK_BYTES = 2**23
# Bytes of chunks that are held for the next rows; one chunk is held whatever it takes.
_HELD_BYTES = 2**24
# Bytes of small chunks that are computed together.
_JOINED_BYTES = 2**22
_PACKAGES = ("dask.", "dask_expr.")


def row_numbers(rows, n_rows):
    """Turn what an array is indexed by into the numbers of rows that it means.

    Parameters
    ----------
    rows : slice, or array-like of bool or int
        What the array of ``n_rows`` rows is indexed by; numbers below 0 count from the end.
    n_rows : int
        Number of rows.

    Returns
    -------
    slice or ndarray of int64
        A slice of step 1 with ``start <= stop``, or numbers from 0 to ``n_rows - 1``.

    Raises
    ------
    IndexError
        If there is no such row, or ``rows`` are not numbers of rows.
    """
    if isinstance(rows, slice):
        start, stop, step = rows.indices(n_rows)
        if step == 1:
            return slice(start, max(start, stop))
        rows = np.arange(start, stop, step)
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if rows.shape != (n_rows,):
            raise IndexError(f"a mask must have {n_rows} values, one a row; got {rows.shape}")
        rows = np.flatnonzero(rows)
    elif rows.dtype.kind not in "iu" and rows.size:
        raise IndexError(f"rows must be whole numbers or a mask of booleans; got {rows.dtype}")
    rows = rows.astype(np.int64, copy=False)
    wrong = (rows >= n_rows) | (rows < -n_rows)
    if wrong.any():
        given = np.atleast_1d(rows)[np.atleast_1d(wrong)][0]
        raise IndexError(f"rows must be between 0 and {n_rows - 1}; got {given}")
    return np.where(rows < 0, rows + n_rows, rows)


def block_rows(row_bytes):
    """Count the rows, of so many bytes each, that are read at once."""
    return max(1, block_bytes(_BLOCK_BYTES) // max(1, row_bytes))


def is_dask_array(values):
    """Return whether values are a Dask array, without an import of Dask."""
    return any(
        base.__name__ == "Array" and base.__module__ == "dask.array.core"
        for base in type(values).__mro__
    )


def is_dask_column(values):
    """Return whether values are a column of a data frame of Dask."""
    return any(
        base.__name__ in ("Series", "Index") and base.__module__.startswith(_PACKAGES)
        for base in type(values).__mro__
    )


def computed(values, name):
    """Compute rows or labels of Dask, as an array or a column of pandas; leave others as they are.

    Parameters
    ----------
    values : object
        Rows or labels as users give them.
    name : str
        Name of the caller's argument.

    Returns
    -------
    object
        What a Dask array, a column of Dask or :class:`DaskRows` hold; else ``values``.

    Raises
    ------
    TypeError
        If they are another collection of Dask, such as a data frame.
    ValueError
        If they have chunks that are not arrays of NumPy.
    """
    if is_dask_column(values):
        return run(values)
    if is_dask_array(values):
        _check_meta(values, name)
        return run(values)
    if isinstance(values, DaskRows):
        return np.asarray(values)
    kind = type(values)
    if hasattr(kind, "__dask_graph__") and kind.__module__.startswith(_PACKAGES):
        lazily = ""
        if kind.__name__ == "DataFrame":
            lazily = f"{name}.to_dask_array(lengths=True), or "
        raise TypeError(
            f"{name} of Dask must be an array; got a {kind.__name__}. Pass {lazily}{name}.compute()"
        )
    return values


def lazy_rows(X, name="X"):
    """Wrap a Dask array of numbers, whose rows are read when they are needed; else return X.

    Raises
    ------
    ValueError
        If sizes of chunks are not known, or chunks are not arrays of NumPy.
    """
    if not is_dask_array(X) or X.dtype.kind not in "fiub" or not X.ndim:
        return X
    return DaskRows(X, name)


def in_blocks(function, X):
    """Call a function of rows, which answers for each alone; of a Dask array block by block.

    Parameters
    ----------
    function : callable
        ``function(rows)`` gives an array-like of shape (n, ...).
    X : object
        Rows as :func:`.rows.check_rows` gives them.

    Returns
    -------
    array-like of shape (n_rows, ...)
        What the function gives; an ndarray for a Dask array.
    """
    if not isinstance(X, DaskRows):
        return function(X)
    return np.concatenate([np.asarray(function(block)) for _, block in X.blocks()])


def check_chunks(X, memory_limit):
    """Raise a MemoryError if X is a Dask array with a chunk that takes more bytes than allowed."""
    if isinstance(X, DaskRows):
        X.check_chunks(memory_limit)


def run(lazy):
    """Compute a collection of Dask where this call is to compute.

    These are the workers of the client that is in use. In a task of a worker it is its own thread:
    a task that waits for others would hold up the worker.
    """
    client = current_client()
    if client is not None:
        return client.compute(lazy).result()
    if is_task():
        return lazy.compute(scheduler="synchronous")
    return lazy.compute()


def _check_meta(array, name):
    """Raise a ValueError unless the chunks of a Dask array are arrays of NumPy."""
    kind = type(array._meta)
    if issubclass(kind, np.ma.MaskedArray):
        raise ValueError(
            f"{name} must not be a masked array, because its mask would be ignored. Fill it with "
            f"dask.array.ma.filled({name}, value), or impute"
        )
    if not issubclass(kind, np.ndarray):
        raise ValueError(
            f"{name} must be a Dask array with arrays of NumPy as chunks; its chunks are of "
            f"{kind.__module__}.{kind.__name__}. Pass {name}.map_blocks(lambda block: "
            f"block.toarray()), or {name}.compute()"
        )


class _Held:
    """Chunks that were computed last, which do not count as results."""

    __slots__ = ("chunks", "lock")

    def __init__(self):
        self.chunks = OrderedDict()
        self.lock = threading.RLock()

    def get(self, number, n_bytes, make):
        """Return a chunk of so many bytes; others make room before it is computed."""
        with self.lock:
            if number not in self.chunks:
                left = _HELD_BYTES - n_bytes
                while self.chunks and sum(one.nbytes for one in self.chunks.values()) > left:
                    self.chunks.popitem(last=False)
                self.chunks[number] = make()
            self.chunks.move_to_end(number)
            return self.chunks[number]


class DaskRows:
    """Rows (n_rows, ...) of a Dask array, which are computed when they are indexed.

    Whole chunks of rows are computed, with all their columns, one after the other (small ones
    together), and those of the last 16 MB are held (at least one): rows that are read in order take
    one computation of each chunk, and so do rows that are read together in any order.

    Parameters
    ----------
    array : dask.array.Array
        Numbers.
    name : str, default="X"
        Name of the caller's argument.
    dtype : numpy.dtype, default=None
        Type of what is read; None is that of the array.

    Attributes
    ----------
    array : dask.array.Array
        The array.
    shape, dtype, ndim
        As of an ndarray.
    """

    def __init__(self, array, name="X", dtype=None):
        if any(np.isnan(size) for axis in array.chunks for size in axis):
            raise ValueError(
                f"{name} must have chunks of known sizes; got a Dask array of shape {array.shape}. "
                "Call its method compute_chunk_sizes() first"
            )
        _check_meta(array, name)
        self.array = array
        self.name = name
        self.shape = tuple(int(size) for size in array.shape)
        self.ndim = len(self.shape)
        self.dtype = np.dtype(array.dtype if dtype is None else dtype)
        self._ends = _joined_ends(array.chunks[0], _JOINED_BYTES // max(1, self.row_bytes))
        self._held = _Held()

    def __len__(self):
        return self.shape[0]

    def __repr__(self):
        return f"DaskRows({self.array!r})"

    @property
    def itemsize(self):
        """Bytes of a number."""
        return self.dtype.itemsize

    @property
    def size(self):
        """Number of numbers."""
        return int(np.prod(self.shape))

    @property
    def row_bytes(self):
        """Bytes of a row as it is computed."""
        return int(np.prod(self.shape[1:])) * self.array.dtype.itemsize

    def __array__(self, dtype=None, copy=None):
        values = self[:]
        return values if dtype is None else values.astype(dtype, copy=False)

    def __reduce__(self):
        # Graphs often hold functions that only cloudpickle, which Dask needs, can write.
        import cloudpickle

        return _unpickled, (cloudpickle.dumps(self.array), self.name, self.dtype)

    def __getitem__(self, rows):
        if isinstance(rows, tuple):
            first, *others = rows
            found = self[first]
            return found[tuple(others)] if np.ndim(found) < self.ndim else found[:, *others]
        rows = row_numbers(rows, len(self))
        if isinstance(rows, slice):
            return self._read(rows.start, rows.stop)
        return self._gather(rows.ravel()).reshape(*rows.shape, *self.shape[1:])

    def astype(self, dtype, copy=None):
        """Return the same rows, which become another type when they are read."""
        if np.dtype(dtype) == self.dtype:
            return self
        other = DaskRows(self.array, self.name, dtype)
        other._held = self._held  # chunks are held as they were computed
        return other

    def blocks(self):
        """Yield slices of rows, and the rows, a few at a time."""
        step = block_rows(self.row_bytes)
        for start in range(0, len(self), step):
            rows = slice(start, min(start + step, len(self)))
            yield rows, self[rows]

    def future(self, client, rows):
        """Have the workers of a client compute a slice of rows, or rows by their numbers."""
        return client.compute(self.array[rows].astype(self.dtype))

    def check_chunks(self, memory_limit):
        """Raise a MemoryError if a chunk takes more bytes than are allowed."""
        n_rows = max(self.array.chunks[0], default=0)
        fits = int(memory_limit // max(1, self.row_bytes))
        check_fits(
            n_rows * self.row_bytes,
            f"a chunk of {self.name} has {n_rows} rows, which are computed together and take",
            memory_limit,
            f"cut it by .rechunk({{0: {max(1, min(fits, n_rows // 2))}}})",
        )

    def _read(self, start, stop):
        """Read the rows from start to stop."""
        found = np.empty((stop - start, *self.shape[1:]), self.dtype)
        number = int(np.searchsorted(self._ends, start, side="right"))
        done = start
        while done < stop:
            end = min(int(self._ends[number]), stop)
            if end > done:
                first = self._start(number)
                found[done - start : end - start] = self._chunk(number)[done - first : end - first]
                done = end
            number += 1
        return found

    def _gather(self, rows):
        """Read rows (n,), int64 and not negative, chunk by chunk."""
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        numbers = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(numbers):
            places = np.flatnonzero(numbers == number)
            found[places] = self._chunk(int(number))[rows[places] - self._start(number)]
        return found

    def _start(self, number):
        return int(self._ends[number - 1]) if number else 0

    def _chunk(self, number):
        """Compute the rows of some chunks with all their columns, or find them held."""
        start, stop = self._start(number), int(self._ends[number])
        expected = (stop - start, *self.shape[1:])

        def make():
            found = np.asarray(run(self.array[start:stop]))
            if found.shape != expected:
                raise ValueError(
                    f"{self.name} must have chunks of the sizes that it says; rows {start} to "
                    f"{stop - 1} were computed with shape {found.shape} in place of {expected}. "
                    "Call its method compute_chunk_sizes() first"
                )
            return found

        return self._held.get(number, (stop - start) * self.row_bytes, make)


def _joined_ends(sizes, n_rows):
    """Return the ends of chunks, of which those of together up to ``n_rows`` rows are one."""
    ends = []
    start = end = 0
    for size in sizes:
        if end > start and end + size - start > n_rows:
            ends.append(end)
            start = end
        end += size
    return np.array([*ends, end], dtype=np.int64)


def _unpickled(content, name, dtype):
    import cloudpickle

    return DaskRows(cloudpickle.loads(content), name, dtype)
