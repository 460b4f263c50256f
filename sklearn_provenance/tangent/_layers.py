"""Per-example gradients of a layer, kept as the factors they are made of.

A layer's parameters are one matrix per example, G = Σ_t g_t a_tᵀ over positions t. Shapes in
comments: B examples, T positions, I inputs, O outputs of a layer.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F

from ._forms import Formed, Lookup, Outer

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_NORMS = (*_BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(eq=False)
class Layer:
    """Parameters that share one gradient matrix.

    ``kind`` is "outer" (columns: weight, then bias), "norm" (one row per parameter), "lookup" or
    "other" (a single parameter of a module that is not known here).
    """

    number: int
    kind: str
    names: dict  # role (weight, bias) -> name of the parameter, those differentiated by alone
    weights: dict  # name -> parameter
    scales: dict  # name -> factor of the NTK parameterisation
    modules: list = field(default_factory=list)
    route: str = "idle"  # "factors", "functional", or "idle" until it influences a measurement
    calls_per_row: set = field(default_factory=set)
    positions: int = 1

    @property
    def key(self):
        return next(iter(self.names.values()))

    @property
    def one_hot(self):
        """Whether the left side of the gradients is one-hot."""
        return self.kind == "lookup"

    @property
    def n_parameters(self):
        return sum(p.numel() for p in self.weights.values())

    @property
    def shape(self):
        """(O, I) of the gradient matrix."""
        first = next(iter(self.weights.values()))
        if self.kind == "outer":
            n_out = first.shape[0]
            return n_out, self.n_parameters // n_out
        if self.kind == "norm":
            return len(self.names), first.numel()
        return (first.shape[0], first[0].numel()) if first.ndim > 1 else (1, first.numel())

    def join(self, gradients):
        """Gradient matrices from gradients by name, each (B, *shape)."""
        n_out, _ = self.shape
        parts = [gradients[name] * self.scales[name] for name in self.names.values()]
        if self.kind == "outer":
            return Formed(torch.cat([p.reshape(len(p), n_out, -1) for p in parts], 2))
        if self.kind == "norm":
            return Formed(torch.stack([p.flatten(1) for p in parts], 1))
        return Formed(parts[0].reshape(len(parts[0]), *self.shape))

    def split(self, matrix):
        """Gradients by name, each (B, numel), from gradient matrices (B, O, I)."""
        if self.kind == "outer":
            sizes = [p[0].numel() for p in self.weights.values()]
            parts = matrix.split(sizes, 2)
        elif self.kind == "norm":
            parts = matrix.unbind(1)
        else:
            parts = [matrix]
        return {n: p.flatten(1) for n, p in zip(self.names.values(), parts, strict=True)}

    def factor(self, module, x, g, n_rows):
        """Factor of one call of ``module`` with input ``x`` and output gradient ``g``."""
        dtype = next(iter(self.weights.values())).dtype
        g = g.to(dtype)  # automatic mixed precision computes in less
        if self.kind == "lookup":
            if module.padding_idx is not None:
                g = g * (x != module.padding_idx)[..., None]
            return Lookup(x.reshape(n_rows, -1), g.reshape(n_rows, -1, g.shape[-1]), self.shape[0])
        x = x.detach().to(dtype)
        if self.kind == "norm":
            return self._norm(module, x, g, n_rows)
        if isinstance(module, nn.Linear):
            a, groups = x.reshape(n_rows, -1, x.shape[-1]), 1
        else:
            a, groups = unfold(module, x), module.groups  # (calls, T, groups · I)
            g = g.flatten(2).transpose(1, 2)
        if groups > 1:
            a = a.reshape(*a.shape[:2], groups, -1)
            a = self._columns(a)
            g = g.reshape(*g.shape[:2], groups, -1)
            formed = torch.einsum("btgo,btgi->bgoi", g, a).flatten(1, 2)
            return Formed(formed.reshape(n_rows, -1, *formed.shape[1:]).sum(1))
        a = self._columns(a)
        return Outer(a.reshape(n_rows, -1, a.shape[-1]), g.reshape(n_rows, -1, g.shape[-1]))

    def _columns(self, a):
        """What the weights multiply, scaled, and the 1 that the bias multiplies."""
        parts = []
        if "weight" in self.names:
            scale = self.scales[self.names["weight"]]
            parts.append(a if scale == 1 else a * scale)
        if "bias" in self.names:
            parts.append(torch.ones_like(a[..., :1]))
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def _norm(self, module, x, g, n_rows):
        rows = []
        if "weight" in self.names:
            rows.append(g * normalised(module, x))
        if "bias" in self.names:
            rows.append(g)
        if isinstance(module, nn.LayerNorm | nn.RMSNorm):
            size = math.prod(module.normalized_shape)
            rows = [r.reshape(n_rows, -1, size).sum(1) for r in rows]
        else:
            rows = [r.flatten(2).sum(2) if r.ndim > 2 else r for r in rows]  # (calls, channels)
            rows = [r.reshape(n_rows, -1, r.shape[1]).sum(1) for r in rows]
        return Formed(torch.stack(rows, 1))


def normalised(module, x):
    """Output of a normalisation layer without its affine parameters."""
    if isinstance(module, _BATCH_NORMS):
        return F.batch_norm(x, module.running_mean, module.running_var, eps=module.eps)
    if isinstance(module, nn.LayerNorm):
        return F.layer_norm(x, module.normalized_shape, eps=module.eps)
    if isinstance(module, nn.RMSNorm):
        return F.rms_norm(x, module.normalized_shape, eps=module.eps)
    return F.group_norm(x, module.num_groups, eps=module.eps)


def unfold(module, x):
    """Patches (B, T, channels · kernel) of a convolution's input, in the order of its output."""
    padding = []
    for i, size in enumerate(module.kernel_size):
        if module.padding == "same":
            total = module.dilation[i] * (size - 1)
            padding = [total // 2, total - total // 2, *padding]
        elif module.padding != "valid":
            padding = [module.padding[i]] * 2 + padding
    if any(padding):
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        x = F.pad(x, padding, mode=mode)
    n = len(module.kernel_size)
    for i in range(n):
        dilation = module.dilation[i]
        window = dilation * (module.kernel_size[i] - 1) + 1
        x = x.unfold(2 + i, window, module.stride[i])[..., ::dilation]
    # (B, channels, *output, *kernel) -> (B, *output, channels, *kernel)
    x = x.permute(0, *range(2, 2 + n), 1, *range(2 + n, 2 + 2 * n))
    return x.reshape(len(x), math.prod(x.shape[1 : 1 + n]), -1)


def kind_of(module):
    """How the gradients of this module's own parameters are factored; None if they are not."""
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return "outer"
    if isinstance(module, _NORMS):
        return "norm"
    return "lookup" if isinstance(module, nn.Embedding) else None


def fan_in(module, name, parameter):
    """Inputs that a weight sums over; None for biases, norms, embeddings and unknown parameters."""
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) and name == "weight":
        return parameter[0].numel()
    recurrent = isinstance(module, nn.RNNBase | nn.RNNCellBase) and name.startswith("weight")
    attention = isinstance(module, nn.MultiheadAttention) and name.endswith("proj_weight")
    return parameter.shape[1] if recurrent or attention else None


