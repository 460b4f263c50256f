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
from ._network_layers import batch_size_for
from ._outputs import check_finite, check_logits

# Rows on which the layer is looked for.
PROBE = 32


class Penultimate:
    """The last linear layer of which the logits are a function, and its inputs.

    Parameters
    ----------
    network : TangentModel
        The network; it needs no plan.
    inputs : ndarray, Tensor, csr matrix or dict of Tensor
        Rows, some of which are used to find the layer.
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
        self.network = network
        self.n_outputs = n_outputs
        self.batch_size = batch_size
        places = np.unique(np.linspace(0, n_rows(inputs) - 1, PROBE).astype(int))
        x = as_batch(take_rows(inputs, places), network)
        self.layer, self.n_calls_before = self._find(x)

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
        n = n_rows(inputs)
        features = logits = None
        layer_inputs = []  # of each call of the layer in one pass

        def keep(module, args, kwargs, output):
            layer_input = args[0] if args else kwargs["input"]
            layer_inputs.append(layer_input.clone())  # later layers may write to it

        with hooked(self.network.module, [self.layer], keep):
            for i in range(0, n, step):
                layer_inputs.clear()
                x = as_batch(take_rows(inputs, slice(i, i + step)), self.network)
                outputs = check_logits(self._logits(x), n_rows(x), i)  # (B, C)
                found = layer_inputs[self.n_calls_before]  # (B, F)
                check_finite(found, "features", i)
                if features is None:
                    # In the precision of weights, where autocast works in another.
                    dtype = self.layer.weight.dtype
                    features = found.new_empty(n, found.shape[1], dtype=dtype)
                    logits = outputs.new_empty(n, outputs.shape[1])
                rows = slice(i, i + len(found))
                features[rows] = found
                logits[rows] = outputs
        return features, logits

    def _logits(self, x):
        with evaluation(self.network.module), torch.no_grad():
            # A copy: modules may write to their input.
            return self.network.forward(self.network.module, map_structure(x, torch.clone))

    def _find(self, x):
        """Find the layer, and how often a pass calls it before the call that gives the logits."""
        calls = []

        def record(module, args, kwargs, output):
            calls.append((module, output.shape))

        module = self.network.module
        layers = [m for m in module.modules() if isinstance(m, nn.Linear)]
        with hooked(module, layers, record):
            logits = check_logits(self._logits(x), n_rows(x))
        tolerance = 1e-8 if logits.dtype == torch.float64 else 1e-3
        expected_shape = (len(logits), self.n_outputs or logits.shape[1])

        def same(a, b):
            return (a - b).norm() <= tolerance * b.norm()

        for place, (layer, shape) in reversed(list(enumerate(calls))):
            found = self._with_rows_reversed(layers, place, x)
            # The logits are a function of this output if they are reversed with it.
            if shape == expected_shape and same(found, logits.flip(0)):
                return layer, sum(other is layer for other, _ in calls[:place])
            # An earlier call can decide only if the logits do not depend on this one, and if the
            # logits of rows differ at all.
            if not same(found, logits) or same(logits, logits.flip(0)):
                break
        raise ValueError(
            "the logits must be a function of the output of one torch.nn.Linear, because its "
            f"inputs are the penultimate features; got a {type(module).__name__} where they are "
            "not. RepSimAttributor takes features of your own, a transformer or callable"
        )

    def _with_rows_reversed(self, layers, place, x):
        """Compute the logits when the rows of one call's output are reversed."""
        calls = []

        def reverse(module, args, kwargs, output):
            calls.append(module)
            return output.flip(0) if len(calls) == place + 1 else None

        with hooked(self.network.module, layers, reverse):
            return self._logits(x)


@contextmanager
def hooked(module, layers, hook):
    """Set forward hooks on layers of a module, first in line, and remove them afterwards.

    Other threads wait meanwhile, because their calls would be recorded too.
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
