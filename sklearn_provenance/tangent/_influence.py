"""Inner products of gradients in the inverse Fisher matrix: EK-FAC's, or that of the matrix itself.

Shapes in comments: I inputs, O outputs of a layer, Q queries.
"""

import torch
from tqdm.auto import tqdm

from .._utils.budget import block_bytes, block_numbers
from ._gauss_newton import N_VECTORS
from ._products import tiles
from ._routes import restarted

# Bytes of the queries' gradients that may be kept while training rows stream past them.
_KEPT = 2**30
# Numbers of factors that are computed at a time, if rows keep none.
_STREAMED = 2**24
# Bytes of matrices that are made at a time where they are added up.
_SUMMED = 2**26


@restarted
@torch.inference_mode(False)
def influence(
    fisher,
    damping,
    queries,
    rows,
    *,
    summed=False,
    make_solver=None,
    n_bytes=_KEPT,
    verbose=False,
):
    """Compute inner products ∇m(x_*)ᵀ (F + λ)⁻¹ ∇m'(x_i), summed over layers.

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
    make_solver : callable, default=None
        Makes a :class:`GaussNewton`, which solves systems with F itself. None takes the F of
        EK-FAC, which is zero between layers and diagonal in each layer's eigenbasis.
    n_bytes : float, default=2**30
        Bytes that the gradients of queries may take; one query is always there.
    verbose : bool, default=False
        Whether to show progress.

    Returns
    -------
    torch.Tensor of shape (n_queries, n_rows), or (1, n_rows) if summed
        In double precision on the CPU.
    """
    solver = None
    if make_solver is not None:
        solver = make_solver()
    blocks = _blocks(fisher, damping, queries, len(rows), n_bytes, solver)
    n_scores = len(queries)
    if summed:
        n_scores = 1
        if solver is None:
            blocks = [_sum_of(fisher, damping, queries, len(rows))]
        else:
            blocks = [_sum_of_blocks(fisher, blocks)]
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
    for block in rows.blocks(rows.model.dtype, block_numbers(_STREAMED)):
        for part, gradients in tiles(block):
            yield part, gradients.forms


def _blocks(fisher, damping, queries, n_rows, n_bytes, solver):
    """Yield slices of queries, the layers in which rows are rotated, and λ (F + λ)⁻¹ ∇m."""
    layers = queries.model.layers
    size = queries.model.dtype.itemsize * sum(fisher[n].moments.numel() for n in damping)
    if solver is not None:
        size *= N_VECTORS
    block = max(1, int(n_bytes // max(1, size)))
    for start in range(0, len(queries), block):
        part = slice(start, min(start + block, len(queries)))
        rotated = {n for n in damping if _rotates_rows(layers[n], part.stop - start, n_rows)}
        some = queries
        if len(queries) > block:
            some = queries.take(part)
        if solver is None:
            yield part, rotated, _preconditioned(fisher, damping, rotated, some)
        else:
            yield part, rotated, _solved(fisher, damping, rotated, some, solver)


def _sum_of_blocks(fisher, blocks):
    """Make one block, as of ``_blocks``, that holds the sum of all blocks' queries."""
    total: dict = {}
    for _, rotated, kept in blocks:
        for n, matrices in kept.items():
            matrix = matrices.sum(0, keepdim=True)
            if n in rotated:
                matrix = fisher[n].restore(matrix)
            total[n] = total.get(n, 0) + matrix
    return slice(0, 1), set(), total


def _sum_of(fisher, damping, queries, n_rows):
    """Make one block, as of ``_blocks``, that holds the sum of all queries' gradients."""
    model = queries.model
    total: dict = {}
    for _, factors in _parts(queries):
        for n in damping.keys() & factors.keys():
            step = max(1, block_bytes(_SUMMED) // (8 * fisher[n].moments.numel()))
            for start in range(0, len(factors[n]), step):
                some = factors[n][start : start + step]
                matrices = fisher[n].precondition(some, damping[n])
                total[n] = total.get(n, 0) + matrices.double().sum(0, keepdim=True)
    rotated = {n for n in damping if _rotates_rows(model.layers[n], 1, n_rows)}
    kept = {n: matrix.to(model.dtype) for n, matrix in total.items()}
    for n in kept.keys() - rotated:
        kept[n] = fisher[n].restore(kept[n])
    return slice(0, 1), rotated, kept


def _preconditioned(fisher, damping, rotated, queries):
    """Compute λ (F + λ)⁻¹ ∇m (Q, O, I) by number of the layer; ``rotated`` in the eigenbases."""
    kept = _zeros(fisher, damping, queries)
    for part, factors in _parts(queries):
        for n in kept.keys() & factors.keys():
            matrices = fisher[n].precondition(factors[n], damping[n])
            if n not in rotated:
                matrices = fisher[n].restore(matrices)
            kept[n][part] = matrices
    return kept


def _solved(fisher, damping, rotated, queries, solver):
    """Compute what ``_preconditioned`` does, with the Fisher matrix itself."""
    gradients = _zeros(fisher, damping, queries)
    for part, factors in _parts(queries):
        for n in gradients.keys() & factors.keys():
            gradients[n][part] = fisher[n].rotate(factors[n]).matrix()
    kept = solver.solve(gradients)
    for n in kept.keys() - rotated:
        kept[n] = fisher[n].restore(kept[n])
    return kept


def _zeros(fisher, damping, queries):
    """Make room for matrices (Q, O, I) by number of the layer."""
    like = {"dtype": queries.model.dtype, "device": queries.model.device}
    return {n: torch.zeros(len(queries), *fisher[n].moments.shape, **like) for n in damping}


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
