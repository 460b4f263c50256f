"""Layers of torch's modules whose gradients have factors, one class for each kind of module.

Shapes in comments: B rows, T positions, I inputs, O outputs of a layer. Calls are the rows of the
input x of a module, of which a row of the data may have several.
"""

import math
from typing import ClassVar

import torch
from torch import nn

from ._convolved import Convolved
from ._forms import Formed, cached_rows
from ._layers import Layer, layer_class, register_joint_layer, register_layer
from ._lookup import Lookup
from ._outer import Outer
from ._patches import BATCH_NORMS, normalised, numel_per_output, unfold
from ._tied import Tied


class _Columns(Layer):
    """One row of G per output; columns of the weight, then of the bias."""

    low_rank = True

    @staticmethod
    def fan_in(module, role, parameter):
        if role == "weight":
            return numel_per_output(parameter)
        return None

    @property
    def shape(self):
        n_out = next(iter(self.weights.values())).shape[0]
        return n_out, self.n_parameters // n_out

    def join(self, gradients):
        n_out, _ = self.shape
        columns = []
        for name in self.names.values():
            gradient = gradients[name] * self.scales[name]
            columns.append(gradient.reshape(len(gradient), n_out, -1))  # (B, O, I) and (B, O, 1)
        return Formed(torch.cat(columns, 2))

    def split(self, matrix):
        sizes = [numel_per_output(p) for p in self.weights.values()]
        parts = zip(self.names.values(), matrix.split(sizes, 2), strict=True)
        return {name: part.flatten(1) for name, part in parts}

    def _columns(self, a):
        """Join what the weights multiply, scaled, and the 1 that the bias multiplies."""
        ones = torch.ones_like(a[..., :1])
        if "weight" not in self.names:
            return ones
        scale = self.scales[self.names["weight"]]
        if scale != 1:
            a = a * scale
        return self._weight_and_bias(a, ones)

    def _weight_and_bias(self, weight, bias):
        """Join the columns of the weight and of the bias, if gradients are taken in it."""
        if "bias" not in self.names:
            return weight
        return torch.cat([weight, bias], -1)


@register_layer(nn.Linear)
class LinearLayer(_Columns):
    """Weights and bias of a linear layer, maybe at several positions."""

    def factor(self, module, x, g, n_rows):
        a = self._columns(x.reshape(n_rows, -1, x.shape[-1]))
        return Outer(a, g.reshape(n_rows, -1, g.shape[-1]))

    def factors(self, module, x, gradients, n_rows):
        if type(self).factor is not LinearLayer.factor:  # a subclass knows better
            return super().factors(module, x, gradients, n_rows)
        a = self._columns(x.reshape(n_rows, -1, x.shape[-1]))
        return [Outer(a, g.reshape(n_rows, -1, g.shape[-1])) for g in gradients]


