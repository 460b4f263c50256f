"""Selections that were recorded before attribution was rebuilt, and the cases they are of.

``python tests/attribution/recorded.py`` writes them again; do so only where a change is meant.
Weights and rows come from NumPy's generators, so that no training decides what is selected.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor, TangentFeatures
from sklearn_provenance.attribution import (
    EKFACAttributor,
    GradDotAttributor,
    LastLayerAttributor,
    RandomAttributor,
    RelatIFAttributor,
    RepSimAttributor,
    TRAKAttributor,
)

FILE = Path(__file__).with_name("data") / "recorded.npz"


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def weighted(module, seed=0):
    """The module with weights from a NumPy generator, in double precision."""
    rng = np.random.default_rng(seed)
    module = module.double()
    for p in module.parameters():
        scale = 1 / np.sqrt(p[0].numel()) if p.ndim > 1 else 0.1
        p.data = torch.as_tensor(rng.normal(size=tuple(p.shape)) * scale)
    return module


def dense():
    module = nn.Sequential(
        nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)
    )
    return weighted(module), rows(60, 6), np.arange(60) % 3, rows(8, 6, seed=1)


def convolution():
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2), nn.ReLU()
    module = nn.Sequential(*layers, nn.Flatten(), nn.Linear(36, 4))
    return weighted(module), rows(40, 1, 8, 8), np.arange(40) % 4, rows(6, 1, 8, 8, seed=1)


def linear():
    X, y = rows(70, 5), np.arange(70) % 3
    X += np.eye(3, 5)[y]
    return LogisticRegression(tol=1e-10, max_iter=5000).fit(X, y), X, y, rows(8, 5, seed=1)


def binary():
    X, y = rows(50, 4), np.where(np.arange(50) % 2, "yes", "no")
    X[:, 0] += np.arange(50) % 2
    model = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10, max_iter=5000))
    return model.fit(X, y), X, y, rows(8, 4, seed=1)


def mlp():
    X, y = rows(50, 5), np.arange(50) % 3
    model = MLPClassifier((7,), max_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one iteration, whose weights are replaced
        model.fit(X, y)
    rng = np.random.default_rng(3)
    model.coefs_ = [rng.normal(size=w.shape) for w in model.coefs_]
    model.intercepts_ = [rng.normal(size=b.shape) for b in model.intercepts_]
    return model, X, y, rows(7, 5, seed=1)


MODELS = {f.__name__: f for f in (dense, convolution, linear, binary, mlp)}
SKETCH = TangentFeatures(n_components=256, random_state=0)
METHODS = {
    "gain": (InfoGainAttributor, {}),
    "gain all": (InfoGainAttributor, {"candidates": "all"}),
    "gain margin": (InfoGainAttributor, {"measurement": "margin", "noise_variance": "1*diagonal"}),
    "gain response": (InfoGainAttributor, {"solver": "linear_response"}),
    "gain pool": (InfoGainAttributor, {"pool_size": 9}),
    "gain sketch": (InfoGainAttributor, {"features": SKETCH}),
    "gain index": (
        InfoGainAttributor,
        {"features": SKETCH, "index": "exact", "solver": "linear_response"},
    ),
    "gain ntk": (InfoGainAttributor, {"ntk_parameterization": True}),
    "loss": (InfoLossAttributor, {}),
    "loss all": (InfoLossAttributor, {"candidates": "all", "noise_variance": "0.3*diagonal"}),
    "loss margin": (InfoLossAttributor, {"measurement": "margin"}),
    "loss sketch": (InfoLossAttributor, {"features": SKETCH}),
    "relatif": (RelatIFAttributor, {}),
    "relatif all": (RelatIFAttributor, {"candidates": "all"}),
    "dot": (GradDotAttributor, {}),
    "dot all": (GradDotAttributor, {"candidates": "all", "measurement": "label_logit"}),
    "trak": (TRAKAttributor, {"n_components": 128}),
    "trak exact": (TRAKAttributor, {"n_components": "exact", "candidates": "all"}),
    "ekfac": (EKFACAttributor, {}),
    "ekfac all": (EKFACAttributor, {"candidates": "all", "fisher": "empirical"}),
    "ekfac signs": (EKFACAttributor, {"n_samples": 2}),
    "last": (LastLayerAttributor, {}),
    "last all": (LastLayerAttributor, {"candidates": "all"}),
    "representer": (LastLayerAttributor, {"kind": "representer", "candidates": "all"}),
    "repsim": (RepSimAttributor, {}),
    "repsim all": (RepSimAttributor, {"candidates": "all"}),
    "random": (RandomAttributor, {}),
}


def cases():
    """Names of the models and methods."""
    return [(model, method) for model in MODELS for method in METHODS]


def answers(model, method):
    """What an attributor answers: explain, of training rows by the others, attribute, select."""
    estimator, X, y, queries = MODELS[model]()
    cls, params = METHODS[method]
    if params.get("features") is SKETCH:
        # The noise variance was a multiple of the exact kernel's mean diagonal, not the sketch's.
        params = params | {"noise_variance": cls(estimator).fit(X, y).noise_variance_}
    attributor = cls(estimator, **params).fit(X, y)
    named = attributor.explain(queries, k=6)
    among = attributor.explain(k=4)
    chosen = [attributor.select(queries, 7), attributor.select(queries, 7, balanced=True)]
    return {
        "indices": named.indices,
        "scores": named.scores,
        "labels": np.searchsorted(attributor.classes_, named.query_labels),
        "among": among.indices,
        "among_scores": among.scores,
        "attributed": attributor.attribute(queries[:3]),
        "selected": np.stack(chosen),
    }


def main():
    """Write the file."""
    arrays = {}
    for model, method in cases():
        for name, values in answers(model, method).items():
            small = values.astype(np.float32 if values.dtype.kind == "f" else np.int16)
            arrays[f"{model}/{method}/{name}"] = small
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
