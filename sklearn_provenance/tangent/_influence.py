"""Inner products of gradients in the inverse Fisher matrix, layer by layer (EK-FAC).

Shapes in comments: B examples, T positions, I inputs, O outputs of a layer, Q queries.
"""

import torch
from tqdm.auto import tqdm

from ._batches import as_batch, batch_size_for
from ._linearisation import restarted

# Bytes of the queries' gradients that are kept while training rows stream past them.
_KEPT = 2**30


@restarted
@torch.inference_mode(False)
def influence(fisher, damping, queries, rows, *, summed=False, batch_size="auto", verbose=False):
    """Inner products Σ ∇m(x_*)ᵀ (F + λ)⁻¹ ∇m'(x_i) over layers.

    Memory holds the gradients of some queries (up to 1 GB) and the factors of a batch of rows.
    Every further block of queries costs another pass over the rows.

    Parameters
    ----------
    fisher : dict
        LayerFisher by number of the layer.
    damping : dict
        λ by number of the layer. Layers without one are left out.
    queries : tuple
        TangentModel, examples (n_queries, ...) and labels (n_queries,).
    rows : tuple
        TangentModel of the same network, maybe for another measurement, examples and labels.
    summed : bool, default=False
        Whether to add up the queries, in the time of one query but for their gradients.
    batch_size : int or "auto", default="auto"
        Examples per pass.
    verbose : bool, default=False
        Whether to show progress.

    Returns
    -------
    torch.Tensor of shape (n_queries, n_rows), or (1, n_rows) if summed
        In double precision on the CPU.
    """
    model, X, labels = queries
    x, labels = as_batch(X, model), torch.as_tensor(labels)
    other, X2, labels2 = rows
    x2, labels2 = as_batch(X2, other), torch.as_tensor(labels2)
    for one, examples in ((model, x), (other, x2)):
        if not one.planned:
            one.plan(examples)
    step, step2 = batch_size_for(model, batch_size), batch_size_for(other, batch_size)
    blocks = _blocks(fisher, damping, (model, x, labels), len(x2), step)
    if summed:
        blocks = [_sum_of(fisher, damping, (model, x, labels), len(x2), step)]
    scores = torch.zeros(1 if summed else len(x), len(x2), dtype=torch.float64)
    with tqdm(
        total=scores.numel(), desc="influence", unit_scale=True, disable=not verbose
    ) as progress:
        for part, turned, kept in blocks:
            for i in range(0, len(x2), step2):
                columns = slice(i, min(i + step2, len(x2)))
                for layer, factor in other.linearise(x2[columns]).factors(labels2[columns]):
                    if (n := layer.number) in kept:
                        factor = fisher[n].rotate(factor) if n in turned else factor
                        products = factor.inner_with(kept[n]).cpu().double()
                        scores[part, columns] += products / damping[n]
                progress.update((part.stop - part.start) * (columns.stop - i))
            kept.clear()  # before the next block is made
    return scores


def _blocks(fisher, damping, queries, n_rows, step):
    """Blocks of queries, the layers of which rows are rotated, and the queries' gradients."""
    model, x, labels = queries
    size = model.dtype.itemsize * sum(fisher[n].moments.numel() for n in damping)
    block = max(1, _KEPT // max(1, size))
    for start in range(0, len(x), block):
        part = slice(start, min(start + block, len(x)))
        n_queries = part.stop - start
        turned = {n for n in damping if _turns_rows(model.layers[n], n_queries, n_rows)}
        yield (
            part,
            turned,
            _preconditioned(fisher, damping, turned, model, x[part], labels[part], step),
        )


def _sum_of(fisher, damping, queries, n_rows, step):
    """One block that holds the sum of all queries' gradients."""
    model, x, labels = queries
    total = dict.fromkeys(damping, 0.0)
    for i in range(0, len(x), step):
        batch = x[i : i + step], labels[i : i + step]
        for n, matrices in _preconditioned(fisher, damping, damping, model, *batch, step).items():
            total[n] = total[n] + matrices.double().sum(0, keepdim=True)
    turned = {n for n in damping if _turns_rows(model.layers[n], 1, n_rows)}
    kept = {n: matrices.to(model.dtype) for n, matrices in total.items()}
    for n in kept.keys() - turned:
        kept[n] = fisher[n].restore(kept[n])
    return slice(0, 1), turned, kept


def _preconditioned(fisher, damping, turned, model, x, labels, step):
    """λ (F + λ)⁻¹ ∇m (Q, O, I) by number of the layer; in the eigenbases where ``turned``."""
    like = {"dtype": model.dtype, "device": model.device}
    kept = {n: torch.zeros(len(x), *fisher[n].moments.shape, **like) for n in damping}
    for i in range(0, len(x), step):
        for layer, factor in model.linearise(x[i : i + step]).factors(labels[i : i + step]):
            if (n := layer.number) in kept:
                matrices = fisher[n].precondition(factor, damping[n])
                kept[n][i : i + step] = matrices if n in turned else fisher[n].restore(matrices)
    return kept


def _turns_rows(layer, n_queries, n_rows):
    """Whether rotating the rows' factors takes less than rotating the queries' matrices back."""
    n_out, n_in = layer.shape
    of_rows = n_rows * layer.positions * (n_out**2 + n_in**2)
    return layer.low_rank and of_rows < n_queries * n_out * n_in * (n_out + n_in)


@restarted
@torch.inference_mode(False)
def whitened(fisher, damping, rows, *, batch_size="auto"):
    """Coordinates of (F + λ)^-1/2 ∇m in the eigenbases, layer by layer.

    Parameters
    ----------
    fisher, damping : dict
        As for :func:`influence`.
    rows : tuple
        TangentModel, examples (n_rows, ...) and labels (n_rows,).
    batch_size : int or "auto", default="auto"
        Examples per pass.

    Returns
    -------
    torch.Tensor of shape (n_rows, n_parameters)
        In double precision on the CPU; layers without damping have no columns.
    """
    model, X, labels = rows
    x, labels = as_batch(X, model), torch.as_tensor(labels)
    step = batch_size_for(model, batch_size)
    parts = {n: torch.zeros(len(x), *fisher[n].moments.shape).double() for n in damping}
    for i in range(0, len(x), step):
        for layer, factor in model.linearise(x[i : i + step]).factors(labels[i : i + step]):
            if (n := layer.number) in parts:
                parts[n][i : i + step] = fisher[n].whiten(factor, damping[n])
    return torch.cat([part.flatten(1) for part in parts.values()], 1)
