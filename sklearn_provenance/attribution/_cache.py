"""Kernels and features kept on disk, found again by what they are computed from."""

import joblib
import torch
from sklearn.utils.validation import check_memory

from ..tangent._fingerprint import fingerprint


class Cache:
    """Calls functions of inputs and arrays, or returns what they gave before.

    A grid over the noise variance fits the same model on the same fold again and again: what is
    computed is known by the weights, the code of the layers, the rows and their labels.

    Parameters
    ----------
    memory : None, str or joblib.Memory
        Where results are kept; None keeps nothing.
    kind : str
        Tells apart what shares the transformer.
    transformer : TangentFeatures, default=None
        Module, how it is called and what is differentiated; None where inputs are features.
    """

    def __init__(self, memory, kind, transformer=None):
        self.memory = None if memory is None else check_memory(memory)
        self.key = None
        if self.memory is not None:
            self.key = kind, None if transformer is None else fingerprint(transformer)

    def __call__(self, name, function, *arguments):
        """``function(*arguments)``, known by its name and its arguments."""
        if self.memory is None:
            return function(*arguments)
        digest = joblib.hash((self.key, name, *map(_array, arguments)))
        ignored = ["function", "arguments"]
        return self.memory.cache(_run, ignore=ignored)(digest, function, arguments)


def fit_estimator(estimator, X, y):
    """``estimator.fit(X, y)``, as joblib finds it again."""
    return estimator.fit(X, y)


def _run(digest, function, arguments):
    return function(*arguments)


def _array(values):
    if isinstance(values, tuple | list):
        return [_array(value) for value in values]
    if isinstance(values, dict):
        return {key: _array(value) for key, value in values.items()}
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
