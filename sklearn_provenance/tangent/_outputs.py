"""From what a module returns to finite logits.

Shapes in comments: B rows, C classes.
"""

from collections.abc import Mapping

import torch


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
    return outputs


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
    if values.sum().isfinite():  # far cheaper, and never finite where a number is not
        return
    finite = values.isfinite()
    if finite.all():
        return
    values, finite = values.reshape(len(values), -1), finite.reshape(len(values), -1)
    rows = (~finite.all(1)).nonzero()[:3, 0].tolist()
    value = float(values[rows[0]][~finite[rows[0]]][0])
    named = [first_row + i if isinstance(first_row, int) else int(first_row[i]) for i in rows]
    what_row = "row" if len(named) == 1 else "rows"
    raise ValueError(f"{what} of {what_row} {', '.join(map(str, named))} are not finite ({value})")
