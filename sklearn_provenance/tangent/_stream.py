"""Gradients of rows, batch by batch: computed, joined, and taken apart again.

Shapes in comments: B rows of a batch, C classes.
"""

import math
from itertools import groupby

import torch

from .._utils.modules import evaluation
from ._gradients import Gradients
from ._linearisation import Linearisation
from ._network_layers import batch_size_for
from ._outputs import check_finite


def linearised(model, X, rows, labels=None, decide=None, *, dtype=None, norms=True):
    """Compute labels, logits and gradients of a batch, by one forward and one backward pass.

    Parameters
    ----------
    model : TangentModel
        The network.
    X : torch.Tensor or OnDemand, or a structure of them
        All rows.
    rows : slice
        Those of the batch.
    labels : torch.Tensor of shape (B,), default=None
        What rows are measured at; None asks ``decide``, see :meth:`Linearisation.labelled`.
    decide : callable, default=None
        ``decide(logits)`` gives labels.
    dtype : torch.dtype, default=None
        Precision to keep gradients in; None keeps nothing but their norms.
    norms : bool, default=True
        Whether to compute the norms, which must be finite.

    Returns
    -------
    labels : torch.Tensor of shape (B,)
        On the network's device.
    logits : torch.Tensor of shape (B, C) or None
        Detached.
    gradients : Gradients
        Gradients in all layers that have an influence.
    """
    at = linearised_at(model, X, rows, [labels], decide, dtype=dtype, norms=norms)
    (labels,), logits, (gradients,) = at
    return labels, logits, gradients


def linearised_at(model, X, rows, labels, decide=None, *, dtype=None, norms=True):
    """Compute what :func:`linearised` does at several labels, by one forward pass.

    Parameters
    ----------
    model, X, rows, decide, dtype, norms
        As in :func:`linearised`.
    labels : list of torch.Tensor or None
        What rows are measured at, several times.

    Returns
    -------
    labels : list of torch.Tensor
        On the network's device.
    logits : torch.Tensor of shape (B, C) or None
        Detached.
    gradients : list of Gradients
        Gradients at each of the labels, which share tensors.
    """
    forms = [{} for _ in labels]
    with evaluation(model.module, model.draws_on):
        batch = Linearisation(model, X, rows.start, held=True, rows=rows)
        found = [batch.labelled(one, decide) for one in labels]
        targets = [target for target, _ in found]
        _, logits = found[0]
        for layer, of_layer in batch.factors_at(targets):
            for place, form in enumerate(of_layer):
                if form is not None:
                    forms[place][layer.number] = form
    n_rows = len(targets[0]) if norms else None
    gradients = Gradients.compact_together(forms, n_rows, dtype)
    if norms:
        for one in gradients:
            check_finite(one.norms, "gradients", rows.start)
    return targets, logits, gradients


class Stream:
    """Rows whose gradients are computed whenever they are needed.

    Parameters
    ----------
    model : TangentModel
        The network.
    X : torch.Tensor or OnDemand, or a structure of them
        Rows.
    labels : torch.Tensor of shape (n_rows,)
        What rows are measured at.
    batch_size : int or "auto"
        Rows per pass.
    """

    def __init__(self, model, X, labels, batch_size):
        self.model = model
        self.X = X
        self.labels = labels
        self.batch_size = batch_size

    def __len__(self):
        return len(self.labels)

    def blocks(self, dtype, n_numbers, start=0, at_most=math.inf):
        """Yield lists of (rows, gradients), from row ``start`` on.

        A list may hold ``n_numbers`` numbers and ``at_most`` rows. Batches are joined
        to long matrices, which multiply faster. A list has several entries only if a layer changed
        the form of its factor, or began to have an influence.
        """
        step = batch_size_for(self.model, self.batch_size)
        n = len(self)
        batches = []
        size = 0
        first = start  # row of the list
        for i in range(start, n, step):
            rows = slice(i, min(i + step, n))
            *_, gradients = linearised(
                self.model, self.X, rows, self.labels[rows], dtype=dtype, norms=False
            )
            batches.append((rows, gradients))
            size += gradients.n_numbers
            if size >= n_numbers or rows.stop - first + step > at_most or rows.stop == n:
                block = joined(batches)
                # Nothing else may hold the gradients while the caller uses them.
                del gradients
                batches = []
                yield block
                del block
                size = 0
                first = rows.stop


def joined(batches):
    """Join neighbouring batches (rows, gradients) whose gradients have the same signature."""
    return joined_together([batches])[0]


def joined_together(lists):
    """Join batches of the same rows at several labels; tensors that they share stay shared."""
    results = [[] for _ in lists]

    def signatures(batches):
        return [gradients.signature for _, gradients in batches]

    for _, alike in groupby(zip(*lists, strict=True), key=signatures):
        of_labels = list(zip(*alike, strict=True))
        parts = [[gradients for _, gradients in batches] for batches in of_labels]
        rows = slice(of_labels[0][0][0].start, of_labels[0][-1][0].stop)
        for result, gradients in zip(results, Gradients.concatenated(parts), strict=True):
            result.append((rows, gradients))
    return results


def taken_rows(kept, numbers):
    """Yield the rows ``numbers`` of kept gradients, in as few pieces as their blocks allow."""
    edges = torch.tensor([rows.stop for rows, _ in kept])
    owners, counts = torch.bucketize(numbers, edges, right=True).unique_consecutive(
        return_counts=True
    )
    start = 0
    for owner, count in zip(owners.tolist(), counts.tolist(), strict=True):
        rows, gradients = kept[owner]
        yield slice(start, start + count), gradients[numbers[start : start + count] - rows.start]
        start += count
