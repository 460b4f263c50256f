"""From what a module returns to logits.

Shapes in comments: B rows, C classes.
"""

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import issparse

from ..._utils.rows import n_rows
from ...tangent._module import evaluation


@dataclass(frozen=True)
class ReadLogits:
    """A ``forward`` that finds the logits in whatever the module returns.

    Parameters
    ----------
    forward : callable or None, default=None
        ``forward(module, x)`` gives outputs; None calls the module.
    first : bool, default=False
        Whether the first entry of a tuple holds the logits whatever follows, as skorch has it.
    """

    forward: object = None
    first: bool = False

    def __call__(self, module, x):
        """Logits (B, C)."""
        return as_logits(self.outputs(module, x), n_rows(x), self.first)

    def outputs(self, module, x):
        """What the module returns."""
        return (self.forward or call)(module, x)

    def examine(self, module, x):
        """Look at the outputs of a few rows.

        Returns
        -------
        forward : ReadLogits or None
            None if calling the module gives the logits as they are.
        n_outputs : int
            Outputs from which the logits are computed: 1 where two logits come from one.
        """
        outputs = self.outputs(module, x)
        logits = as_logits(outputs, n_rows(x), self.first)
        _warn_of_probabilities(logits)
        plain = logits is outputs and self.forward is None and isinstance(x, torch.Tensor)
        tensor = logit_tensor(outputs, self.first)
        n_outputs = 1 if tensor.numel() == n_rows(x) else logits.shape[1]
        return None if plain else self, n_outputs


def call(module, x):
    """Call a module on a batch, as Hugging Face and skorch do where the batch is a dict.

    The entries of a dict become keyword arguments if the module's ``forward`` takes them; else
    the module gets the dict.
    """
    if isinstance(x, Mapping) and _takes_keywords(module, x):
        return module(**x)
    return module(x)


def _takes_keywords(module, x):
    try:
        inspect.signature(module.forward).bind(**x)
    except (TypeError, ValueError):  # ValueError: a compiled module shows no signature
        return False
    return True


def as_logits(outputs, n, first=False):
    """Logits (n, C) from the outputs of a module for n rows, C of 2 or more."""
    logits = logit_tensor(outputs, first)
    if logits.numel() == n and logits.shape[1:] in ((), (1,)):
        return binary_logits(logits.reshape(n, 1))
    if logits.ndim == 2 and len(logits) == n and logits.shape[1] > 1:
        return logits
    shape = tuple(logits.shape)
    if logits.ndim > 2:
        raise ValueError(
            "The module must return logits of shape (n, n_classes), or one number for each row; "
            f"got shape {shape}. Pass measurement=, a callable (outputs, target) -> (n,), to say "
            "which number of a sequence, image or the like is explained"
        )
    raise ValueError(
        f"The module must return logits of shape (n, n_classes); got shape {shape} for {n} rows"
    )


def binary_logits(z):
    """Two logits (-z/2, z/2) from one output z = log(p / (1 - p)), (B, 1) -> (B, 2).

    Their softmax is the model's probability and both depend on its parameters; with (0, z) the
    first class would have no tangent features at all.
    """
    return torch.cat([-z / 2, z / 2], 1)


def logit_tensor(outputs, first=False):
    """The tensor of logits among the outputs of a module."""
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
        outputs = outputs[0]
    if not isinstance(outputs, torch.Tensor):
        raise TypeError(
            f"The module must return a tensor of logits; got {type(outputs).__name__}. Pass "
            "forward=, a callable (module, x) -> logits"
        )
    if not outputs.is_floating_point():
        raise ValueError(f"The module must return real floating-point logits; got {outputs.dtype}")
    return outputs


def _warn_of_probabilities(logits):
    """Warn of a module that ends in a softmax; its gradients are not those of its logits."""
    if (logits >= 0).all() and ((logits.sum(1) - 1).abs() < 1e-4).all():
        warnings.warn(
            "The module returns numbers that look like probabilities (none is negative and every "
            "row adds up to 1), and they are read as logits. Leave out its last softmax, or pass "
            "forward=lambda module, x: module(x).log()",
            UserWarning,
            stacklevel=2,
        )


def _is_table(entry):
    return isinstance(entry, torch.Tensor) and entry.ndim == 2 and entry.is_floating_point()


def as_batch(inputs, module):
    """Rows as tensors that a module takes: a copy on its device, floats in its precision."""
    if isinstance(inputs, Mapping):
        return {key: as_batch(value, module) for key, value in inputs.items()}
    if issparse(inputs):
        inputs = inputs.toarray()
    # A copy: modules may write to their input.
    if isinstance(inputs, torch.Tensor):
        x = inputs.detach().clone()
    else:
        x = torch.tensor(np.ascontiguousarray(inputs))  # torch takes no negative strides
    weights = [p for p in module.parameters() if p.is_floating_point()]
    if not weights:
        return x
    return x.to(weights[0].device, weights[0].dtype if x.is_floating_point() else None)


def run(model, inputs, function=None):
    """Call ``function(module, x)``, by default the model's forward, in evaluation mode."""
    function = function or model.forward or call
    with evaluation(model.module), torch.no_grad():
        return function(model.module, as_batch(inputs, model.module))


def few_rows(n):
    """The first, the middle and the last of n rows."""
    return np.unique([0, n // 2, n - 1])
