"""Inner products of gradients in the inverse Fisher matrix, layer by layer (EK-FAC).

Shapes in comments: I inputs, O outputs of a layer, Q queries.
"""

import torch
from tqdm.auto import tqdm

from ._products import tiles
from ._routes import restarted

# Bytes of the queries' gradients that may be kept while training rows stream past them.
_KEPT = 2**30
# Numbers of factors that are computed at a time, if rows keep none.
_STREAMED = 2**24


@restarted
@torch.inference_mode(False)
def influence(fisher, damping, queries, rows, *, summed=False, n_bytes=_KEPT, verbose=False):
    """Compute inner products Σ ∇m(x_*)ᵀ (F + λ)⁻¹ ∇m'(x_i), summed over layers.

    Memory holds the gradients of some queries. Every further block of queries costs another pass
    over rows whose factors are not kept.

    Parameters
    ----------
    fisher : dict
        LayerFisher by number of the layer.
    damping : dict
        λ by number of the layer. Layers without one are left out.
    queries, rows : TangentRows
        Rows of the same network, maybe for other measurements.
    summed : bool, default=False
        Whether to add up the queries. Apart from their gradients, this takes the time of one query.
    n_bytes : float, default=2**30
        Bytes that the gradients of queries may take; one query is always there.
    verbose : bool, default=False
        Whether to show progress.

    Returns
    -------
    torch.Tensor of shape (n_queries, n_rows), or (1, n_rows) if summed
        In double precision on the CPU.
    """
    if summed:
        n_scores = 1
        blocks = [_sum_of(fisher, damping, queries, len(rows))]
    else:
        n_scores = len(queries)
        blocks = _blocks(fisher, damping, queries, len(rows), n_bytes)
    scores = torch.zeros(n_scores, len(rows), dtype=torch.float64)
    with tqdm(
        total=scores.numel(), desc="influence", unit_scale=True, disable=not verbose
    ) as progress:
        for part, rotated, kept in blocks:
            for columns, factors in _parts(rows):
                for n in kept.keys() & factors.keys():
                    factor = factors[n]
                    if n in rotated:
                        factor = fisher[n].rotate(factor)
                    products = factor.inner_with(kept[n]).cpu().double()  # (Q, rows of the part)
                    scores[part, columns] += products / damping[n]
                progress.update((part.stop - part.start) * (columns.stop - columns.start))
            kept.clear()  # before the next block is made
    return scores


def _parts(rows):
    """Yield slices of rows, and their factors in the network's precision."""
    for block in rows.blocks(rows.model.dtype, _STREAMED):
        for part, gradients in tiles(block):
            yield part, gradients.forms


def _blocks(fisher, damping, queries, n_rows, n_bytes):
    """Yield slices of queries, the layers in which rows are rotated, and the queries' gradients."""
    layers = queries.model.layers
    size = queries.model.dtype.itemsize * sum(fisher[n].moments.numel() for n in damping)
    block = max(1, int(n_bytes // max(1, size)))
    for start in range(0, len(queries), block):
        part = slice(start, min(start + block, len(queries)))
        rotated = {n for n in damping if _rotates_rows(layers[n], part.stop - start, n_rows)}
        some = queries
        if len(queries) > block:
            some = queries.take(part)
        yield part, rotated, _preconditioned(fisher, damping, rotated, some)


def _sum_of(fisher, damping, queries, n_rows):
    """Make one block, as of ``_blocks``, that holds the sum of all queries' gradients."""
    model = queries.model
    total: dict = {}
    for _, factors in _parts(queries):
        for n in damping.keys() & factors.keys():
            matrices = fisher[n].precondition(factors[n], damping[n])
            total[n] = total.get(n, 0) + matrices.double().sum(0, keepdim=True)
    rotated = {n for n in damping if _rotates_rows(model.layers[n], 1, n_rows)}
    kept = {n: matrix.to(model.dtype) for n, matrix in total.items()}
    for n in kept.keys() - rotated:
        kept[n] = fisher[n].restore(kept[n])
    return slice(0, 1), rotated, kept


def _preconditioned(fisher, damping, rotated, queries):
    """Compute λ (F + λ)⁻¹ ∇m (Q, O, I) by number of the layer; ``rotated`` in the eigenbases."""
    like = {"dtype": queries.model.dtype, "device": queries.model.device}
    kept = {n: torch.zeros(len(queries), *fisher[n].moments.shape, **like) for n in damping}
    for part, factors in _parts(queries):
        for n in kept.keys() & factors.keys():
            matrices = fisher[n].precondition(factors[n], damping[n])
            if n not in rotated:
                matrices = fisher[n].restore(matrices)
            kept[n][part] = matrices
    return kept


def _rotates_rows(layer, n_queries, n_rows):
    """Whether rotating the rows' factors takes less than rotating the queries' matrices back."""
    n_out, n_in = layer.shape
    multiplications = n_rows * layer.positions * (n_out**2 + n_in**2)
    return layer.low_rank and multiplications < n_queries * n_out * n_in * (n_out + n_in)


@restarted
@torch.inference_mode(False)
def whitened(fisher, damping, rows):
    """Compute coordinates of (F + λ)^-1/2 ∇m in the eigenbases, layer by layer.

    Parameters
    ----------
    fisher, damping : dict
        As in :func:`influence`.
    rows : TangentRows
        Rows.

    Returns
    -------
    torch.Tensor of shape (n_rows, n_parameters)
        In double precision on the CPU; layers without damping have no columns.
    """
    parts = {n: torch.zeros(len(rows), *fisher[n].moments.shape).double() for n in damping}
    for part, factors in _parts(rows):
        for n in parts.keys() & factors.keys():
            parts[n][part] = fisher[n].whiten(factors[n], damping[n])
    return torch.cat([part.flatten(1) for part in parts.values()], 1)
