"""The form of a convolution's gradients: patches of its input are cut only where they are needed.

Shapes in comments as in :mod:`._forms`; C channels of the input.
"""

import torch

from ._forms import Formed
from ._outer import Outer
from ._patches import unfold, weight_gradient, weight_gradients


class Convolved(Outer):
    """G = Σ_t g_t a_tᵀ over patches a_t of a convolution's input x.

    On a CPU, a convolution computes G from x itself. Patches hold every number of x once for each
    place of the kernel, and copying them would take longer than the product.

    Parameters
    ----------
    x : torch.Tensor of shape (B, C, ...)
        Input of the convolution, one call for each row.
    y : torch.Tensor of shape (B, O, ...)
        Gradients of the measurements in its output.
    layer : Layer
        Scales patches, and appends the 1 that the bias multiplies.
    module : torch.nn.Module
        The convolution, without groups, whose weight gradients are taken in.
    """

    def __init__(self, x, y, layer, module):
        self.x = x
        self.y = y
        self.layer = layer
        self.module = module

    @property
    def a(self):
        """Patches (B, T, I)."""
        return self.layer._columns(unfold(self.module, self.x))

    @property
    def g(self):
        """Gradients (B, T, O) in the output."""
        return self.y.flatten(2).mT

    @property
    def shape(self):
        return self.layer.shape

    @property
    def positions(self):
        return self.y[0, 0].numel()

    def matrix(self):
        if self.x.device.type != "cpu":  # where many small calls cost more than the copies
            return super().matrix()
        weight = weight_gradients(self.module, self.x, self.y).flatten(2)  # (B, O, C · kernel)
        return self._columns(weight, self.y.flatten(2).sum(2))

    def shares_input(self, other):
        return type(other) is type(self) and other.x is self.x

    def stacked(self, forms):
        return self._with({"y": torch.cat([form.y for form in forms], 1)})

    def total(self, weights):
        scaled = self.y * weights.reshape(-1, *[1] * (self.y.ndim - 1))
        weight = weight_gradient(self.module, self.x, scaled).flatten(1)
        return self._columns(weight, scaled.flatten(2).sum((0, 2)))

    def compact(self):
        n_out, n_in = self.shape
        if self.n_numbers > len(self) * n_in * n_out:
            return Formed(self.matrix())
        return self

    def _columns(self, weight, bias):
        """Scale gradients (..., O, C · kernel) in the weight; append those (..., O) in the bias."""
        scale = self.layer.scales[self.layer.names["weight"]]
        return self.layer._weight_and_bias(weight * scale, bias[..., None])
