"""The form of a convolution's gradients: patches of its input are cut only where they are needed.

Shapes in comments as in :mod:`._forms`; C channels of the input.
"""

import torch

from ._forms import Formed, cached_rows
from ._outer import Outer
from ._patches import order_of_channels_last, unfold, weight_gradient, windows_channels_last

# Patches are cut for as many rows as stay in the cache beside what is made of them.
_PATCHES = 4


class Convolved(Outer):
    """G = Σ_t g_t a_tᵀ over patches a_t of a convolution's input x.

    Patches hold every number of x once for each place of the kernel. On a CPU they are cut with
    channels last, for some rows at a time.

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

    @property
    def _on_cpu(self):
        return self.x.device.type == "cpu"  # elsewhere many small calls cost more than copies

    @property
    def source(self):
        return self.x

    def ordered_inputs(self):
        if not self._on_cpu:
            return super().ordered_inputs()
        windows = windows_channels_last(self.module, self.x)
        patches = windows.reshape(len(self), self.positions, -1)
        return self.layer._columns(patches), self._order()

    def formed_together(self, forms):
        if not self._on_cpu:
            yield from super().formed_together(forms)
            return
        windows = windows_channels_last(self.module, self.x)  # (B, *output, *kernel, C)
        size = windows[0].numel() // self.positions
        gradients = [form.y.flatten(2) for form in forms]  # (B, O, T)
        order = self._order()
        step = cached_rows(_PATCHES * self.positions * size)
        for i in range(0, len(self), step):
            rows = slice(i, i + step)
            patches = windows[rows].reshape(-1, self.positions, size)
            yield rows, (self._formed(y[rows], patches) for y in gradients), order

    def _formed(self, y, patches):
        """Form gradients (b, O, I) from those in the output (b, O, T), in the patches' order."""
        return self._columns(y @ patches, lambda: y.sum(2))

    def _order(self):
        """Number the columns (I,) of gradients that are formed from patches with channels last."""
        order = order_of_channels_last(self.module)
        return torch.cat([order, torch.arange(len(order), self.shape[1])])  # the bias stays last

    def matrix(self):
        if not self._on_cpu:
            return super().matrix()
        matrix = self.y.new_empty(len(self), *self.shape)
        for rows, (part,), order in self.formed_together([self]):
            matrix[rows].index_copy_(2, order, part)
        return matrix

    def shares_input(self, other):
        return type(other) is type(self) and other.x is self.x

    def total(self, weights):
        scaled = self.y * weights.reshape(-1, *[1] * (self.y.ndim - 1))
        weight = weight_gradient(self.module, self.x, scaled).flatten(1)
        return self._columns(weight, lambda: scaled.flatten(2).sum((0, 2)))

    def compact(self):
        n_out, n_in = self.shape
        if self.n_numbers > len(self) * n_in * n_out:
            return Formed(self.matrix())
        return self

    def _columns(self, weight, bias):
        """Scale gradients (..., O, C · kernel) in the weight; append those (..., O) of the bias."""
        scale = self.layer.scales[self.layer.names["weight"]]
        if scale != 1:
            weight = weight * scale
        if "bias" not in self.layer.names:
            return weight
        return torch.cat([weight, bias()[..., None]], -1)
