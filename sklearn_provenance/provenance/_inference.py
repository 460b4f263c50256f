"""Reading a trained provenance network, a batch at a time.

No function here holds more than one batch of rows x outputs unless that is what it returns.
"""

import numpy as np
import torch

# Values per batch of index logits: 64 MB in single precision.
_BATCH_VALUES = 2**24
_LEAST_ROWS = 16


def class_proba(net, index, rows):
    """Class probabilities.

    Parameters
    ----------
    net : NeuralNet
        A trained net.
    index : ClassIndex
        The outputs of its index branch.
    rows : ndarray of shape (n, n_features)
        Validated input.

    Returns
    -------
    proba : ndarray of shape (n, n_classes), float32
        From the class branch; in a single branch the index probability of each class's rows.
    """
    module = net.module_
    n_classes = len(index.sizes)
    proba = np.empty((len(rows), n_classes), dtype=np.float32)
    if module.architecture == "single_branch":
        labels = torch.as_tensor(index.labels, device=net.device)
        for batch, _, x in _batches(net, rows, index.n_outputs):
            p = module(x).index_logits.softmax(1)  # (B, n_outputs)
            mass = torch.zeros(len(x), n_classes, device=p.device).index_add_(1, labels, p)
            _store(proba, batch, mass / mass.sum(1, keepdim=True))
    else:
        for batch, _, x in _batches(net, rows, 4096):
            _store(proba, batch, module.class_logits(x).softmax(1))
    return proba


def index_features(net, index, rows):
    """Penultimate features of the index branch.

    Parameters
    ----------
    net, index, rows
        As in :func:`class_proba`.

    Returns
    -------
    features : ndarray of shape (n, n_index_features), float32
        Conditioned on the predicted class where the branch is.
    """
    features = np.empty((len(rows), net.module_.n_index_features), dtype=np.float32)
    for batch, _, x in _batches(net, rows, index.n_outputs):
        _store(features, batch, net.module_(x).index_features)
    return features


def index_proba(net, index, rows, routing):
    """Probability of every training row.

    Parameters
    ----------
    net, index, rows
        As in :func:`class_proba`.
    routing : {"hard", "soft"}
        How a class-conditional network spreads probability over classes.

    Returns
    -------
    proba : ndarray of shape (n, n_training_rows), float32
        Zero for training rows without an output.
    """
    proba = np.zeros((len(rows), len(index.output_of_row)), dtype=np.float32)
    members = torch.as_tensor(index.members, device=net.device)
    for batch, _, x in _batches(net, rows, index.n_outputs):
        log_p, label = _log_proba(net.module_, members, x, routing)
        p = log_p.exp()
        if label is not None:
            outputs = members[label]
            # Padding goes to an extra column, which is cut off.
            outputs = outputs.where(outputs >= 0, index.n_outputs)
            wide = torch.zeros(len(x), index.n_outputs + 1, device=p.device)
            p = wide.scatter_(1, outputs, p)[:, :-1]
        proba[batch, index.rows] = p[: batch.stop - batch.start].cpu().numpy()
    return proba


def nearest_rows(net, index, rows, k, routing, exclude=None):
    """The k training rows of largest probability.

    Parameters
    ----------
    net, index, rows, routing
        As in :func:`index_proba`.
    k : int
        Training rows per query.
    exclude : ndarray of shape (n,), default=None
        Training row that each query may not name; the others' probabilities are normalised
        without it.

    Returns
    -------
    indices : ndarray of shape (n, k), int64
        Training rows, most probable first; -1 pads.
    log_proba : ndarray of shape (n, k), float64
        Their log-probabilities; nan pads.
    """
    indices = np.full((len(rows), k), -1, dtype=np.int64)
    log_proba = np.full((len(rows), k), np.nan)
    members = torch.as_tensor(index.members, device=net.device)
    training_rows = torch.as_tensor(index.rows, device=net.device)
    if exclude is not None:
        exclude = torch.as_tensor(index.output_of_row[exclude], device=net.device)
    for batch, numbers, x in _batches(net, rows, index.n_outputs):
        without = None if exclude is None else exclude[numbers]
        log_p, label = _log_proba(net.module_, members, x, routing, without)
        top, columns = log_p.topk(min(k, log_p.shape[1]), dim=1)
        outputs = columns if label is None else members[label].gather(1, columns)
        found = training_rows[outputs.clamp(min=0)].masked_fill(~top.isfinite(), -1)
        _store(indices[:, : top.shape[1]], batch, found)
        _store(log_proba[:, : top.shape[1]], batch, top.masked_fill(~top.isfinite(), torch.nan))
    return indices, log_proba


def _batches(net, rows, n_values):
    """Batches as (slice of rows, numbers of the rows in x, x on the device).

    x repeats rows where there are few: matrix products of one to three rows round differently, and
    a row's result should not depend on what it is batched with.
    """
    size = max(1, min(4096, _BATCH_VALUES // n_values))
    with torch.inference_mode():
        for start in range(0, len(rows), size):
            batch = slice(start, min(start + size, len(rows)))
            numbers = np.arange(batch.start, batch.stop)
            numbers = np.resize(numbers, max(len(numbers), _LEAST_ROWS))
            yield batch, numbers, torch.tensor(rows[numbers], device=net.device)


def _store(target, batch, values):
    target[batch] = values[: batch.stop - batch.start].cpu()


def _log_proba(module, members, x, routing, exclude=None):
    """Log-probabilities (B, columns) and the class whose local outputs the columns are, if any."""
    if module.architecture == "class_conditional" and routing == "soft":
        class_logits, local_logits = module.index_logits_per_class(x)
        log_class = class_logits.log_softmax(1)
        n_outputs = int(members.max()) + 1
        log_p = torch.empty(len(x), n_outputs, device=x.device)
        for c, logits in enumerate(local_logits):
            own = members[c][members[c] >= 0]
            log_p[:, own] = log_class[:, c : c + 1] + logits[:, : len(own)].log_softmax(1)
        label = None
    else:
        output = module(x)
        log_p, label = output.index_logits, output.label
    if exclude is not None:
        columns = torch.arange(log_p.shape[1], device=x.device)
        outputs = columns if label is None else members[label]
        log_p = log_p.masked_fill((outputs == exclude[:, None]) & (outputs >= 0), -torch.inf)
    return log_p.log_softmax(1), label
