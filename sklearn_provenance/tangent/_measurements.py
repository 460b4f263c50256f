"""The scalar f(x) whose gradient with respect to the weights is the tangent feature of x."""

import torch
from torch.nn import functional as F

MEASUREMENTS = ("label_logit", "margin")
# Those that a network can be linearised for; log p is what a network was trained to raise.
ALL_MEASUREMENTS = (*MEASUREMENTS, "log_probability")


def measure(logits, labels, measurement="label_logit"):
    """Measurement of each example, one scalar a row.

    Parameters
    ----------
    logits : torch.Tensor of shape (n_samples, n_classes)
        Output of the network.
    labels : torch.Tensor of shape (n_samples,)
        Column of ``logits`` that each example is measured at.
    measurement : {"label_logit", "margin", "log_probability"}, default="label_logit"
        ``"label_logit"`` is the logit of the label. ``"margin"`` is log(p / (1 - p)) for the
        probability p of the label, computed from logits: p itself rounds to 1 in single precision.
        ``"log_probability"`` is log p, minus the cross-entropy; its gradient, 1 - p times the
        margin's, keeps its digits however near p is to 1.

    Returns
    -------
    torch.Tensor of shape (n_samples,)
        Measurements, in logits (nats).

    Raises
    ------
    ValueError
        If ``measurement`` is unknown, or a margin or probability is asked of fewer than two
        classes.

    References
    ----------
    .. [IT] "Bayesian information-theoretic training data attribution", sections 2 and 4.3.

    Examples
    --------
    >>> import torch
    >>> from sklearn_provenance.tangent import measure
    >>> logits = torch.tensor([[100.0, 0.0, 0.0]])
    >>> measure(logits, torch.tensor([0]), "margin")
    tensor([99.3069])
    >>> measure(logits, torch.tensor([1]), "log_probability")
    tensor([-100.])
    """
    if measurement not in ALL_MEASUREMENTS:
        raise ValueError(f"measurement must be one of {ALL_MEASUREMENTS}, got {measurement!r}")
    index = labels[:, None]
    own = logits.gather(1, index)[:, 0]
    if measurement == "label_logit":
        return own
    if logits.shape[1] < 2:
        raise ValueError(
            f"measurement={measurement!r} compares a class with the others, but the network has "
            'one output. Use measurement="label_logit".'
        )
    others = logits.scatter(1, index, -torch.inf)
    margin = own - others.logsumexp(1)
    return margin if measurement == "margin" else F.logsigmoid(margin)


def scalar(outputs, target, measurement):
    """What is differentiated (B,).

    Parameters
    ----------
    outputs : torch.Tensor of shape (B, C), or anything
        Logits; what the network returns where ``measurement`` is a callable.
    target : torch.Tensor of shape (B,) or (B, C)
        Labels, or as floats directions v: then v·logits is differentiated, whatever the name.
    measurement : str or callable
        Name, see :func:`measure`, or ``measurement(outputs, target)``.
    """
    if callable(measurement):
        return measurement(outputs, target)
    if target.is_floating_point():
        return (outputs * target).sum(1)
    return measure(outputs, target, measurement)


def check_measurement(measurement):
    """Raise unless the measurement is known or a callable."""
    if not callable(measurement) and measurement not in ALL_MEASUREMENTS:
        raise ValueError(
            f"measurement must be one of {ALL_MEASUREMENTS} or a callable, got {measurement!r}"
        )


def integer_labels(labels):
    """Labels as a tensor of integers."""
    labels = torch.as_tensor(labels)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(
            f"Labels must be integers, the column of the logits of each class; got {labels.dtype}."
        )
    return labels.long()


def check_labels(labels, logits):
    """Labels as a tensor of columns of the logits."""
    labels = integer_labels(labels)
    if labels.shape != logits.shape[:1]:
        raise ValueError(
            f"Expected one label for each of {len(logits)} examples, got {tuple(labels.shape)}."
        )
    if labels.is_inference():
        labels = labels.clone()  # autograd cannot keep it
    outside = (labels < 0) | (labels >= logits.shape[1])
    if outside.any():
        raise ValueError(
            f"Label {int(labels[outside][0])} is no column of {logits.shape[1]} logits. "
            "Labels count from 0 in the order of the network's outputs."
        )
    return labels
