"""Recording the calls of a network's layers during a forward pass.

Shapes in comments: T positions of a table.
"""

from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn

from ._attention import ProjectionCalls
from ._lookups import LookupCalls, looks_up_inside


class Call(NamedTuple):
    """One call of a module whose parameters are a layer.

    Parameters
    ----------
    layer : Layer
        The layer.
    module : torch.nn.Module
        The module.
    x : torch.Tensor
        Its input.
    edge : torch.autograd.graph.GradientEdge
        Its output in autograd's graph. Not the output itself, because a later operation in place
        would change what the tensor means.
    """

    layer: Any
    module: Any
    x: torch.Tensor
    edge: Any


@contextmanager
def recorded(layers, n_samples, calls):
    """Append calls of the layers' modules to ``calls``, for ``n_samples`` rows of the data."""
    handles = []
    used = [layer for layer in layers if layer.route != "functional"]
    try:
        for layer in used:
            for module in layer.modules:
                if isinstance(module, nn.MultiheadAttention) or looks_up_inside(module):
                    continue
                # First in line: a hook of the user's may replace the layer's output.
                hook = _recorder(layer, n_samples, calls)
                handles.append(module.register_forward_hook(hook, prepend=True))
        with (
            _projections_recorded(used, calls),
            _lookups_recorded(used, n_samples, calls),
        ):
            yield
    finally:
        for handle in handles:
            handle.remove()


def _projections_recorded(layers, calls):
    """Record the projections of attention modules, if there are any."""
    places = {}
    attends = False
    for layer in layers:
        for module in layer.modules:
            if isinstance(module, nn.MultiheadAttention):
                attends = True
                places[id(module.in_proj_weight)] = layer, module
            elif isinstance(module, nn.Linear):
                places[id(module.weight)] = layer, module
    if not attends:
        return nullcontext()
    return ProjectionCalls(places, lambda *call: _record(calls, *call))


def _lookups_recorded(layers, n_samples, calls):
    """Record the lookups of tables with a forward of their own, if there are any."""
    places = {}
    for layer in layers:
        for module in filter(looks_up_inside, layer.modules):
            places[id(module.weight)] = layer, module
    if not places:
        return nullcontext()
    return LookupCalls(places, lambda layer, *call: _record_lookup(layer, n_samples, calls, *call))


@contextmanager
def requiring_grad(parameters):
    """Let frozen parameters require gradients for a while."""
    frozen = [p for p in parameters if not p.requires_grad]
    try:
        for p in frozen:
            p.requires_grad_(True)
        yield
    finally:
        for p in frozen:
            p.requires_grad_(False)


def _recorder(layer, n_samples, calls):
    """Make a forward hook that records a call, and replaces the output where it must."""

    def hook(module, args, output):
        if not torch.is_grad_enabled() or not args:
            return None
        return _record_lookup(layer, n_samples, calls, module, args[0], output)

    return hook


def _record_lookup(layer, n_samples, calls, module, x, output):
    """Append a call, which may be one for all rows where the layer is a table that they share."""
    if layer.shared and _lacks_rows(x):
        # Each row gets an output of its own, whose gradient is that row's.
        x = x.reshape(1, -1).expand(n_samples, -1)
        output = output.expand(n_samples, *output.shape[-2:]).clone()
    return _record(calls, layer, module, x, output)


def _record(calls, layer, module, x, output):
    """Append a call, and return the output to go on with."""
    replaced = output
    if not output.requires_grad:  # every parameter so far is frozen
        output = output.detach().requires_grad_()
        replaced = output.clone()  # a leaf must not be written to in place
    calls.append(Call(layer, module, x, torch.autograd.graph.get_gradient_edge(output)))
    return replaced


def _lacks_rows(x):
    """Whether a table looks up the same T rows for all rows of the data: (T,) or (1, T)."""
    return x.ndim == 1 or (x.ndim == 2 and len(x) == 1)
