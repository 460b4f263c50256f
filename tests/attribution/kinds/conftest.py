"""All attributors, a small problem, and everything that a call may not change."""

import random
import types
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from scipy.sparse import issparse
from torch import nn

from sklearn_provenance import attribution as att
from sklearn_provenance.tangent import TangentFeatures

N_TRAIN, N_FEATURES, N_CLASSES = 24, 4, 3


def as_rows(X):
    """Rows of the user's own: X itself."""
    return np.asarray(X.detach() if isinstance(X, torch.Tensor) else X, dtype=np.float64)


def sketch(**params):
    return TangentFeatures(n_components=16, **params)


@dataclass(frozen=True)
class Case:
    """A way to attribute."""

    cls: type
    params: dict = field(default_factory=dict)
    pointwise: bool = True  # picks are the rows of the largest scores
    argmax: bool = True  # the first pick is
    gradients: bool = True  # needs gradients of the network
    n_models: int = 1

    def make(self, module, **params):
        estimator = module if self.n_models == 1 else [module] * self.n_models
        return self.cls(estimator, **self.params | params)


GAIN, LOSS = att.InfoGainAttributor, att.InfoLossAttributor
GREEDY = {"pointwise": False}
NEAR = {"pointwise": False, "argmax": False}
ROWS = {"features": as_rows}
ATTRIBUTORS = {
    "gain": Case(GAIN, **GREEDY),
    "gain of margins": Case(GAIN, {"measurement": "margin"}, **GREEDY),
    "gain, linear response": Case(GAIN, {"solver": "linear_response"}, **NEAR),
    "gain, pool": Case(GAIN, {"pool_size": 6}, **NEAR),
    "gain, sketched pool": Case(GAIN, {"pool_size": 6, "features": sketch()}, **NEAR),
    "gain, index": Case(GAIN, {"solver": "linear_response", "index": "exact",
                               "features": sketch(), "candidates": "all"}, **NEAR),
    "gain, sketch": Case(GAIN, {"features": sketch()}, **GREEDY),
    "gain, own rows": Case(GAIN, ROWS, gradients=False, **GREEDY),
    "loss": Case(LOSS, **GREEDY),
    "loss, sketch": Case(LOSS, {"features": sketch()}, **GREEDY),
    "loss, own rows": Case(LOSS, ROWS, gradients=False, **GREEDY),
    "RelatIF": Case(att.RelatIFAttributor),
    "RelatIF, own rows": Case(att.RelatIFAttributor, ROWS, gradients=False),
    "TRAK": Case(att.TRAKAttributor, {"n_components": 16}),
    "TRAK of two": Case(att.TRAKAttributor, {"n_components": 16}, n_models=2),
    "RelatIF of two": Case(att.RelatIFAttributor, n_models=2),
    "EK-FAC": Case(att.EKFACAttributor),
    "EK-FAC of two": Case(att.EKFACAttributor, n_models=2),
    "GradDot": Case(att.GradDotAttributor),
    "last layer": Case(att.LastLayerAttributor, gradients=False),
    "representer": Case(att.LastLayerAttributor, {"kind": "representer"}, gradients=False),
    "RepSim": Case(att.RepSimAttributor, gradients=False),
    "RepSim, own rows": Case(att.RepSimAttributor, ROWS, gradients=False),
    "random": Case(att.RandomAttributor, gradients=False),
}  # fmt: skip
# Each mechanism of these, rule, features or ensemble, is that of another attributor as well.
REPEATED = {
    *("gain of margins", "gain, linear response", "gain, pool", "gain, sketch", "loss, sketch"),
    *("loss, own rows", "RelatIF, own rows", "RepSim, own rows"),
    *("TRAK", "RelatIF of two", "EK-FAC of two"),
}


def attributor_param(name, *values):
    """Values of a test's parameters, name first."""
    return pytest.param(name, *values, marks=[pytest.mark.thorough] * (name in REPEATED))


def parametrize_attributors(names):
    """Parametrise a test by name."""
    return pytest.mark.parametrize("name", [attributor_param(name) for name in names])


every_attributor = parametrize_attributors(ATTRIBUTORS)


