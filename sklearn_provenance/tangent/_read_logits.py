"""A ``forward`` that reads logits from whatever a module returns.

Shapes in comments: B rows, C classes.
"""

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from .._utils.rows import n_rows
from ._outputs import logits_of


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
        warn_of_probabilities(logits)
        plain = logits is outputs and self.forward is None and isinstance(x, torch.Tensor)
        tensor = logits_of(outputs, self.first)
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
    logits = logits_of(outputs, first)
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


def warn_of_probabilities(logits):
    """Warn of a module that ends in a softmax; its gradients are not those of its logits."""
    if (logits >= 0).all() and ((logits.sum(1) - 1).abs() < 1e-4).all():
        warnings.warn(
            "The module returns numbers that look like probabilities (none is negative and every "
            "row adds up to 1), and they are read as logits. Leave out its last softmax, or pass "
            "forward=lambda module, x: module(x).log()",
            UserWarning,
            stacklevel=2,
        )