@register_layer("transformers.pytorch_utils.Conv1D")
class TransposedLinearLayer(LinearLayer):
    """Weights (I, O) and bias of a linear layer that keeps its matrix transposed, as in GPT-2."""

    @staticmethod
    def fan_in(module, role, parameter):
        if role == "weight":
            return len(parameter)
        return None

    @property
    def shape(self):
        n_out = next(iter(self.weights.values())).shape[-1]
        return n_out, self.n_parameters // n_out

    def join(self, gradients):
        columns = []
        for role, name in self.names.items():
            gradient = gradients[name] * self.scales[name]
            if role == "weight":
                columns.append(gradient.mT)  # (B, O, I)
            else:
                columns.append(gradient[:, :, None])  # (B, O, 1)
        return Formed(torch.cat(columns, 2))

    def split(self, matrix):
        sizes = [p.numel() // matrix.shape[1] for p in self.weights.values()]
        parts = zip(self.names.values(), matrix.split(sizes, 2), strict=True)
        return {name: part.mT.flatten(1) for name, part in parts}


@register_layer(nn.MultiheadAttention)
class InProjectionLayer(LinearLayer):
    """Weights and bias that give query, key and value of attention from inputs of one width."""

    roles: ClassVar = {"in_proj_weight": "weight", "in_proj_bias": "bias"}

    @staticmethod
    def fan_in(module, role, parameter):
        return Layer.fan_in(module, role, parameter)


@register_layer(nn.Conv1d, nn.Conv2d, nn.Conv3d)
class ConvolutionLayer(_Columns):
    """Weights and bias of a convolution: a position is a patch of the input."""

    @property
    def kernel(self):
        return math.prod(self.modules[0].kernel_size)

    def factor(self, module, x, g, n_rows):
        batched = x.ndim == 2 + len(module.kernel_size) and len(x) == n_rows
        if batched and module.groups == 1 and "weight" in self.names:
            return Convolved(x, g, self, module)
        a = unfold(module, x)  # (calls, T, groups · I)
        g = g.flatten(2).transpose(1, 2)  # (calls, T, O)
        if module.groups > 1:
            a = self._columns(a.reshape(*a.shape[:2], module.groups, -1))
            g = g.reshape(*g.shape[:2], module.groups, -1)
            formed = torch.einsum("btgo,btgi->bgoi", g, a).flatten(1, 2)
            return Formed(formed.reshape(n_rows, -1, *formed.shape[1:]).sum(1))
        a = self._columns(a)
        return Outer(a.reshape(n_rows, -1, a.shape[-1]), g.reshape(n_rows, -1, g.shape[-1]))


@register_layer(*BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
class NormalisationLayer(Layer):
    """One row of G per parameter."""

    formed_at_once = True

    @property
    def shape(self):
        return len(self.names), next(iter(self.weights.values())).numel()

    def join(self, gradients):
        parts = [gradients[name] * self.scales[name] for name in self.names.values()]
        return Formed(torch.stack([p.flatten(1) for p in parts], 1))

    def split(self, matrix):
        return dict(zip(self.names.values(), matrix.unbind(1), strict=True))

    def factor(self, module, x, g, n_rows):
        n_parts = 1  # of a call, whose positions may be rows of their own
        shape, axis = (*x.shape[1:2], -1), 2  # (channels, ...)
        if isinstance(module, nn.LayerNorm | nn.RMSNorm):
            n_parts = max(1, n_rows // len(x))
            shape, axis = (-1, math.prod(module.normalized_shape)), 1
        step = cached_rows(8 * x[0].numel())
        sums = []  # over positions, of some calls at a time: they stay in the cache
        for i in range(0, len(x), step):
            rows = slice(i, i + step)
            part = g[rows]
            sizes = n_parts * len(part), *shape
            found = []
            if "weight" in self.names:
                found.append((normalised(module, x[rows]) * part).reshape(sizes).sum(axis))
            if "bias" in self.names:
                found.append(part.reshape(sizes).sum(axis))
            sums.append(torch.stack(found, 1))  # (b, parameters, size)
        summed = torch.cat(sums)
        return Formed(summed.reshape(n_rows, -1, *summed.shape[1:]).sum(1))


@register_layer(nn.PReLU)
class SlopeLayer(Layer):
    """Slopes for negative inputs: one for all of them, or one for each channel."""

    def factor(self, module, x, g, n_rows):
        gradient = g * x.clamp(max=0)  # (calls, channels, ...)
        n_slopes = module.num_parameters
        if n_slopes > 1:
            gradient = gradient.reshape(*gradient.shape[:2], -1).sum(2)  # (calls, channels)
        return self.formed(gradient.reshape(n_rows, -1, n_slopes).sum(1))


@register_layer(nn.Embedding)
class EmbeddingLayer(Layer):
    """The table of an embedding."""

    one_hot = True

    def factor(self, module, x, g, n_rows):
        if module.padding_idx is not None:
            g = g * (x != module.padding_idx)[..., None]
        n_table_rows, size = self.shape
        index = x.reshape(n_rows, -1).long()  # scatter takes no other integers in torch 2.6
        form = Lookup(index, g.reshape(n_rows, -1, size), n_table_rows)
        if index.shape[1] > n_table_rows:  # as where each pair of positions looks up its distance
            return form.summed()
        return form


@register_joint_layer(EmbeddingLayer, LinearLayer)
class TiedLayer(Layer):
    """The table of an embedding that is also the weight of a linear layer, without its bias."""

    def factor(self, module, x, g, n_rows):
        (scale,) = self.scales.values()
        n_out, n_in = self.shape
        g = g * scale
        if issubclass(layer_class(module), EmbeddingLayer):
            part = EmbeddingLayer.factor(self, module, x, g, n_rows)
        else:
            part = Outer(x.reshape(n_rows, -1, n_in), g.reshape(n_rows, -1, n_out))
        return Tied.of(part, n_out)
