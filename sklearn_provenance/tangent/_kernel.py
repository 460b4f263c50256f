"""Exact tangent kernels k(x, x') = φ(x)·φ(x') from layer factors; no Jacobian is formed.

Shapes in comments: B examples, T positions, I inputs, O outputs of a layer; a prime marks the
second set.
"""

import math

import torch
from tqdm.auto import tqdm

from ._batches import as_batch, batch_size_for
from ._layers import Formed, Lookup, Outer, compact, rows_of
from ._module import take

# Numbers held at once by one block of position pairs, or by some formed gradients.
_PAIRS = 2**24
_FORMED = 2**25
# Numbers kept of one block of rows while the other set streams past it (1 GB in float64), and of
# a block of what streams.
_KEPT = 2**27
_STREAMED = 2**24
# Rows of a tile of the kernel. Products of a few hundred rows run at full speed; of larger tiles
# a symmetric kernel would compute more than half.
_TILE = 512


def factor_kernel(left, right):
    """Inner products (B, B') of the gradients that two factors of one layer stand for."""
    if isinstance(left, Outer) and isinstance(right, Outer):
        (B, T, n_in), (B2, T2, _) = left.a.shape, right.a.shape
        n_out = left.g.shape[2]
        if T == T2 == 1:
            return (left.a[:, 0] @ right.a[:, 0].T) * (left.g[:, 0] @ right.g[:, 0].T)
        pairs = B * T * B2 * T2 * (n_in + n_out)
        times = math.ceil(B / rows_formed(left))
        if pairs < (B * T + times * B2 * T2 + B * B2) * n_in * n_out:
            return _over_pairs(left, right)
    elif isinstance(left, Lookup) and isinstance(right, Lookup):
        return _over_pairs(left, right)
    return torch.cat(
        [torch.cat([ours @ theirs.T for theirs in formed(right)], 1) for ours in formed(left)]
    )


