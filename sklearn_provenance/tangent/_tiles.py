"""Kernels of two sets of rows, tile by tile."""

import math

import torch
from tqdm.auto import tqdm

from ._linearisation import restarted

# Numbers kept of one block of rows while the other set streams past it (1 GB in float64), and of
# a block of what streams.
_KEPT = 2**27
_STREAMED = 2**24
# Rows of a tile of the kernel. Products of a few hundred rows run at full speed; of larger tiles
# a symmetric kernel would compute more than half.
_TILE = 512


@restarted
@torch.inference_mode(False)
def kernel(left, right, *, symmetric, dtype=torch.float64, device=None, verbose=False):
    """Tangent kernel (n, n') of two sets of rows.

    Parameters
    ----------
    left, right : TangentRows or Stream
        What ``left`` keeps of one block, ``right`` streams past.
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
    on = left.model.device
    start = 0
    with tqdm(
        total=result.numel(), desc="tangent kernel", unit_scale=True, disable=not verbose
    ) as progress:
        for block in left._blocks(dtype, _KEPT):
            tiles = list(_tiles(block))
            if symmetric:
                for i, ours in enumerate(tiles):
                    for theirs in tiles[i:]:
                        progress.update(_fill(result, ours, theirs, symmetric, on))
                start = tiles[-1][0].stop
            others = right._blocks(dtype, _STREAMED, start, _TILE)
            for theirs in (tile for other in others for tile in _tiles(other)):
                for ours in tiles:
                    progress.update(_fill(result, ours, theirs, symmetric, on))
            del block, tiles  # before the next block is made
    return result


def check_same_network(model, model2):
    """Raise unless layers of both have gradients in the same weights."""
    if model2 is model:
        return
    same = model2.module is model.module and list(model2.weights) == list(model.weights)
    if not same or [m.scales for m in model2.layers] != [m.scales for m in model.layers]:
        raise ValueError(
            "model2 must be the same module, parameters and parameterisation as model: "
            "model.measuring(measurement) is"
        )


def _fill(kernel, left, right, symmetric, device):
    """Write a tile, and its mirror image; the number of entries written."""
    (rows, ours), (columns, theirs) = left, right
    shape = rows.stop - rows.start, columns.stop - columns.start
    tile = torch.zeros(shape, dtype=kernel.dtype, device=device)
    for number in sorted(ours.keys() & theirs.keys()):
        tile += ours[number].inner(theirs[number])
    mirrored = symmetric and rows != columns
    if symmetric and not mirrored:
        tile = tile.tril() + tile.tril(-1).T
    kernel[rows, columns] = tile
    if mirrored:
        kernel[columns, rows] = tile.T
    return tile.numel() * (1 + mirrored)


def _tiles(block):
    """Rows and factors of at most ``_TILE`` rows, as views of a block."""
    for rows, factors in block:
        n = rows.stop - rows.start
        step = math.ceil(n / math.ceil(n / _TILE))  # no tile is much smaller than the others
        for i in range(rows.start, rows.stop, step):
            stop = min(i + step, rows.stop)
            part = slice(i - rows.start, stop - rows.start)
            yield slice(i, stop), {number: f[part] for number, f in factors.items()}
