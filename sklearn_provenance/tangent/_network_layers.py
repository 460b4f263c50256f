"""The layers of a network: which there are, and what goes through all of them.

Shapes in comments: B rows.
"""

import math
from collections import defaultdict

import torch

from .._utils.budget import limit
from .._utils.kept import MEMORY_LIMIT
from . import _elementwise, _layer_kinds  # noqa: F401  (they register classes of layers)
from ._layers import Layer, joint_layer_class, layer_class

# Numbers that one batch may hold in layer factors (256 MB in single precision) within the default
# budget of memory; fewer within a smaller one, in proportion.
_BUDGET = 2**26
# Numbers of a batch that stay in the processor's cache, about.
_CACHED = 2**23
# Rows below which torch computes convolutions another way, which is slower.
_LEAST_ROWS = 16


def find_layers(module, weights, ntk_scale):
    """Divide the parameters in ``weights`` (by name) into layers.

    If two modules use a parameter together with different other parameters, neither can be a layer:
    the parameter becomes a layer of its own, for torch.func. A weight that modules of different
    kinds share is a layer of its own with factors, where a class of layers is known for it.
    """
    name_of = {id(p): name for name, p in weights.items()}
    scales = dict.fromkeys(weights, 1.0)
    modules_of = defaultdict(list)  # by (class of layers, (role, name) of each parameter)
    uses_of = defaultdict(set)  # by name of a parameter, keys of modules_of
    for m in module.modules():
        parameters = m.named_parameters(recurse=False, remove_duplicate=False)
        names = {role: name_of[id(p)] for role, p in parameters if id(p) in name_of}
        kind = layer_class(m)
        if ntk_scale:
            for role, name in names.items():
                inputs = (kind or Layer).fan_in(m, role, weights[name])
                if inputs is not None:
                    scales[name] = ntk_scale / math.sqrt(inputs)
        if kind and kind.roles is not None:
            names = {kind.roles[r]: name for r, name in names.items() if r in kind.roles}
        if names and kind:
            use = (kind, *names.items())
            modules_of[use].append(m)
            for name in names.values():
                uses_of[name].add(use)
    joint = {}  # classes of layers by name of a weight
    for name, uses in uses_of.items():
        kinds = [kind for kind, *roles in uses if ("weight", name) in roles]
        if len(kinds) == len(uses) and joint_layer_class(kinds):
            joint[name] = joint_layer_class(kinds)
    layers = []
    done = set()
    for name in weights:
        if name in done:
            continue
        kind, names, modules = Layer, {"weight": name}, []
        if name in joint:
            kind = joint[name]
            modules = [m for use in uses_of[name] for m in modules_of[use]]
        elif len(uses_of[name]) == 1:
            (use,) = uses_of[name]
            own = {role: other for role, other in use[1:] if other not in joint}
            if all(len(uses_of[other]) == 1 for other in own.values()):
                kind, names, modules = use[0], own, modules_of[use]
        done.update(names.values())
        layer_weights = {n: weights[n] for n in names.values()}
        layer_scales = {n: scales[n] for n in names.values()}
        layers.append(kind(len(layers), names, layer_weights, layer_scales, modules))
    return layers


def active_layers(layers):
    """Select the layers that influence the measurement, as far as has been seen."""
    return [layer for layer in layers if layer.route != "idle"]


def matrix_and_columns(weights, layers, n_rows, dtype, device):
    """Make a matrix for gradients of rows that are written out.

    Parameters
    ----------
    weights : dict of torch.nn.Parameter
        Parameters by name, in the order of the columns.
    layers : list of Layer
        Layers whose parameters have columns.
    n_rows, dtype, device
        Of the matrix.

    Returns
    -------
    matrix : torch.Tensor of shape (n_rows, n_columns)
        Zeros.
    columns : dict of torch.Tensor
        The columns of each parameter, by name: views of the matrix.
    """
    names = {name for layer in layers for name in layer.weights}
    n_columns = sum(p.numel() for name, p in weights.items() if name in names)
    matrix = torch.zeros(n_rows, n_columns, dtype=dtype, device=device)
    return matrix, columns_by_name(weights, layers, matrix)


def columns_by_name(weights, layers, matrix):
    """View the columns of each parameter, by name, in a matrix; see :func:`matrix_and_columns`."""
    names = {name for layer in layers for name in layer.weights}
    sizes = {name: p.numel() for name, p in weights.items() if name in names}
    return dict(zip(sizes, matrix.split(list(sizes.values()), 1), strict=True))


def split_by_name(layers, matrices):
    """Split matrices by number of the layer into gradients (B, numel) by name of the parameter."""
    split = {}
    for number, matrix in matrices.items():
        split |= layers[number].split(matrix)
    return split


def sums_of_calls(layer, calls, n_rows):
    """Make the forms of a layer from all calls of its modules.

    Parameters
    ----------
    layer : Layer
        The layer.
    calls : list of list
        For each measurement the calls (module, input, output gradient), the same but for the
        gradients.
    n_rows : int
        Rows of the data.

    Returns
    -------
    list of Form
        A form for each measurement.
    """
    totals = None
    for same in zip(*calls, strict=True):
        module, x, _ = same[0]
        forms = layer._call_factors(module, x, [g for _, _, g in same], n_rows)
        if totals is not None:
            forms = [total + form for total, form in zip(totals, forms, strict=True)]
        totals = forms
    return totals


def _numbers_at_once():
    """Count the numbers that one batch may hold in layer factors."""
    return int(_BUDGET * min(1.0, limit() / MEMORY_LIMIT))


def batch_size_for(model, batch_size, n_labels=1):
    """Choose the rows per pass; "auto" bounds the memory of the layers' factors at all labels."""
    if batch_size != "auto":
        return int(batch_size)
    numbers = 0
    for layer in model.layers:
        n_out, n_in = layer.shape
        if layer.route == "functional" or layer.positions > 1:
            numbers += n_out * n_in
        numbers += 2 * layer.positions * (n_labels * n_out + n_in)
    return max(1, min(256, _numbers_at_once() // numbers))


def features_batch_size(model, batch_size, n_features):
    """Choose the rows per pass for features, of which each row has ``n_features`` at all labels.

    Factors are used and freed layer by layer. On a CPU, "auto" is as many rows as stay in the
    processor's cache, but not so few that convolutions are slow.
    """
    if batch_size != "auto":
        return int(batch_size)
    numbers = 2 * n_features
    for layer in model.layers:
        n_out, n_in = layer.shape
        if layer.route == "functional":
            numbers += n_out * n_in
        numbers += 2 * layer.positions * (n_out + n_in // layer.kernel)
    fitting = _numbers_at_once() // numbers
    if model.device.type == "cpu":
        fitting = min(fitting, max(_LEAST_ROWS, _CACHED // numbers))
    return max(1, min(256, fitting))
