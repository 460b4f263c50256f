"""A digest of everything that tangent features are computed from.

Rows kept on disk are found again by it, so where in doubt it tells two things apart: the price is
computing once more, not features of another network.
"""

import dis
import hashlib
import sys
from types import CodeType, FunctionType, MethodType, ModuleType

import numpy as np
import torch
from torch import nn

# To be increased when the same network and parameters begin to give other numbers.
_VERSION = 1
# What does not change the features: where, how fast and how loudly they are computed.
_WITHOUT_EFFECT = ("module", "forward", "batch_size", "verbose", "store")
# Attributes that every module has; parameters, buffers and submodules are looked at on their own.
_INTERNAL = frozenset(vars(nn.Module()))
# Functions of these packages are known by their names.
_LIBRARIES = {"torch", "numpy", *sys.stdlib_module_names}
_NUMBERS = bool | int | float | complex | np.generic
_LEAVES = _NUMBERS | str | bytes | None | type(...) | torch.dtype | torch.device | type
# How far functions and containers are followed.
_DEPTH = 6
_CHUNK = 2**24  # bytes hashed at once


def fingerprint(transformer):
    """Digest of everything that tangent features depend on besides rows and labels.

    It covers weights and buffers; for each module its class, its description, its plain
    attributes, its hooks, and the code of its forward method with the methods, functions and
    constants which that names; the same for ``forward``; and every parameter that matters. The
    sketch is known by its seed once the transformer is fitted.

    Parameters
    ----------
    transformer : TangentFeatures
        Fitted or not.

    Returns
    -------
    str
        Hexadecimal digest, the same in every process.
    """
    params = transformer.get_params(deep=False)
    settings = {name: v for name, v in params.items() if name not in _WITHOUT_EFFECT}
    if params["n_components"] == "exact":
        del settings["sketch"], settings["random_state"]
    elif hasattr(transformer, "_sketch"):
        settings["random_state"] = transformer._sketch.seed
    digest = Digest()
    digest.add(_VERSION, settings, params["forward"], params["module"])
    return digest.hexdigest()


