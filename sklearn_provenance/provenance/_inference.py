"""Reading a trained provenance network, a batch at a time.

No function here holds more than one batch of rows x outputs unless that is what it returns.
[PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability".
"""

import numpy as np
import torch

from .._utils.modules import evaluation_mode
from ..information._certainty import certainty

# Values per batch of index logits: 64 MB in single precision.
_BATCH_VALUES = 2**24
_LEAST_ROWS = 16


def class_proba(module, index, rows):
    """Class probabilities.

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
            store(proba, batch, checked(module.class_logits(x)).softmax(1))
        return proba
    by_class = _class_sums(index, _device(module))
    for batch, _, x in batches(module, rows, index.n_outputs):
        store(proba, batch, _class_mass(_outputs(module, x).index_logits, by_class))
    return proba


def regression_values(module, rows, n_targets):
    """Standardised targets.

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
        store(values, batch, checked(module.values(x)))
    return values


def index_features(module, index, rows):
    """Penultimate features of the index branch.

    Parameters
    ----------
    module, index, rows
        As in :func:`class_proba`.

    Returns
    -------
    features : ndarray of shape (n, n_index_features), float32
        Conditioned on the predicted class where the branch is.
    """
    features = np.empty((len(rows), module.n_index_features), dtype=np.float32)
    for batch, _, x in batches(module, rows, index.n_outputs):
        store(features, batch, checked(_outputs(module, x).index_features))
    return features


def index_proba(module, index, rows, routing):
    """Probability of every training row.

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
    device = _device(module)
    by_class = _class_sums(index, device)
    members = torch.as_tensor(index.members, device=device)
    for batch, _, x in batches(module, rows, index.n_outputs):
        log_p, label, _ = _log_proba(module, members, by_class, x, routing)
        p = log_p.exp()
        if label is not None:
            outputs = members[label]
            # Padding goes to an extra column, which is cut off.
            outputs = outputs.where(outputs >= 0, index.n_outputs)
            wide = torch.zeros(len(x), index.n_outputs + 1, device=p.device)
            p = wide.scatter_(1, outputs, p)[:, :-1]
        proba[batch, index.rows] = p[: batch.stop - batch.start].cpu().numpy()
    return proba


def nearest_rows(module, index, rows, k, routing, exclude=None, decide=None):
    """The k training rows of largest probability.

    Parameters
    ----------
    module, index, rows, routing
        As in :func:`index_proba`.
    k : int
        Training rows per query.
    exclude : ndarray of shape (n,), default=None
        Training row that each query may not name; the others' probabilities are normalised
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
    device = _device(module)
    by_class = _class_sums(index, device)
    members = torch.as_tensor(index.members, device=device)
    training_rows = torch.as_tensor(index.rows, device=device)
    if exclude is not None:
        exclude = torch.as_tensor(index.output_of_row[exclude], device=device)
    for batch, numbers, x in batches(module, rows, index.n_outputs):
        without = None if exclude is None else exclude[numbers]
        log_p, label, scores = _log_proba(module, members, by_class, x, routing, without)
        if decide is not None:
            predicted.append(decide(scores)[: batch.stop - batch.start].cpu().numpy())
        top, columns = log_p.topk(min(k, log_p.shape[1]), dim=1)
        outputs = columns if label is None else members[label].gather(1, columns)
        found = training_rows[outputs.clamp(min=0)].masked_fill(~top.isfinite(), -1)
        store(indices[:, : top.shape[1]], batch, found)
        store(log_proba[:, : top.shape[1]], batch, top.masked_fill(~top.isfinite(), torch.nan))
    return indices, log_proba, np.concatenate(predicted) if predicted else None