def _over_pairs(left, right):
    """Σ_tt' (a_t·a'_t')(g_t·g'_t'), where a is one-hot for lookups."""
    (B, T, _), (B2, T2, _) = left.g.shape, right.g.shape
    result = left.g.new_empty(B, B2)
    columns = max(1, min(B2, _PAIRS // (T * T2)))
    rows = max(1, _PAIRS // (T * columns * T2))
    for i in range(0, B, rows):
        ours = rows_of(left, i, i + rows)
        for j in range(0, B2, columns):
            theirs = rows_of(right, j, j + columns)
            products = ours.g.flatten(0, 1) @ theirs.g.flatten(0, 1).T  # (b T, b' T')
            if isinstance(left, Lookup):
                products *= ours.index.flatten()[:, None] == theirs.index.flatten()
            else:
                products *= ours.a.flatten(0, 1) @ theirs.a.flatten(0, 1).T
            products = products.view(len(ours), T, len(theirs), T2)
            result[i : i + rows, j : j + columns] = products.sum((1, 3))
    return result


def rows_formed(factor):
    """Examples whose gradients may be formed at once."""
    return max(1, _FORMED // math.prod(factor.shape))


def formed(factor):
    """Gradients (b, O I) of some examples at a time; all of them where they are stored."""
    step = len(factor) if isinstance(factor, Formed) else rows_formed(factor)
    for i in range(0, len(factor), step):
        yield rows_of(factor, i, i + step).matrix().flatten(1)


def squared_norms(factor):
    """Squared norms (B,) of the gradients that a factor stands for, in double precision."""
    if isinstance(factor, Formed):
        return factor.gradient.double().square().sum((1, 2))
    if isinstance(factor, Outer) and factor.a.shape[1] == 1:
        a, g = factor.a[:, 0].double(), factor.g[:, 0].double()
        return a.square().sum(1) * g.square().sum(1)
    T, (n_out, n_in) = factor.g.shape[1], factor.shape
    outer = isinstance(factor, Outer)
    by_pairs = T * T * (n_in + n_out * outer) < n_out * n_in * (T if outer else 1)
    step = max(1, _PAIRS // (T * T if by_pairs else n_out * n_in))
    norms = _norm_by_pairs if by_pairs else _norm_formed
    return torch.cat([norms(rows_of(factor, i, i + step)) for i in range(0, len(factor), step)])


def _norm_by_pairs(factor):
    """Σ_tt' (a_t·a_t')(g_t·g_t') for every example."""
    g = factor.g.double()
    products = g @ g.transpose(1, 2)  # (B, T, T)
    if isinstance(factor, Lookup):
        products *= factor.index[:, :, None] == factor.index[:, None, :]
    else:
        a = factor.a.double()
        products *= a @ a.transpose(1, 2)
    return products.sum((1, 2)).clamp_min(0)  # below zero by rounding alone


def _norm_formed(factor):
    return factor.matrix().double().square().sum((1, 2))


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
    model,
    X,
    labels,
    X2=None,
    labels2=None,
    *,
    model2=None,
    batch_size="auto",
    dtype=torch.float64,
    device=None,
    verbose=False,
):
    """Exact tangent kernel between two sets of examples.

    Memory holds, besides the kernel, the factors of one block of ``X`` (up to 1 GB) and some of
    ``X2``; each further block of ``X`` costs another pass over ``X2``, so give the smaller set
    first.

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
    model2 : TangentModel, default=None
        What ``X2`` is linearised by, ``model.measuring(...)``: the kernel is then of two
        measurements. None takes ``model``.
    batch_size : int or "auto", default="auto"
        Examples per pass.
    dtype : torch.dtype, default=torch.float64
        Precision of products and sums; single precision is faster, and indefinite in the seventh
        digit.
    device : torch.device or str, default=None
        Where the kernel is kept, for instance ``model.device``; None is the CPU.
    verbose : bool, default=False
        Whether to show progress.

    Returns
    -------
    torch.Tensor of shape (n_samples, n_samples_2)
        Kernel, in squared units of the measurement, or the product of the units of both, per unit
        of weight. Without ``X2`` it is
        symmetric to the last bit.

    Raises
    ------
    ValueError
        If labels are no columns of the logits, ``labels2`` is missing, or ``model2`` is not the
        same network in the same parameters.

    References
    ----------
    .. [IT] "Bayesian information-theoretic training data attribution", section 2.
    """
    X = as_batch(X, model)
    symmetric = X2 is None
    if symmetric and (labels2 is not None or model2 is not None):
        raise ValueError(f"{'labels2' if model2 is None else 'model2'} needs X2.")
    if not symmetric and labels2 is None:
        raise ValueError("X2 needs labels2.")
    X2, labels2 = (X, labels) if symmetric else (as_batch(X2, model), labels2)
    labels, labels2 = torch.as_tensor(labels), torch.as_tensor(labels2)
    if len(labels) != len(X) or len(labels2) != len(X2):
        raise ValueError(
            f"Expected {len(X)} and {len(X2)} labels, got {len(labels)} and {len(labels2)}."
        )
    model2 = model if model2 is None else _same_network(model, model2)
    for one, rows in ((model, X), (model2, X2)):
        if not one.planned:
            one.plan(rows)
    kernel = torch.empty(len(X), len(X2), dtype=dtype, device=device)
    step, step2 = (batch_size_for(m, batch_size) for m in (model, model2))
    start = 0
    with tqdm(
        total=kernel.numel(), desc="tangent kernel", unit_scale=True, disable=not verbose
    ) as progress:
        for block in _blocks(model, X, labels, step, dtype, _KEPT):
            tiles = list(_tiles(block))
            if symmetric:
                for i, left in enumerate(tiles):
                    for right in tiles[i:]:
                        progress.update(_fill(kernel, left, right, symmetric, model.device))
                start = tiles[-1][0].stop
            others = _blocks(model2, X2, labels2, step2, dtype, _STREAMED, start, _TILE)
            for right in (tile for other in others for tile in _tiles(other)):
                for left in tiles:
                    progress.update(_fill(kernel, left, right, symmetric, model.device))
            del block, tiles  # before the next block is made
    return kernel


@torch.inference_mode(False)
def tangent_diagonal(model, X, labels, batch_size="auto", *, verbose=False):
    """Squared norms of tangent features: the diagonal of :func:`tangent_kernel`.

    Parameters
    ----------
    model : TangentModel
        The linearised network.
    X : array-like or torch.Tensor of shape (n_samples, ...)
        Examples.
    labels : array-like of shape (n_samples,)
        Column of the logits that each is measured at.
    batch_size : int or "auto", default="auto"
        Examples per pass.
    verbose : bool, default=False
        Whether to show progress.

    Returns
    -------
    torch.Tensor of shape (n_samples,)
        Squared norms of φ(x), float64 on the CPU, in squared units of the measurement per unit of
        weight.

    Raises
    ------
    ValueError
        If labels are no columns of the logits.

    Examples
    --------
    >>> import torch
    >>> from sklearn_provenance.tangent import TangentModel, tangent_diagonal
    >>> model = TangentModel(torch.nn.Linear(2, 3, bias=False))
    >>> tangent_diagonal(model, [[3.0, 4.0], [0.0, 2.0]], labels=[0, 2])
    tensor([25.,  4.], dtype=torch.float64)
    """
    X, labels = as_batch(X, model), torch.as_tensor(labels)
    if len(labels) != len(X):
        raise ValueError(f"Expected {len(X)} labels, got {len(labels)}.")
    if not model.planned:
        model.plan(X)
    diagonal = torch.zeros(len(X), dtype=torch.float64)
    step = batch_size_for(model, batch_size)
    starts = range(0, len(X), step)
    for i in tqdm(starts, desc="tangent diagonal", disable=not verbose):
        rows = slice(i, i + step)
        for _, factor in model.linearise(X[rows]).factors(labels[rows]):
            diagonal[rows] += squared_norms(factor).cpu()
    return diagonal


def _same_network(model, model2):
    """The second model, if layers of both have gradients in the same weights."""
    same = model2.module is model.module and list(model2.weights) == list(model.weights)
    if not same or [m.scales for m in model2.layers] != [m.scales for m in model.layers]:
        raise ValueError(
            "model2 must be the same module, parameters and parameterisation as model: "
            "model.measuring(measurement) is."
        )
    return model2


def _fill(kernel, left, right, symmetric, device):
    """Write a tile, and its mirror image; the number of entries written."""
    (rows, ours), (columns, theirs) = left, right
    shape = rows.stop - rows.start, columns.stop - columns.start
    tile = torch.zeros(shape, dtype=kernel.dtype, device=device)
    for number in ours.keys() & theirs.keys():
        tile += factor_kernel(ours[number], theirs[number])
    mirrored = symmetric and rows != columns
    if symmetric and not mirrored:
        tile = tile.tril() + tile.tril(-1).T
    kernel[rows, columns] = tile
    if mirrored:
        kernel[columns, rows] = tile.T
    return tile.numel() * (1 + mirrored)


def _tiles(block):
    """Rows and factors of at most ``_TILE`` examples, as views of a block."""
    for rows, factors in block:
        n = rows.stop - rows.start
        step = math.ceil(n / math.ceil(n / _TILE))  # no tile is much smaller than the others
        for i in range(rows.start, rows.stop, step):
            stop = min(i + step, rows.stop)
            part = i - rows.start, stop - rows.start
            yield slice(i, stop), {n: rows_of(f, *part) for n, f in factors.items()}


def _blocks(model, X, labels, step, dtype, numbers, start=0, n_rows=math.inf):
    """Lists of (rows, factors by layer), together as long as ``numbers`` or ``n_rows`` allow.

    Batches are joined to long matrices, which multiply faster; a list has several entries only
    where a layer changed the form of its factor, or woke up.
    """
    block, run, kept, first = [], [], 0, start
    for i in range(start, len(X), step):
        rows = slice(i, min(i + step, len(X)))
        factors = {}
        for layer, factor in model.linearise(take(X, rows)).factors(labels[rows]):
            factors[layer.number] = cast(compact(factor), dtype)
        if run and _form(run[-1][1]) != _form(factors):
            block.append(_join(run))
            run = []
        run.append((rows, factors))
        kept += sum(v.numel() for f in factors.values() for v in _tensors(f).values())
        if kept >= numbers or rows.stop - first + step > n_rows or rows.stop == len(X):
            block.append(_join(run))
            del factors
            done, block, run, kept, first = block, [], [], 0, rows.stop
            yield done
            del done


def _tensors(factor):
    return {name: v for name, v in vars(factor).items() if isinstance(v, torch.Tensor)}


def _form(factors):
    """What batches must agree on to be joined."""
    return {
        number: (type(factor), [v.shape[1:] for v in _tensors(factor).values()])
        for number, factor in factors.items()
    }


def _join(run):
    """One pair of rows and factors from consecutive ones, which are emptied."""
    if len(run) == 1:
        return run[0]
    rows = slice(run[0][0].start, run[-1][0].stop)
    joined = {}
    for number in list(run[0][1]):
        parts = [factors.pop(number) for _, factors in run]
        fields = {
            name: torch.cat([getattr(part, name) for part in parts]) for name in _tensors(parts[0])
        }
        joined[number] = type(parts[0])(**vars(parts[0]) | fields)
    return rows, joined
