"""Reading a trained provenance network, a batch of rows and a block of outputs at a time.

No function here holds more than one batch of rows x one block of outputs unless that is what it
returns. [PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability". Shapes in
comments: B rows of a batch, n of them that read the same outputs, K outputs, C classes, T targets.
"""

from typing import NamedTuple

import numpy as np
import torch

from .._utils.modules import evaluation_mode
from ..information._certainty import LogSums
from ._head_scan import BLOCK, LEAST_ROWS, Head, check_outputs, no_sum

# Values per batch of rows: 64 MB in single precision.
_BATCH_VALUES = 2**24


def class_proba(module, index, rows):
    """Compute class probabilities.

    Parameters
    ----------
    module : Module
        A trained network, or the part of one that reads ``rows``.
    index : ClassIndex
        The outputs of its index branch.
    rows : ndarray of shape (n, n_features)
        Validated input.

    Returns
    -------
    proba : ndarray of shape (n, n_classes), float32
        From the class branch; in a single branch the index probability of each class's rows.
    """
    proba = np.empty((len(rows), len(index.sizes)), dtype=np.float32)
    if module.has_class_branch:
        for batch, _, x in batches(module, rows, len(index.sizes)):
            store_batch(proba, batch, check_outputs(module.class_logits(x)).softmax(1))
        return proba
    labels = torch.as_tensor(index.labels, device=_device(module))
    for batch, _, x in _index_batches(module, index, rows):
        head = _head(_forward(module, x).index_logits)
        store_batch(proba, batch, _class_mass(head, labels, len(index.sizes)))
    return proba


def regression_values(module, rows, n_targets):
    """Compute standardised targets.

    Parameters
    ----------
    module : RegressionNetwork
        Trained.
    rows : ndarray of shape (n, n_features)
        Validated input.
    n_targets : int
        Targets per row.

    Returns
    -------
    values : ndarray of shape (n, n_targets), float32
        From the output branch.
    """
    values = np.empty((len(rows), n_targets), dtype=np.float32)
    for batch, _, x in batches(module, rows):
        store_batch(values, batch, check_outputs(module.values(x)))
    return values


def index_features(module, index, rows):
    """Compute the penultimate features of the index branch.

    Parameters
    ----------
    module, index, rows
        As in :func:`class_proba`.

    Returns
    -------
    features : ndarray of shape (n, n_index_features), float32
        What the last layer of the index branch sees, for the predicted class.
    """
    features = np.empty((len(rows), module.n_index_features), dtype=np.float32)
    for batch, _, x in batches(module, rows):
        store_batch(features, batch, check_outputs(_forward(module, x).index_features))
    return features


def index_proba(module, index, rows, routing):
    """Compute the probability of every training row.

    Parameters
    ----------
    module, index, rows
        As in :func:`class_proba`.
    routing : {"hard", "soft"}
        How a class-conditional network spreads probability over classes.

    Returns
    -------
    proba : ndarray of shape (n, n_training_rows), float32
        Zero for training rows without an output.
    """
    proba = np.zeros((len(rows), len(index.output_of_row)), dtype=np.float32)
    for batch, read in _read_index(module, index, rows, routing):
        for part in read.parts:
            below = part.head.log_sum()  # (n,), what makes a logit a log-probability
            if part.log_class is not None:
                below = -_log_class(part, below)
            own = part.rows < batch.stop - batch.start  # others are repeated
            places = batch.start + part.rows[own].cpu().numpy()
            for start, logits in part.head.blocks():
                p = (logits[own] - below[own, None]).exp().float()
                outputs = part.outputs[start : start + p.shape[1]]
                proba[np.ix_(places, index.rows[outputs.cpu().numpy()])] = p.cpu().numpy()
    return proba


def nearest_rows(
    module,
    index,
    rows,
    k,
    routing,
    exclude=None,
    decide=None,
    search=None,
    with_proba=True,
):
    """Find the k training rows of largest probability.

    Parameters
    ----------
    module, index, rows, routing
        As in :func:`index_proba`.
    k : int
        Training rows per query.
    exclude : ndarray of shape (n,), default=None
        Training row that each query may not name; the probabilities of the others are normalised
        without it.
    decide : callable, default=None
        Takes class scores (B, C), or the outputs (B, T) of a regression, to predictions (B, ...).
    search : HeadSearch, default=None
        What finds the outputs of largest logit; None reads all logits.
    with_proba : bool, default=True
        Whether probabilities are needed, for which all logits are read.

    Returns
    -------
    indices : ndarray of shape (n, k), int64
        Training rows, most probable first; -1 pads. Of equal ones the lowest comes first.
    log_proba : ndarray of shape (n, k), float64
        Their log-probabilities; nan pads. None without ``with_proba``.
    predicted : ndarray of shape (n, ...)
        What ``decide`` gives; None without it.
    """
    indices = np.full((len(rows), k), -1, dtype=np.int64)
    log_proba = None
    if with_proba:
        log_proba = np.full((len(rows), k), np.nan)
    predicted = []
    training_rows = torch.as_tensor(index.rows, device=_device(module))
    for batch, read in _read_index(module, index, rows, routing, exclude, decide is not None):
        if decide is not None:
            predicted.append(decide(read.scores)[: batch.stop - batch.start].cpu().numpy())
        found = _Named.none(read.n_rows, k, training_rows.device)
        for part in read.parts:
            found.add(part, *_largest(part, k, search, with_proba))
        rows_found = training_rows[found.outputs.clamp(min=0)]
        store_batch(indices, batch, rows_found.masked_fill(found.outputs < 0, -1))
        if with_proba:
            # Rounding may put a logit above the sum.
            top = (found.scores - found.log_sum[:, None]).clamp(max=0)
            store_batch(log_proba, batch, top.masked_fill(found.outputs < 0, torch.nan))
    return indices, log_proba, np.concatenate(predicted) if predicted else None


