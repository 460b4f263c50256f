"""Greedy selection from explicit features that are read in blocks, within a budget of memory."""

from ..._utils.kept import check_fits
from ...information._block_system import BlockSystem, bytes_of_rows, roots_of_blocks
from ...information._local_shards import RowBlocks
from ...information._shard_root import GRAM_COPIES
from ...information._sharded import STATE_BYTES

_FEWER_COMPONENTS = "take fewer features, such as TangentFeatures(n_components=1024)"
_POOL = "pass a pool_size, which re-ranks the rows that a search has found"
_FEWER_ROWS = {"info_gain": _POOL, "linear_response": _POOL, "info_loss": "give fit fewer rows"}


def bytes_of_blocks(n_rows, n_components, rule):
    """Count the bytes that picks for one query take from rows that are read in blocks."""
    root = n_components if rule == "info_loss" else 0
    return bytes_of_rows(n_rows, root) + STATE_BYTES * n_rows


def check_blocks_fit(n_rows, n_components, rule, memory_limit):
    """Raise a MemoryError where rows cannot be picked within the budget, though read in blocks.

    Parameters
    ----------
    n_rows, n_components : int
        Numbers of rows, and of features of each.
    rule : {"info_gain", "info_loss", "linear_response"}
        What is maximised.
    memory_limit : float
        Bytes that are allowed.
    """
    what = f"covariances of a query with {n_rows} rows"
    if rule == "info_loss":
        check_root_fits(n_components, GRAM_COPIES, memory_limit)
        what += f", beside the posterior of {n_components} features,"
    needed = bytes_of_blocks(n_rows, n_components, rule)
    check_fits(needed, f"{what} take", memory_limit, _FEWER_ROWS[rule])


def check_root_fits(n_components, copies, memory_limit):
    """Raise a MemoryError where a matrix of all features does not fit so many times."""
    what = f"the posterior of {n_components} features is a matrix of {n_components} x "
    what += f"{n_components} numbers, of which {copies} copies take"
    check_fits(8.0 * copies * n_components**2, what, memory_limit, _FEWER_COMPONENTS)


def check_queries_fit(n_queries, n_components, n_rows, n_candidates, rule, memory_limit):
    """Raise a MemoryError where a coreset for so many queries does not fit the budget."""
    root = n_components if rule == "info_loss" else 0
    needed = bytes_of_rows(n_rows, root) + 8 * (n_queries + 1) * n_candidates
    what = f"covariances of {n_queries} queries with {n_candidates} candidates take"
    check_fits(needed, what, memory_limit, "select for fewer queries at a time")


def loss_roots(points, noise_variance, memory_limit):
    """Find out how the posterior given rows is computed, within a budget, by one look at them.

    Raises
    ------
    MemoryError
        If its matrices do not fit the budget: seven, where squares would lose digits.
    """
    roots = roots_of_blocks(RowBlocks(points), noise_variance)
    check_root_fits(points.n_components, roots.copies, memory_limit)
    return roots


def block_system(points, noise_variance, rule, memory_limit, copies, roots=None):
    """Make a :class:`BlockSystem` that keeps to a budget; the parameters are its own.

    Raises
    ------
    MemoryError
        If numbers of one query and all rows do not fit the budget.
    """
    check_blocks_fit(len(points), points.n_components, rule, memory_limit)
    return BlockSystem(points, noise_variance, rule, memory_limit, copies, roots)
