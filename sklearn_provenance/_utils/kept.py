"""A cache of results in memory, within a budget."""

import numbers
import threading
from collections import OrderedDict
from hashlib import sha256

import numpy as np
import torch
from scipy.sparse import issparse

# Default of memory_limit: 2 GB.
MEMORY_LIMIT = 2e9


def check_fits(needed, what, memory_limit, advice):
    """Raise a MemoryError for work that would take more bytes than are allowed.

    Parameters
    ----------
    needed : float
        Number of bytes that the work takes.
    what : str
        The work and its verb, such as "features take".
    memory_limit : float
        Number of bytes that are allowed.
    advice : str
        Advice how to take fewer.

    Raises
    ------
    MemoryError
        If more are needed than allowed.
    """
    if needed > memory_limit:
        raise MemoryError(
            f"{what} {needed / 1e9:.2g} GB, which must be at most memory_limit={memory_limit:.3g} "
            f"bytes; {advice}, or raise memory_limit"
        )


class Kept:
    """Cache of results by key, which drops the least recently used ones where they pass a budget.

    Threads that ask for the same result wait for the first of them.

    Parameters
    ----------
    memory_limit : float
        Budget in bytes.
    """

    def __init__(self, memory_limit):
        self.memory_limit = memory_limit
        self._results = OrderedDict()
        self._lock = threading.RLock()

    def __call__(self, key, make):
        """Return ``make()``, or its earlier result for this key.

        Parameters
        ----------
        key : tuple
            Key, in which arrays count by their content. Nothing is cached if it has objects whose
            content cannot be read.
        make : callable
            Function that computes the result.
        """
        key = content_key(key)
        if key is None:
            return make()
        with self._lock:
            if key not in self._results:
                self._make_room()
                self._results[key] = make()
            self._results.move_to_end(key)
            # Counted anew each time: rules make their kernels when they are first asked.
            while len(self._results) > 1 and n_bytes(dict(self._results)) > self.memory_limit:
                del self._results[self._least_needed(key)]
            return self._results[key]

    def _least_needed(self, key):
        """Find the key to drop, the one used longest ago; points cost a pass of a network."""
        others = [other for other in self._results if other != key]
        return min(others, key=lambda other: other[0] == "points")

    def __contains__(self, key):
        return content_key(key) in self._results

    def n_bytes(self):
        """Count the bytes of the cached results."""
        return n_bytes(dict(self._results))

    def free(self, size):
        """Drop results until others of that many bytes fit, those that are least needed first."""
        while self._results and n_bytes(dict(self._results)) + size > self.memory_limit:
            del self._results[self._least_needed(None)]

    def put(self, key, result):
        """Cache a result that was computed together with the one that is being made."""
        self._results[content_key(key)] = result

    def prepare(self, makers):
        """Compute results before they are asked for, until they take half of the budget.

        Parameters
        ----------
        makers : iterable of (tuple, callable)
            Keys, and the functions that compute the results.
        """
        size = 0
        for key, make in makers:
            result = make()
            self._results[content_key(key)] = result
            size += n_bytes(result, self._seen_points())
            if size > self.memory_limit / 2:
                break

    def _make_room(self):
        """Drop results of more than a third of the budget, because the next may be as large.

        Results whose key begins with "points" stay, since others are computed from them. Objects
        that others share with them do not count.
        """
        for key, result in list(self._results.items()):
            if key[0] != "points" and n_bytes(result, self._seen_points()) > self.memory_limit / 3:
                del self._results[key]

    def _seen_points(self):
        """Return the ids of the objects in results called "points", which are counted already."""
        seen = set()
        n_bytes([result for key, result in self._results.items() if key[0] == "points"], seen)
        return seen

    def __getstate__(self):
        return {"memory_limit": self.memory_limit}  # results are computed again

    def __setstate__(self, state):
        self.__init__(**state)


def content_key(values):
    """Return a hashable key that is equal for values of equal content; None if unreadable."""
    key = []
    for value in values:
        if value is None or isinstance(value, str | numbers.Integral):
            key.append(value)
            continue
        key.append((type(value), getattr(value, "shape", None)))
        parts = [value]
        if issparse(value):
            parts = [value.data, value.indices, value.indptr]
        for part in parts:
            if isinstance(part, torch.Tensor):
                if part.dtype == torch.bfloat16:  # NumPy has no such numbers
                    return None
                part = part.detach().cpu()
            elif not isinstance(part, np.ndarray | list | tuple):
                return None
            part = np.asarray(part)
            if part.dtype.hasobject:
                return None
            digest = sha256(np.ascontiguousarray(part).tobytes()).digest()
            key.append((part.dtype.str, part.shape, digest))
    return tuple(key)


def n_bytes(value, seen=None):
    """Count the bytes of the arrays in an object, each array once."""
    if seen is None:
        seen = set()
    n, left = 0, [value]
    while left:
        value = left.pop()
        if value is None or isinstance(value, str | int | float) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            n += value.numel() * value.element_size()
        elif isinstance(value, np.ndarray):
            if not isinstance(value, np.memmap):  # which is on disk
                n += value.nbytes
        elif isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list | tuple):
            left.extend(value)
        elif not hasattr(value, "__dict__"):
            continue
        elif issparse(value):
            n += sum(part.nbytes for part in vars(value).values() if isinstance(part, np.ndarray))
        elif type(value).__module__.startswith(__package__.rpartition(".")[0]):
            left.append(vars(value))
        # Networks and other objects of the user do not count: they are there anyway.
    return n
