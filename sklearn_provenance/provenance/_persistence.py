"""Save and load without pickle: one safetensors file with a JSON header."""

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
_LONGEST_TEXT = 1 << 16  # bytes of a label; a damaged type may ask for any number
_STATE = {
    "params",
    "backbone",
    "random_state",
    "classes",
    "sample_id",
    "feature_names",
    "user_shape",
    "input_scale",
    "fit_max",
    "fit_flat",
    "history",
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
    params = estimator.get_params(deep=False)
    # set_params after fit does not change the network.
    params.update({name: estimator._structure[name] for name in estimator._STRUCTURE})
    backbone = params["backbone"]
    if not isinstance(backbone, str):
        backbone = _CUSTOM
    seed = None
    if isinstance(estimator.random_state, int | np.integer):
        seed = int(estimator.random_state)
    saved = {name: value for name, value in params.items() if name not in _NOT_SAVED}
    if not isinstance(saved["index"], str):
        saved["index"] = None
    state = {
        "params": {name: _json_value(value) for name, value in saved.items()},
        "backbone": backbone,
        "random_state": seed,
        "classes": _encode(getattr(estimator, "classes_", None)),
        "sample_id": _encode(estimator._sample_id),
        "feature_names": _encode(getattr(estimator, "feature_names_in_", None)),
        "user_shape": estimator._user_shape,
        "input_scale": estimator._input_scale,
        "fit_max": estimator._fit_max,
        "fit_flat": estimator._fit_flat,
        "history": [_without_batches(epoch) for epoch in estimator.net_.history],
    }
    tensors = {}
    for name, value in estimator.net_.module_.state_dict().items():
        # Tied weights share memory, which safetensors refuses: each gets a copy.
        tensors[f"network.{name}"] = value.cpu().contiguous().clone()
    tensors["fit_X"] = torch.tensor(estimator._fit_X)
    tensors["fit_y"] = torch.tensor(estimator._fit_y)
    tensors["index"] = torch.tensor(estimator.index_)
    header = {
        "format": _FORMAT.format(name=type(estimator).__name__, version=2),
        "state": json.dumps(state, default=_json_value),
    }
    header["checksum"] = _checksum(header, tensors)
    write(path, safetensors.torch.save(tensors, metadata=header))


@contextmanager
def reading(path):
    """Turn any error that a damaged file leads to into a ValueError that names the file."""
    try:
        yield
    except OSError:
        raise
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error


def load_state(path, cls, backbone):
    """Read what :func:`save_estimator` wrote, and check all but the weights.

    Parameters
    ----------
    path : str or path-like
        File to read.
    cls : type
        Class of the estimator.
    backbone : Module, callable or None
        The backbone, if it was not a built-in one.

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
    header, tensors = _read_file(path)
    known = [_FORMAT.format(name=cls.__name__, version=version) for version in (1, 2)]
    if header.get("format") not in known:
        raise ValueError(
            f"{path} was not written by this version of {cls.__name__}.save: its format must be "
            f"{known[1]!r}, got {header.get('format')!r}"
        )
    with reading(path):
        # Files of the first version have no checksum.
        if header["format"] == known[1] or "checksum" in header:
            same = header.get("checksum") == _checksum(header, tensors)
            _require(same, "it is damaged, because its content does not have its checksum")
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
                "the estimator was saved with a backbone of yours, which is code and not in the "
                "file. Pass it with load(path, backbone=...)"
            )
        state["params"]["backbone"] = backbone
    elif backbone is not None:
        raise ValueError(
            f"backbone must be None unless the estimator was saved with one of yours; this one "
            f"has {state['backbone']!r}"
        )
    weights = {name.removeprefix("network."): value for name, value in tensors.items()}
    return state, weights


def _read_file(path):
    """Return the header and the tensors of a safetensors file."""
    # Bytes rather than a map of the file, under which another process may change it.
    raw = Path(path).read_bytes()
    try:
        tensors = safetensors.torch.load(raw)
        header_size = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + header_size])
        return header.get("__metadata__", {}), tensors
    except Exception as error:
        raise ValueError(f"{path} is not a safetensors file, or is damaged: {error}") from error


def load_weights(module, weights):
    """Give weights to a module, after checking that they fit and are numbers."""
    for name, value in module.state_dict().items():
        given = weights.get(name)
        fits = given is not None and given.shape == value.shape and given.dtype == value.dtype
        _require(fits, f"the weights do not fit the network at {name}")
        if name.endswith("running_var"):
            _require((given >= 0).all(), f"{name} must not hold negative variances")
    for name, _ in module.named_parameters():
        _require(weights[name].isfinite().all(), f"the weights {name} must be finite")
    for name, value in weights.items():
        _require(not value.isnan().any(), f"{name} must not hold NaN")
    if module.scaling.mean is not None:
        _check_standardization(module.scaling, weights)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"the weights do not fit the network: {error}") from error


def _check_standardization(learned, weights):
    """Raise unless figures of channels are those of the training rows, but for rounding."""
    mean = weights["scaling.mean"]
    factor = weights["scaling.factor"]
    allowed = 1e-5 * learned.mean.abs() + 1e-3 / learned.factor
    is_mean = ((mean - learned.mean).abs() <= allowed).all()
    _require(is_mean, "scaling.mean must be the mean of the training rows")
    is_factor = torch.allclose(factor, learned.factor, rtol=1e-3, atol=0)
    _require(is_factor, "scaling.factor must be that of the training rows")


def _checksum(header, tensors):
    parts = [header["format"].encode(), header["state"].encode()]
    for name, value in sorted(tensors.items()):
        parts.append(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        parts.append(value.reshape(-1).view(torch.uint8).numpy())
    return checksum(*parts)


def _without_batches(epoch):
    return {name: value for name, value in epoch.items() if name != "batches"}


def _require(holds, what):
    if not holds:
        raise ValueError(what)


def _is_number(value):
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def _check_params(state, cls, weights):
    params = state["params"]
    _require(isinstance(params, dict), "params must be a dict")
    unknown = set(params) - (set(cls._get_param_names()) - set(_NOT_SAVED))
    _require(not unknown, f"params must not hold unknown parameters, got {sorted(unknown)}")
    if isinstance(params.get("input_shape"), list):
        params["input_shape"] = tuple(params["input_shape"])
    params["random_state"] = state["random_state"]
    params["backbone"] = state["backbone"]
    if state["backbone"] == _CUSTOM:
        params["backbone"] = "auto"
    cls(**params)._validate_params()
    # The one parameter that could ask for any amount of memory.
    if "latent_dim" in params:
        size = params["latent_dim"]
        fits = any(size in value.shape for value in weights.values())
        _require(fits, f"the weights do not fit latent_dim={size}")


def check_saved_labels(state, least_classes):
    """Raise unless a state has a label of a class for each row, and outputs of every class."""
    y = state["fit_y"]
    classes = state["classes"]
    _require(classes is not None and classes.ndim == 1, "classes must be an array")
    encoded = np.arange(len(classes))
    _require(len(classes) >= least_classes, f"classes must be at least {least_classes}")
    _require(len(np.unique(classes)) == len(classes), "classes must be distinct")
    fits = y.shape == state["fit_X"].shape[:1] and y.dtype.kind == "i"
    _require(fits, "fit_y must be a label for each row")
    _require(np.array_equal(np.unique(y), encoded), "fit_y must have all classes and no other")
    named = np.unique(y[state["index"]])
    _require(np.array_equal(named, encoded), "index must have rows of all classes")


def check_saved_numbers(state):
    """Raise unless a state has finite targets for each row, and no classes."""
    y = state["fit_y"]
    _require(state["classes"] is None, "classes must be None in a regression")
    has_rows = y.ndim in (1, 2) and len(y) == len(state["fit_X"]) and y.size > 0
    is_finite = y.dtype == np.float64 and np.isfinite(y).all()
    _require(has_rows and is_finite, "fit_y must be finite targets for each row")


def _check_rows(state):
    """Raise unless the training rows, and what fit learned of them, agree with each other."""
    X = state["fit_X"]
    _require(X.ndim == 2 and X.dtype in (np.uint8, np.float32), "fit_X must be rows")
    n, n_features = X.shape
    _require(n > 1 and n_features > 0 and np.isfinite(X).all(), "fit_X must be finite rows")
    _check_index(state["index"], n)
    for name, shape in (("sample_id", (n,)), ("feature_names", (n_features,))):
        value = state[name]
        _require(value is None or value.shape == shape, f"{name} must have shape {shape}")
    _check_layout(state)
    history = state["history"]
    _require(isinstance(history, list), "history must be a list")
    for epoch in history:
        has_loss = isinstance(epoch, dict) and _is_number(epoch.get("train_loss"))
        _require(has_loss, "history must have a finite loss for each epoch")


def _check_index(index, n_rows):
    is_ascending = index.ndim == 1 and index.dtype.kind == "i" and (np.diff(index) > 0).all()
    fits = is_ascending and len(index) > 0 and index[0] >= 0 and index[-1] < n_rows
    _require(fits, "index must be distinct rows, in increasing order")


def _check_layout(state):
    """Raise unless the shape and the range of rows are those that fit would learn."""
    X = state["fit_X"]
    shape = state["user_shape"]
    _require(type(state["fit_flat"]) is bool, "fit_flat must be a bool")
    if shape is None:
        _require(X.dtype == np.float32, "rows must be float32")
        _require(state["fit_flat"], "rows must be flat")
        scale = unit_scale(X)
    else:
        has_sizes = isinstance(shape, list) and all(type(s) is int and s > 0 for s in shape)
        fits = has_sizes and math.prod(shape) == X.shape[1]
        _require(fits, "user_shape must be that of a row")
        image_layout(shape)  # raises if it is ambiguous
        scale = 1 / 255 if X.dtype == np.uint8 else 1.0
        state["user_shape"] = tuple(shape)
    # Computed again up to rounding, which may differ between processors.
    for name, value in (("input_scale", scale), ("fit_max", float(X.max()))):
        is_close = _is_number(state[name]) and math.isclose(state[name], value, rel_tol=1e-5)
        _require(is_close, f"{name} must be {value:g}, got {state[name]!r}")


def _json_value(value):
    """Return a parameter as JSON holds it."""
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_json_value(v) for v in value]
    if hasattr(value, "to_numpy"):
        return value.to_numpy().tolist()
    return value


def _encode(array):
    """Return labels, identifiers or names as JSON holds them, with their type."""
    if array is None:
        return None
    values = []
    for value in array.tolist():
        if isinstance(value, np.generic):  # in an array of objects
            value = value.item()
        if not isinstance(value, str | int | float | bool):
            raise TypeError(
                f"labels, sample ids and column names must be strings, numbers or booleans to be "
                f"saved; got {type(value).__name__}"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"sample ids must be finite to be saved; got {value}")
        values.append(value)
    return {"dtype": array.dtype.str, "values": values}


def _decode(encoded):
    """Return the array that :func:`_encode` was given."""
    if encoded is None:
        return None
    dtype = np.dtype("object" if encoded["dtype"] == "|O" else encoded["dtype"])
    values = encoded["values"]
    are_plain = all(isinstance(value, str | int | float) for value in values)
    is_known = dtype.kind in "biufUO" and dtype.itemsize <= _LONGEST_TEXT
    fits = are_plain and is_known
    _require(fits, "labels, sample ids and column names must be strings or numbers")
    array = np.array(values, dtype=dtype)
    same = array.tolist() == values
    _require(same, f"labels, sample ids or column names must fit their type {dtype}")
    return array
