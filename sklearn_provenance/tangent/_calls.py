"""Recording the calls of a network's layers during a forward pass.

Shapes in comments: T positions of a table.
"""

from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from ._attention import ProjectionCalls
from ._lookups import DistanceCalls, LookupCalls, are_distances, looks_up_inside
from ._routes import RouteChanged


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
    distances = None
    if any(layer.shared and (layer.of_distances or layer.route == "idle") for layer in used):
        distances = DistanceCalls(n_samples)
    record = _Lookups(n_samples, calls, distances)
    try:
        for layer in used:
            for module in layer.modules:
                if isinstance(module, nn.MultiheadAttention) or looks_up_inside(module):
                    continue
                # First in line: a hook of the user's may replace the layer's output.
                hook = _recorder(layer, record)
                handles.append(module.register_forward_hook(hook, prepend=True))
        with (
            _projections_recorded(used, calls),
            _lookups_recorded(used, record),
            distances or nullcontext(),
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


def _lookups_recorded(layers, record):
    """Record the lookups of tables with a forward of their own, if there are any."""
    places = {}
    for layer in layers:
        for module in filter(looks_up_inside, layer.modules):
            places[id(module.weight)] = layer, module
    if not places:
        return nullcontext()
    return LookupCalls(places, record)


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


def _recorder(layer, record):
    """Make a forward hook that records a call, and replaces the output where it must."""

    def hook(module, args, output):
        if not torch.is_grad_enabled() or not args:
            return None
        if not (_is_batch(args[0]) and isinstance(output, torch.Tensor)):
            _without_factors(layer)
            return None
        return record(layer, module, args[0], output)

    return hook


def _is_batch(x):
    return isinstance(x, torch.Tensor) and x.ndim > 0


def _without_factors(layer):
    """Let torch.func compute the gradients of a layer, of which a call maps no rows to rows."""
    layer.route = "functional"
    if layer.confirmed:  # earlier batches were computed with its factors
        raise RouteChanged(
            f"the layer of {', '.join(layer.names.values())} maps one tensor to one for some rows "
            "and not for others; call again: from now on its gradients are computed by torch.func"
        )


class _Lookups:
    """Record calls, of which one may be for all rows where the layer is a table that they share.

    Parameters
    ----------
    n_samples : int
        Rows of the data.
    calls : list of Call
        Where calls are recorded.
    distances : DistanceCalls or None
        What records lookups of distances; None where none have been seen.
    """

    def __init__(self, n_samples, calls, distances):
        self.n_samples = n_samples
        self.calls = calls
        self.distances = distances

    def __call__(self, layer, module, x, output):
        """Record a call, and return the output to go on with."""
        if layer.shared and _lacks_rows(x):
            # Each row gets an output of its own, whose gradient is that row's.
            x = x.reshape(1, -1).expand(self.n_samples, -1)
            output = output.expand(self.n_samples, *output.shape[-2:]).clone()
        elif layer.shared and are_distances(x):
            layer.of_distances = True
            if self.distances is None:  # earlier rows had one position
                raise RouteChanged(
                    f"{layer.key} looks up distances of positions for the first time; call again"
                )
            self.distances.add(partial(_record, self.calls, layer, module), x, output)
            return output
        return _record(self.calls, layer, module, x, output)


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
