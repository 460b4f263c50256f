"""Tangent kernels of two sets of rows, tile by tile, and sums of their rows.

Shapes in comments: B rows of a tile; a prime marks the second set.
"""

import math

import torch
from tqdm.auto import tqdm

from .._utils.budget import block_numbers, kept_numbers
from ._routes import restarted

# Numbers kept of one block of rows while the other set streams past it (1 GB in float64), and of
# a block of what streams; less of both within a smaller budget.
_KEPT = 2**27
_STREAMED = 2**24
# Rows of a tile of the kernel. Products of a few hundred rows run at full speed; of larger tiles
# a symmetric kernel would compute more than half. Smaller ones within a small budget.
_TILE = 512


@restarted
@torch.inference_mode(False)
def kernel(left, right, *, symmetric, dtype=torch.float64, device=None, verbose=False):
    """Compute the tangent kernel (n, n') of two sets of rows.

    Parameters
    ----------
    left, right : TangentRows or Stream
        The rows. A block of ``left`` is kept while all rows of ``right`` stream past it.
    symmetric : bool
        Whether both are the same rows; half of the kernel is then computed.
    dtype, device, verbose
        See :func:`tangent_kernel`.

    Returns
    -------
    torch.Tensor of shape (n, n')
        The kernel.
    """
    if not symmetric:
        check_same_network(left.model, right.model)
    result = torch.empty(len(left), len(right), dtype=dtype, device=device)
    computed_on = left.model.device
    at_once = kept_numbers(_KEPT, result.nbytes)
    streamed_at_once = block_numbers(_STREAMED)
    tile = math.isqrt(block_numbers(_TILE**2))
    start = 0
    with tqdm(
        total=result.numel(), desc="tangent kernel", unit_scale=True, disable=not verbose
    ) as progress:
        for block in left.blocks(dtype, at_once):
            kept = list(tiles(block, tile))
            if symmetric:
                for i, ours in enumerate(kept):
                    for theirs in kept[i:]:
                        progress.update(_fill(result, ours, theirs, symmetric, computed_on))
                start = kept[-1][0].stop
            for streamed in right.blocks(dtype, streamed_at_once, start, tile):
                for theirs in tiles(streamed, tile):
                    for ours in kept:
                        progress.update(_fill(result, ours, theirs, symmetric, computed_on))
            del block, kept  # before the next block is made
    return result


@restarted
@torch.inference_mode(False)
def summed_kernel(left, right, *, device=None, verbose=False):
    """Compute sums (n',) over ``left`` of the tangent kernel, from the sum of its gradients.

    That takes a pass over both, and no longer for many rows of ``left`` than for one.

    Parameters
    ----------
    left, right : TangentRows
        The rows.
    device, verbose
        See :func:`tangent_kernel`.

    Returns
    -------
    torch.Tensor of shape (n',)
        The sums, in double precision.
    """
    check_same_network(left.model, right.model)
    total: dict = {}  # (O, I) by number of the layer
    for block in left.blocks(torch.float64, block_numbers(_STREAMED)):
        for _, gradients in tiles(block):
            for n, form in gradients.forms.items():
                ones = torch.ones(len(form), dtype=torch.float64, device=form.device)
                total[n] = total.get(n, 0) + form.total(ones)
    sums = torch.zeros(len(right), dtype=torch.float64, device=device)
    with tqdm(total=len(right), desc="tangent kernel", disable=not verbose) as progress:
        for block in right.blocks(torch.float64, block_numbers(_STREAMED)):
            for rows, gradients in tiles(block):
                for n in sorted(total.keys() & gradients.forms.keys()):
                    sums[rows] += gradients.forms[n].inner_with(total[n][None])[0].to(device)
                progress.update(rows.stop - rows.start)
    return sums


def check_same_network(model, model2):
    """Raise unless layers of both have gradients in the same weights."""
    if model2 is model:
        return
    same = (
        model2.module is model.module
        and list(model2.weights) == list(model.weights)
        and [m.scales for m in model2.layers] == [m.scales for m in model.layers]
    )
    if not same:
        raise ValueError(
            "model2 must be the same module in the same parameters and ntk_parameterization as "
            "model; got others. Pass model.measuring(measurement)"
        )


def _fill(kernel, left, right, symmetric, device):
    """Write a tile, and its mirror image; return the number of entries written."""
    rows, ours = left
    columns, theirs = right
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    zeros = torch.zeros(shape, dtype=kernel.dtype, device=device)
    tile = ours.inner(theirs, zeros)  # (B, B')
    if symmetric and rows == columns:
        kernel[rows, columns] = tile.tril() + tile.tril(-1).T
        return tile.numel()
    kernel[rows, columns] = tile
    if not symmetric:
        return tile.numel()
    kernel[columns, rows] = tile.T
    return 2 * tile.numel()


def tiles(block, at_most=None):
    """Yield rows and gradients of so many rows at most, as views of a block; None is _TILE."""
    if at_most is None:
        at_most = _TILE
    for rows, gradients in block:
        n = rows.stop - rows.start
        if n <= at_most:
            yield rows, gradients
            continue
        step = math.ceil(n / math.ceil(n / at_most))  # no tile is much smaller than the others
        for i in range(rows.start, rows.stop, step):
            stop = min(i + step, rows.stop)
            part = slice(i - rows.start, stop - rows.start)
            yield slice(i, stop), gradients[part]
