"""Saving and loading without pickle: one safetensors file with a JSON header."""

import json
import math

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

_FORMAT = "sklearn_provenance.{name}/1"
_CUSTOM = "custom backbone"
_NOT_SAVED = ("callbacks", "random_state", "backbone")


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
        "classes": _encode(estimator.classes_),
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
        "format": _FORMAT.format(name=type(estimator).__name__),
        "state": json.dumps(state, default=_plain),
    }
    safetensors.torch.save_file(tensors, path, metadata=header)


def load_state(path, name, backbone):
    """Read what :func:`save_estimator` wrote.

    Parameters
    ----------
    path : str or path-like
        File to read.
    name : str
        Class of the estimator.
    backbone : Module, callable or None
        The backbone, if it was the user's own.

    Returns
    -------
    state : dict
        The JSON part; ``params`` can be given to the constructor.
    tensors : dict of str to Tensor
        ``fit_X``, ``fit_y``, ``index`` and the network's weights under ``network.``.

    Raises
    ------
    ValueError
        If the file was not written by ``save`` of that class, or a backbone is missing.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    expected = _FORMAT.format(name=name)
    if header.get("format") != expected:
        raise ValueError(
            f"{path} was not written by this version of {name}.save: its format is "
            f"{header.get('format')!r}, expected {expected!r}"
        )
    state = json.loads(header["state"])
    if state["backbone"] == _CUSTOM:
        if backbone is None:
            raise ValueError(
                "the classifier was saved with a backbone of your own, which is code and not in "
                "the file: load(path, backbone=...) takes it"
            )
        state["backbone"] = backbone
    elif backbone is not None:
        raise ValueError(
            f"backbone is only for classifiers saved with one of your own; this one has "
            f"{state['backbone']!r}"
        )
    params = dict(state["params"], backbone=state["backbone"], random_state=state["random_state"])
    if isinstance(params["input_shape"], list):
        params["input_shape"] = tuple(params["input_shape"])
    state["params"] = params
    for name in ("classes", "sample_id", "feature_names"):
        state[name] = _decode(state[name])
    return state, safetensors.torch.load_file(path)


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
    return np.array(encoded["values"], dtype=dtype)