def nearest_in_class(module, index, rows, labels):
    """Find the training row of largest probability among those of a given class.

    Parameters
    ----------
    module, index, rows
        As in :func:`class_proba`.
    labels : ndarray of shape (n,)
        Encoded class of each row. A class-conditional branch sees it ([PN] Eq. 21).

    Returns
    -------
    indices : ndarray of shape (n,), int64
        Training rows of that class.
    """
    indices = np.empty(len(rows), dtype=np.int64)
    tables = _Tables(index, _device(module))
    training_rows = torch.as_tensor(index.rows, device=tables.device)
    labels = torch.as_tensor(labels, device=tables.device)
    for batch, numbers, x in _index_batches(module, index, rows):
        label = labels[numbers]
        reader = _forward(module, x, label).index_logits
        best = torch.empty_like(label)  # (B,)
        for part in _parts_by_class(module, reader, label, tables):
            _, positions, _ = part.head.largest(1, with_sum=False)
            best[part.rows] = part.outputs[positions[:, 0]]
        store_batch(indices, batch, training_rows[best])
    return indices


def index_certainty(module, index, rows, routing, exclude=None):
    """Compute log-confidence and entropy of the index probabilities, without an n x N matrix.

    Parameters
    ----------
    module, index, rows, routing, exclude
        As in :func:`nearest_rows`.

    Returns
    -------
    log_confidence, entropy : ndarray of shape (n,), float64
        As :func:`~sklearn_provenance.information._certainty.certainty` gives them; nan where no
        training row is left.
    """
    log_confidence = np.empty(len(rows))
    entropy = np.empty(len(rows))
    for batch, read in _read_index(module, index, rows, routing, exclude):
        sums = LogSums.none(read.n_rows, _device(module))
        for part in read.parts:
            own = part.head.sums()
            merged = LogSums(*(values[part.rows] for values in sums)).merged(
                own.raised(_log_class(part, own.log_sum))
            )
            for values, new in zip(sums, merged, strict=True):
                values[part.rows] = new
        batch_confidence, batch_entropy = sums.certainty
        store_batch(log_confidence, batch, batch_confidence)
        store_batch(entropy, batch, batch_entropy)
    return log_confidence, entropy


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
    device = _device(module)
    n_values = max(n_values, module.values_per_row)
    size = max(1, min(4096, _BATCH_VALUES // n_values))
    with evaluation_mode(module), torch.inference_mode():
        for start in range(0, len(rows), size):
            batch = slice(start, min(start + size, len(rows)))
            numbers = np.arange(batch.start, batch.stop)
            numbers = np.resize(numbers, max(len(numbers), LEAST_ROWS))
            yield batch, numbers, torch.tensor(rows[numbers], device=device)


def store_batch(target, batch, values):
    """Store the values of a batch of :func:`batches`, without those of rows that it repeats."""
    target[batch] = values[: batch.stop - batch.start].cpu()


def _device(module):
    return next(module.parameters()).device


def _index_batches(module, index, rows):
    return batches(module, rows, min(index.n_outputs, BLOCK))


def _forward(module, x, label=None):
    output = module(x, label, all_logits=False)
    if output.task is not None:
        check_outputs(output.task)
    return output


class _Tables:
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


class _Part(NamedTuple):
    """Rows of a batch that may name the same outputs."""

    rows: torch.Tensor  # (n,), numbers in the batch
    outputs: torch.Tensor  # (K,), in ascending order
    head: Head
    label: int | None  # the class of these outputs; None if they are those of all classes
    log_class: torch.Tensor | None = None  # (n,), log-probability of this class among several


class _IndexReading(NamedTuple):
    """What a batch of :func:`_read_index` holds."""

    n_rows: int  # B
    parts: object  # iterator of _Part
    scores: torch.Tensor | None  # class scores (B, C), or outputs (B, T) of a regression


def _read_index(module, index, rows, routing, exclude=None, with_scores=False):
    """Iterate over batches of rows: a slice and an :class:`_IndexReading`.

    Where ``exclude`` is given, an array of shape (n,) of training rows, no row may name that
    training row. Parts must be used before the next batch is asked for.
    """
    tables = _Tables(index, _device(module))
    if exclude is not None:
        exclude = torch.as_tensor(index.output_of_row[exclude], device=tables.device)
    for batch, numbers, x in _index_batches(module, index, rows):
        hidden = None
        if exclude is not None:
            hidden = exclude[numbers]
        if module.index_per_class and routing == "soft":
            readers = module.index_readers_per_class(x)
            scores = check_outputs(next(readers))
            parts = _parts_of_all_classes(readers, scores, tables, hidden)
        else:
            output = _forward(module, x)
            scores = output.task
            reader = output.index_logits
            if output.label is None:
                every = torch.arange(len(x), device=tables.device)
                parts = [_Part(every, tables.all, _head(reader, hidden=hidden), None)]
                if with_scores and scores is None:
                    scores = _class_mass(_head(reader), tables.labels, len(index.sizes))
            else:
                parts = _parts_by_class(module, reader, output.label, tables, hidden)
        yield batch, _IndexReading(len(x), parts, scores)


def _parts_of_all_classes(readers, scores, tables, hidden):
    """Yield all rows with the outputs of each class, whose probabilities they are multiplied by."""
    log_class = scores.log_softmax(1)  # (B, C)
    every = torch.arange(len(scores), device=tables.device)
    for label, reader in enumerate(readers):
        outputs = tables.of_class(label)
        position = None
        if hidden is not None:
            position = tables.position(hidden, label)
        head = _head(reader, label, len(outputs), position)
        yield _Part(every, outputs, head, label, log_class[:, label])


def _parts_by_class(module, reader, label, tables, hidden=None):
    """Yield the rows of each class with the outputs of that class."""
    for c in label.unique().tolist():
        rows = (label == c).nonzero()[:, 0]
        outputs = tables.of_class(c)
        position = None
        if hidden is not None:
            position = tables.position(hidden[rows], c)
        own = reader.take(rows)
        if module.index_per_class:
            head = _head(own, c, len(outputs), position)
        else:
            weight, bias = own.weights()
            head = Head(own.features, weight[outputs], bias[outputs], position)
        yield _Part(rows, outputs, head, c)


def _head(reader, label=None, size=None, hidden=None):
    """Return the outputs of a class, or of all."""
    weight, bias = reader.weights(label)
    return Head(reader.features, weight[:size], bias[:size], hidden)


def _log_class(part, log_sum):
    """Return what is added to the logits (n,) of a part, so that those of all parts compare.

    Where there is one part for a row, this is nothing. Else logits become log-probabilities inside
    the class, hidden outputs included, and that of the class is added.
    """
    if part.log_class is None:
        return torch.zeros_like(log_sum)
    return part.log_class - torch.logaddexp(log_sum, part.head.hidden_logits().double())


def _largest(part, k, search, with_proba):
    """Find the k outputs of a part: logits and positions (n, k), and the sum; None if not needed.

    See :meth:`Head.largest`.
    """
    needs_sum = with_proba or part.log_class is not None
    if search is None:
        return part.head.largest(k, needs_sum)
    log_sum = None
    if needs_sum:
        log_sum = part.head.log_sum()
    return *search.largest(part.head, part.label, k), log_sum


class _Named(NamedTuple):
    """Outputs that the rows of a batch name, the best first."""

    scores: torch.Tensor  # (B, k), float64, -inf pads
    outputs: torch.Tensor  # (B, k), -1 pads
    log_sum: torch.Tensor  # (B,), float64, of the exponentials of all scores

    @classmethod
    def none(cls, n_rows, k, device):
        scores = torch.full((n_rows, k), -torch.inf, dtype=torch.float64, device=device)
        outputs = torch.full((n_rows, k), -1, device=device)
        return cls(scores, outputs, no_sum(n_rows, device))

    def add(self, part, logits, positions, log_sum):
        """Take the outputs of a part, (n, k), where they are better."""
        rows = part.rows
        scores = logits.double()
        if log_sum is not None:
            above = _log_class(part, log_sum)
            scores = scores + above[:, None]
            self.log_sum[rows] = torch.logaddexp(self.log_sum[rows], log_sum + above)
        outputs = part.outputs[positions.clamp(min=0)].masked_fill(positions < 0, -1)
        scores = torch.cat([self.scores[rows], scores], 1)
        outputs = torch.cat([self.outputs[rows], outputs], 1)
        outputs, order = outputs.sort(dim=1)  # of equal scores the lowest comes first
        scores = scores.gather(1, order)
        k = self.scores.shape[1]
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        self.scores[rows] = scores[:, :k]
        self.outputs[rows] = outputs.gather(1, order)[:, :k]


def _class_mass(head, labels, n_classes):
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