class Digest:
    """SHA-256 of arrays, modules, functions and plain values, piece by piece without copies."""

    def __init__(self):
        self.hash = hashlib.sha256()
        self.seen = {}  # ids -> (number, objects): these are kept, or their ids might be reused

    def hexdigest(self):
        return self.hash.hexdigest()

    def add(self, *values):
        """Continue with more values."""
        for value in values:
            self._add(value, _DEPTH)
        return self

    def _token(self, *words):
        text = repr(words).encode()
        self.hash.update(b"%d:" % len(text) + text)

    def _add(self, value, depth):
        if isinstance(value, _LEAVES):
            self._leaf(value)
        elif isinstance(value, torch.Tensor | np.ndarray):
            self._array(value)
        elif isinstance(value, ModuleType):
            self._token("import", value.__name__)
        elif depth == 0:
            self._token("deep", type(value).__qualname__)
        elif isinstance(value, list | tuple):
            self._token(type(value).__name__, len(value))
            for item in value:
                self._add(item, depth - 1)
        elif isinstance(value, dict):
            self._token("dict", len(value))
            for key, item in value.items():
                self._add(key, depth - 1)
                self._add(item, depth - 1)
        elif isinstance(value, set | frozenset):
            self._token("set", sorted(map(repr, value)))
        elif isinstance(value, FunctionType | MethodType):
            self._function(value, depth - 1)
        elif self._is_new(value):
            if isinstance(value, nn.Module):
                self._module(value, depth)
            else:
                self._object(value, depth - 1)

    def _is_new(self, *values):
        key = tuple(map(id, values))
        if key in self.seen:
            self._token("seen", self.seen[key][0])
            return False
        self.seen[key] = len(self.seen), values
        return True

    def _leaf(self, value):
        if isinstance(value, type):
            self._token("class", value.__module__, value.__qualname__)
        else:
            self._token(type(value).__name__, repr(value))

    def _array(self, array):
        """Type, shape and numbers, some rows at a time."""
        tensor = array
        if isinstance(array, np.ndarray):
            if array.dtype.hasobject:
                self._token("objects", [repr(item) for item in array.flat])
                return
            self._token("array", array.dtype.str, array.shape)
        else:
            tensor = array.detach()
            tensor = tensor if tensor.layout is torch.strided else tensor.to_dense()
            self._token("tensor", str(tensor.dtype), tuple(tensor.shape), array.requires_grad)
            if tensor.is_meta:
                return
        if not all(tensor.shape):
            return
        if not tensor.ndim:
            tensor = tensor.reshape(1)
        itemsize = tensor.itemsize if isinstance(tensor, np.ndarray) else tensor.element_size()
        n_rows = len(tensor)
        row_bytes = itemsize * int(np.prod(tensor.shape[1:]))
        step = max(1, _CHUNK // row_bytes)
        for i in range(0, n_rows, step):
            part = tensor[i : i + step]
            if isinstance(part, torch.Tensor):
                part = part.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            self.hash.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8))

    def _module(self, module, depth):
        self._leaf(type(module))
        for named in (module._parameters, module._buffers):
            self._token(len(named))
            for name, value in named.items():
                self._token(name)
                if value is None or self._is_new(value):  # tied weights are one
                    self._add(value, depth)
        state = _INTERNAL | _written(module.forward, type(module))
        own = {name: v for name, v in vars(module).items() if name not in state}
        code = getattr(module, "code", None)  # of a traced or scripted module
        self._token(module.extra_repr(), code if isinstance(code, str) else None, sorted(own))
        for name in sorted(own):
            self._add(own[name], depth - 1)
        hooks = module._forward_pre_hooks, module._forward_hooks
        self._add([list(h.values()) for h in hooks], depth)
        self._function(module.forward, depth - 1)
        self._token(len(module._modules))
        for name, child in module._modules.items():
            self._token(name)
            self._add(child, depth)  # nesting is no depth

    def _object(self, value, depth):
        """Class, code if it is called, and plain attributes."""
        self._leaf(type(value))
        self._token(getattr(value, "__module__", None), getattr(value, "__qualname__", None))
        if callable(value) and isinstance(value.__call__, MethodType):
            self._function(value.__call__, depth)
        if hasattr(value, "func") and hasattr(value, "keywords"):  # functools.partial
            self._add((value.func, value.args, value.keywords), depth)
        for name, attribute in sorted(getattr(value, "__dict__", {}).items()):
            if isinstance(attribute, _LEAVES | torch.Tensor | np.ndarray):
                self._token(name)
                self._add(attribute, depth)

    def _function(self, function, depth):
        """Name, code, defaults, and what the code names around it."""
        owner = getattr(function, "__self__", None)
        function = getattr(function, "__func__", function)
        name, module = getattr(function, "__qualname__", ""), getattr(function, "__module__", "")
        self._token("function", module, name)
        if not isinstance(function, FunctionType) or _of_library(function):
            return
        if not self._is_new(function, type(owner)):
            return
        code = function.__code__
        self._code(code)
        self._add((function.__defaults__, function.__kwdefaults__, vars(function)), depth)
        around, written = {}, _written(function, type(owner))
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                around[name] = cell.cell_contents
            except ValueError:  # defined later
                continue
        for name in sorted(_names(code)):
            if name in function.__globals__:
                around.setdefault(name, function.__globals__[name])
            if owner is not None:
                value = _class_attribute(type(owner), name)
                is_method = isinstance(value, FunctionType)
                around["self." + name] = MethodType(value, owner) if is_method else value
        if owner is not None and not isinstance(owner, nn.Module):
            self._add(owner, depth)
        for name, value in around.items():
            if name.removeprefix("self.") not in written:
                self._token(name)
                self._add(value, depth)

    def _code(self, code):
        self._token(code.co_code, code.co_names, len(code.co_consts))
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._code(constant)
            else:
                self._add(constant, _DEPTH)


def _parts(code):
    """A function's code and that of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)


def _names(code):
    """Names that a function looks up."""
    return {name for part in _parts(code) for name in part.co_names}


def _class_attribute(owner, name):
    """A method, property or constant of a class; None for anything else."""
    value = getattr(owner, name, None)
    value = value.fget if isinstance(value, property) else value
    return value if isinstance(value, FunctionType | _NUMBERS | str | tuple) else None


def _written(function, owner, seen=None):
    """Names that a function and the methods it names assign to: counters, caches, what it keeps.

    They are state, not settings, and another digest at each call would be of no use.
    """
    function = getattr(function, "__func__", function)
    seen = set() if seen is None else seen
    if not isinstance(function, FunctionType) or function in seen or _of_library(function):
        return set()
    seen.add(function)
    stores = "STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF"
    written = {
        instruction.argval
        for part in _parts(function.__code__)
        for instruction in dis.get_instructions(part)
        if instruction.opname in stores
    }
    for name in _names(function.__code__):
        written |= _written(_class_attribute(owner, name), owner, seen)
    return written


def _of_library(function):
    return str(getattr(function, "__module__", "")).split(".")[0] in _LIBRARIES
