"""Layers: parameters that share one gradient matrix, one class per kind of module.

A layer's parameters are one matrix per row of the data, G = Σ_t g_t a_tᵀ over positions t. Shapes
in comments: B rows, T positions, I inputs, O outputs of a layer.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import nn

from ._forms import Formed, Outer
from ._lookup import Lookup
from ._patches import BATCH_NORMS, normalised, unfold

# Numbers that one batch may hold in layer factors (256 MB in single precision).
_BUDGET = 2**26

_KINDS: dict[type, type] = {}


def register_layer(*types):
    """Name the modules whose parameters a class of layers describes.

    Parameters
    ----------
    *types : type or str
        Classes of modules; their subclasses belong to them, unless registered themselves. A class
        of a package that may not be installed is named, as "package.module.Class".

    Returns
    -------
    callable
        Decorator of a subclass of :class:`Layer`.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_provenance.tangent import Layer, TangentModel, register_layer
    >>> class Gain(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = nn.Parameter(torch.ones(3))
    ...
    ...     def forward(self, x):
    ...         return x * self.weight
    >>> @register_layer(Gain)
    ... class GainLayer(Layer):
    ...     def factor(self, module, x, g, n_rows):
    ...         return self.formed((x * g).reshape(n_rows, -1, 3).sum(1))
    >>> TangentModel(Gain()).plan(torch.eye(3)).coverage.routes
    {'weight': 'factors'}
    """

    def register(kind):
        _KINDS.update(dict.fromkeys(types, kind))
        return kind

    return register


def layer_class(module):
    """The class of layers for a module's own parameters; None if no class is registered."""
    for t in type(module).__mro__:
        kind = _KINDS.get(t) or _KINDS.get(f"{t.__module__}.{t.__qualname__}")
        if kind is not None:
            return kind
    return None


@dataclass(eq=False)
class Layer:
    """Parameters that share one gradient matrix.

    This class describes a single parameter of a module that is not known. A subclass for a kind of
    module, see :func:`register_layer`, must have ``factor``; where the module has several
    parameters also ``shape``, ``join`` and ``split``.

    Parameters
    ----------
    number : int
        Place among the layers of a network.
    names : dict
        Name of each parameter that is differentiated by, by its role (weight, bias).
    weights : dict
        Parameters by name.
    scales : dict
        Factor of the NTK parameterisation by name.
    modules : list
        Modules that use the parameters.
    """

    number: int
    names: dict
    weights: dict
    scales: dict
    modules: list = field(default_factory=list)
    # "factors", "functional", or "idle" until it influences a measurement.
    route: str = field(default="idle", init=False)
    # Whether factors that were not zero have been compared with autograd.
    confirmed: bool = field(default=False, init=False)
    calls_per_row: set = field(default_factory=set, init=False)
    positions: int = field(default=1, init=False)
    # Whether calls without an axis for the rows of the data are shared by all of them.
    shared: bool = field(default=False, init=False)

    # Whether gradients are sums of few outer products, so that vectors are rotated instead of them.
    low_rank = False
    # Whether each outer product has a single row that is not zero.
    one_hot = False

    @staticmethod
    def fan_in(module, role, parameter):
        """Count the inputs that a weight sums over.

        Parameters
        ----------
        module : torch.nn.Module
            Module that holds the parameter.
        role : str
            Name of the parameter in it.
        parameter : torch.nn.Parameter
            The parameter.

        Returns
        -------
        int or None
            None for biases, norms, embeddings and unknown parameters.
        """
        recurrent = isinstance(module, nn.RNNBase | nn.RNNCellBase) and role.startswith("weight")
        attention = isinstance(module, nn.MultiheadAttention) and role.endswith("proj_weight")
        return parameter.shape[1] if recurrent or attention else None

    @property
    def key(self):
        """Name of the first parameter."""
        return next(iter(self.names.values()))

    @property
    def n_parameters(self):
        """Numbers in all parameters."""
        return sum(p.numel() for p in self.weights.values())

    @property
    def shape(self):
        """(O, I) of the gradient matrix."""
        first = next(iter(self.weights.values()))
        return (first.shape[0], first[0].numel()) if first.ndim > 1 else (1, first.numel())

    def join(self, gradients):
        """Make a form of gradients by name.

        Parameters
        ----------
        gradients : dict
            For each name a tensor of shape (B, ...) in the shape of the parameter.

        Returns
        -------
        Form
            Gradients in the scales of the NTK parameterisation.
        """
        (name,) = self.names.values()
        return self.formed(gradients[name] * self.scales[name])

    def split(self, matrix):
        """Make gradients by name, the inverse of ``join``.

        Parameters
        ----------
        matrix : torch.Tensor of shape (B, O, I)
            Gradient matrices.

        Returns
        -------
        dict
            For each name a tensor of shape (B, numel).
        """
        return {self.key: matrix.flatten(1)}

    def formed(self, gradient):
        """Make a form of gradients that are written out.

        Parameters
        ----------
        gradient : torch.Tensor of shape (B, ...)
            As many numbers a row as the layer has.

        Returns
        -------
        Formed
            The gradients.
        """
        return Formed(gradient.reshape(len(gradient), *self.shape))

    def factor(self, module, x, g, n_rows):
        """Make the form of one call of ``module``.

        Parameters
        ----------
        module : torch.nn.Module
            One of ``modules``.
        x : torch.Tensor
            Input of the call, its rows on the first axis; maybe several for a row of the data.
        g : torch.Tensor
            Gradient of the measurements in the output.
        n_rows : int
            Rows of the data.

        Returns
        -------
        Form
            Gradients of the ``n_rows`` rows.
        """
        raise NotImplementedError

    def _call_factor(self, module, x, g, n_rows):
        """As ``factor``, in the parameters' precision: mixed precision computes in less."""
        dtype = next(iter(self.weights.values())).dtype
        x = x.detach()
        return self.factor(module, x.to(dtype) if x.is_floating_point() else x, g.to(dtype), n_rows)


class _Columns(Layer):
    """One row of G per output; columns of the weight, then of the bias."""

    low_rank = True

    @staticmethod
    def fan_in(module, role, parameter):
        return parameter[0].numel() if role == "weight" else None

    @property
    def shape(self):
        n_out = next(iter(self.weights.values())).shape[0]
        return n_out, self.n_parameters // n_out

    def join(self, gradients):
        n_out, _ = self.shape
        parts = [gradients[name] * self.scales[name] for name in self.names.values()]
        return Formed(torch.cat([p.reshape(len(p), n_out, -1) for p in parts], 2))

    def split(self, matrix):
        sizes = [p[0].numel() for p in self.weights.values()]
        parts = zip(self.names.values(), matrix.split(sizes, 2), strict=True)
        return {name: part.flatten(1) for name, part in parts}

    def _columns(self, a):
        """What the weights multiply, scaled, and the 1 that the bias multiplies."""
        parts = []
        if "weight" in self.names:
            scale = self.scales[self.names["weight"]]
            parts.append(a if scale == 1 else a * scale)
        if "bias" in self.names:
            parts.append(torch.ones_like(a[..., :1]))
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


@register_layer(nn.Linear)
class LinearLayer(_Columns):
    """Weights and bias of a linear layer, maybe at several positions."""

    def factor(self, module, x, g, n_rows):
        a = self._columns(x.reshape(n_rows, -1, x.shape[-1]))
        return Outer(a, g.reshape(n_rows, -1, g.shape[-1]))


@register_layer("transformers.pytorch_utils.Conv1D")
class TransposedLinearLayer(LinearLayer):
    """Weights (I, O) and bias of a linear layer that keeps its matrix transposed, as in GPT-2."""

    @staticmethod
    def fan_in(module, role, parameter):
        return len(parameter) if role == "weight" else None

    @property
    def shape(self):
        n_out = next(iter(self.weights.values())).shape[-1]
        return n_out, self.n_parameters // n_out

    def join(self, gradients):
        parts = [gradients[name] * self.scales[name] for name in self.names.values()]
        parts = [p.mT if p.ndim == 3 else p[:, :, None] for p in parts]  # (B, O, I) and (B, O, 1)
        return Formed(torch.cat(parts, 2))

    def split(self, matrix):
        sizes = [len(p) if p.ndim == 2 else 1 for p in self.weights.values()]
        parts = zip(self.names.values(), matrix.split(sizes, 2), strict=True)
        return {name: part.mT.flatten(1) for name, part in parts}


@register_layer(nn.Conv1d, nn.Conv2d, nn.Conv3d)
class ConvolutionLayer(_Columns):
    """Weights and bias of a convolution: a position is a patch of the input."""

    def factor(self, module, x, g, n_rows):
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

    @property
    def shape(self):
        return len(self.names), next(iter(self.weights.values())).numel()

    def join(self, gradients):
        parts = [gradients[name] * self.scales[name] for name in self.names.values()]
        return Formed(torch.stack([p.flatten(1) for p in parts], 1))

    def split(self, matrix):
        return dict(zip(self.names.values(), matrix.unbind(1), strict=True))

    def factor(self, module, x, g, n_rows):
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


@register_layer(nn.Embedding)
class EmbeddingLayer(Layer):
    """The table of an embedding."""

    one_hot = True

    def factor(self, module, x, g, n_rows):
        if module.padding_idx is not None:
            g = g * (x != module.padding_idx)[..., None]
        return Lookup(x.reshape(n_rows, -1), g.reshape(n_rows, -1, g.shape[-1]), self.shape[0])


def find_layers(module, weights, ntk_scale):
    """Layers of the parameters in ``weights`` (by name).

    A parameter that two modules use in different company cannot be one layer of theirs: it becomes
    a layer of its own, for torch.func.
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
        kind = layer_class(m)
        for role, name in own.items():
            inputs = (kind or Layer).fan_in(m, role, weights[name]) if ntk_scale else None
            if inputs is not None:
                scales[name] = ntk_scale / math.sqrt(inputs)
        if own and kind:
            key = (kind, *own.items())
            groups.setdefault(key, []).append(m)
            for name in own.values():
                groups_of.setdefault(name, set()).add(key)
    layers, taken = [], set()
    for name in weights:
        if name in taken:
            continue
        kind, names, modules = Layer, {"weight": name}, []
        if len(groups_of.get(name, ())) == 1:
            (key,) = groups_of[name]
            if all(len(groups_of[n]) == 1 for _, n in key[1:]):
                kind, names, modules = key[0], dict(key[1:]), groups[key]
        taken.update(names.values())
        own = {n: weights[n] for n in names.values()}
        own_scales = {n: scales[n] for n in own}
        layers.append(kind(len(layers), names, own, own_scales, modules))
    return layers


def split_by_name(layers, matrices):
    """Gradients (B, numel) of all parameters by name, from matrices by number of the layer."""
    split = {}
    for number, matrix in matrices.items():
        split |= layers[number].split(matrix)
    return split


def sums_of_calls(layers, calls, n_rows):
    """Form of each layer by number, from its calls (module, input, output gradient) by number."""
    forms = {}
    for number in list(calls):
        for module, x, g in calls.pop(number):
            form = layers[number]._call_factor(module, x, g, n_rows)
            forms[number] = forms[number] + form if number in forms else form
    return forms


def batch_size_for(model, batch_size):
    """Rows per pass; "auto" bounds what the layers' factors take."""
    if batch_size != "auto":
        return int(batch_size)
    numbers = 0
    for layer in model.layers:
        n_out, n_in = layer.shape
        if layer.route == "functional" or layer.positions > 1:
            numbers += n_out * n_in
        numbers += 2 * layer.positions * (n_out + n_in)
    return max(1, min(256, _BUDGET // numbers))
