"""Rows of data as gradients of a network: kept, or computed again whenever they are needed.

Shapes in comments: B rows of a batch, C classes; a prime marks the second set.
"""

import math

import torch
from tqdm.auto import tqdm

from ._batches import as_rows, batch_size_for, n_rows, only, take
from ._linearisation import restarted
from ._outputs import check_finite
from ._stream import Run, Stream, taken_rows
from ._tiles import kernel


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
        self.X = as_rows(X, model)
        n = n_rows(self.X)
        if not model.planned:
            model.plan(self.X, labels if callable(model.measurement) else None)
        if labels is not None:
            labels = torch.as_tensor(labels)
            if len(labels) != n:
                raise ValueError(f"Expected {n} labels, got {len(labels)}")
        self.batch_size = batch_size
        self._norms = torch.zeros(n, dtype=torch.float64)
        self._kept = None
        self._pass(labels, decide, memory_limit, verbose, desc)

    @restarted
    def _pass(self, labels, decide, memory_limit, verbose, desc):
        """Run the network over all rows."""
        n = len(self)
        step = batch_size_for(self.model, self.batch_size)
        run, size, keep = Run(), 0, memory_limit > 0
        all_labels, all_logits = [], []
        for start in tqdm(range(0, n, step), desc=desc, disable=not verbose):
            rows = slice(start, min(start + step, n))
            batch = self.model.linearise(take(self.X, rows), start)
            logits = batch._readable_logits()
            own = batch._target(decided(logits, decide) if labels is None else labels[rows])
            norms = torch.zeros(len(own), dtype=torch.float64)
            factors = {}
            for layer, factor in batch.factors(own):
                factor = factor.compact()
                norms += factor.norms().cpu()
                if keep:
                    factors[layer.number] = factor.cast(torch.float64)
            check_finite(norms, "gradients", start)
            self._norms[rows] = norms
            all_labels.append(own.cpu())
            all_logits.append(logits)
            if keep:
                size += sum(factor.nbytes for factor in factors.values())
                keep = size * n / rows.stop <= memory_limit
            if keep:
                run.add(rows, factors)
            else:
                run = None
        self.labels, self.logits = torch.cat(all_labels), None
        if all_logits[0] is not None:
            self.logits = torch.cat([logits.cpu().double() for logits in all_logits])
        if keep:
            self._kept = run.joined()

    def __len__(self):
        return len(self._norms)

    @property
    def n_components(self):
        """Parameters that influence the measurement."""
        return self.model.n_components

    @property
    def nbytes(self):
        """Bytes of the kept factors."""
        return sum(f.nbytes for _, factors in self._kept or [] for f in factors.values())

    def norms(self):
        """Give the squared norms of the gradients.

        Returns
        -------
        torch.Tensor of shape (n_rows,)
            float64, on the CPU, in squared units of the measurement per unit of weight.
        """
        return self._norms

    def inner(self, other=None, *, device=None, verbose=False):
        """Multiply gradients: the exact tangent kernel.

        Parameters
        ----------
        other : TangentRows, default=None
            Rows of the same network, maybe of another measurement; None takes these again.
        device : torch.device or str, default=None
            Where the kernel is kept; None is the CPU.
        verbose : bool, default=False
            Whether to show progress.

        Returns
        -------
        torch.Tensor of shape (n_rows, n_rows_other)
            float64; symmetric to the last bit where ``other`` is None.
        """
        return kernel(
            self, self if other is None else other, symmetric=other is None,
            device=device, verbose=verbose,
        )  # fmt: skip

    @torch.inference_mode(False)
    def matrix(self):
        """Write the gradients out, for small networks.

        Returns
        -------
        torch.Tensor of shape (n_rows, n_components)
            float64, on the CPU; parameters in the order of the module's, each flattened.
        """
        blocks = [pair for block in self._blocks(torch.float64, math.inf) for pair in block]
        active = {n for layer in self.model.layers if layer.route != "idle" for n in layer.weights}
        sizes = {name: p.numel() for name, p in self.model.weights.items() if name in active}
        matrix = torch.zeros(len(self), sum(sizes.values()), dtype=torch.float64)
        columns = dict(zip(sizes, matrix.split(list(sizes.values()), 1), strict=True))
        for rows, factors in blocks:
            for number, factor in factors.items():
                for name, part in self.model.layers[number].split(factor.matrix()).items():
                    columns[name][rows] = part.cpu()
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
        taken.X = only(self.X, numbers)
        taken.labels = self.labels[numbers]
        taken.logits = None if self.logits is None else self.logits[numbers]
        taken._norms = self._norms[numbers]
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
        self._norms = self._norms[copies]
        numbers = torch.arange(len(copies))
        for rows, factors in self._kept or []:
            own, first = numbers[rows], copies[rows]
            changed = (first != own) & (first >= rows.start)
            to, source = own[changed] - rows.start, first[changed] - rows.start
            for factor in factors.values():
                for tensor in factor.tensors().values():
                    tensor[to.to(tensor.device)] = tensor[source.to(tensor.device)]

    def _blocks(self, dtype, numbers, start=0, at_most=math.inf):
        """As :meth:`Stream._blocks`."""
        if self._kept is None:
            source = Stream(self.model, self.X, self.labels, self.batch_size)
            yield from source._blocks(dtype, numbers, start, at_most)
            return
        kept = []
        for rows, factors in self._kept:
            if rows.stop > start:
                first = max(start, rows.start)
                part = slice(first - rows.start, rows.stop - rows.start)
                factors = {number: f[part].cast(dtype) for number, f in factors.items()}
                kept.append((slice(first, rows.stop), factors))
        if kept:
            yield kept


def decided(logits, decide=None):
    """Labels of logits (B, C); the largest by default."""
    if logits is None:
        raise ValueError(
            "labels must be given, since the network's outputs are no logits to predict them from"
        )
    return logits.argmax(1) if decide is None else decide(logits)
