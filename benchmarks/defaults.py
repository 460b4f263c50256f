"""Which defaults: one parameter at a time around a base, on tabular rows and images.

`python benchmarks/defaults.py` writes results/defaults.csv; it goes on where it was interrupted.
"""

import time

import numpy as np
from _common import Results, load, parse, parser

from sklearn_provenance import ProvenanceClassifier

DATA = ["wine", "breast_cancer", "digits_flat", "digits", "fashion_2000"]
SEEDS = range(3)
BASE = {
    "architecture": "class_conditional",
    "alpha": 0.3,
    "mixing": "expected",
    "width": "medium",
    "dropout": 0.0,
    "batch_size": "auto",
    "max_epochs": 40,
    "lr": 2e-3,
    "label_smoothing": 0.05,
    "class_conditioning": True,
    "heads": "shared",
    "lambda_class": 1.0,
}
CHANGES = [
    {},
    *({"architecture": a} for a in ("class_independent", "single_branch")),
    *({"alpha": a} for a in (0.0, 0.5, 0.7, 0.9)),
    *({"architecture": "single_branch", "alpha": a} for a in (0.0, 0.5, 0.7, 0.9)),
    {"mixing": "sampled"},
    {"architecture": "single_branch", "mixing": "sampled"},
    {"max_epochs": 20},
    {"max_epochs": 80},
    {"batch_size": 128},
    {"batch_size": 32},
    {"dropout": 0.2},
    {"dropout": 0.5},
    {"width": "small"},
    {"width": "large"},
    {"lr": 1e-3},
    {"lr": 4e-3},
    {"label_smoothing": 0.0},
    {"class_conditioning": False},
    {"heads": "per_class"},
    {"lambda_class": 0.3},
]
# Networks for images take longer: a smaller width, and beyond the first seed fewer variations.
IMAGES = {"digits": {"width": "small"}, "fashion_2000": {"width": "small", "max_epochs": 20}}
FEW = [{}, {"architecture": "class_independent"}, {"architecture": "single_branch"}, {"alpha": 0.7}]


def main():
    options = parse(parser(__doc__))
    results = Results("defaults", ["data", "seed", "change"])
    for seed in [0] if options.quick else SEEDS:
        for name in DATA[:3] if options.quick else DATA:
            X, y, X_test, y_test = load(name, seed)
            for change in CHANGES:
                if name in IMAGES and change not in FEW and (seed > 0 or name == "fashion_2000"):
                    continue
                text = " ".join(f"{k}={v}" for k, v in change.items()) or "base"
                if results.has(data=name, seed=seed, change=text):
                    continue
                params = {**BASE, **IMAGES.get(name, {}), **change}
                start = time.perf_counter()
                clf = ProvenanceClassifier(random_state=seed, **params).fit(X, y)
                seconds = time.perf_counter() - start
                explanation = clf.explain(X_test, k=5)
                named = y[explanation.indices]
                results.add(
                    data=name,
                    n_train=len(y),
                    n_test=len(y_test),
                    seed=seed,
                    change=text,
                    test_accuracy=round(clf.score(X_test, y_test), 4),
                    index_accuracy=round(np.mean(clf.predict_index(X) == np.arange(len(y))), 4),
                    # Whether the five training rows named carry the query's true label.
                    exemplars_right=round(np.mean(named == y_test[:, None]), 4),
                    seconds=round(seconds, 2),
                )


if __name__ == "__main__":
    main()
