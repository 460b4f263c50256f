"""Reading a trained provenance network, a batch at a time.

No function here holds more than one batch of rows x outputs unless that is what it returns.
[PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability". Shapes in comments: B rows
of a batch, C classes, M outputs of the largest class, T targets.
"""

from typing import NamedTuple

import numpy as np
import torch

from .._utils.modules import evaluation_mode
from ..information._certainty import certainty

# Values per batch of index logits: 64 MB in single precision.
_BATCH_VALUES = 2**24
_LEAST_ROWS = 16


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
    by_class = _class_sums(index, _device(module))
    for batch, _, x in batches(module, rows, index.n_outputs):
        store_batch(proba, batch, _class_mass(_forward(module, x).index_logits, by_class))
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
    for batch, _, x in batches(module, rows, index.n_outputs):
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
        p = read.log_proba.exp()
        if read.outputs is not None:
            # Padding goes to an extra column, which is cut off.
            outputs = read.outputs.where(read.outputs >= 0, index.n_outputs)
            wide = torch.zeros(len(p), index.n_outputs + 1, device=p.device)
            p = wide.scatter_(1, outputs, p)[:, :-1]  # (B, n_outputs)
        proba[batch, index.rows] = p[: batch.stop - batch.start].cpu().numpy()
    return proba


def nearest_rows(module, index, rows, k, routing, exclude=None, decide=None):
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

    Returns
    -------
    indices : ndarray of shape (n, k), int64
        Training rows, most probable first; -1 pads.
    log_proba : ndarray of shape (n, k), float64
        Their log-probabilities; nan pads.
    predicted : ndarray of shape (n, ...)
        What ``decide`` gives; None without it.
    """
    indices = np.full((len(rows), k), -1, dtype=np.int64)
    log_proba = np.full((len(rows), k), np.nan)
    predicted = []
    training_rows = torch.as_tensor(index.rows, device=_device(module))
    for batch, read in _read_index(module, index, rows, routing, exclude):
        if decide is not None:
            predicted.append(decide(read.scores)[: batch.stop - batch.start].cpu().numpy())
        # In a class with fewer than k rows there are fewer columns, and the rest stays padding.
        n_found = min(k, read.log_proba.shape[1])
        top, outputs = read.log_proba.topk(n_found, dim=1)  # (B, n_found)
        if read.outputs is not None:
            outputs = read.outputs.gather(1, outputs)
        padding = ~top.isfinite()
        found = training_rows[outputs.clamp(min=0)].masked_fill(padding, -1)
        store_batch(indices[:, :n_found], batch, found)
        store_batch(log_proba[:, :n_found], batch, top.masked_fill(padding, torch.nan))
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
    device = _device(module)
    members = torch.as_tensor(index.members, device=device)
    training_rows = torch.as_tensor(index.rows, device=device)
    labels = torch.as_tensor(labels, device=device)
    for batch, numbers, x in batches(module, rows, index.n_outputs):
        label = labels[numbers]
        outputs = members[label]  # (B, M), -1 pads
        logits = check_outputs(module(x, label).index_logits)
        if not module.index_per_class:
            logits = logits.gather(1, outputs.clamp(min=0)).masked_fill(outputs < 0, -torch.inf)
        best = outputs.gather(1, logits.argmax(1, keepdim=True))[:, 0]  # (B,)
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
        As :func:`~sklearn_provenance.information._certainty.certainty` gives them. nan where no
        training row is left.
    """
    log_confidence = np.empty(len(rows))
    entropy = np.empty(len(rows))
    for batch, read in _read_index(module, index, rows, routing, exclude):
        batch_confidence, batch_entropy = certainty(read.log_proba)
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
            numbers = np.resize(numbers, max(len(numbers), _LEAST_ROWS))
            yield batch, numbers, torch.tensor(rows[numbers], device=device)


def store_batch(target, batch, values):
    """Store the values of a batch of :func:`batches`, without those of rows that it repeats."""
    target[batch] = values[: batch.stop - batch.start].cpu()


def check_outputs(outputs):
    """Raise if outputs of the network are NaN or infinite. -inf stands for no output."""
    if (outputs.isnan() | outputs.isposinf()).any():
        raise ValueError(
            "the network's outputs are NaN or infinite: its weights or the rows are too large. "
            "Fit it again with a smaller lr, or scale the rows"
        )
    return outputs


def _device(module):
    return next(module.parameters()).device


def _forward(module, x):
    output = module(x)
    check_outputs(output.index_logits)
    if output.task is not None:
        check_outputs(output.task)
    return output


def _class_sums(index, device):
    """Return the sparse matrix (C, n_outputs) that adds the outputs of each class."""
    places = np.stack([index.labels, np.arange(index.n_outputs)])
    ones = torch.ones(index.n_outputs, device=device)
    shape = (len(index.sizes), index.n_outputs)
    places = torch.as_tensor(places, device=device)
    return torch.sparse_coo_tensor(places, ones, shape, check_invariants=True)


def _class_mass(index_logits, by_class):
    """Sum the index probability over the rows of each class, (B, C)."""
    mass = (by_class @ index_logits.softmax(1).T).T
    return mass / mass.sum(1, keepdim=True)


class _IndexReading(NamedTuple):
    """What a batch of :func:`_read_index` holds."""

    log_proba: torch.Tensor  # (B, n_outputs), or (B, M) of the outputs of one class per row
    outputs: torch.Tensor | None  # (B, M), the output of each column, -1 pads; None if all in order
    scores: torch.Tensor  # class scores (B, C), or outputs (B, T) of a regression


def _read_index(module, index, rows, routing, exclude=None):
    """Iterate over batches of rows: a slice and an :class:`_IndexReading`.

    Where ``exclude`` is given, an array of shape (n,) of training rows, each row's probabilities
    are those without that training row.
    """
    device = _device(module)
    by_class = _class_sums(index, device)
    members = torch.as_tensor(index.members, device=device)
    if exclude is not None:
        exclude = torch.as_tensor(index.output_of_row[exclude], device=device)
    for batch, numbers, x in batches(module, rows, index.n_outputs):
        if module.index_per_class and routing == "soft":
            read = _soft_routing(module, members, x)
        else:
            output = _forward(module, x)
            outputs, scores = None, output.task
            if output.label is not None:
                outputs = members[output.label]
            if scores is None:
                scores = _class_mass(output.index_logits, by_class)
            read = _IndexReading(output.index_logits, outputs, scores)
        logits = read.log_proba
        if exclude is not None:
            logits = _without(logits, read.outputs, exclude[numbers])
        yield batch, read._replace(log_proba=logits.log_softmax(1))


def _soft_routing(module, members, x):
    """Multiply class probabilities by index probabilities inside the class, for every class."""
    per_class = module.index_logits_per_class(x)
    scores = check_outputs(next(per_class))  # (B, C)
    log_class = scores.log_softmax(1)
    log_p = torch.empty(len(x), int(members.max()) + 1, device=x.device)  # (B, n_outputs)
    for c, logits in enumerate(per_class):
        own = members[c][members[c] >= 0]  # (K_c,)
        log_own = check_outputs(logits)[:, : len(own)].log_softmax(1)
        log_p[:, own] = log_class[:, c : c + 1] + log_own
    return _IndexReading(log_p, None, scores)


def _without(logits, outputs, exclude):
    """Hide the output that each row may not name; -1 stands for none."""
    if outputs is None:
        outputs = torch.arange(logits.shape[1], device=logits.device)
    hidden = (outputs == exclude[:, None]) & (outputs >= 0)  # (B, columns)
    return logits.masked_fill(hidden, -torch.inf)
