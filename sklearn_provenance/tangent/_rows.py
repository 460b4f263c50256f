"""Rows of data as gradients of a network: kept, or computed again whenever they are needed.

Shapes in comments: B rows of a batch, C classes; a prime marks the second set.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import chain
from typing import Any, Literal, Self

import torch
from tqdm.auto import tqdm

from .._utils.docs import with_paragraphs
from .._utils.types import Device, Rows, Targets
from ._batches import as_rows, only
from ._gradients import Gradients
from ._network_layers import active_layers, matrix_and_columns, split_by_name
from ._products import kernel, summed_kernel
from ._rows_pass import gradients_of
from ._stream import Stream, taken_rows

# What products of rows say of their arguments.
_documented = with_paragraphs(
    {
        "device": """\
device : torch.device or str, default=None
    Where the result is kept; None is the network's GPU, or the CPU.""",
        "verbose": """\
verbose : bool, default=False
    Whether to show progress.""",
    }
)


class TangentRows:
    """Gradients of a set of rows, from one forward and one backward pass.

    If the factors of all rows fit ``memory_limit``, they are kept and the network does not run
    again. Otherwise :meth:`inner` and :meth:`matrix` run it once more, batch by batch.

    Parameters
    ----------
    model : TangentModel
        The linearised network.
    X : array-like, torch.Tensor, sparse matrix, or mapping, tuple or list of tensors
        Rows. Sparse matrices, memory maps and Dask arrays are converted batch by batch.
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
        float64, on the CPU; None if the network's outputs are no logits.
    nbytes : int
        Bytes of the kept factors, 0 if none are kept.

    Raises
    ------
    ValueError
        If a logit or a gradient is not finite, or labels are no columns of the logits.

    References
    ----------
    .. [IT] "A Bayesian information-theoretic approach to data attribution", section 3.
    """

    # With more parameters, gradients that are written out cost more than the kernel of factors.
    most_components = 1024

    @torch.inference_mode(False)
    def __init__(
        self,
        model: Any,
        X: Rows,
        labels: Targets = None,
        decide: Callable[[torch.Tensor], torch.Tensor] | None = None,
        batch_size: int | Literal["auto"] = "auto",
        memory_limit: float = 2e9,
        verbose: bool = False,
        desc: str = "linearise",
    ) -> None:
        self.model = model
        self.X, n = as_rows(X, model)
        if not model.planned:
            model.plan(self.X, labels if callable(model.measurement) else None)
        if labels is not None:
            labels = torch.as_tensor(labels)
            if len(labels) != n:
                raise ValueError(
                    f"labels must have one entry for each of {n} rows, got {len(labels)}"
                )
        self.batch_size = batch_size
        self.device = model.double_device
        with tqdm(desc=desc, total=n, disable=not verbose) as progress:
            (found,) = gradients_of(
                model, self.X, [labels], decide, batch_size, memory_limit, 0, progress
            )
        self._put(found)

    def _put(self, found):
        """Take what a pass has found: labels, logits, norms, and gradients that are kept."""
        self.labels, self.logits, norms, self._kept = found
        self._norms = norms.to(self.device)

    @classmethod
    @torch.inference_mode(False)
    def at_labels(
        cls,
        model: Any,
        X: Rows,
        labels: Sequence[int],
        *,
        together: float,
        batch_size: int | Literal["auto"] = "auto",
        memory_limit: float = 2e9,
        verbose: bool = False,
        **settings: Any,
    ) -> list[Self]:
        """Measure all rows at each of several labels, in one pass as far as memory allows.

        Parameters
        ----------
        model : TangentModel
            The linearised network.
        X : array-like, torch.Tensor, sparse matrix, or mapping, tuple or list of tensors
            Rows.
        labels : sequence of int
            Columns of the logits.
        together : float
            Bytes that the factors at several labels may take together, those that they share once.
        batch_size : int or "auto", default="auto"
            Rows per pass.
        memory_limit : float, default=2e9
            Bytes that kept factors at one label may take.
        verbose : bool, default=False
            Whether to show progress.
        **settings : dict
            Other parameters of the class, which one label alone needs.

        Returns
        -------
        list of TangentRows
            The rows at the first of the labels, as many as fit; one at least.
        """
        n = as_rows(X, model)[1]
        first = torch.full((n,), int(labels[0]))
        if len(labels) == 1:
            settings |= {"batch_size": batch_size, "memory_limit": memory_limit}
            return [cls(model, X, first, verbose=verbose, **settings)]
        rows = cls.__new__(cls)
        rows.model = model
        rows.X = as_rows(X, model)[0]
        rows.batch_size = batch_size
        rows.device = model.double_device
        if not model.planned:
            model.plan(rows.X)
        targets = [torch.full((n,), int(label)) for label in labels]
        with tqdm(desc="linearise", total=n, disable=not verbose) as progress:
            found = gradients_of(
                model, rows.X, targets, None, batch_size, memory_limit, together, progress
            )
        several = []
        for one in found:
            several.append(copy(rows))
            several[-1]._put(one)
        return several

    def __getstate__(self):
        return vars(self) | {"_kept": None}  # the network gives them again

    def __len__(self) -> int:
        return len(self._norms)

    @property
    def n_components(self) -> int:
        """Parameters that influence the measurement."""
        return self.model.n_components

    @property
    def nbytes(self) -> int:
        """Bytes of the kept factors."""
        return sum(gradients.nbytes for _, gradients in self._kept or [])

    def norms(self) -> torch.Tensor:
        """Return the squared norms of the gradients.

        Returns
        -------
        torch.Tensor of shape (n_rows,)
            float64, in squared units of the measurement per unit of weight; on the network's GPU,
            or on the CPU.
        """
        return self._norms

    @_documented
    def inner(
        self, other: Any = None, *, device: Device = None, verbose: bool = False
    ) -> torch.Tensor:
        """Multiply gradients: the exact tangent kernel.

        Parameters
        ----------
        other : TangentRows, default=None
            Rows of the same network, maybe of another measurement; None takes these again.
        {device} {verbose}

        Returns
        -------
        torch.Tensor of shape (n_rows, n_rows_other)
            float64; symmetric to the last bit where ``other`` is None.
        """
        if device is None:
            device = self.device
        if other is None:
            return kernel(self, self, symmetric=True, device=device, verbose=verbose)
        return kernel(self, other, symmetric=False, device=device, verbose=verbose)

    @_documented
    def inner_sum(
        self, other: Any, *, device: Device = None, verbose: bool = False
    ) -> torch.Tensor:
        """Multiply the gradients of other rows by the sum of these: column sums of the kernel.

        Many rows take no longer than one, apart from the pass that computes their gradients.

        Parameters
        ----------
        other : TangentRows
            Rows of the same network, maybe of another measurement.
        {device} {verbose}

        Returns
        -------
        torch.Tensor of shape (n_rows_other,)
            float64.
        """
        if device is None:
            device = self.device
        return summed_kernel(self, other, device=device, verbose=verbose)

    @torch.inference_mode(False)
    def matrix(self) -> torch.Tensor:
        """Write the gradients out, for small networks.

        Returns
        -------
        torch.Tensor of shape (n_rows, n_components)
            float64; parameters in the order of the module's, each flattened.
        """
        # All blocks are made before any is written out: a layer may become active in the last one.
        blocks = list(self.blocks(torch.float64, math.inf))
        model = self.model
        matrix, columns = matrix_and_columns(
            model.weights, active_layers(model.layers), len(self), torch.float64, self.device
        )
        for rows, gradients in chain.from_iterable(blocks):
            for name, part in split_by_name(model.layers, gradients.matrices()).items():
                columns[name][rows] = part.to(self.device)
        return matrix

    def take(self, numbers: Any) -> Self:
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
        taken = copy(self)
        taken.X = only(self.X, numbers)
        taken.labels = self.labels[numbers]
        if self.logits is not None:
            taken.logits = self.logits[numbers]
        taken._norms = self._norms[numbers.to(self.device)]
        taken._kept = None
        if self._kept is not None:
            taken._kept = list(taken_rows(self._kept, numbers))
        return taken

    def equalise(self, copies: torch.Tensor) -> None:
        """Give each row the kept factors of the first row that it is a copy of.

        In single precision the gradient of a row depends on its place in a batch, so those of
        equal rows may differ.

        Parameters
        ----------
        copies : torch.Tensor of shape (n_rows,)
            First row that each row is a copy of.
        """
        self._norms = self._norms[copies.to(self.device)]
        numbers = torch.arange(len(copies))
        for rows, gradients in self._kept or []:
            first = copies[rows]
            changed = (first != numbers[rows]) & (first >= rows.start)
            to = numbers[rows][changed] - rows.start
            gradients.copy_rows(first[changed] - rows.start, to)

    def blocks(
        self, dtype: torch.dtype, n_numbers: float, start: int = 0, at_most: float = math.inf
    ) -> Iterator[list[tuple[slice, Gradients]]]:
        """Yield lists of rows and their gradients: one list if factors are kept.

        Parameters
        ----------
        dtype : torch.dtype
            Precision of the gradients.
        n_numbers : float
            Numbers that a list may hold if factors are computed again.
        start : int, default=0
            First row.
        at_most : float, default=inf
            Rows that a list may have if factors are computed again.

        Yields
        ------
        list of (slice, Gradients)
            Neighbouring rows. A list has several entries only if a layer changed the form of its
            factor, or began to have an influence.
        """
        if self._kept is None:
            source = Stream(self.model, self.X, self.labels, self.batch_size)
            yield from source.blocks(dtype, n_numbers, start, at_most)
            return
        kept = []
        for rows, gradients in self._kept:
            first = max(start, rows.start)
            if first >= rows.stop:
                continue
            if first > rows.start:
                gradients = gradients[first - rows.start :]
            if dtype != torch.float64:
                gradients = gradients.cast(dtype)
            kept.append((slice(first, rows.stop), gradients))
        if kept:
            yield kept
