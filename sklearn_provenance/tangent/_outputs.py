"""From what a module returns to finite logits, and to the scalar f(x) that is differentiated.

The gradient of f(x) with respect to the weights is the tangent feature of x. Shapes in comments:
B rows, C classes.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch.nn import functional as F

MEASUREMENTS = ("label_logit", "margin")
# Those that a network can be linearised for; log p is what a network was trained to raise.
ALL_MEASUREMENTS = (*MEASUREMENTS, "log_probability")
# The warnings of probabilities in the call under way, of which there is to be one; else None.
_WARNINGS: ContextVar[list | None] = ContextVar("_WARNINGS", default=None)


def logits_of(outputs, first=False):
    """Find the tensor of logits in the outputs of a module.

    Parameters
    ----------
    outputs : torch.Tensor, mapping, tuple, list or object
        Logits; an object or mapping with ``logits``, such as the ModelOutput of transformers; or a
        tuple or list. Of these the logits are the only table, a two-dimensional tensor of floats,
        or the first entry if there is no table.
    first : bool, default=False
        Whether the logits are the first entry of a tuple, whatever follows, as in skorch.

    Returns
    -------
    torch.Tensor
        The logits, of any shape.

    Raises
    ------
    TypeError, ValueError
        If it cannot be told which tensor holds the logits, or it holds no logits.
    """
    if isinstance(outputs, Mapping):
        if outputs.get("logits") is None:
            raise ValueError(
                f"The module returns a dict with the keys {list(outputs)}, without 'logits'. Pass "
                "forward=lambda module, x: module(x)[key] with the key of the logits"
            )
        outputs = outputs["logits"]
    elif hasattr(outputs, "logits"):
        outputs = outputs.logits
    elif isinstance(outputs, tuple | list):
        outputs = _logits_among(outputs, first)
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


def _logits_among(entries, first):
    """Choose the logits among the entries of a tuple or list, see :func:`logits_of`."""
    if not len(entries):
        raise ValueError(f"The module must return logits; got an empty {type(entries).__name__}")
    if first:
        return entries[0]
    tables = [i for i, entry in enumerate(entries) if _is_table(entry)]
    if len(tables) > 1:
        shapes = [tuple(entries[i].shape) for i in tables]
        raise ValueError(
            f"The module returns several tables, of shapes {shapes}, and any may hold the "
            f"logits. Pass forward=lambda module, x: module(x)[{tables[-1]}] with the place "
            "of the logits"
        )
    return entries[next(iter(tables), 0)]


def finite_logits(outputs, n_samples, first_row=0):
    """Read the logits (n_samples, C) in the outputs of a module, and check that they are finite."""
    return check_logits(logits_of(outputs), n_samples, first_row)


@contextmanager
def warns_of_probabilities_once() -> Iterator[None]:
    """Warn once, however often a call looks at modules that end in a softmax."""
    warned = _WARNINGS.get()
    if warned is None:  # else this call is part of another
        warned = []
    token = _WARNINGS.set(warned)
    try:
        yield
    finally:
        _WARNINGS.reset(token)


def warn_of_probabilities(logits):
    """Warn of a module that ends in a softmax: its gradients are not those of its logits."""
    warned = _WARNINGS.get()
    if warned:
        return
    adds_up = (logits >= 0).all() and ((logits.sum(1) - 1).abs() < 1e-4).all()
    one_hot = (logits == logits.round()).all()  # a gate or a choice, and no softmax
    if logits.shape[1] > 1 and adds_up and not one_hot:
        message = (
            "The module returns numbers that look like probabilities (none is negative and every "
            "row adds up to 1), and they are read as logits. Leave out its last softmax, or pass "
            "forward=lambda module, x: module(x).log()"
        )
        if warned is not None:
            warned.append(message)
        # The warning names this line, so that it is shown once for all that look at a module.
        warnings.warn(message, UserWarning, stacklevel=1)


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
        Number of the first row, or of each row, in errors.
    """
    if logits.ndim != 2 or not logits.is_floating_point():
        raise ValueError(
            "the network must return logits of shape (n_samples, n_classes), got "
            f"{logits.dtype} of shape {tuple(logits.shape)}; pass forward, a function of the "
            "module and a batch that returns them"
        )
    if len(logits) != n_samples:
        raise ValueError(
            f"the network must return one row of logits for each of {n_samples} rows, got "
            f"{len(logits)}"
        )
    if logits.shape[1] == 0:
        raise ValueError("the network must return at least one logit for each row, got none")
    check_finite(logits.detach(), "logits", first_row)
    return logits


