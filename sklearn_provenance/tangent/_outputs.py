"""From what a module returns to finite logits, and to the scalar f(x) that is differentiated.

The gradient of f(x) with respect to the weights is the tangent feature of x. Shapes in comments:
B rows, C classes.
"""

from collections.abc import Mapping

import torch
from torch.nn import functional as F

MEASUREMENTS = ("label_logit", "margin")
# Those that a network can be linearised for; log p is what a network was trained to raise.
ALL_MEASUREMENTS = (*MEASUREMENTS, "log_probability")


def logits_of(outputs, first=False):
    """Find the tensor of logits in the outputs of a module.

    Parameters
    ----------
    outputs : torch.Tensor, mapping, tuple, list or object
        Logits; an object or mapping with ``logits``, such as the ModelOutput of transformers; or a
        tuple or list with one table, a two-dimensional tensor of floats, or the logits first.
    first : bool, default=False
        Whether the first entry of a tuple holds the logits whatever follows, as skorch has it.

    Returns
    -------
    torch.Tensor
        The logits, of any shape.

    Raises
    ------
    TypeError, ValueError
        If nothing says which tensor holds the logits, or it holds none.
    """
    if isinstance(outputs, Mapping) or hasattr(outputs, "logits"):
        logits = outputs.get("logits") if isinstance(outputs, Mapping) else outputs.logits
        if logits is None:
            raise ValueError(
                f"The module returns a dict with the keys {list(outputs)}, without 'logits'. Pass "
                "forward=lambda module, x: module(x)[key] with the key of the logits"
            )
        outputs = logits
    elif isinstance(outputs, tuple | list):
        if not len(outputs):
            raise ValueError(f"The module must return logits; got an empty {type(outputs)}")
        tables = [i for i, entry in enumerate(outputs) if _is_table(entry)]
        if len(tables) > 1 and not first:
            shapes = [tuple(outputs[i].shape) for i in tables]
            raise ValueError(
                f"The module returns several tables, of shapes {shapes}, and any may hold the "
                f"logits. Pass forward=lambda module, x: module(x)[{tables[-1]}] with the place "
                "of the logits"
            )
        outputs = outputs[tables[0] if tables and not first else 0]
    if not isinstance(outputs, torch.Tensor):
        raise TypeError(
            f"The module must return a tensor of logits; got {type(outputs).__name__}. Pass "
            "forward=, a callable (module, x) -> logits"
        )
    if not outputs.is_floating_point():
        raise ValueError(f"The module must return real floating-point logits; got {outputs.dtype}")
    if outputs.layout is not torch.strided or outputs.is_meta:
        raise ValueError(
            f"The module must return a dense tensor of logits with values; got {outputs.layout} on "
            f"the device {outputs.device}"
        )
    return outputs


def finite_logits(outputs, n_samples, first_row=0):
    """Logits in the outputs of a module, checked; see :func:`logits_of` and :func:`check_logits`.

    Returns
    -------
    torch.Tensor of shape (n_samples, C)
        Finite.
    """
    return check_logits(logits_of(outputs), n_samples, first_row)


def _is_table(entry):
    return isinstance(entry, torch.Tensor) and entry.ndim == 2 and entry.is_floating_point()


def check_logits(logits, n_samples, first_row=0):
    """Raise unless logits are (B, C), one row for each row of the data, and finite.

    Parameters
    ----------
    logits : torch.Tensor
        Outputs of the network.
    n_samples : int
        B.
    first_row : int or sequence of int, default=0
        What errors call the first row, or all rows.
    """
    if logits.ndim != 2 or not logits.is_floating_point():
        raise ValueError(
            "the network must return logits of shape (n_samples, n_classes), got "
            f"{logits.dtype} of shape {tuple(logits.shape)}; pass forward, a function of the "
            "module and a batch that returns them"
        )
    if len(logits) != n_samples:
        raise ValueError(f"{n_samples} rows gave {len(logits)} rows of logits")
    if logits.shape[1] == 0:
        raise ValueError("the network must return at least one logit for each row, got none")
    values = logits.detach()
    check_finite(values, "logits", first_row)
    return logits


def check_finite(values, what, first_row=0):
    """Raise if a row of ``values`` (B, ...) is not finite; name the first such rows."""
    if all_finite(values):
        return
    finite = values.isfinite()
    values, finite = values.reshape(len(values), -1), finite.reshape(len(values), -1)
    rows = (~finite.all(1)).nonzero()[:3, 0].tolist()
    value = float(values[rows[0]][~finite[rows[0]]][0])
    named = [first_row + i if isinstance(first_row, int) else int(first_row[i]) for i in rows]
    what_row = "row" if len(named) == 1 else "rows"
    raise ValueError(f"{what} of {what_row} {', '.join(map(str, named))} are not finite ({value})")


def all_finite(values):
    """Whether no number is NaN or infinite."""
    # The sum is far cheaper, and never finite where a number is not.
    return bool(values.sum().isfinite() or values.isfinite().all())


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
