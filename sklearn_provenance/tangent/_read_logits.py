"""A ``forward`` that reads logits from whatever a module returns.

Shapes in comments: B rows, C classes.
"""

import inspect
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from .._utils.rows import n_rows
from ._outputs import logits_of, warn_of_probabilities


@dataclass(frozen=True)
class ReadLogits:
    """A ``forward`` that finds the logits in whatever the module returns.

    Parameters
    ----------
    forward : callable or None, default=None
        ``forward(module, x)`` gives outputs; None calls the module.
    first : bool, default=False
        Whether the logits are the first entry of a tuple, whatever follows, as in skorch.
    """

    forward: object = None
    first: bool = False

    def __call__(self, module, x):
        """Return logits (B, C)."""
        return as_logits(self.outputs(module, x), n_rows(x), self.first)

    def outputs(self, module, x):
        """Return what the module returns."""
        forward = self.forward or call_module
        return forward(module, x)

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
        n_outputs = logits.shape[1]
        if logits_of(outputs, self.first).numel() == n_rows(x):
            n_outputs = 1
        return None if plain else self, n_outputs


def call_module(module, x):
    """Call a module on a batch, as Hugging Face and skorch do where the batch is a dict.

    The entries of a dict become keyword arguments if the module's ``forward`` takes them; else
    the module gets the dict.
    """
    if isinstance(x, tuple | list):
        return _of_several(module, x)
    if not isinstance(x, Mapping):
        return module(x)
    if _takes_keywords(module, x):
        with _decoder_named(module, x):
            return module(**x)
    try:
        return module(x)
    except (TypeError, AttributeError) as error:
        raise TypeError(
            f"the module must take a dict of rows, or its entries {', '.join(map(repr, x))} as "
            f"keyword arguments, but {type(module).__name__} raised {type(error).__name__}: "
            f"{error}. Pass forward=, a callable (module, rows) -> outputs, or rows with the "
            "entries that the module takes"
        ) from error


def _of_several(module, x):
    """Call a module on a tuple or list of tensors, its one argument."""
    try:
        return module(x)
    except (TypeError, AttributeError) as error:
        raise TypeError(
            f"the module must take a {type(x).__name__} of rows as its one argument, but "
            f"{type(module).__name__} raised {type(error).__name__}: {error}. Pass several inputs "
            "as a mapping, such as {'input_ids': ..., 'attention_mask': ...}, whose entries become "
            "keyword arguments, or forward=, a callable (module, rows) -> outputs"
        ) from error


@contextmanager
def _decoder_named(module, x):
    """Say what an encoder-decoder lacks, which asks for its decoder's inputs in its own words."""
    try:
        yield
    except ValueError as error:
        of_decoder = any(name.startswith("decoder_") or name == "labels" for name in x)
        encodes_too = getattr(getattr(module, "config", None), "is_encoder_decoder", False)
        if of_decoder or not encodes_too:
            raise
        raise ValueError(
            f"{type(module).__name__} is an encoder-decoder, and rows must hold decoder_input_ids "
            f"or labels; got {', '.join(map(repr, x))} ({error}). Take its encoder, "
            "module.get_encoder(), or a classifier of texts. log_likelihood and log_odds are for "
            "causal models: for others, pass a forward of your own, (module, rows) -> (n,)"
        ) from error


def _takes_keywords(module, x):
    try:
        inspect.signature(module.forward).bind(**x)
    except (TypeError, ValueError):  # ValueError: a compiled module shows no signature
        return False
    return True


def as_logits(outputs, n, first=False):
    """Read logits (n, C), with C of at least 2, from the outputs of a module for n rows."""
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
            "which number of a sequence, image or the like is explained. Language models take "
            "forward=log_odds of sklearn_provenance.text"
        )
    raise ValueError(
        f"The module must return logits of shape (n, n_classes); got shape {shape} for {n} rows"
    )


def binary_logits(z):
    """Make two logits (-z/2, z/2) from one output z = log(p / (1 - p)), (B, 1) -> (B, 2).

    Their softmax is the model's probability, and both depend on its parameters. With (0, z) the
    first class would have no tangent features.
    """
    return torch.cat([-z / 2, z / 2], 1)
