"""Influence from explicit features that are read in blocks, within a budget of memory."""

from ..._utils.kept import check_fits
from ...information._local_shards import RowBlocks
from ...information._mean_shards import BlockMeans, bytes_of_means
from ...information._shard_root import GRAM_COPIES, ShardRoots
from ...information._validation import check_scale_of
from ._greedy_in_blocks import check_root_fits


def check_means_fit(n_rows, n_components, memory_limit):
    """Raise a MemoryError where rows do not fit the budget, though they are read in blocks.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    n_components : list of int
        Number of features of each model.
    memory_limit : float
        Bytes that are allowed.
    """
    check_root_fits(max(n_components), GRAM_COPIES, memory_limit)
    what = f"falls of a query without each of {n_rows} rows, beside the Hessian of "
    what += f"{sum(n_components)} features, take"
    needed = bytes_of_means(n_rows, n_components)
    check_fits(needed, what, memory_limit, "take fewer features, or fewer models")


def roots_of(model):
    """Say how the root of the Hessian of a :class:`ModelInfluence` is found."""
    check_scale_of(model.largest_square, model.ridge)
    return ShardRoots(model.squares, model.ridge)


def block_means(models, copies):
    """Make the :class:`BlockMeans` of some :class:`ModelInfluence`, which keep to a budget.

    Parameters
    ----------
    models : list of ModelInfluence
        What each model knows of the rows.
    copies : Tensor of shape (n_rows,), default=None
        The same number for rows whose inputs are copies of each other.

    Returns
    -------
    BlockMeans
        The rows.
    """
    memory_limit = models[0].memory_limit
    n_components = [model.n_components for model in models]
    check_means_fit(len(models[0].points), n_components, memory_limit)
    roots = [roots_of(model) for model in models]
    for root, n in zip(roots, n_components, strict=True):
        check_root_fits(n, root.copies, memory_limit)
    return BlockMeans(
        [RowBlocks(model.points, model.roots) for model in models],
        [model.row_residuals for model in models],
        roots,
        [() if model.rest is None else RowBlocks(model.rest) for model in models],
        memory_limit,
        copies,
    )
