"""What a network must be, and give, so that copies of it can be trained."""

from collections.abc import Mapping

import numpy as np
import torch

from .._utils.arguments import check_weights
from .._utils.table_ids import IdsOutsideError, ids_named
from ..tangent._batches import leaves, n_batch_rows
from ..tangent._outputs import logits_of, warn_of_probabilities
from ..tangent._read_logits import call_module
from ._estimators import check_targets


def call_network(module, x):
    """Call a module, and take the logits out of what those of Hugging Face return."""
    outputs = call_module(module, x)
    if hasattr(outputs, "logits") or isinstance(outputs, Mapping):
        return logits_of(outputs)
    return outputs


def first_outputs(module, name, x, are_numbers):
    """Compute logits, or numbers, of a few rows x of the argument of that name."""
    try:
        with ids_named(module.inner):
            logits = module(x)
    except (RuntimeError, IndexError, IdsOutsideError) as error:
        hint = ""
        named = isinstance(error, IdsOutsideError)
        if not named and not any(part.is_floating_point() for part in leaves(x)):
            hint = (
                ". A tensor of integers is passed on as it is, for instance to an embedding; if it "
                f"holds numbers, pass {name}.float()"
            )
        parts = " and ".join(f"{part.dtype} of shape {tuple(part.shape)}" for part in leaves(x))
        raise ValueError(
            f"model must take rows of {name}, {parts}, but the network says: {error}{hint}"
        ) from error
    check_logits(logits, n_batch_rows(x))
    if not are_numbers:
        warn_of_probabilities(logits)
    return logits


def check_logits(logits, n_rows):
    """Raise unless the network's output is a matrix with a row for each row."""
    if not isinstance(logits, torch.Tensor):
        raise TypeError(
            f"The network must give a tensor of logits, got {type(logits)}. "
            "Pass forward=lambda module, x: ... that takes the logits out"
        )
    real = logits.layout == torch.strided and logits.is_floating_point()
    if logits.ndim != 2 or len(logits) != n_rows or not logits.shape[1] or not real:
        raise ValueError(
            "The network must give logits of shape (n_rows, n_classes), a dense tensor of real "
            f"numbers: {n_rows} rows gave {logits.dtype} of shape {tuple(logits.shape)}. Its "
            'recipe says loss="squared_error" where it predicts numbers'
        )


def usable(logits):
    """Find whose logits (G, n_eval, C) can be used (G,): -inf alone stands for "never"."""
    bad = np.isnan(logits) | (logits == np.inf)
    return ~bad.any((1, 2)) & (logits.max(2, initial=-np.inf) > -np.inf).all(1)


def check_trainable(module):
    """Raise unless copies of a module can be made and trained."""
    if any(isinstance(m, torch.jit.ScriptModule) for m in module.modules()):
        raise TypeError(
            "model must be an nn.Module that can be copied and trained, got a module of torch.jit. "
            "Pass the nn.Module from which it was scripted or traced"
        )
    check_weights(module)


class OneNumber:
    """Outputs as a column (B, 1), of a network that gives one number for each row."""

    def __init__(self, forward):
        self.forward = forward

    def __call__(self, module, x):
        outputs = self.forward(module, x)
        if not isinstance(outputs, torch.Tensor) or outputs.ndim not in (1, 2):
            return outputs  # refused by what looks at the first outputs
        if outputs.ndim == 1:
            return outputs[:, None]
        if outputs.shape[1] != 1:
            raise ValueError(
                "The network must give one number for each row with a loss of numbers, of shape "
                f"(n_rows,) or (n_rows, 1); got shape {tuple(outputs.shape)}"
            )
        return outputs


def as_numbers(y, network, n_rows):
    """Return targets of a regression as a tensor (n_rows,) on the network's device."""
    return torch.from_numpy(check_targets(y, n_rows)).to(network.device, network.dtype)


def as_targets(y, network, n_classes, are_labels):
    """Return labels on the network's device; targets of another loss in its precision."""
    if not isinstance(y, torch.Tensor):
        y = np.array(y)
        if y.dtype.kind not in "fiub":
            raise ValueError(f"y must be numbers, that count classes from 0, got {y.dtype}")
    y = torch.as_tensor(y).detach()
    if y.is_floating_point():
        if are_labels:
            raise ValueError(f"y must be integers that count classes from 0, got {y.dtype}")
        return y.to(network.device, network.dtype)
    if are_labels and (y.ndim != 1 or y.min() < 0 or y.max() >= n_classes):
        raise ValueError(
            f"y must be one label for each row in 0..{n_classes - 1}, the columns of the logits; "
            f"got shape {tuple(y.shape)}, labels {int(y.min())}..{int(y.max())}"
        )
    return y.to(network.device, torch.int64)


def named(module):
    """Return parameters and buffers of a module by name."""
    return dict(module.named_parameters()) | dict(module.named_buffers())