def nearest_in_class(module, index, rows, labels):
    """The training row of largest probability among those of a class that is given.

    Parameters
    ----------
    module, index, rows
        As in :func:`class_proba`.
    labels : ndarray of shape (n,)
        Encoded class of each row. A class-conditional branch is told it ([PN] Eq. 21).

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
        mates = members[label]  # (B, M)
        logits = checked(module(x, label).index_logits)
        if not module.index_per_class:
            logits = logits.gather(1, mates.clamp(min=0)).masked_fill(mates < 0, -torch.inf)
        outputs = mates.gather(1, logits.argmax(1, keepdim=True))[:, 0]
        store(indices, batch, training_rows[outputs])
    return indices


def index_certainty(module, index, rows, routing, exclude=None):
    """Log-confidence and entropy of the index probabilities, without an n x N matrix.

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
    log_confidence, entropy = np.empty(len(rows)), np.empty(len(rows))
    device = _device(module)
    by_class = _class_sums(index, device)
    members = torch.as_tensor(index.members, device=device)
    if exclude is not None:
        exclude = torch.as_tensor(index.output_of_row[exclude], device=device)
    for batch, numbers, x in batches(module, rows, index.n_outputs):
        without = None if exclude is None else exclude[numbers]
        log_p, _, _ = _log_proba(module, members, by_class, x, routing, without)
        found = certainty(log_p)
        store(log_confidence, batch, found[0])
        store(entropy, batch, found[1])
    return log_confidence, entropy


def batches(module, rows, n_values=0):
    """Batches as (slice of rows, numbers of the rows in x, x on the device).

    x repeats rows where there are few: matrix products of one to three rows round differently, and
    a row's result should not depend on what it is batched with.
    """
    n_values, device = max(n_values, module.values_per_row), _device(module)
    size = max(1, min(4096, _BATCH_VALUES // n_values))
    with evaluation_mode(module), torch.inference_mode():
        for start in range(0, len(rows), size):
            batch = slice(start, min(start + size, len(rows)))
            numbers = np.arange(batch.start, batch.stop)
            numbers = np.resize(numbers, max(len(numbers), _LEAST_ROWS))
            yield batch, numbers, torch.tensor(rows[numbers], device=device)


def _device(module):
    return next(module.parameters()).device


def store(target, batch, values):
    """Keep what belongs to a batch of :func:`batches`, without the rows that it repeats."""
    target[batch] = values[: batch.stop - batch.start].cpu()


def checked(outputs):
    """Outputs of the network; raise if they are NaN or infinite. -inf stands for no output."""
    if (outputs.isnan() | outputs.isposinf()).any():
        raise ValueError(
            "the network's outputs are NaN or infinite: its weights or the rows are too large. "
            "Fit it again with a smaller lr, or scale the rows"
        )
    return outputs


def _outputs(module, x):
    output = module(x)
    for values in (output.index_logits, output.task):
        if values is not None:
            checked(values)
    return output


def _class_sums(index, device):
    """Sparse matrix (C, n_outputs) that adds the outputs of each class."""
    places = np.stack([index.labels, np.arange(index.n_outputs)])
    ones = torch.ones(index.n_outputs, device=device)
    shape = (len(index.sizes), index.n_outputs)
    places = torch.as_tensor(places, device=device)
    return torch.sparse_coo_tensor(places, ones, shape, check_invariants=True)


def _class_mass(index_logits, by_class):
    """Index probability (B, C) that falls on each class."""
    mass = (by_class @ index_logits.softmax(1).T).T
    return mass / mass.sum(1, keepdim=True)


def _log_proba(module, members, by_class, x, routing, exclude=None):
    """Log-probabilities (B, columns), the class whose local outputs the columns are, if any, and
    what is predicted from: class scores (B, C) or outputs (B, T)."""
    if module.index_per_class and routing == "soft":
        per_class = module.index_logits_per_class(x)
        scores = checked(next(per_class))
        log_class = scores.log_softmax(1)
        log_p = torch.empty(len(x), int(members.max()) + 1, device=x.device)
        for c, logits in enumerate(map(checked, per_class)):
            own = members[c][members[c] >= 0]
            log_p[:, own] = log_class[:, c : c + 1] + logits[:, : len(own)].log_softmax(1)
        label = None
    else:
        output = _outputs(module, x)
        log_p, label, scores = output.index_logits, output.label, output.task
        if scores is None:
            scores = _class_mass(log_p, by_class)
    if exclude is not None:
        columns = torch.arange(log_p.shape[1], device=x.device)
        outputs = columns if label is None else members[label]
        log_p = log_p.masked_fill((outputs == exclude[:, None]) & (outputs >= 0), -torch.inf)
    return log_p.log_softmax(1), label, scores