def network(dtype=torch.float32, seed=0):
    """Batch normalisation and dropout, which training mode would give away."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(seed)
        layers = [nn.Linear(N_FEATURES, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.5)]
        return nn.Sequential(*layers, nn.Linear(6, N_CLASSES)).to(dtype)


@pytest.fixture
def module():
    return network()


@pytest.fixture
def data():
    """Rows, their labels, queries, in the network's precision."""
    rng = np.random.default_rng(0)
    X, queries = rng.normal(size=(2, N_TRAIN, N_FEATURES)).astype(np.float32)
    return X, np.arange(N_TRAIN) % N_CLASSES, queries[:5]


def calls(attributor, queries, y=None):
    """Every call that answers for queries, by name, as functions without arguments."""
    found = {
        "explain": lambda: tuple(attributor.explain(queries, y, k=3)),
        "attribute": lambda: attributor.attribute(queries, y),
        "predict": lambda: attributor.predict(queries),
        "select": lambda: attributor.select(queries, 3, y),
    }
    if hasattr(attributor, "transform"):
        found["transform"] = lambda: attributor.transform(queries)
    return found


def answers(attributor, queries, y=None):
    """What every call gives."""
    return {name: call() for name, call in calls(attributor, queries, y).items()}


def assert_same(found, expected, exact=True, rtol=1e-6, atol=1e-9):
    """Compare answers, or structures of them."""
    if isinstance(expected, Mapping):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_same(found[name], expected[name], exact, rtol, atol)
    elif isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other, exact, rtol, atol)
    elif exact or np.asarray(expected).dtype.kind not in "f":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


UNCOUNTED = {"_n_seen"}  # rows that a network was run on, which says when it is examined again


def frozen(value, seen=None):
    """What an object holds, down to the bytes, in a form that compares by ``==``."""
    seen = {} if seen is None else seen
    if value is None or isinstance(value, str | bytes | int | float | complex | np.generic):
        return repr(value)
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return id(value)
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = f"object {len(seen)}"
    seen.setdefault("alive", []).append(value)  # or its id may come again
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.detach().cpu().numpy().tobytes()
    if isinstance(value, np.ndarray):
        content = repr(value.tolist()) if value.dtype == object else value.tobytes()
        return str(value.dtype), value.shape, content
    if issparse(value):
        return frozen([value.data, value.indices, value.indptr, value.shape], seen)
    if isinstance(value, nn.Module):
        return frozen_module(value)
    if isinstance(value, Mapping):
        return {repr(key): frozen(item, seen) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [frozen(item, seen) for item in value]
    if hasattr(value, "__dict__"):
        # What is only kept to be found again is no state; pickle leaves it out as well.
        state = value.__getstate__()
        state = {key: item for key, item in (state or {}).items() if key not in UNCOUNTED}
        return type(value).__name__, frozen(state, seen)
    return type(value).__name__


def changed(before, after, path=""):
    """Where two frozen objects differ."""
    if before == after:
        return []
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        return [c for key in before for c in changed(before[key], after[key], f"{path}.{key}")]
    both = isinstance(before, list | tuple) and type(before) is type(after)
    if both and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [c for i, (a, b) in pairs for c in changed(a, b, f"{path}[{i}]")]
    return [f"{path}: {before!r:.80} -> {after!r:.80}"]


def frozen_module(module):
    """Everything of a user's module."""
    hooks = [name for name in vars(module) if "hooks" in name]
    return {
        "weights": {n: frozen(p) for n, p in module.state_dict(keep_vars=True).items()},
        "buffers": {n: frozen(b) for n, b in module.named_buffers()},
        "objects": [id(p) for p in module.parameters()],
        "modes": [m.training for m in module.modules()],
        "hooks": [[dict(getattr(m, name)) for name in hooks] for m in module.modules()],
        "gradients": [None if p.grad is None else frozen(p.grad) for p in module.parameters()],
        "differentiated": [p.requires_grad for p in module.parameters()],
    }


def world():
    """What is shared with all other code."""
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": frozen(np.random.get_state()),  # noqa: NPY002
        "random": hash(random.getstate()),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "precision": str(torch.get_default_dtype()),
    }
