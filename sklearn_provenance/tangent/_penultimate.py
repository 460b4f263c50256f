"""The last linear layer of a network, and what goes into it.

Shapes in comments: B rows, F features, O outputs of the layer, C classes.
"""

from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from .._utils.modules import evaluation
from .._utils.rows import n_rows, take_rows
from ._batches import as_batch, map_structure
from ._layers import batch_size_for
from ._outputs import check_finite, check_logits

# Rows on which the layer is looked for.
PROBE = 32


class Penultimate:
    """The input of the last linear layer of which the logits are a function.

    Parameters
    ----------
    network : TangentModel
        The network, not planned.
    inputs : ndarray, Tensor, csr matrix or dict of Tensor
        Rows, on some of which the layer is looked for.
    n_outputs : int or None
        Outputs of the layer; None if there is one for each class.
    batch_size : int or "auto"
        Rows per pass.

    Attributes
    ----------
    layer : torch.nn.Linear
        The last layer.

    Raises
    ------
    ValueError
        If the logits are not a function of the output of one linear layer.
    """

    def __init__(self, network, inputs, n_outputs=None, batch_size="auto"):
        self.network, self.n_outputs, self.batch_size = network, n_outputs, batch_size
        places = np.unique(np.linspace(0, n_rows(inputs) - 1, PROBE).astype(int))
        x = as_batch(take_rows(inputs, places), network)
        self.layer, self.call = self._find(x)

    def forward(self, inputs):
        """Run the network.

        Parameters
        ----------
        inputs : ndarray, Tensor, csr matrix or dict of Tensor of n rows
            Rows as the network takes them.

        Returns
        -------
        features : Tensor of shape (n, F)
            Inputs of the last layer.
        logits : Tensor of shape (n, C)
            Logits of the network.
        """
        step = batch_size_for(self.network, self.batch_size)
        features, logits, seen = [], [], []

        def keep(module, args, kwargs, output):
            # A copy: what follows may write to it.
            seen.append((args[0] if args else kwargs["input"]).clone())

        with hooked(self.network.module, [self.layer], keep):
            for i in range(0, n_rows(inputs), step):
                seen.clear()
                x = as_batch(take_rows(inputs, slice(i, i + step)), self.network)
                logits.append(check_logits(self._logits(x), n_rows(x), i))
                features.append(seen[self.call])
                check_finite(features[-1], "features", i)
        return torch.cat(features), torch.cat(logits)

    def _logits(self, x):
        with evaluation(self.network.module), torch.no_grad():
            # A copy: modules may write to their input.
            return self.network.forward(self.network.module, map_structure(x, torch.clone))

    def _find(self, x):
        """The layer, and which of its calls in a forward pass gives the logits."""
        calls = []

        def record(module, args, kwargs, output):
            calls.append((module, output.shape))

        module = self.network.module
        layers = [m for m in module.modules() if isinstance(m, nn.Linear)]
        with hooked(module, layers, record):
            logits = check_logits(self._logits(x), n_rows(x))
        tolerance = 1e-8 if logits.dtype == torch.float64 else 1e-3

        def same(a, b):
            return (a - b).norm() <= tolerance * b.norm()

        for place, (layer, shape) in reversed(list(enumerate(calls))):
            fits = shape[:-1] == logits.shape[:1] and shape[1] == (
                self.n_outputs or logits.shape[1]
            )
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

    def _with_rows_reversed(self, layers, place, x):
        """Logits when the rows of one call's output change places."""
        calls = []

        def reverse(module, args, kwargs, output):
            calls.append(module)
            return output.flip(0) if len(calls) == place + 1 else None

        with hooked(self.network.module, layers, reverse):
            return self._logits(x)


@contextmanager
def hooked(module, layers, hook):
    """Forward hooks on layers of a module, first in line, removed afterwards.

    The module is held meanwhile: calls from other threads would be recorded too.
    """
    handles = []
    with evaluation(module):
        try:
            for layer in layers:
                handles.append(layer.register_forward_hook(hook, prepend=True, with_kwargs=True))
            yield
        finally:
            for handle in handles:
                handle.remove()
