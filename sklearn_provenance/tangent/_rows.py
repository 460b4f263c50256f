"""Rows of data as gradients of a network: kept, or computed again whenever they are needed.

Shapes in comments: B rows of a batch, C classes; a prime marks the second set.
"""

import functools
import math
from itertools import groupby

import torch
from tqdm.auto import tqdm

from ._batches import as_rows, only
from ._forms import Gradients
from ._layers import batch_size_for, split_by_name
from ._linearisation import RouteChanged, linearised

# Numbers kept of one block of rows while the other set streams past it (1 GB in float64), and of
# a block of what streams.
_KEPT = 2**27
_STREAMED = 2**24
# Rows of a tile of the kernel. Products of a few hundred rows run at full speed; of larger tiles
# a symmetric kernel would compute more than half.
_TILE = 512


def restarted(function):
    """Call a function again when a layer has changed its route, which each does once at most."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        while True:
            try:
                return function(*args, **kwargs)
            except RouteChanged:
                continue

    return wrapper


class TangentRows:
    """Gradients of a set of rows, from one forward and one backward pass.

    Where the factors of all rows fit ``memory_limit`` they are kept, and nothing runs the network
    again. Otherwise :meth:`inner` and :meth:`matrix` run it once more, batch by batch.

    Parameters
    ----------
    model : TangentModel
        The linearised network.
    X : array-like, torch.Tensor, sparse matrix, or mapping, tuple or list of tensors
        Rows. Sparse matrices and memory maps are converted batch by batch.
    labels : array-like of shape (n_rows,), default=None
        Column of the logits that each row is measured at; None asks ``decide``.
    decide : callable, default=None
        ``decide(logits)`` gives the labels (B,) of logits (B, C); None takes the largest logit.
    batch_size : int or "auto", default="auto"
        Rows per pass.
    memory_limit : float, default=2e9
        Bytes that kept factors may take.
    verbose : bool, default=False
        Whether to show progress.
    desc : str, default="linearise"
        What the progress bar says.

    Attributes
    ----------
    labels : torch.Tensor of shape (n_rows,)
        On the CPU.
    logits : torch.Tensor of shape (n_rows, n_classes)
        float64, on the CPU; None where the network's outputs are no logits.
    nbytes : int
        Bytes of the kept factors, 0 if none are kept.

    Raises
    ------
    ValueError
        If a logit or a gradient is not finite, or labels are no columns of the logits.

    References
    ----------
    .. [IT] "Bayesian information-theoretic training data attribution", section 2.
    """

    # More parameters are dearer to multiply out than the kernel of the factors.
    most_components = 1024

    @torch.inference_mode(False)
    def __init__(
        self,
        model,
        X,
        labels=None,
        decide=None,
        batch_size="auto",
        memory_limit=2e9,
        verbose=False,
        desc="linearise",
    ):
        self.model = model
        self.X, n = as_rows(X, model)
        if not model.planned:
            model.plan(self.X, labels if callable(model.measurement) else None)
        if labels is not None:
            labels = torch.as_tensor(labels)
            if len(labels) != n:
                raise ValueError(f"Expected {n} labels, got {len(labels)}")
        self.batch_size = batch_size
        # Double precision needs a GPU of CUDA's or the CPU.
        self.device = model.device if model.device.type == "cuda" else torch.device("cpu")
        self._norms = torch.zeros(n, dtype=torch.float64, device=self.device)
        with tqdm(desc=desc, total=n, disable=not verbose) as progress:
            self._pass(labels, decide, memory_limit, progress)

    @restarted
    def _pass(self, labels, decide, memory_limit, progress):
        """Run the network over all rows."""
        n, step = len(self._norms), batch_size_for(self.model, self.batch_size)
        all_labels, all_logits, size = [], [], 0
        self._kept = None
        kept = [] if memory_limit > 0 else None
        progress.reset()
        for start in range(0, n, step):
            rows = slice(start, min(start + step, n))
            own, logits, gradients = linearised(
                self.model,
                self.X,
                rows,
                None if labels is None else labels[rows],
                decide,
                dtype=None if kept is None else torch.float64,
            )
            self._norms[rows] = gradients.norms.to(self.device)
            all_labels.append(own.cpu())
            all_logits.append(logits)
            if kept is not None:
                kept.append((rows, gradients))
                size += gradients.nbytes
                if size * n / rows.stop > memory_limit:
                    kept = None
            progress.update(len(own))
        self.labels, self.logits = torch.cat(all_labels), None
        if all_logits[0] is not None:
            self.logits = torch.cat([logits.cpu().double() for logits in all_logits])
        if kept is not None:
            self._kept = joined(kept)

    def __getstate__(self):
        return vars(self) | {"_kept": None}  # the network gives them again

    def __len__(self):
        return len(self._norms)

    @property
    def n_components(self):
        """Parameters that influence the measurement."""
        return self.model.n_components

    @property
    def nbytes(self):
        """Bytes of the kept factors."""
        return sum(gradients.nbytes for _, gradients in self._kept or [])

    def norms(self):
        """Give the squared norms of the gradients.

        Returns
        -------
        torch.Tensor of shape (n_rows,)
            float64, in squared units of the measurement per unit of weight; on the network's GPU
            where it is on one.
        """
        return self._norms

    def inner(self, other=None, *, device=None, verbose=False):
        """Multiply gradients: the exact tangent kernel.

        Parameters
        ----------
        other : TangentRows, default=None
            Rows of the same network, maybe of another measurement; None takes these again.
        device : torch.device or str, default=None
            Where the kernel is kept; None is the network's GPU where it is on one.
        verbose : bool, default=False
            Whether to show progress.

        Returns
        -------
        torch.Tensor of shape (n_rows, n_rows_other)
            float64; symmetric to the last bit where ``other`` is None.
        """
        right = self if other is None else other
        device = self.device if device is None else device
        return kernel(self, right, symmetric=other is None, device=device, verbose=verbose)

    @torch.inference_mode(False)
    def matrix(self):
        """Write the gradients out, for small networks.

        Returns
        -------
        torch.Tensor of shape (n_rows, n_components)
            float64; parameters in the order of the module's, each flattened.
        """
        blocks = [pair for block in self._blocks(torch.float64, math.inf) for pair in block]
        active = {n for layer in self.model.layers if layer.route != "idle" for n in layer.weights}
        sizes = {name: p.numel() for name, p in self.model.weights.items() if name in active}
        matrix = torch.zeros(
            len(self), sum(sizes.values()), dtype=torch.float64, device=self.device
        )
        columns = dict(zip(sizes, matrix.split(list(sizes.values()), 1), strict=True))
        for rows, gradients in blocks:
            for name, part in split_by_name(self.model.layers, gradients.matrices()).items():
                columns[name][rows] = part.to(self.device)
        return matrix

    def take(self, numbers):
        """Select some of the rows; kept factors are indexed, not computed again.

        Parameters
        ----------
        numbers : array-like of int or slice
            Rows, in the order wanted.

        Returns
        -------
        TangentRows
            Those rows.
        """
        if isinstance(numbers, slice):
            numbers = torch.arange(len(self))[numbers]
        numbers = torch.as_tensor(numbers).long().cpu()
        taken = object.__new__(TangentRows)
        taken.model, taken.batch_size = self.model, self.batch_size
        taken.device = self.device
        taken.X = only(self.X, numbers)
        taken.labels = self.labels[numbers]
        taken.logits = None if self.logits is None else self.logits[numbers]
        taken._norms = self._norms[numbers.to(self.device)]
        taken._kept = None if self._kept is None else list(taken_rows(self._kept, numbers))
        return taken

    def equalise(self, copies):
        """Give each row the kept factors of the first row that it is a copy of.

        In single precision the gradient of a row depends on its place in a batch.

        Parameters
        ----------
        copies : torch.Tensor of shape (n_rows,)
            First row that each row is a copy of.
        """
        self._norms = self._norms[copies.to(self.device)]
        numbers = torch.arange(len(copies))
        for rows, gradients in self._kept or []:
            own, first = numbers[rows], copies[rows]
            changed = (first != own) & (first >= rows.start)
            to, source = own[changed] - rows.start, first[changed] - rows.start
            gradients.copy_rows(source, to)

    def _blocks(self, dtype, numbers, start=0, at_most=math.inf):
        """As :meth:`Stream._blocks`."""
        if self._kept is None:
            source = Stream(self.model, self.X, self.labels, self.batch_size)
            yield from source._blocks(dtype, numbers, start, at_most)
            return
        kept = []
        for rows, gradients in self._kept:
            if rows.stop > start:
                first = max(start, rows.start)
                if first > rows.start:
                    gradients = gradients[first - rows.start :]
                if dtype != torch.float64:
                    gradients = gradients.cast(dtype)
                kept.append((slice(first, rows.stop), gradients))
        if kept:
            yield kept


class Stream:
    """Rows whose gradients are computed whenever they are asked for."""

    def __init__(self, model, X, labels, batch_size):
        self.model, self.X, self.labels, self.batch_size = model, X, labels, batch_size

    def __len__(self):
        return len(self.labels)

    def _blocks(self, dtype, numbers, start=0, at_most=math.inf):
        """Give lists of (rows, gradients), from row ``start`` on.

        A list is as long as ``numbers``, or ``at_most`` rows, allow. Batches are joined to long
        matrices, which multiply faster; a list has several entries only where a layer changed the
        form of its factor, or woke up.
        """
        step = batch_size_for(self.model, self.batch_size)
        open_, size, first, n = [], 0, start, len(self)
        for i in range(start, n, step):
            rows = slice(i, min(i + step, n))
            *_, gradients = linearised(
                self.model, self.X, rows, self.labels[rows], dtype=dtype, norms=False
            )
            open_.append((rows, gradients))
            size += gradients.n_numbers
            if size >= numbers or rows.stop - first + step > at_most or rows.stop == n:
                done, open_, size, first = joined(open_), [], 0, rows.stop
                del gradients
                yield done
                del done


def joined(batches):
    """Batches in a row as (rows, gradients), those of one signature as one."""
    if len(batches) == 1:
        return batches
    result = []
    for _, same in groupby(batches, key=lambda batch: batch[1].signature):
        rows, parts = zip(*same, strict=True)
        gradients = parts[0] if len(parts) == 1 else Gradients.concatenate(parts)
        result.append((slice(rows[0].start, rows[-1].stop), gradients))
    return result


def taken_rows(kept, numbers):
    """Rows of kept gradients in the order of ``numbers``, as few pieces as their blocks allow."""
    edges = torch.tensor([rows.stop for rows, _ in kept])
    owners = torch.bucketize(numbers, edges, right=True)
    start = 0
    for owner, count in zip(
        *(v.tolist() for v in owners.unique_consecutive(return_counts=True)), strict=True
    ):
        rows, gradients = kept[owner]
        yield slice(start, start + count), gradients[numbers[start : start + count] - rows.start]
        start += count


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
            mine = list(tiles(block))
            if symmetric:
                for i, ours in enumerate(mine):
                    for theirs in mine[i:]:
                        progress.update(_fill(result, ours, theirs, symmetric, on))
                start = mine[-1][0].stop
            others = right._blocks(dtype, _STREAMED, start, _TILE)
            for theirs in (tile for other in others for tile in tiles(other)):
                for ours in mine:
                    progress.update(_fill(result, ours, theirs, symmetric, on))
            del block, mine  # before the next block is made
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
    tile = ours.inner(theirs, torch.zeros(shape, dtype=kernel.dtype, device=device))
    mirrored = symmetric and rows != columns
    if symmetric and not mirrored:
        tile = tile.tril() + tile.tril(-1).T
    kernel[rows, columns] = tile
    if mirrored:
        kernel[columns, rows] = tile.T
    return tile.numel() * (1 + mirrored)


def tiles(block):
    """Rows and gradients of at most ``_TILE`` rows, as views of a block."""
    for rows, gradients in block:
        n = rows.stop - rows.start
        if n <= _TILE:
            yield rows, gradients
            continue
        step = math.ceil(n / math.ceil(n / _TILE))  # no tile is much smaller than the others
        for i in range(rows.start, rows.stop, step):
            stop = min(i + step, rows.stop)
            part = slice(i - rows.start, stop - rows.start)
            yield slice(i, stop), gradients[part]
