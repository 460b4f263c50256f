"""Calling the user's module without changing it.

Shapes in comments: B examples, C classes, P parameters.
"""

import warnings
from contextlib import contextmanager

import torch
from torch import nn

from ._batches import map_structure, n_rows, take
from ._outputs import logits_of, scalar


def check_module(module):
    """Raise unless per-example gradients of this module make sense."""
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"module must be a torch.nn.Module that maps a batch to logits, got {type(module)}."
        )
    parameters = dict(module.named_parameters())
    if not parameters:
        raise ValueError(
            f"{type(module).__name__} has no parameters, so its output has no tangent features."
        )
    for name, p in parameters.items():
        if isinstance(p, nn.parameter.UninitializedParameter):
            raise ValueError(
                f"Parameter {name!r} has no shape yet. Call the module on one batch first."
            )
        if p.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"Parameter {name!r} is {p.dtype}; tangent features need single or double "
                "precision, because sums over many weights lose their digits in less. "
                "Pass a copy of the model, for instance copy.deepcopy(model).float()."
            )
    devices = {p.device for p in parameters.values()}
    if len(devices) > 1:
        raise ValueError(f"All parameters must be on one device, got {sorted(map(str, devices))}.")
    for name, m in module.named_modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is None:
            raise ValueError(
                f"Layer {name!r} normalises by the statistics of its batch even in evaluation "
                "mode (track_running_stats=False), so an example has no gradient of its own."
            )
        if isinstance(m, nn.Embedding | nn.EmbeddingBag) and m.max_norm is not None:
            raise ValueError(
                f"Embedding {name!r} rescales its weights whenever it is called (max_norm); "
                "tangent features would change the model. Set max_norm to None in a copy of it."
            )


def select_parameters(module, parameters):
    """The parameters to differentiate by, by name."""
    named = dict(module.named_parameters())
    if not isinstance(parameters, str):
        unknown = sorted(set(parameters) - set(named))
        if unknown or not parameters:
            raise ValueError(
                f"parameters names {unknown or 'nothing'}; the module has {list(named)}."
            )
        return {name: p for name, p in named.items() if name in set(parameters)}
    trainable = {name: p for name, p in named.items() if p.requires_grad}
    if parameters == "all" or (parameters == "auto" and not trainable):
        return named
    if parameters not in ("auto", "trainable"):
        raise ValueError(
            'parameters must be "auto", "trainable", "all" or a list of parameter names, '
            f"got {parameters!r}."
        )
    if not trainable:
        raise ValueError('Every parameter has requires_grad=False: pass parameters="all".')
    return trainable


class _Adapter(nn.Module):
    """Makes ``forward(module, x)`` a module, so that torch.func can swap its parameters."""

    def __init__(self, module, forward):
        super().__init__()
        self.training = module.training
        self.inner = module
        self.function = forward

    def forward(self, x):
        return self.function(self.inner, x)


class Functional:
    """Per-example gradients of the measurement by torch.func: slower, for any module.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode while the methods run.
    forward : callable
        ``forward(module, x)`` gives outputs.
    measurement : str or callable
        See :func:`scalar`.
    """

    def __init__(self, module, forward, measurement):
        self.adapter = _Adapter(module, forward)
        self.measurement = measurement
        self.vectorised = True

    def outputs(self, weights, x):
        """What is measured, with ``weights`` (by name) in place of the module's own."""
        swapped = {f"inner.{name}": p for name, p in weights.items()}
        x = map_structure(x, torch.clone)  # modules may write to their input
        outputs = torch.func.functional_call(self.adapter, swapped, (x,))
        return outputs if callable(self.measurement) else logits_of(outputs)

    def gradients(self, weights, x, labels):
        """Gradients by name, each (B, *shape), for every parameter in ``weights``."""
        if self.vectorised:
            try:
                return self.by_vmap(weights, x, labels)
            except (RuntimeError, NotImplementedError, ValueError, TypeError, IndexError):
                # Control flow on values, in-place writes: what vmap cannot batch runs one by one,
                # where an error of the module's own comes up again.
                self.one_by_one(weights)
        rows = [
            self.one(weights, take(x, slice(i, i + 1)), labels[i : i + 1])[0]
            for i in range(n_rows(x))
        ]
        return {
            name: torch.stack([torch.zeros_like(p) if r[name] is None else r[name] for r in rows])
            for name, p in weights.items()
        }

    def by_vmap(self, weights, x, labels):
        """As :meth:`gradients`, all rows at once."""
        weights = {name: p.detach() for name, p in weights.items()}

        def measured(w, row, label):
            outputs = self.outputs(w, map_structure(row, lambda part: part[None]))
            return scalar(outputs, label[None], self.measurement)[0]

        with _quiet_vmap():
            found = torch.func.vmap(torch.func.grad(measured), in_dims=(None, 0, 0))(
                weights, x, labels
            )
        return {name: g.detach() for name, g in found.items()}

    def one_by_one(self, names):
        """Give up vmap from now on."""
        if self.vectorised:
            self.vectorised = False
            warnings.warn(
                f"the gradients of {', '.join(names)} are computed row by row, which is slow: the "
                "layers' factors do not follow what the module computes, and torch.func.vmap "
                "cannot run it",
                UserWarning,
                stacklevel=2,
            )

    def one(self, weights, x, label):
        """Gradients by name of a single row, None where a parameter has no influence; outputs."""
        leaves = {name: p.detach().requires_grad_() for name, p in weights.items()}
        outputs = self.outputs(leaves, x)
        f = scalar(outputs, label, self.measurement).sum()
        if not f.requires_grad:
            return dict.fromkeys(leaves), outputs
        found = torch.autograd.grad(f, list(leaves.values()), allow_unused=True)
        return {
            name: g.to_dense() if g is not None and g.is_sparse else g
            for name, g in zip(leaves, found, strict=True)
        }, outputs


@contextmanager
def _quiet_vmap():
    """Without torch's warning that an operation is batched by a loop."""
    enable = getattr(torch._C._functorch, "_set_vmap_fallback_warning_enabled", lambda _: None)
    enable(False)
    try:
        yield
    finally:
        enable(True)
