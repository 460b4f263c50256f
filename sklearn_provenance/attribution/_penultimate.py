"""The last linear layer of a network, and what goes into it.

Shapes in comments: B rows, F features, O outputs of the layer, C classes.
"""

from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from ..tangent import TangentModel
from ..tangent._batches import as_batch, batch_size_for
from ..tangent._module import evaluation
from ._models import SingleBranch, adapt, binary_logits

# Rows on which the layer is looked for.
_PROBE = 32


class Penultimate:
    """The penultimate features of a model: a callable from its X to rows of numbers.

    They are the input of the last linear layer of which the logits are a function: of the class
    branch in a provenance network with two branches, of the index branch in one with a single
    branch. The features of a linear model are its inputs.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module
        Fitted.
    X : array-like of shape (n, ...)
        Rows on which the layer is looked for.
    batch_size : int or "auto"
        Rows per pass.

    Attributes
    ----------
    layer : torch.nn.Linear
        The last layer.

    Raises
    ------
    TypeError
        If no module is known for the estimator.
    ValueError
        If the logits are not a function of the output of one linear layer.
    """

    def __init__(self, estimator, X, batch_size="auto"):
        model = adapt(estimator)
        self.inputs = model.inputs
        self.network = TangentModel(model.module, forward=model.forward)
        self.batch_size = batch_size
        places = np.unique(np.linspace(0, X.shape[0] - 1, _PROBE).astype(int))
        x = as_batch(self.inputs(X), self.network)[torch.as_tensor(places)]
        self.layer, self.call = self._find(x)

    def __call__(self, X):
        """Penultimate features of rows.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the estimator takes them.

        Returns
        -------
        ndarray of shape (n, F)
            Features, in the network's precision.
        """
        return self.forward(as_batch(self.inputs(X), self.network))[0].cpu().numpy()

    def forward(self, x):
        """Features and logits of a batch.

        Parameters
        ----------
        x : torch.Tensor of shape (n, ...)
            Rows as the network takes them.

        Returns
        -------
        features : torch.Tensor of shape (n, F)
            Inputs of the last layer.
        logits : torch.Tensor of shape (n, C)
            Logits of the network.
        """
        step = batch_size_for(self.network, self.batch_size)
        features, logits, seen = [], [], []

        def keep(module, args, kwargs, output):
            # A copy: what follows may write to it.
            seen.append((args[0] if args else kwargs["input"]).clone())

        with hooked([self.layer], keep):
            for i in range(0, len(x), step):
                seen.clear()
                logits.append(self._logits(x[i : i + step]))
                features.append(seen[self.call])
        return torch.cat(features), torch.cat(logits)

    def _logits(self, x):
        with evaluation(self.network.module), torch.no_grad():
            return self.network.forward(self.network.module, x)

    def _find(self, x):
        """The layer, and which of its calls in a forward pass gives the logits."""
        calls = []

        def record(module, args, kwargs, output):
            calls.append((module, output.shape))

        module = self.network.module
        layers = [m for m in module.modules() if isinstance(m, nn.Linear)]
        with hooked(layers, record):
            logits = self._logits(x)
        tolerance = 1e-8 if logits.dtype == torch.float64 else 1e-3

        def same(a, b):
            return (a - b).norm() <= tolerance * b.norm()

        for place, (layer, shape) in reversed(list(enumerate(calls))):
            fits = shape[:-1] == logits.shape[:1] and self._is_width(shape[1], logits.shape[1])
            found = self._with_rows_reversed(layers, place, x)
            # The logits are a function of this output if they are reversed with it.
            if fits and same(found, logits.flip(0)):
                return layer, sum(other is layer for other, _ in calls[:place])
            # Equal logits for all rows say nothing of what comes before.
            if not same(found, logits) or same(logits, logits.flip(0)):
                break
        raise ValueError(
            f"the logits of this {type(module).__name__} are not a function of the output of one "
            "torch.nn.Linear, so its penultimate features are not known. RepSimAttributor takes "
            "features of your own, a transformer or callable"
        )

    def _is_width(self, n_outputs, n_classes):
        forward = self.network.forward
        if isinstance(forward, SingleBranch):
            return n_outputs == len(forward.labels)
        return n_outputs == (1 if forward is binary_logits else n_classes)

    def _with_rows_reversed(self, layers, place, x):
        """Logits when the rows of one call's output change places."""
        calls = []

        def reverse(module, args, kwargs, output):
            calls.append(module)
            return output.flip(0) if len(calls) == place + 1 else None

        with hooked(layers, reverse):
            return self._logits(x)


@contextmanager
def hooked(layers, hook):
    """Forward hooks on layers, first in line, removed afterwards."""
    handles = []
    try:
        for layer in layers:
            handles.append(layer.register_forward_hook(hook, prepend=True, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()