def find_layers(module, weights, ntk_scale):
    """Layers of the parameters in ``weights`` (by name).

    A parameter that two modules use in different company cannot be one layer: it becomes a layer
    of kind "other", for torch.func.
    """
    name_of = {id(p): name for name, p in weights.items()}
    scales = dict.fromkeys(weights, 1.0)
    groups, groups_of = {}, {}
    for m in module.modules():
        own = {
            role: name_of[id(p)]
            for role, p in m._parameters.items()
            if p is not None and id(p) in name_of
        }
        for role, name in own.items():
            if ntk_scale:
                inputs = fan_in(m, role, weights[name])
                if inputs is not None:
                    scales[name] = ntk_scale / math.sqrt(inputs)
        kind = kind_of(m)
        if own and kind:
            key = (kind, *own.items())
            groups.setdefault(key, []).append(m)
            for name in own.values():
                groups_of.setdefault(name, set()).add(key)
    layers, taken = [], set()
    for name in weights:
        if name in taken:
            continue
        names, kind, modules = {"weight": name}, "other", []
        if len(groups_of.get(name, ())) == 1:
            (key,) = groups_of[name]
            if all(len(groups_of[n]) == 1 for _, n in key[1:]):
                kind, names, modules = key[0], dict(key[1:]), groups[key]
        taken.update(names.values())
        own = {n: weights[n] for n in names.values()}
        own_scales = {n: scales[n] for n in own}
        layers.append(Layer(len(layers), kind, names, own, own_scales, modules))
    return layers
