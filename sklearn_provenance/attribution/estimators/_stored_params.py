"""Parameters of attributors as JSON, for stores."""

import inspect
import os
from numbers import Number

import numpy as np

from ...retrieval import ExactIndex, FaissIndex, LanceIndex
from ...tangent import TangentFeatures

_INDEXES = {one.__name__: one for one in (ExactIndex, FaissIndex, LanceIndex)}
# Parameters of what is kept beside others, or found anew.
_NOT_KEPT = {"estimator", "features", "memory", "prefit"}


def listed(names):
    """Return names as a list of texts; None stays."""
    return None if names is None else [str(name) for name in names]


def params_to_json(attributor):
    """Return parameters as JSON, and the names of those that load must be given again."""
    defaults = inspect.signature(type(attributor)).parameters
    params = {}
    given = []
    for name, value in attributor.get_params(deep=False).items():
        if name in _NOT_KEPT:
            continue  # in the notes, or found anew
        if type(value) in _INDEXES.values():
            index = {key: _scalar(part) for key, part in value.get_params().items()}
            if index.get("storage_options"):  # may hold secrets
                given.append(name)
            else:
                params[name] = {"class": type(value).__name__, "params": index}
        elif value is None or isinstance(value, str | bool | Number):
            params[name] = _scalar(value)
        elif isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
            params[name] = list(value)
        elif value is not defaults[name].default:
            given.append(name)
    if attributor._own_features():
        given.append("features")
    return {"params": params, "given": given}


def _scalar(value):
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if isinstance(value, np.generic) else value


def params_from_json(params):
    """Make parameters of what :func:`params_to_json` gave."""
    made = {}
    for name, value in params.items():
        if isinstance(value, dict):
            value = _INDEXES[value["class"]](**value["params"])
        made[name] = value
    return made


def features_to_json(attributor):
    """Return how features are made, as JSON."""
    fitted = attributor.features_
    if not isinstance(fitted, TangentFeatures):
        return {"kind": "own" if attributor._own_features() else "penultimate"}
    params = {name: getattr(fitted, name) for name in ("n_components", "sketch", "random_state")}
    if not isinstance(params["random_state"], Number):
        raise ValueError(
            "random_state of the features must be an integer for a store, by which their sketch is "
            f"drawn again; got {params['random_state']!r}"
        )
    return {"kind": "tangent", "params": {key: _scalar(value) for key, value in params.items()}}


def features_from_json(features):
    """Make the parameter ``features`` of what :func:`features_to_json` gave."""
    if features["kind"] == "tangent":
        return TangentFeatures(**features["params"])
    return features["kind"]
