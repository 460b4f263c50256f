"""Saving and loading without pickle: one safetensors file with a JSON header."""

import json
import math
import numbers
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from .._utils.files import checksum, write
from .._utils.rows import image_layout
from ._input import unit_scale

_FORMAT = "sklearn_provenance.{name}/{version}"
_CUSTOM = "custom backbone"
_NOT_SAVED = ("callbacks", "random_state", "backbone")
_LONGEST_TEXT = 1 << 16  # bytes of a label; a damaged type may ask for any
_STATE = {
    *("params", "backbone", "random_state", "classes", "sample_id", "feature_names"),
    *("user_shape", "input_scale", "fit_max", "fit_flat", "history"),
}


def save_estimator(estimator, path):
    """Write a fitted estimator to one file.

    Parameters
    ----------
    estimator : ProvenanceEstimator
        Fitted.
    path : str or path-like
        File to write.
    """
    # set_params after fit does not change the network.
    params = estimator.get_params(deep=False)
    params.update({name: estimator._structure[name] for name in estimator._STRUCTURE})
    backbone = params["backbone"]
    params = {name: _plain(v) for name, v in params.items() if name not in _NOT_SAVED}
    seed = estimator.random_state
    state = {
        "params": params,
        "backbone": backbone if isinstance(backbone, str) else _CUSTOM,
        "random_state": int(seed) if isinstance(seed, int | np.integer) else None,
        "classes": _encode(getattr(estimator, "classes_", None)),
        "sample_id": _encode(estimator._sample_id),
        "feature_names": _encode(getattr(estimator, "feature_names_in_", None)),
        "user_shape": estimator._user_shape,
        "input_scale": estimator._input_scale,
        "fit_max": estimator._fit_max,
        "fit_flat": estimator._fit_flat,
        "history": [
            {k: v for k, v in epoch.items() if k != "batches"} for epoch in estimator.net_.history
        ],
    }
    tensors = {
        f"network.{name}": value.cpu().contiguous().clone()  # tied weights share memory
        for name, value in estimator.net_.module_.state_dict().items()
    }
    tensors["fit_X"] = torch.tensor(estimator._fit_X)
    tensors["fit_y"] = torch.tensor(estimator._fit_y)
    tensors["index"] = torch.tensor(estimator.index_)
    header = {
        "format": _FORMAT.format(name=type(estimator).__name__, version=2),
        "state": json.dumps(state, default=_plain),
    }
    header["checksum"] = _checksum(header, tensors)
    write(path, safetensors.torch.save(tensors, metadata=header))


