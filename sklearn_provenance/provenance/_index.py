"""Index targets: which training row a network output stands for, and the loss over outputs.

Outputs are numbered 0..n_outputs-1 ("global"); inside a class they are numbered
0..K_y-1 ("local"). Notation follows the user guide: K_y is the size of class y, M = max K_y.
"""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class ClassIndex:
    """The outputs of an index branch, grouped by class ([1]_, Eqs. 18-19).

    Parameters
    ----------
    rows : ndarray of shape (n_outputs,)
        Training row that each output stands for.
    labels : ndarray of shape (n_outputs,)
        Encoded class of each output.
    local : ndarray of shape (n_outputs,)
        Position of each output inside its class (with ``labels``, Eq. 18).
    sizes : ndarray of shape (n_classes,)
        Number of outputs of each class, K_y.
    members : ndarray of shape (n_classes, M)
        Outputs of each class in local order; -1 pads (Eq. 19).
    output_of_row : ndarray of shape (n_rows,)
        Output of each training row; -1 for a row without one.

    References
    ----------
    .. [1] Provenance Networks: End-to-End Exemplar-Based Explainability, section 7.2.3.
    """

    rows: np.ndarray
    labels: np.ndarray
    local: np.ndarray
    sizes: np.ndarray
    members: np.ndarray
    output_of_row: np.ndarray

    @classmethod
    def from_labels(cls, y, n_classes, rows=None):
        """Group training rows by class.

        Parameters
        ----------
        y : ndarray of shape (n_rows,)
            Encoded labels, 0..n_classes-1, of all training rows.
        n_classes : int
            Number of classes.
        rows : ndarray of shape (n_outputs,), default=None
            Rows that get an output; None gives one to every row.

        Returns
        -------
        index : ClassIndex
            The maps between rows, outputs and local positions.
        """
        y = np.asarray(y)
        if rows is None:
            rows = np.arange(len(y))
        rows = np.asarray(rows)
        labels = y[rows]
        sizes = np.bincount(labels, minlength=n_classes)
        by_class = np.argsort(labels, kind="stable")
        starts = np.cumsum(sizes) - sizes
        local = np.empty(len(rows), dtype=np.int64)
        local[by_class] = np.arange(len(rows)) - np.repeat(starts, sizes)
        members = np.full((n_classes, sizes.max()), -1, dtype=np.int64)
        members[labels, local] = np.arange(len(rows))
        output_of_row = np.full(len(y), -1, dtype=np.int64)
        output_of_row[rows] = np.arange(len(rows))
        return cls(rows, labels, local, sizes, members, output_of_row)

    @property
    def n_outputs(self):
        """Number of training rows that have an output."""
        return len(self.rows)


def sample_local_targets(local, sizes, alpha, generator=None):
    """Draw target positions by label mixing ([1]_, Eq. 1).

    Parameters
    ----------
    local : Tensor of shape (n,)
        Position of each row inside its class.
    sizes : Tensor of shape (n,)
        Size K_y of each row's class.
    alpha : float
        Probability of drawing another member of the class, uniformly.
    generator : torch.Generator, default=None
        Source of randomness.

    Returns
    -------
    targets : Tensor of shape (n,)
        Positions in the same classes. A class with one member maps to itself.

    References
    ----------
    .. [1] Provenance Networks, section 3.1, Eq. 1.
    """
    uniform = torch.rand(2, len(local), generator=generator, device=local.device)
    others = (sizes - 1).clamp(min=1)
    # float32 rounding can reach `others` itself for classes beyond 2^24 members.
    other = torch.minimum((uniform[1] * others).long(), others - 1)
    other = other + (other >= local)  # skips the row itself
    mixed = (uniform[0] < alpha) & (sizes > 1)
    return torch.where(mixed, other, local)


def index_cross_entropy(
    logits, local, sizes, alpha=0.0, label_smoothing=0.0, targets=None, members=None
):
    """Compute the cross entropy of index logits with mixed, smoothed targets, one value per row.

    With expected mixing the target of a row is ``(1 - alpha)`` at the row's output and
    ``alpha / (K_y - 1)`` at every other output of its class. The inner product of this target with
    the log-probabilities needs one logsumexp and the sum of the class's logits, never an N x N
    matrix of targets.

    Parameters
    ----------
    logits : Tensor of shape (n, n_outputs) or (n, M)
        Logits of all outputs, or, without ``members``, of the row's class in local order with -inf
        for padding.
    local, sizes : Tensor of shape (n,)
        Position of each row inside its class, and the size of that class.
    alpha : float, default=0
        Mixing probability.
    label_smoothing : float, default=0
        Share of the target spread evenly over the outputs that are not padding.
    targets : Tensor of shape (n,), default=None
        Sampled local targets; None uses the expected target.
    members : Tensor of shape (n, M), default=None
        Outputs of each row's class; -1 pads.

    Returns
    -------
    loss : Tensor of shape (n,)
        Cross entropy in nats; finite whatever is padding.
    """
    position = local
    if targets is not None:
        position = targets
    column = position[:, None]  # (n, 1)
    if members is not None:
        column = members.gather(1, column)
    target_logit = logits.gather(1, column)[:, 0]  # (n,)
    # The loss is logsumexp minus the expectation of the logit under the target.
    expectation = target_logit
    mixes = targets is None and alpha > 0
    if mixes or members is None:
        class_sum = _class_sum(logits, members)  # (n,)
    if mixes:
        others = (class_sum - target_logit) / (sizes - 1).clamp(min=1)
        mixed = (1 - alpha) * target_logit + alpha * others
        expectation = torch.where(sizes > 1, mixed, target_logit)
    if label_smoothing > 0:
        spread = logits.mean(1) if members is not None else class_sum / sizes
        expectation = (1 - label_smoothing) * expectation + label_smoothing * spread
    return logits.logsumexp(1) - expectation


def _class_sum(logits, members):
    """Sum the logits of each row's class, (n,), without those of padding."""
    if members is None:
        padding = logits.isneginf()
    else:
        padding = members < 0
        logits = logits.gather(1, members.clamp(min=0))  # (n, M)
    return logits.masked_fill(padding, 0).sum(1)
