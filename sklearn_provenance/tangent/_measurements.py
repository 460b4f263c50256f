"""The scalar f(x) whose gradient with respect to the weights is the tangent feature of x."""

import torch

MEASUREMENTS = ("label_logit", "margin")


def measure(logits, labels, measurement="label_logit"):
    """Measurement of each example, one scalar a row.

    Parameters
    ----------
    logits : torch.Tensor of shape (n_samples, n_classes)
        Output of the network.
    labels : torch.Tensor of shape (n_samples,)
        Column of ``logits`` that each example is measured at.
    measurement : {"label_logit", "margin"}, default="label_logit"
        ``"label_logit"`` is the logit of the label. ``"margin"`` is log(p / (1 - p)) for the
        probability p of the label, computed from logits: p itself rounds to 1 in single precision.

    Returns
    -------
    torch.Tensor of shape (n_samples,)
        Measurements, in logits (nats).

    Raises
    ------
    ValueError
        If ``measurement`` is unknown, or a margin is asked of fewer than two classes.

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
    """
    if measurement not in MEASUREMENTS:
        raise ValueError(f"measurement must be one of {MEASUREMENTS}, got {measurement!r}.")
    index = labels[:, None]
    own = logits.gather(1, index)[:, 0]
    if measurement == "label_logit":
        return own
    if logits.shape[1] < 2:
        raise ValueError(
            "The margin compares a class with the others, but the network has one output. "
            'Use measurement="label_logit".'
        )
    others = logits.scatter(1, index, -torch.inf)
    return own - others.logsumexp(1)