@contextmanager
def reading(path):
    """Turn whatever a damaged file leads to into one ValueError that names it."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        what = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} cannot be loaded: {what}") from error


def load_state(path, cls, backbone):
    """Read what :func:`save_estimator` wrote, and check all but the weights.

    Parameters
    ----------
    path : str or path-like
        File to read.
    cls : type
        Class of the estimator.
    backbone : Module, callable or None
        The backbone, if it was the user's own.

    Returns
    -------
    state : dict
        The JSON part; ``params`` can be given to the constructor. ``fit_X``, ``fit_y`` and
        ``index`` are arrays.
    weights : dict of str to Tensor
        The network's state.

    Raises
    ------
    ValueError
        If the file was not written by ``save`` of that class or is damaged, or a backbone is
        missing.
    """
    # Bytes rather than a map of the file, under which another process may change it.
    raw = Path(path).read_bytes()
    try:
        tensors = safetensors.torch.load(raw)
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        header = header.get("__metadata__", {})
    except Exception as error:
        raise ValueError(f"{path} is not a safetensors file, or is damaged: {error}") from error
    known = [_FORMAT.format(name=cls.__name__, version=version) for version in (1, 2)]
    if header.get("format") not in known:
        raise ValueError(
            f"{path} was not written by this version of {cls.__name__}.save: its format is "
            f"{header.get('format')!r}, expected {known[1]!r}"
        )
    with reading(path):
        # Files of the first version have no checksum.
        if header["format"] == known[1] or "checksum" in header:
            same = header.get("checksum") == _checksum(header, tensors)
            _require(same, "its content does not have its checksum, so it is damaged")
        state = json.loads(header["state"])
        _require(isinstance(state, dict) and set(state) == _STATE, "its state is not complete")
        for name in ("classes", "sample_id", "feature_names"):
            state[name] = _decode(state[name])
        for name in ("fit_X", "fit_y", "index"):
            state[name] = tensors.pop(name).numpy()
        _check_params(state, cls, tensors)
        _check_rows(state)
        cls._check_saved_targets(state)
    if state["backbone"] == _CUSTOM:
        if backbone is None:
            raise ValueError(
                "the classifier was saved with a backbone of your own, which is code and not in "
                "the file: load(path, backbone=...) takes it"
            )
        state["params"]["backbone"] = backbone
    elif backbone is not None:
        raise ValueError(
            f"backbone is only for classifiers saved with one of your own; this one has "
            f"{state['backbone']!r}"
        )
    return state, {name.removeprefix("network."): value for name, value in tensors.items()}


def load_weights(module, weights):
    """Give weights to a module, after checking that they fit and are numbers."""
    for name, value in module.state_dict().items():
        fits = name in weights and (weights[name].shape, weights[name].dtype) == (
            value.shape,
            value.dtype,
        )
        _require(fits, f"the weights do not fit the network at {name}")
        if name.endswith("running_var"):
            _require((weights[name] >= 0).all(), f"{name} has negative variances")
    for name, _ in module.named_parameters():
        _require(weights[name].isfinite().all(), f"the weights {name} are not finite")
    for name, value in weights.items():
        _require(not value.isnan().any(), f"{name} has NaN")
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"the weights do not fit the network: {error}") from error


def _checksum(header, tensors):
    parts = [header["format"].encode(), header["state"].encode()]
    for name, value in sorted(tensors.items()):
        parts.append(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        parts.append(value.reshape(-1).view(torch.uint8).numpy())
    return checksum(*parts)


def _require(holds, what):
    if not holds:
        raise ValueError(what)


def _is_number(value):
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and math.isfinite(value)


def _check_params(state, cls, weights):
    params = state["params"]
    _require(isinstance(params, dict), "params must be a dict")
    unknown = set(params) - (set(cls._get_param_names()) - set(_NOT_SAVED))
    _require(not unknown, f"it has unknown parameters {sorted(unknown)}")
    if isinstance(params.get("input_shape"), list):
        params["input_shape"] = tuple(params["input_shape"])
    params["random_state"] = state["random_state"]
    custom = state["backbone"] == _CUSTOM
    params["backbone"] = "auto" if custom else state["backbone"]
    cls(**params)._validate_params()
    # The one parameter that could ask for any amount of memory.
    size = params.get("latent_dim")
    fits = size is None or any(size in value.shape for value in weights.values())
    _require(fits, f"the weights do not fit latent_dim={size}")


def check_saved_labels(state, least_classes):
    """Raise unless a state has a label of a class for each row, and outputs of every class."""
    y, classes = state["fit_y"], state["classes"]
    _require(classes is not None and classes.ndim == 1, "classes must be an array")
    numbers_ = np.arange(len(classes))
    _require(len(classes) >= least_classes, "it has too few classes")
    _require(len(np.unique(classes)) == len(classes), "classes must be distinct")
    fits = y.shape == state["fit_X"].shape[:1] and y.dtype.kind == "i"
    _require(fits, "fit_y must be a label for each row")
    _require(np.array_equal(np.unique(y), numbers_), "fit_y must have all classes and no other")
    named = np.unique(y[state["index"]])
    _require(np.array_equal(named, numbers_), "index must have all classes")


def check_saved_numbers(state):
    """Raise unless a state has finite targets for each row, and no classes."""
    y, n_rows = state["fit_y"], len(state["fit_X"])
    _require(state["classes"] is None, "a regression has no classes")
    fits = y.ndim in (1, 2) and len(y) == n_rows and y.size > 0 and y.dtype == np.float64
    _require(fits and np.isfinite(y).all(), "fit_y must be finite targets for each row")


def _check_rows(state):
    X, index = state["fit_X"], state["index"]
    _require(X.ndim == 2 and X.dtype in (np.uint8, np.float32), "fit_X must be rows")
    n, n_features = X.shape
    _require(n > 1 and n_features > 0 and np.isfinite(X).all(), "fit_X must be finite rows")
    ascending = index.ndim == 1 and index.dtype.kind == "i" and (np.diff(index) > 0).all()
    inside = ascending and len(index) > 0 and index[0] >= 0 and index[-1] < n
    _require(inside, "index must be distinct rows, in increasing order")
    for name, shape in (("sample_id", (n,)), ("feature_names", (n_features,))):
        value = state[name]
        _require(value is None or value.shape == shape, f"{name} must have shape {shape}")
    shape, scale = state["user_shape"], unit_scale(X)
    if shape is not None:
        sizes = isinstance(shape, list) and all(type(s) is int and s > 0 for s in shape)
        _require(sizes and math.prod(shape) == n_features, "user_shape must be that of a row")
        image_layout(shape)
        scale, state["user_shape"] = 1 / 255 if X.dtype == np.uint8 else 1.0, tuple(shape)
    _require(shape is not None or X.dtype == np.float32, "rows must be float32")
    _require(type(state["fit_flat"]) is bool, "fit_flat must be a bool")
    _require(state["fit_flat"] or shape is not None, "rows must be flat")
    # Computed again up to rounding, which may differ between processors.
    for name, value in (("input_scale", scale), ("fit_max", float(X.max()))):
        close = _is_number(state[name]) and math.isclose(state[name], value, rel_tol=1e-5)
        _require(close, f"{name} must be {value:g}, got {state[name]!r}")
    history = state["history"]
    epochs = isinstance(history, list) and all(isinstance(epoch, dict) for epoch in history)
    losses = epochs and all(_is_number(epoch.get("train_loss")) for epoch in history)
    _require(losses, "history must have a finite loss for each epoch")


def _plain(value):
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if hasattr(value, "to_numpy"):
        return value.to_numpy().tolist()
    return value


def _encode(array):
    if array is None:
        return None
    values = array.tolist()
    values = [v.item() if isinstance(v, np.generic) else v for v in values]
    for value in values:
        if not isinstance(value, str | int | float | bool):
            raise TypeError(
                f"labels, sample ids and column names can be saved if they are strings, numbers "
                f"or booleans; got {type(value).__name__}"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"sample ids must be finite to be saved; got {value}")
    return {"dtype": array.dtype.str, "values": values}


def _decode(encoded):
    if encoded is None:
        return None
    dtype = np.dtype(object if encoded["dtype"] == "|O" else encoded["dtype"])
    values = encoded["values"]
    plain = all(isinstance(value, str | int | float) for value in values)
    known = dtype.kind in "biufUO" and dtype.itemsize <= _LONGEST_TEXT
    _require(plain and known, "labels, sample ids and column names must be texts or numbers")
    array = np.array(values, dtype=dtype)
    same = array.tolist() == values
    _require(same, f"labels, sample ids or column names do not fit their type {dtype}")
    return array
