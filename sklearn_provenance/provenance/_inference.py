"""Reading a trained provenance network, a batch of rows and a block of outputs at a time.

No function here holds more than one batch of rows x one block of outputs unless that is what it
returns. [PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability". Shapes in
comments: B rows of a batch, n of them that read the same outputs, K outputs, C classes, T targets.
"""

from typing import NamedTuple

import numpy as np
import torch

from ..information._certainty import LogSums
from ._head_scan import BLOCK, check_outputs, no_sum
from ._index_reading import (
    IndexTables,
    batches,
    class_mass,
    device_of,
    forward,
    head_of,
    index_batches,
    log_class_of,
    parts_by_class,
    read_index,
    store_batch,
)


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
    for batch, p in _class_proba(module, index, rows):
        store_batch(proba, batch, p)
    return proba


def predicted_class(module, index, rows):
    """Find the class of largest probability, the first of equal ones, a batch at a time.

    Parameters
    ----------
    module, index, rows
        As in :func:`class_proba`.

    Returns
    -------
    labels : ndarray of shape (n,), int64
        Encoded classes.
    """
    labels = np.empty(len(rows), dtype=np.int64)
    for batch, p in _class_proba(module, index, rows):
        labels[batch] = p[: batch.stop - batch.start].cpu().numpy().argmax(1)
    return labels


def _class_proba(module, index, rows):
    """Yield batches of rows, and their class probabilities (B, C)."""
    n_classes = len(index.sizes)
    if module.has_class_branch:
        for batch, _, x in batches(module, rows, n_classes):
            yield batch, check_outputs(module.class_logits(x)).softmax(1)
        return
    labels = torch.as_tensor(index.labels, device=device_of(module))
    for batch, _, x in index_batches(module, index, rows):
        head = head_of(forward(module, x).index_logits)
        yield batch, class_mass(head, labels, n_classes)


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
        store_batch(features, batch, check_outputs(forward(module, x).index_features))
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
    # Outputs in the order of the rows on a CPU: logits wait for their sum where the result will be.
    in_order = np.array_equal(index.rows, np.arange(proba.shape[1]))
    waits = in_order and device_of(module).type == "cpu"
    for batch, read in read_index(module, index, rows, routing):
        for part in read.parts:
            if waits and part.label is None:
                _softmax_into(torch.from_numpy(proba[batch]), part.head)
                continue
            below = part.head.log_sum()  # (n,), what makes a logit a log-probability
            if part.log_class is not None:
                below = -log_class_of(part, below)
            own = part.rows < batch.stop - batch.start  # others are repeated
            places = batch.start + part.rows[own].cpu().numpy()
            for start, logits in part.head.blocks():
                p = (logits[own] - below[own, None]).exp().float()
                outputs = part.outputs[start : start + p.shape[1]]
                proba[np.ix_(places, index.rows[outputs.cpu().numpy()])] = p.cpu().numpy()
    return proba


def _softmax_into(target, head):
    """Write the probabilities of all outputs (m, K) for the first m rows, reading logits once."""
    log_sum = no_sum(len(head.features), target.device)  # (n,)
    for start, logits in head.blocks():
        log_sum = torch.logaddexp(log_sum, logits.logsumexp(1).double())
        target[:, start : start + logits.shape[1]] = logits[: len(target)]
    below = log_sum[: len(target), None]
    for block in target.split(BLOCK, 1):
        block.copy_((block - below).exp())


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
    training_rows = torch.as_tensor(index.rows, device=device_of(module))
    held = _PER_PICK * k
    for batch, read in read_index(module, index, rows, routing, exclude, decide is not None, held):
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
    tables = IndexTables(index, device_of(module))
    training_rows = torch.as_tensor(index.rows, device=tables.device)
    labels = torch.as_tensor(labels, device=tables.device)
    for batch, numbers, x in index_batches(module, index, rows):
        label = labels[numbers]
        reader = forward(module, x, label).index_logits
        best = torch.empty_like(label)  # (B,)
        for part in parts_by_class(module, reader, label, tables):
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
    for batch, read in read_index(module, index, rows, routing, exclude):
        sums = LogSums.none(read.n_rows, device_of(module))
        for part in read.parts:
            own = part.head.sums()
            merged = LogSums(*(values[part.rows] for values in sums)).merged(
                own.raised(log_class_of(part, own.log_sum))
            )
            for values, new in zip(sums, merged, strict=True):
                values[part.rows] = new
        batch_confidence, batch_entropy = sums.certainty
        store_batch(log_confidence, batch, batch_confidence)
        store_batch(entropy, batch, batch_entropy)
    return log_confidence, entropy


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


# Values of four bytes that merging the picks of two parts takes for each, an eighth of them.
_PER_PICK = 4


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
            above = log_class_of(part, log_sum)
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
