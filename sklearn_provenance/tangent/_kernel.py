"""Exact tangent kernels k(x, x') = φ(x)·φ(x') from layer factors; no Jacobian is formed.

Shapes in comments: B examples, T positions, I inputs, O outputs of a layer; a prime marks the
second set.
"""

import torch

from ._batches import as_batch, batch_size_for
from ._layers import Lookup, Outer, compact, rows_of
from ._module import take

# Numbers held at once by one block of position pairs.
_PAIRS = 2**24
# Numbers kept of one block of rows while the other set streams past it (1 GB in float64).
_KEPT = 2**27


def factor_kernel(left, right):
    """Inner products (B, B') of the gradients that two factors of one layer stand for."""
    if isinstance(left, Outer) and isinstance(right, Outer):
        (B, T, n_in), (B2, T2, _) = left.a.shape, right.a.shape
        n_out = left.g.shape[2]
        if T == T2 == 1:
            return (left.a[:, 0] @ right.a[:, 0].T) * (left.g[:, 0] @ right.g[:, 0].T)
        pairs = B * T * B2 * T2 * (n_in + n_out)
        if pairs < (B * T + B2 * T2 + B * B2) * n_in * n_out:
            return _over_pairs(left, right)
    elif isinstance(left, Lookup) and isinstance(right, Lookup):
        return _over_pairs(left, right)
    return left.matrix().flatten(1) @ right.matrix().flatten(1).T


def _over_pairs(left, right):
    """Σ_tt' (a_t·a'_t')(g_t·g'_t'), where a is one-hot for lookups."""
    (B, T, _), (B2, T2, _) = left.g.shape, right.g.shape
    result = left.g.new_empty(B, B2)
    step = max(1, _PAIRS // (T * B2 * T2))
    for i in range(0, B, step):
        part = rows_of(left, i, i + step)
        products = part.g.flatten(0, 1) @ right.g.flatten(0, 1).T  # (B T, B' T')
        if isinstance(left, Lookup):
            products *= part.index.flatten()[:, None] == right.index.flatten()
        else:
            products *= part.a.flatten(0, 1) @ right.a.flatten(0, 1).T
        result[i : i + step] = products.view(-1, T, B2, T2).sum((1, 3))
    return result


def cast(factor, dtype):
    """The factor with its numbers in another precision."""
    fields = {
        name: value.to(dtype)
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for name, value in vars(factor).items()
    }
    return type(factor)(**fields)


@torch.inference_mode(False)
def tangent_kernel(
    model, X, labels, X2=None, labels2=None, *, batch_size="auto", dtype=torch.float64
):
    """Exact tangent kernel between two sets of examples.

    Memory holds the factors of one block of ``X`` and one batch of ``X2``; each further block of
    ``X`` costs another pass over ``X2``, so give the smaller set first.

    Parameters
    ----------
    model : TangentModel
        The linearised network.
    X : array-like or torch.Tensor of shape (n_samples, ...)
        Examples.
    labels : array-like of shape (n_samples,)
        Column of the logits that each is measured at.
    X2 : array-like or torch.Tensor of shape (n_samples_2, ...), default=None
        Other examples; None takes ``X`` again, with its labels.
    labels2 : array-like of shape (n_samples_2,), default=None
        Their labels.
    batch_size : int or "auto", default="auto"
        Examples per pass.
    dtype : torch.dtype, default=torch.float64
        Precision of products and sums; single precision is faster, and indefinite in the seventh
        digit.

    Returns
    -------
    torch.Tensor of shape (n_samples, n_samples_2)
        Kernel, in squared units of the measurement per unit of weight, on the CPU.

    Raises
    ------
    ValueError
        If labels are no columns of the logits, or ``labels2`` is missing.

    References
    ----------
    .. [IT] "Bayesian information-theoretic training data attribution", section 2.
    """
    X = as_batch(X, model)
    symmetric = X2 is None
    if symmetric and labels2 is not None:
        raise ValueError("labels2 needs X2.")
    if not symmetric and labels2 is None:
        raise ValueError("X2 needs labels2.")
    X2, labels2 = (X, labels) if symmetric else (as_batch(X2, model), labels2)
    labels, labels2 = torch.as_tensor(labels), torch.as_tensor(labels2)
    if len(labels) != len(X) or len(labels2) != len(X2):
        raise ValueError(
            f"Expected {len(X)} and {len(X2)} labels, got {len(labels)} and {len(labels2)}."
        )
    if not model.planned:
        model.plan(X)
    kernel = torch.zeros(len(X), len(X2), dtype=dtype)
    step = batch_size_for(model, batch_size)
    for block in _blocks(model, X, labels, step, dtype):
        first = block[0][0].start if symmetric else 0
        for i in range(first, len(X2), step):
            columns = slice(i, min(i + step, len(X2)))
            right = dict(_factors(model, X2, labels2, columns, dtype))
            for rows, left in block:
                part = kernel.new_zeros(rows.stop - rows.start, columns.stop - columns.start)
                for number in left.keys() & right.keys():
                    part += factor_kernel(left[number], right[number]).cpu()
                kernel[rows, columns] = part
                if symmetric:
                    kernel[columns, rows] = part.T
    return kernel


def _factors(model, X, labels, rows, dtype):
    for layer, factor in model.linearise(take(X, rows)).factors(labels[rows]):
        yield layer.number, cast(compact(factor), dtype)


def _blocks(model, X, labels, step, dtype):
    """Lists of batches (rows, factors by layer), each list as long as memory allows."""
    block, kept = [], 0
    for i in range(0, len(X), step):
        rows = slice(i, min(i + step, len(X)))
        factors = dict(_factors(model, X, labels, rows, dtype))
        block.append((rows, factors))
        for factor in factors.values():
            kept += sum(v.numel() for v in vars(factor).values() if isinstance(v, torch.Tensor))
        if kept >= _KEPT:
            yield block
            block, kept = [], 0
    if block:
        yield block
