"""A fitted model as bytes that are read without running code of whoever wrote them.

The bytes are those of :func:`torch.save`, read with ``weights_only=True``: torch's reader makes
objects of classes that are allowed, and calls nothing else. Allowed are layers of torch, and
scikit-learn's linear models, multilayer perceptrons, preprocessing and pipelines.
"""

import io
import pickletools
import zipfile

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import nn

_LAYERS = "torch.nn.modules."
_ESTIMATORS = (
    "sklearn.linear_model.",
    "sklearn.neural_network.",
    "sklearn.pipeline",
    "sklearn.preprocessing.",
)
# What arrays and numbers of NumPy are made by.
_NUMPY = [
    np.ndarray,
    np.dtype,
    np.random.RandomState,
    *(type(np.dtype(kind)) for kind in ("?", "i1", "i4", "i8", "u4", "u8", "f4", "f8", "U", "O")),
]
_NUMPY_FUNCTIONS = {"_reconstruct", "scalar", "_frombuffer", "__randomstate_ctor", "MT19937"}
_NUMPY_FUNCTIONS |= {"__bit_generator_ctor"}


def model_bytes(estimator):
    """Return a fitted estimator or module as bytes; None where it holds what is not allowed."""
    content = io.BytesIO()
    try:
        torch.save(estimator, content)
        read_model(content.getvalue())
    except Exception:  # whatever keeps it from being saved, it can be given to load
        return None
    return content.getvalue()


def read_model(content):
    """Read what :func:`model_bytes` gave.

    Raises
    ------
    ValueError
        If it holds something that is not allowed.
    """
    allowed = [*_NUMPY, *(_allowed(name) for name in _globals(content))]
    with torch.serialization.safe_globals([one for one in allowed if one is not None]):
        return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")


def _globals(content):
    """Return the names "module name" of all that a pickle in a zip file refers to."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("data.pkl")]
        pickled = archive.read(name)
    return {argument for op, argument, _ in pickletools.genops(pickled) if op.name == "GLOBAL"}


def _allowed(name):
    """Return what a name refers to if it is allowed; None if torch's reader decides by itself."""
    module, _, attribute = name.partition(" ")
    root = module.partition(".")[0]
    if root == "numpy":
        found = _imported(module, attribute)
        if attribute in _NUMPY_FUNCTIONS or found in _NUMPY:
            return found
    elif module.startswith(_LAYERS) or (module + ".").startswith(_ESTIMATORS):
        found = _imported(module, attribute)
        if isinstance(found, type) and issubclass(found, nn.Module | BaseEstimator):
            return found
        if isinstance(found, type) and module.startswith("sklearn.neural_network."):
            return found  # its optimizers
    elif root in ("torch", "collections", "_codecs", "__builtin__", "builtins"):
        return None
    raise ValueError(f"the model must be of layers and estimators that are allowed; got {name!r}")


def _imported(module, attribute):
    return getattr(__import__(module, fromlist=[attribute]), attribute, None)
