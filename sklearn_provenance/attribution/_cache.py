"""Kernels and features kept on disk, found again by what they are computed from."""

import joblib
import torch
from sklearn.utils.validation import check_memory

from ..tangent._fingerprint import fingerprint


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
            self.key = kind, None if transformer is None else fingerprint(transformer)

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
