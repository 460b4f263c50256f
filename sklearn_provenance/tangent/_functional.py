"""Gradients of rows through torch.func, for any module.

Shapes in docstrings: B rows.
"""

import warnings

import torch
from torch import nn

from .._utils.vmap import quiet_vmap
from ._batches import map_structure, n_batch_rows, take_batch
from ._outputs import logits_of, scalar


class ForwardModule(nn.Module):
    """A module that calls ``forward(module, x)``, so that torch.func can swap the parameters."""

    def __init__(self, module, forward):
        super().__init__()
        self.training = module.training
        self.inner = module
        self.function = forward

    def forward(self, x):
        return self.function(self.inner, x)


class Functional:
    """Gradients of the rows' measurements by torch.func: slower than factors, for any module.

    Parameters
    ----------
    module : torch.nn.Module
        The network, in evaluation mode while the methods run.
    forward : callable
        ``forward(module, x)`` gives outputs.
    measurement : str or callable
        See :func:`scalar`.
    """

    def __init__(self, module, forward, measurement):
        self.module = ForwardModule(module, forward)
        self.measurement = measurement
        self.vectorised = True

    def outputs(self, weights, x):
        """Compute what is measured, with ``weights`` (by name) in place of the module's."""
        swapped = {f"inner.{name}": p for name, p in weights.items()}
        x = map_structure(x, torch.clone)  # modules may write to their input
        outputs = torch.func.functional_call(self.module, swapped, (x,))
        if callable(self.measurement):
            return outputs
        return logits_of(outputs)

    def gradients(self, weights, x, labels):
        """Compute gradients by name, each (B, *shape), for every parameter in ``weights``."""
        if self.vectorised:
            try:
                return self.by_vmap(weights, x, labels)
            except (RuntimeError, NotImplementedError, ValueError, TypeError, IndexError):
                # vmap cannot batch control flow on values or writes in place. Such modules run row
                # by row, where an error that the module itself raises comes up again.
                self.give_up_vmap(weights)
        found = {name: p.new_zeros(n_batch_rows(x), *p.shape) for name, p in weights.items()}
        for i in range(n_batch_rows(x)):
            rows = slice(i, i + 1)
            gradients, _ = self.one(weights, take_batch(x, rows), labels[rows])
            for name, gradient in gradients.items():
                found[name][i] = gradient
        return found

    def by_vmap(self, weights, x, labels):
        """Compute :meth:`gradients` of all rows at once."""
        weights = {name: p.detach() for name, p in weights.items()}

        def measured(w, row, label):
            outputs = self.outputs(w, map_structure(row, lambda part: part[None]))
            return scalar(outputs, label[None], self.measurement)[0]

        with quiet_vmap():
            gradients = torch.func.vmap(torch.func.grad(measured), in_dims=(None, 0, 0))
            found = gradients(weights, x, labels)
        return {name: g.detach() for name, g in found.items()}

    def give_up_vmap(self, names):
        """Compute row by row from now on, and warn that this is slow."""
        self.vectorised = False
        warnings.warn(
            f"the gradients of {', '.join(names)} are computed row by row, which is slow: the "
            "layers' factors do not follow what the module computes, and torch.func.vmap "
            "cannot run it",
            UserWarning,
            stacklevel=2,
        )

    def one(self, weights, x, label):
        """Compute the gradients of a single row.

        Returns
        -------
        gradients : dict of torch.Tensor
            By name; parameters without influence are left out.
        outputs : torch.Tensor or object
            What is measured.
        """
        leaves = {name: p.detach().requires_grad_() for name, p in weights.items()}
        outputs = self.outputs(leaves, x)
        measured = scalar(outputs, label, self.measurement).sum()
        if not measured.requires_grad:
            return {}, outputs
        found = torch.autograd.grad(measured, list(leaves.values()), allow_unused=True)
        gradients = zip(leaves, found, strict=True)
        return {name: g.to_dense() for name, g in gradients if g is not None}, outputs
