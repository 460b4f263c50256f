"""From what a module returns to finite logits.

Shapes in comments: B rows, C classes.
"""

from collections.abc import Mapping

import torch


def logits_of(outputs):
    """Logits in the outputs of a module.

    Parameters
    ----------
    outputs : torch.Tensor, mapping, tuple, list or object
        Logits; an object or mapping with ``logits``, such as the ModelOutput of transformers; or a
        tuple or list with a single two-dimensional tensor of floats.

    Returns
    -------
    torch.Tensor
        The logits, of any shape.

    Raises
    ------
    ValueError
        If nothing says which of several tensors are the logits.
    """
    if isinstance(outputs, torch.Tensor):
        return outputs
    if isinstance(outputs, Mapping) and isinstance(outputs.get("logits"), torch.Tensor):
        return outputs["logits"]
    if isinstance(getattr(outputs, "logits", None), torch.Tensor):
        return outputs.logits
    if isinstance(outputs, tuple | list):
        flat = [i for i, part in enumerate(outputs) if _may_be_logits(part)]
        if len(flat) == 1:
            return outputs[flat[0]]
        if flat:
            shapes = " and ".join(str(tuple(outputs[i].shape)) for i in flat)
            raise ValueError(
                f"the network must return logits, but returns a {type(outputs).__name__} with "
                f"tensors of shape {shapes}; pass forward=lambda m, x: m(x)[{flat[-1]}] if the "
                f"logits are number {flat[-1]} in it"
            )
    raise ValueError(
        "the network must return logits of shape (n_samples, n_classes), got "
        f"{type(outputs).__name__}; pass forward, a function of the module and a batch that "
        "returns them"
    )


def _may_be_logits(part):
    return isinstance(part, torch.Tensor) and part.ndim == 2 and part.is_floating_point()


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
    finite = values.isfinite()
    if finite.all():
        return
    values, finite = values.reshape(len(values), -1), finite.reshape(len(values), -1)
    rows = (~finite.all(1)).nonzero()[:3, 0].tolist()
    value = float(values[rows[0]][~finite[rows[0]]][0])
    named = [first_row + i if isinstance(first_row, int) else int(first_row[i]) for i in rows]
    what_row = "row" if len(named) == 1 else "rows"
    raise ValueError(f"{what} of {what_row} {', '.join(map(str, named))} are not finite ({value})")
