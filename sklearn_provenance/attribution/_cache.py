"""Kernels and features kept on disk, found again by what they are computed from."""

import joblib
import numpy as np
import torch
from sklearn.utils.validation import check_memory


class Cache:
    """Calls functions of points and arrays, or returns what they gave before.

    A grid over the noise variance fits the same model on the same fold again and again: what is
    computed is known by the weights, the code of the layers, the rows and their labels.

    Parameters
    ----------
    memory : None, str or joblib.Memory
        Where results are kept; None keeps nothing.
    kind : str
        Tells apart the sources of kernels that share the transformer.
    transformer : TangentFeatures, default=None
        Module, how it is called and what is differentiated; None where the points are features.
    """

    def __init__(self, memory, kind, transformer=None):
        self.memory = None if memory is None else check_memory(memory)
        self.key = None
        if self.memory is not None:
            self.key = kind, None if transformer is None else _fingerprint(transformer)

    def __call__(self, function, *points):
        """``function(*points)``."""
        if self.memory is None:
            return function(*points)
        digest = joblib.hash((self.key, function.__qualname__, *map(_array, points)))
        return self.memory.cache(_run, ignore=["function", "points"])(digest, function, points)


def _run(digest, function, points):
    return function(*points)


def _array(values):
    if isinstance(values, tuple):  # points
        return [_array(value) for value in values]
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values


def _fingerprint(transformer):
    """Digest of everything that features depend on besides rows and labels."""
    params = transformer.get_params(deep=False)
    module, forward = params.pop("module"), params.pop("forward")
    for name in ("batch_size", "verbose"):
        params.pop(name)
    weights = [
        (name, _array(value), value.requires_grad)
        for values in (module.named_parameters(), module.named_buffers())
        for name, value in values
    ]
    layers = [(name, repr(m), _code(type(m).forward)) for name, m in module.named_modules()]
    how = None if forward is None else _code(forward)
    return joblib.hash((params, weights, layers, how))


def _code(function):
    """What tells a function from another of the same name."""
    code = getattr(function, "__code__", None)
    if code is None:  # a callable object, or a function that is not written in Python
        code = getattr(type(function).__call__, "__code__", None)
    state = {k: v for k, v in getattr(function, "__dict__", {}).items() if not callable(v)}
    state = {k: np.asarray(v) for k, v in state.items() if isinstance(v, int | float | np.ndarray)}
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return name, None if code is None else code.co_code, state
