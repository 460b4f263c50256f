"""The memory that a call may take, for whatever works off blocks on the way.

Blocks that are worked off and thrown away have sizes that are fast, such as 64 MB. Inside
:func:`within` they take no more than a share of the budget. Where numbers are added up in blocks,
sums may differ by rounding.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps

from .kept import MEMORY_LIMIT, Kept, check_fits

_BUDGET: ContextVar = ContextVar("memory_limit", default=None)
# A block may take that share of the budget, as some arrays of its size are there at once.
_SHARE = 16
# A smaller block would be slower and spare nothing.
_LEAST = 2**16


class _Budget:
    """Bytes that a call may take, and those that are taken for as long as it lasts."""

    def __init__(self, memory_limit, cache=None):
        self.memory_limit = memory_limit
        self.taken = 0.0
        self.cache = cache

    def left(self):
        """Count the bytes that are neither taken nor those of cached results."""
        cached = 0 if self.cache is None else self.cache.n_bytes()
        return self.memory_limit - self.taken - cached


@contextmanager
def within(memory_limit, cache=None):
    """Let blocks take a share of a budget in bytes, in which a cache has its results, too."""
    token = _BUDGET.set(_Budget(float(memory_limit), cache))
    try:
        yield
    finally:
        _BUDGET.reset(token)


def limit():
    """Return the budget in bytes, the default of ``memory_limit`` where there is none."""
    known = _BUDGET.get()
    return MEMORY_LIMIT if known is None else known.memory_limit


def take(needed, what, advice):
    """Take bytes of the budget of a call, beside those that are taken.

    Parameters
    ----------
    needed : float
        Bytes.
    what, advice : str
        See :func:`check_fits`.

    Raises
    ------
    MemoryError
        If they do not fit.
    """
    known = _BUDGET.get()
    if known is None:
        known = _Budget(MEMORY_LIMIT)
    check_fits(known.taken + needed, what, known.memory_limit, advice)
    known.taken += needed


def block_bytes(usual, memory_limit=None):
    """Count the bytes of a block: as usual, or a share of the budget where that is less.

    Parameters
    ----------
    usual : int
        Bytes that are fast.
    memory_limit : float, default=None
        The budget; None takes that of :func:`within`.
    """
    if memory_limit is None and _BUDGET.get() is None:
        return usual
    if memory_limit is None:
        memory_limit = limit()
    return int(max(min(usual, _LEAST), min(usual, memory_limit / _SHARE)))


def block_numbers(usual):
    """Count the numbers in double precision of a block; see :func:`block_bytes`."""
    return block_bytes(8 * usual) // 8


def kept_numbers(usual, beside):
    """Count the numbers in double precision of a block that is kept while other rows pass by it.

    The larger it is, the fewer passes: it takes half of what the budget leaves.

    Parameters
    ----------
    usual : int
        Numbers that are fast.
    beside : float
        Bytes that are there at the same time, such as those of the result.
    """
    known = _BUDGET.get()
    if known is None:
        return usual
    left = known.left() - beside
    return max(block_numbers(usual), min(usual, int(left / 16)))


def budgeted(method):
    """Let blocks of a method take a share of the ``memory_limit`` of its object."""

    @wraps(method)
    def kept(self, *args, **kwargs):
        cache = getattr(self, "_kept", None)
        with within(self.memory_limit, cache if isinstance(cache, Kept) else None):
            return method(self, *args, **kwargs)

    return kept
