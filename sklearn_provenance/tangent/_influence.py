"""Inner products of gradients in the inverse Fisher matrix, layer by layer (EK-FAC).

Shapes in comments: B examples, T positions, I inputs, O outputs of a layer, Q queries.
"""

import torch
from tqdm.auto import tqdm

from ._rows import restarted, tiles

# Bytes of the queries' gradients that are kept while training rows stream past them.
_KEPT = 2**30
# Numbers of factors that are computed at a time, where rows keep none.
_STREAMED = 2**24


@restarted
@torch.inference_mode(False)
def influence(fisher, damping, queries, rows, *, summed=False, verbose=False):
    """Inner products Σ ∇m(x_*)ᵀ (F + λ)⁻¹ ∇m'(x_i) over layers.

    Memory holds the gradients of some queries (up to 1 GB). Every further block of queries costs
    another pass over rows whose factors are not kept.

    Parameters
    ----------
    fisher : dict
        LayerFisher by number of the layer.
    damping : dict
        λ by number of the layer. Layers without one are left out.
    queries, rows : TangentRows
        Of the same network, maybe for other measurements.
    summed : bool, default=False
        Whether to add up the queries, in the time of one query but for their gradients.
    verbose : bool, default=False
        Whether to show progress.

    Returns
    -------
    torch.Tensor of shape (n_queries, n_rows), or (1, n_rows) if summed
        In double precision on the CPU.
    """
    blocks = _blocks(fisher, damping, queries, len(rows))
    if summed:
        blocks = [_sum_of(fisher, damping, queries, len(rows))]
    scores = torch.zeros(1 if summed else len(queries), len(rows), dtype=torch.float64)
    with tqdm(
        total=scores.numel(), desc="influence", unit_scale=True, disable=not verbose
    ) as progress:
        for part, turned, kept in blocks:
            for columns, factors in _parts(rows):
                for n in kept.keys() & factors.keys():
                    factor = fisher[n].rotate(factors[n]) if n in turned else factors[n]
                    products = factor.inner_with(kept[n]).cpu().double()
                    scores[part, columns] += products / damping[n]
                progress.update((part.stop - part.start) * (columns.stop - columns.start))
            kept.clear()  # before the next block is made
    return scores


def _parts(rows):
    """Factors of some rows at a time, in the network's precision."""
    for block in rows._blocks(rows.model.dtype, _STREAMED):
        for part, gradients in tiles(block):
            yield part, gradients.forms


def _blocks(fisher, damping, queries, n_rows):
    """Blocks of queries, the layers of which rows are rotated, and the queries' gradients."""
    layers = queries.model.layers
    size = queries.model.dtype.itemsize * sum(fisher[n].moments.numel() for n in damping)
    block = max(1, _KEPT // max(1, size))
    for start in range(0, len(queries), block):
        part = slice(start, min(start + block, len(queries)))
        turned = {n for n in damping if _turns_rows(layers[n], part.stop - start, n_rows)}
        own = queries if len(queries) <= block else queries.take(part)
        yield part, turned, _preconditioned(fisher, damping, turned, own)


def _sum_of(fisher, damping, queries, n_rows):
    """One block that holds the sum of all queries' gradients."""
    model = queries.model
    total = dict.fromkeys(damping, 0.0)
    for _, factors in _parts(queries):
        for n in damping.keys() & factors.keys():
            matrices = fisher[n].precondition(factors[n], damping[n])
            total[n] = total[n] + matrices.double().sum(0, keepdim=True)
    turned = {n for n in damping if _turns_rows(model.layers[n], 1, n_rows)}
    kept = {n: m.to(model.dtype) for n, m in total.items() if isinstance(m, torch.Tensor)}
    for n in kept.keys() - turned:
        kept[n] = fisher[n].restore(kept[n])
    return slice(0, 1), turned, kept


def _preconditioned(fisher, damping, turned, queries):
    """λ (F + λ)⁻¹ ∇m (Q, O, I) by number of the layer; in the eigenbases where ``turned``."""
    like = {"dtype": queries.model.dtype, "device": queries.model.device}
    kept = {n: torch.zeros(len(queries), *fisher[n].moments.shape, **like) for n in damping}
    for part, factors in _parts(queries):
        for n in kept.keys() & factors.keys():
            matrices = fisher[n].precondition(factors[n], damping[n])
            kept[n][part] = matrices if n in turned else fisher[n].restore(matrices)
    return kept


def _turns_rows(layer, n_queries, n_rows):
    """Whether rotating the rows' factors takes less than rotating the queries' matrices back."""
    n_out, n_in = layer.shape
    of_rows = n_rows * layer.positions * (n_out**2 + n_in**2)
    return layer.low_rank and of_rows < n_queries * n_out * n_in * (n_out + n_in)


@restarted
@torch.inference_mode(False)
def whitened(fisher, damping, rows):
    """Coordinates of (F + λ)^-1/2 ∇m in the eigenbases, layer by layer.

    Parameters
    ----------
    fisher, damping : dict
        As for :func:`influence`.
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
