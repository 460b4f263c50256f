"""Influence of rows on gradient boosting beside training again, and the cost of forests.

For 20 test rows of two data sets of 200 training rows each:

- leave_one_out: mean over queries, with its standard error, of Spearman's correlation over training
  rows between scores and how much the query's loss rises (or its log odds, of a regressor its
  output, drop) once the estimator is trained again without the row.
- removed_10, removed_20: the same change, mean over queries, once the rows of the largest scores
  are removed together and the estimator is trained again.

"leaf refit" holds the structure of trees fixed. "leaf similarity" is the share of trees in which
two rows meet, "signed" times what the row speaks for: its label is the query's, or its residual (of
the output: its distance to the prediction) has the query's sign.

trees_cost.csv has seconds of the wall and of the CPU, and peaks of memory from where the process
stood before, of ForestAttributor on forests of 200 trees, 100000 rows and 20 columns.

    python benchmarks/trees.py
"""

import time

import numpy as np
from _common import Results, memory_mb, parse, parser, reset_peak
from scipy.stats import spearmanr
from sklearn.base import clone, is_classifier
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    make_classification,
    make_friedman1,
)
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.model_selection import train_test_split

from sklearn_provenance.attribution import (
    BoostInAttributor,
    ForestAttributor,
    RandomAttributor,
    RepSimAttributor,
)

N_TRAIN, N_QUERIES = 200, 20
GRADIENT = {"n_estimators": 50, "random_state": 0}
HIST = {"max_iter": 50, "min_samples_leaf": 10, "early_stopping": False, "random_state": 0}
SETS = {
    "breast_cancer": (
        load_breast_cancer,
        {
            "GradientBoosting": GradientBoostingClassifier(**GRADIENT),
            "HistGradientBoosting": HistGradientBoostingClassifier(**HIST),
        },
    ),
    "diabetes": (
        load_diabetes,
        {
            "GradientBoosting": GradientBoostingRegressor(**GRADIENT),
            "HistGradientBoosting": HistGradientBoostingRegressor(**HIST),
        },
    ),
}


def measured(model, X, y, measure):
    """What is explained of each query: minus its loss, or log odds or output."""
    if is_classifier(model):
        margin = (2 * y - 1) * model.decision_function(X)
        return margin if measure == "output" else -np.logaddexp(0, -margin)
    predicted = model.predict(X)
    return predicted if measure == "output" else -0.5 * (predicted - y) ** 2


def scores_of(model, X, y, queries, labels, measure, seed):
    """Scores (n_queries, n_train) of each method."""
    boostin = BoostInAttributor(model, measurement=measure, candidates="all").fit(X, y)
    similarity = RepSimAttributor(model, candidates="all").fit(X, y).attribute(queries)
    if is_classifier(model):
        sign = np.where(y[None] == labels[:, None], 1.0, -1.0)
    elif measure == "output":
        sign = np.sign(y[None] - model.predict(queries)[:, None])
    else:
        sign = np.sign(np.outer(labels - model.predict(queries), y - model.predict(X)))
    random = RandomAttributor(model, candidates="all", random_state=seed).fit(X, y)
    return {
        "BoostIn": boostin.attribute(queries, labels),
        "leaf refit": boostin.leaf_refit(queries, labels),
        "leaf similarity": similarity,
        "signed leaf similarity": similarity * sign,
        "Random": random.attribute(queries),
    }


def run(results, data, name, seed):
    load, models = SETS[data]
    split = train_test_split(
        *load(return_X_y=True), train_size=N_TRAIN, test_size=N_QUERIES, random_state=seed
    )
    X, queries, y, labels = split
    model = clone(models[name]).fit(X, y)

    def changes(rows):
        """Both measures (n_queries,), by how much they drop without rows."""
        kept = np.setdiff1d(np.arange(len(y)), rows)
        again = clone(model).fit(X[kept], y[kept])
        return {
            m: measured(model, queries, labels, m) - measured(again, queries, labels, m)
            for m in ("loss", "output")
        }

    alone = [changes([row]) for row in range(len(y))]
    for measure in ("loss", "output"):
        truth = np.stack([change[measure] for change in alone], 1)  # (n_queries, n_train)
        all_scores = scores_of(model, X, y, queries, labels, measure, seed)
        for method, scores in all_scores.items():
            ranks = [
                spearmanr(a, b)[0] if np.ptp(a) > 0 else 0.0
                for a, b in zip(scores, truth, strict=True)
            ]
            found = {"leave_one_out": np.mean(ranks)}
            found["leave_one_out_se"] = np.std(ranks, ddof=1) / np.sqrt(len(ranks))
            order = np.argsort(-scores, axis=1, kind="stable")
            for k in (10, 20):
                drops = [changes(order[q, :k])[measure][q] for q in range(len(queries))]
                found[f"removed_{k}"] = np.mean(drops)
                found[f"removed_{k}_se"] = np.std(drops, ddof=1) / np.sqrt(len(drops))
            found = {key: round(float(value), 4) for key, value in found.items()}
            results.add(data=data, model=name, seed=seed, measure=measure, method=method, **found)


def cost(results, n_rows=100_000, n_trees=200):
    """Seconds and memory of each step on a classifier's and a regressor's forest."""
    shape = {"n_samples": n_rows, "n_features": 20, "random_state": 0}
    problems = {
        RandomForestClassifier(n_trees, random_state=0): make_classification(
            **shape, n_informative=8, flip_y=0.1
        ),
        RandomForestRegressor(n_trees, max_features=4, random_state=0): make_friedman1(
            **shape, noise=1.0
        ),
    }
    for forest, (X, y) in problems.items():
        name = type(forest).__name__
        if results.has(model=name, step="explain 100 queries"):
            continue
        attributor = ForestAttributor(forest)
        steps = {
            "forest's own fit": lambda f=forest, X=X, y=y: f.fit(X, y),
            "fit": lambda a=attributor, X=X, y=y: a.fit(X, y),
            "weights of 100 queries": lambda a=attributor, X=X: a.weights(X[:100]),
            "explain 100 queries": lambda a=attributor, X=X: a.explain(X[:100]),
        }
        for step, call in steps.items():
            reset_peak()
            held, wall, cpu = memory_mb("VmRSS"), time.perf_counter(), time.process_time()
            call()
            results.add(
                model=name,
                step=step,
                n=n_rows,
                trees=n_trees,
                seconds=f"{time.perf_counter() - wall:.2f}",
                cpu_seconds=f"{time.process_time() - cpu:.2f}",
                extra_peak_mb=round(memory_mb("VmHWM") - held),
            )


def main():
    options = parse(parser(__doc__, quick="one seed, and no costs"))
    if not options.quick:
        cost(Results("trees_cost", ["model", "step"]))
    keys = ["data", "model", "seed", "measure", "method"]
    results = Results("trees", keys)
    for seed in range(1 if options.quick else 3):
        for data, (_, models) in SETS.items():
            for name in models:
                last = {"measure": "output", "method": "Random"}
                if not results.has(data=data, model=name, seed=seed, **last):
                    run(results, data, name, seed)


if __name__ == "__main__":
    main()
