"""What is asked of the user's module before gradients of its outputs are computed."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

import torch
from torch import nn

from ._layer_kinds import LinearLayer
from ._layers import layer_class

_SHOWN = 12  # names in an error
_CHOICES = (
    '"auto", "trainable", "all", "linear", a class of modules or a list of names, patterns and '
    "classes"
)


def check_outputs(module):
    """Raise unless each row has outputs of its own, and a call does not change the module."""
    if not isinstance(module, nn.Module):
        raise TypeError(
            "module must be a torch.nn.Module that maps a batch to logits, "
            f"got {type(module).__name__}"
        )
    parameters = dict(module.named_parameters())
    for name, p in parameters.items():
        if isinstance(p, nn.parameter.UninitializedParameter):
            raise ValueError(
                f"every parameter must have a shape, got {name!r} without one. Call the module on "
                "one batch first"
            )
    devices = sorted({str(p.device) for p in parameters.values()})
    if len(devices) > 1:
        raise ValueError(f"all parameters must be on one device, got {devices}")
    for name, m in module.named_modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is None:
            raise ValueError(
                "every row must have outputs of its own, but layer "
                f"{name!r} normalises by the statistics of its batch even in evaluation mode "
                "(track_running_stats=False). Pass a model that tracks running statistics"
            )
        if isinstance(m, nn.Embedding | nn.EmbeddingBag) and m.max_norm is not None:
            raise ValueError(
                "the module must not change when it is called, but embedding "
                f"{name!r} rescales its weights (max_norm). Set max_norm to None in a copy of it"
            )


def check_module(module):
    """Raise unless the outputs of this module have a gradient for each row."""
    check_outputs(module)
    parameters = dict(module.named_parameters())
    if not parameters:
        raise ValueError(
            "module must have parameters, because tangent features are gradients in them; "
            f"got a {type(module).__name__} without any"
        )
    for name, p in parameters.items():
        if p.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                "parameters must be in single or double precision, because sums over many weights "
                f"lose their digits in less; got {name!r} in {p.dtype}. Pass a copy of the model, "
                "for instance copy.deepcopy(model).float()"
            )


def select_parameters(module, parameters):
    """Select the parameters that gradients are taken in, by name."""
    named = dict(module.named_parameters())
    if isinstance(parameters, type):
        parameters = [parameters]
    if not isinstance(parameters, str | Iterable):
        raise TypeError(f"parameters must be {_CHOICES}; got {parameters!r}")
    if not isinstance(parameters, str):
        return _matching(module, named, parameters)
    trainable = {name: p for name, p in named.items() if p.requires_grad}
    if parameters == "linear":
        linear = _of_linear_layers(module)
        found = {name: p for name, p in (trainable or named).items() if id(p) in linear}
        if not found:
            raise ValueError(
                'parameters="linear" needs a linear layer with parameters that are trained, got '
                f"a {type(module).__name__} without. Pass another choice of parameters"
            )
        return found
    if parameters == "all" or (parameters == "auto" and not trainable):
        return named
    if parameters not in ("auto", "trainable"):
        hint = _hint(_every_name(module), parameters, of_list=False)
        raise ValueError(f"parameters must be {_CHOICES}; got {parameters!r}{hint}")
    if not trainable:
        raise ValueError(
            'parameters="trainable" needs a parameter with requires_grad=True, got none. Pass '
            'parameters="all"'
        )
    return trainable


def _of_linear_layers(module):
    """Find the ids of the parameters of linear layers, whichever way their matrix lies."""
    found = set()
    for m in module.modules():
        kind = layer_class(m)
        if kind is not None and issubclass(kind, LinearLayer):
            found |= {id(p) for p in m.parameters(recurse=False)}
    return found


def _matching(module, named, choices):
    """Select parameters by a name, by a pattern of names, or by the class of their module.

    A parameter that is tied has several names, and may be chosen by each of them.
    """
    every = _every_name(module)
    chosen = set()
    unknown = []
    for choice in choices:
        if isinstance(choice, type):
            modules = [m for m in module.modules() if isinstance(m, choice)]
            ids = {id(p) for m in modules for p in m.parameters(recurse=False)}
        elif isinstance(choice, str):
            ids = {id(every[name]) for name in _named_by(every, choice)}
        else:
            ids = set()
        if not ids:
            unknown.append(choice)
        chosen |= ids
    if unknown or not chosen:
        hints = [_hint(every, choice) for choice in unknown if isinstance(choice, str)]
        raise ValueError(
            f"parameters must name some of {_shown(named)}, the module's parameters, or match them "
            f'by a pattern such as "encoder.*" or a class of modules; got {unknown or "none"}'
            f"{''.join(hints)}"
        )
    return {name: p for name, p in named.items() if id(p) in chosen}


def _every_name(module):
    """List the parameters by all of their names, of which one that is tied has several."""
    return dict(module.named_parameters(remove_duplicate=False))


def _named_by(names, choice):
    """Find the names that are a choice, or match it as a pattern."""
    return {name for name in names if name == choice or fnmatchcase(name, choice)}


def _shown(named):
    """List names, of which a large network has too many to read."""
    names = list(named)
    if len(names) <= _SHOWN:
        return str(names)
    shown = ", ".join(map(repr, [*names[: _SHOWN // 2], "..."] + names[-_SHOWN // 2 :]))
    return f"[{shown.replace(repr('...'), '...')}] ({len(names)} in all)"


def _hint(every, choice, of_list=True):
    """Say what a choice that matches no parameter may mean; "" if that is not known.

    Parameters
    ----------
    every : dict of torch.nn.Parameter
        The parameters of the network by all of their names.
    choice : str
        A name or pattern.
    of_list : bool, default=True
        Whether it was given in a list.
    """
    tried = [choice, f"{choice}.*", f"*.{choice}.*", f"*.{choice}", f"*{choice}*"]
    for pattern in tried:
        if _named_by(every, pattern):
            return f'. Pass "{pattern}"' if of_list else f'. Pass a list, ["{pattern}"]'
    return ""


def plain_call(module, x):
    """Call a module on a batch: the default ``forward``."""
    return module(x)