def check_finite(values, what, first_row=0):
    """Raise if a row of ``values`` (B, ...) is not finite; name the first such rows."""
    if all_finite(values):
        return
    values = values.reshape(len(values), -1)
    finite = values.isfinite()
    rows = (~finite.all(1)).nonzero()[:3, 0].tolist()
    value = float(values[rows[0]][~finite[rows[0]]][0])
    if isinstance(first_row, int):
        first_row = range(first_row, first_row + len(values))
    names = ", ".join(str(int(first_row[i])) for i in rows)
    what_row = "row" if len(rows) == 1 else "rows"
    raise ValueError(f"{what} must be finite; those of {what_row} {names} are not ({value})")


def all_finite(values):
    """Whether no number is NaN or infinite."""
    # The sum is far cheaper, and it is never finite if a number is not.
    return bool(values.sum().isfinite() or values.isfinite().all())


def measure(
    logits: torch.Tensor, labels: torch.Tensor, measurement: str = "label_logit"
) -> torch.Tensor:
    """Measure each row: one scalar of its logits.

    Parameters
    ----------
    logits : torch.Tensor of shape (n_samples, n_classes)
        Output of the network.
    labels : torch.Tensor of shape (n_samples,)
        Column of ``logits`` that each row is measured at.
    measurement : {"label_logit", "margin", "log_probability"}, default="label_logit"
        ``"label_logit"`` is the logit of the label. ``"margin"`` is log(p / (1 - p)) for the
        probability p of the label, computed from logits, because p rounds to 1 in single precision.
        ``"log_probability"`` is log p, the negative cross-entropy. Its gradient is 1 - p times that
        of the margin, and keeps its digits however near p is to 1.

    Returns
    -------
    torch.Tensor of shape (n_samples,)
        Measurements, in logits (nats).

    Raises
    ------
    ValueError
        If ``measurement`` is unknown, or it compares classes and there are fewer than two.

    References
    ----------
    .. [IT] "A Bayesian information-theoretic approach to data attribution", section 3 and
       Appendix C.

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
    columns = labels[:, None]
    label_logits = logits.gather(1, columns)[:, 0]
    if measurement == "label_logit":
        return label_logits
    if logits.shape[1] < 2:
        raise ValueError(
            f"measurement={measurement!r} compares a class with the others and needs at least two "
            'outputs; the network has one. Use measurement="label_logit"'
        )
    others = logits.scatter(1, columns, -torch.inf)
    margin = label_logits - others.logsumexp(1)
    if measurement == "margin":
        return margin
    return F.logsigmoid(margin)


def scalar(outputs, target, measurement):
    """Compute the scalars (B,) whose gradients are taken.

    Parameters
    ----------
    outputs : torch.Tensor of shape (B, C), or anything
        Logits. For a callable ``measurement`` it is what the network returns.
    target : torch.Tensor of shape (B,) or (B, C)
        Labels. Floats are directions v instead: the scalar is then v·logits.
    measurement : str or callable
        A name, see :func:`measure`, or ``measurement(outputs, target)``.
    """
    if callable(measurement):
        return measurement(outputs, target)
    if target.is_floating_point():
        return (outputs * target).sum(1)
    return measure(outputs, target, measurement)


def measured(outputs, target, measurement, n_rows):
    """Compute the scalars of rows by :func:`scalar`, or raise unless there is one for each row."""
    values = scalar(outputs, target, measurement)
    shape = tuple(getattr(values, "shape", ()))
    if not isinstance(values, torch.Tensor) or shape != (n_rows,):
        raise ValueError(
            f"measurement must return one number a row, a tensor of shape ({n_rows},); "
            f"got {type(values).__name__} of shape {shape}"
        )
    return values


def check_measurement(measurement):
    """Raise unless the measurement is one of the names or a callable."""
    if not callable(measurement) and measurement not in ALL_MEASUREMENTS:
        raise ValueError(
            f"measurement must be one of {ALL_MEASUREMENTS} or a callable, got {measurement!r}"
        )


def integer_labels(labels):
    """Convert labels to a tensor of integers, or raise if they are none."""
    labels = torch.as_tensor(labels)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(
            f"labels must be integers, the column of the logits of each class; got {labels.dtype}"
        )
    return labels.long()


def check_labels(labels, logits):
    """Convert labels to a tensor of columns of the logits, or raise if one is no column."""
    labels = integer_labels(labels)
    if labels.shape != logits.shape[:1]:
        raise ValueError(
            f"labels must have shape ({len(logits)},), one for each row; got {tuple(labels.shape)}"
        )
    if labels.is_inference():
        labels = labels.clone()  # autograd cannot keep it
    outside = (labels < 0) | (labels >= logits.shape[1])
    if outside.any():
        raise ValueError(
            f"labels must be columns of the logits, 0 to {logits.shape[1] - 1}; got "
            f"{int(labels[outside][0])}. Labels count from 0 in the order of the network's outputs"
        )
    return labels
