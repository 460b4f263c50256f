"""Which outputs rows of a batch may name, class by class or all together.

Shapes in comments: B rows of a batch, n of them that read the same outputs, K outputs, C classes,
T targets.
"""

from typing import NamedTuple

import numpy as np
import torch
from sklearn import get_config

from .._utils.modules import evaluation_mode
from ._head_scan import BLOCK, LEAST_ROWS, Head, SomeOutputs, check_outputs

# Values per batch of rows: 64 MB in single precision. More takes longer.
_BATCH_VALUES = 2**24
# Arrays of that size that are in memory at once, at most.
_COPIES = 8


def batches(module, rows, n_values=0):
    """Iterate over batches: slice of rows, numbers of the rows in x, and x on the device.

    x repeats rows where there are few: matrix products of one to three rows round differently, and
    a row's result should not depend on what it is batched with.

    Parameters
    ----------
    module : Module
        The network that reads them. It is in evaluation mode meanwhile.
    rows : ndarray of shape (n, n_features)
        Validated input.
    n_values : int, default=0
        Values per row that the caller holds.
    """
    device = device_of(module)
    n_values = max(n_values, module.values_per_row, rows.shape[1])
    size = max(1, min(4096, values_per_batch() // n_values))
    with evaluation_mode(module), torch.inference_mode():
        for start in range(0, len(rows), size):
            batch = slice(start, min(start + size, len(rows)))
            numbers = np.arange(batch.start, batch.stop)
            numbers = np.resize(numbers, max(len(numbers), LEAST_ROWS))
            yield batch, numbers, torch.tensor(rows[numbers], device=device)


def values_per_batch():
    """Count the values that a batch of rows may hold, within scikit-learn's ``working_memory``."""
    budget = get_config()["working_memory"] * 2**20  # MiB
    return int(min(_BATCH_VALUES, budget / (4 * _COPIES)))


def store_batch(target, batch, values):
    """Store the values of a batch of :func:`batches`, without those of rows that it repeats."""
    target[batch] = values[: batch.stop - batch.start].cpu()


def device_of(module):
    """Return the device of a network."""
    return next(module.parameters()).device


def index_batches(module, index, rows, n_values=0):
    """Iterate over :func:`batches` whose logits of one block of outputs are held.

    ``n_values`` are others that the caller holds for each row.
    """
    n_values = max(n_values, len(index.sizes), min(index.n_outputs, BLOCK))
    return batches(module, rows, n_values)


def forward(module, x, label=None):
    """Run the network, with a reader of index logits in place of the logits."""
    output = module(x, label, all_logits=False)
    if output.task is not None:
        check_outputs(output.task)
    return output


class IndexTables:
    """The maps of a ClassIndex on a device."""

    def __init__(self, index, device):
        self.device = device
        self.sizes = index.sizes
        self.members = torch.as_tensor(index.members, device=device)
        self.labels = torch.as_tensor(index.labels, device=device)
        self.local = torch.as_tensor(index.local, device=device)
        self.all = torch.arange(index.n_outputs, device=device)

    def of_class(self, label):
        """Return the outputs of a class in local order, (K,)."""
        return self.members[label, : self.sizes[label]]

    def position(self, outputs, label):
        """Return the positions of outputs among those of a class; -1 for those of others."""
        inside = (outputs >= 0) & (self.labels[outputs] == label)
        return self.local[outputs].where(inside, -1)


class Part(NamedTuple):
    """Rows of a batch that may name the same outputs."""

    rows: torch.Tensor  # (n,), numbers in the batch
    outputs: torch.Tensor  # (K,), in ascending order
    head: Head
    label: int | None  # the class of these outputs; None if they are those of all classes
    log_class: torch.Tensor | None = None  # (n,), log-probability of this class among several


class IndexReading(NamedTuple):
    """What a batch of :func:`read_index` holds."""

    n_rows: int  # B
    parts: object  # iterator of Part
    scores: torch.Tensor | None  # class scores (B, C), or outputs (B, T) of a regression


def read_index(module, index, rows, routing, exclude=None, with_scores=False, n_values=0):
    """Iterate over batches of rows: a slice and an :class:`IndexReading`.

    Where ``exclude`` is given, an array of shape (n,) of training rows, no row may name that
    training row. Parts must be used before the next batch is asked for. ``n_values`` are numbers
    that the caller holds for each row.
    """
    tables = IndexTables(index, device_of(module))
    if exclude is not None:
        exclude = torch.as_tensor(index.output_of_row[exclude], device=tables.device)
    for batch, numbers, x in index_batches(module, index, rows, n_values):
        hidden = None
        if exclude is not None:
            hidden = exclude[numbers]
        if module.index_per_class and routing == "soft":
            readers = module.index_readers_per_class(x)
            scores = check_outputs(next(readers))
            parts = _parts_of_all_classes(readers, scores, tables, hidden)
        else:
            output = forward(module, x)
            scores = output.task
            reader = output.index_logits
            if output.label is None:
                every = torch.arange(len(x), device=tables.device)
                parts = [Part(every, tables.all, head_of(reader, hidden=hidden), None)]
                if with_scores and scores is None:
                    scores = class_mass(head_of(reader), tables.labels, len(index.sizes))
            else:
                parts = parts_by_class(module, reader, output.label, tables, hidden)
        yield batch, IndexReading(len(x), parts, scores)


def _parts_of_all_classes(readers, scores, tables, hidden):
    """Yield all rows with the outputs of each class, whose probabilities they are multiplied by."""
    log_class = scores.log_softmax(1)  # (B, C)
    every = torch.arange(len(scores), device=tables.device)
    for label, reader in enumerate(readers):
        outputs = tables.of_class(label)
        position = None
        if hidden is not None:
            position = tables.position(hidden, label)
        head = head_of(reader, label, len(outputs), position)
        yield Part(every, outputs, head, label, log_class[:, label])


def parts_by_class(module, reader, label, tables, hidden=None):
    """Yield the rows of each class with the outputs of that class."""
    for c in label.unique().tolist():
        rows = (label == c).nonzero()[:, 0]
        outputs = tables.of_class(c)
        position = None
        if hidden is not None:
            position = tables.position(hidden[rows], c)
        own = reader.take(rows)
        if module.index_per_class:
            head = head_of(own, c, len(outputs), position)
        else:
            weight, bias = (SomeOutputs(whole, outputs) for whole in own.weights())
            head = Head(own.features, weight, bias, position)
        yield Part(rows, outputs, head, c)


def head_of(reader, label=None, size=None, hidden=None):
    """Return the outputs of a class, or of all."""
    weight, bias = reader.weights(label)
    return Head(reader.features, weight[:size], bias[:size], hidden)


def log_class_of(part, log_sum):
    """Return what is added to the logits (n,) of a part, so that those of all parts compare.

    Where there is one part for a row, this is nothing. Else logits become log-probabilities inside
    the class, hidden outputs included, and that of the class is added.
    """
    if part.log_class is None:
        return torch.zeros_like(log_sum)
    return part.log_class - torch.logaddexp(log_sum, part.head.hidden_logits().double())


def class_mass(head, labels, n_classes):
    """Sum the index probability over the rows of each class, (B, C)."""
    device = head.features.device
    top = torch.full((len(head.features), 1), -torch.inf, device=device)
    mass = torch.zeros(len(head.features), n_classes, device=device)
    for start, logits in head.blocks():
        new = torch.maximum(top, logits.amax(1, keepdim=True))
        own = labels[start : start + logits.shape[1]]  # (b,)
        ones = torch.ones(len(own), device=device)
        places = torch.stack([own, torch.arange(len(own), device=device)])
        by_class = torch.sparse_coo_tensor(
            places, ones, (n_classes, len(own)), check_invariants=True
        )
        mass = mass * (top - new).exp() + (by_class @ (logits - new).exp().T).T
        top = new
    return mass / mass.sum(1, keepdim=True)
