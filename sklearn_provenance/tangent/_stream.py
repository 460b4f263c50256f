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
    with evaluation(model.module, model.draws_on):
        batch = Linearisation(model, X, rows.start, held=True, rows=rows)
        labels, logits = batch.labelled(labels, decide)
        forms = batch.forms(labels)
    if not norms:
        return labels, logits, Gradients.compact(forms, dtype=dtype)
    gradients = Gradients.compact(forms, len(labels), dtype)
    check_finite(gradients.norms, "gradients", rows.start)
    return labels, logits, gradients


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
    result = []
    for _, alike in groupby(batches, key=lambda batch: batch[1].signature):
        rows, parts = zip(*alike, strict=True)
        gradients = parts[0]
        if len(parts) > 1:
            gradients = Gradients.concatenate(parts)
        result.append((slice(rows[0].start, rows[-1].stop), gradients))
    return result


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
