"""Layers whose parameters act on the features of their output one by one, whatever their class.

Shapes in comments: B rows, d features.
"""

import torch
from torch import nn

from ._forms import Formed, cached_rows
from ._layer_kinds import NormalisationLayer
from ._layers import register_structure


def is_elementwise(module):
    """Whether a module may have parameters that act on features one by one.

    The root mean square norms of Llama, Gemma, T5 and others do, which are classes of their own,
    and so do scales of layers. What a module computes is not seen here: a layer's factors are
    compared with autograd before they are used.

    Parameters
    ----------
    module : torch.nn.Module
        The module.

    Returns
    -------
    bool
        Whether it has no parts, and its parameters are vectors of one size.
    """
    shapes = {p.shape for p in module.parameters(recurse=False)}
    if len(shapes) != 1 or any(True for _ in module.children()):
        return False
    return len(shapes.pop()) == 1


@register_structure(is_elementwise)
class ElementwiseLayer(NormalisationLayer):
    """One row of G per parameter (d,), of which each number acts on one feature of the output.

    Then the derivative of the output in all numbers at once, in the direction of ones, holds the
    derivative in each of them: what a norm's weight multiplies.
    """

    def factor(self, module, x, g, n_rows):
        n_parts = max(1, n_rows // len(x))  # of a call, whose positions may be rows of their own
        size = self.shape[1]
        step = cached_rows(8 * x[0].numel())
        sums = []
        for i in range(0, len(x), step):
            part = x[i : i + step]
            sizes = n_parts * len(part), -1, size
            found = [
                (self._derivative(module, role, part) * g[i : i + step]).reshape(sizes).sum(1)
                for role in self.names
            ]
            sums.append(torch.stack(found, 1))  # (b, parameters, d)
        summed = torch.cat(sums)
        return Formed(summed.reshape(n_rows, -1, *summed.shape[1:]).sum(1))

    def _derivative(self, module, role, x):
        """Compute the derivative of the output in a parameter, in the direction of ones.

        Raises
        ------
        RuntimeError
            If the module takes more than x, or torch cannot differentiate it forwards.
        """

        def output(parameter):
            return _with(module, self._by_role() | {role: parameter}).forward(x)

        weight = self._by_role()[role]
        try:
            with torch.no_grad():
                return torch.func.jvp(output, (weight,), (torch.ones_like(weight),))[1]
        except Exception as error:  # of the user's module
            raise RuntimeError(f"no derivative of {self.names[role]}: {error}") from error

    def _by_role(self):
        return {role: self.weights[name].detach() for role, name in self.names.items()}


def _with(module, parameters):
    """Copy a module, in evaluation mode, with other parameters; it shares what else it has.

    The module itself is not changed, because it may run on another thread.
    """
    twin = type(module).__new__(type(module))
    nn.Module.__init__(twin)
    twin.__dict__.update(module.__dict__)
    twin.__dict__["_parameters"] = module._parameters | parameters
    twin.__dict__["training"] = False
    return twin
