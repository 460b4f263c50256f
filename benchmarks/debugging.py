"""Debugging data: do the scores of a provenance network point to wrong labels and to outliers?

Fashion-MNIST, MLP backbone. Label errors: 5 % or 10 % of the training labels are replaced by
another class. Outliers in training: 5 % of the training images, with labels drawn at random, are
MNIST digits or other Fashion-MNIST images turned by a quarter. New outliers: the same two kinds
against 2000 test images, for the networks of 5 % wrong labels, which have seen neither. Networks
are read after 10 epochs, and those with two branches again after 20.

A score is computed from the other training rows only (leave one out), unless its name says "all
indices". "high" and "low" say which end is taken as suspicious. cleanlab ranks by the class
probabilities of the network. "Cross-validated" scores of a row are those of a class-conditional
network that was trained for 10 epochs on the other four fifths of the rows. The comparison needs
cleanlab: pip install -e ".[benchmark]".
"""

import numpy as np
from _common import Results, load, parse, parser
from cleanlab.rank import get_label_quality_scores
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.datasets import flip_labels, load_fashion_mnist, load_mnist
from sklearn_provenance.evaluation import (
    label_disagreement,
    label_error_ranking,
    label_loss,
    self_influence,
)
from sklearn_provenance.inspection import (
    ProvenanceOutlierDetector,
    anomaly_ranking,
    index_entropy,
)

# Architecture, alpha, and the epochs after which a network is read.
MODELS = {
    "class conditional": ("class_conditional", 0.3, (10, 20)),
    "class independent": ("class_independent", 0.3, (10, 20)),
    "single branch": ("single_branch", 0.3, (10,)),
    "single branch, alpha = 0": ("single_branch", 0.0, (10,)),
}
METHODS = ("entropy", "confidence", "distance", "disagreement")
QUALITY = ("self_confidence", "normalized_margin")


def main():
    arguments = parser(__doc__, "5000 training images")
    arguments.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    options = parse(arguments)
    n_train = 5000 if options.quick else 15_000
    keys = ["n_train", "model", "epochs", "score", "end", "seed"]
    errors = Results("debugging_label_errors", [*keys, "share"])
    outliers = Results("debugging_outliers", [*keys, "among", "outliers"])
    for seed in range(3):
        for model in options.models:
            epochs = MODELS[model][2]
            case = {"n_train": n_train, "model": model, "seed": seed}
            for share, read in ((0.05, epochs[:1]), (0.1, epochs)):
                last = {**case, "share": share, "score": "loss", "end": "high"}
                data = with_errors(n_train, share, seed)
                for clf, epoch in trained(model, seed, data, missing(errors, last, read)):
                    if share == 0.05:
                        measure_new(outliers, case | {"epochs": epoch}, clf, data)
                    measure_errors(errors, case | {"share": share, "epochs": epoch}, clf, data)
                last["score"] = "disagreement, cross-validated"
                if model == "class conditional" and missing(errors, last, [10]):
                    cross_validate(errors, case | {"share": share, "epochs": 10}, data)
            last = {**case, "among": "training images", "outliers": "turned", "score": "entropy",
                    "end": "high"}  # fmt: skip
            data = with_outliers(n_train, seed)
            for clf, epoch in trained(model, seed, data, missing(outliers, last, epochs)):
                measure_outliers(outliers, case | {"epochs": epoch}, clf, data)


def missing(results, last, epochs):
    """Numbers of epochs for which the last line that they write is not there."""
    return [epoch for epoch in epochs if not results.has(**last, epochs=epoch)]


def trained(model, seed, data, epochs):
    """The network after each number of epochs."""
    architecture, alpha, _ = MODELS[model]
    clf = ProvenanceClassifier(
        architecture, alpha=alpha, backbone="mlp", random_state=seed, warm_start=True
    )
    for before, epoch in zip([0, *epochs], epochs, strict=False):
        yield clf.set_params(max_epochs=epoch - before).fit(data["X"], data["y"]), epoch


def turn(X):
    return np.rot90(X.reshape(-1, 28, 28), axes=(1, 2)).reshape(len(X), -1)


def images(n_train, seed):
    X, y, X_test, y_test = load(f"fashion_{n_train}_flat", seed)
    return X / np.float32(255), y, X_test / np.float32(255), y_test


def digits(rows):
    X = load_mnist("test", return_X_y=True)[0][rows]
    return X.reshape(len(X), -1) / np.float32(255)


def with_errors(n_train, share, seed):
    X, y, X_test, y_test = images(n_train, seed)
    y, flipped = flip_labels(y, share, random_state=seed)
    return {"X": X, "y": y, "bad": flipped, "X_test": X_test[:2000], "y_test": y_test[:2000],
            "new": {"digits": digits(slice(2000)), "turned": turn(X_test[2000:4000])}}  # fmt: skip


def with_outliers(n_train, seed):
    X, y, X_test, y_test = images(n_train, seed)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(n_train)[: n_train // 20]
    kinds = {"digits": rows[::2], "turned": rows[1::2]}
    strange = load_fashion_mnist("test", return_X_y=True)[0][5000:]
    X[kinds["digits"]] = digits(slice(len(kinds["digits"])))
    X[kinds["turned"]] = turn(strange[: len(kinds["turned"])] / np.float32(255))
    y[rows] = rng.integers(10, size=len(rows))
    return {"X": X, "y": y, "bad": kinds, "X_test": X_test[:2000], "y_test": y_test[:2000]}


def measure_errors(results, case, clf, data):
    X, y, bad = data["X"], data["y"], data["bad"]
    hard = clf.routing
    scores = {
        ("loss", "high"): label_loss(clf, X, y),
        ("own index", "high"): self_influence(clf, X, y),
        ("entropy, all indices", "high"): index_entropy(clf, X),
    }
    for method in METHODS:
        clf.set_params(routing="soft" if method == "disagreement" else hard)
        scores[method, "high"] = anomaly_ranking(clf, method).scores
    clf.set_params(routing=hard)
    for name in ("own index", "entropy, all indices", "entropy"):
        scores[name, "low"] = -scores[name, "high"]
    scores |= cleanlab_scores(y, clf.predict_proba(X), "own probabilities")
    state = {
        "test_accuracy": round(clf.score(data["X_test"], data["y_test"]), 4),
        "index_accuracy": round(np.mean(clf.predict_index(X) == np.arange(len(X))), 4),
        "errors_fitted": round(np.mean((clf.predict(X) == y)[bad]), 4),
    }
    add_ranking(results, case, scores, bad, state)


def cleanlab_scores(y, p, source):
    p = np.clip(p.astype(np.float64), 1e-12, 1)  # no ties where probabilities round to 0
    p /= p.sum(1, keepdims=True)
    return {
        (f"cleanlab {method}, {source}", "high"): -get_label_quality_scores(y, p, method=method)
        for method in QUALITY
    }


def cross_validate(results, case, data):
    """Scores of every row by a network that was trained without it."""
    X, y = data["X"], data["y"]
    p, disagreement = np.empty((len(y), 10)), np.empty(len(y))
    folds = StratifiedKFold(5, shuffle=True, random_state=case["seed"])
    for rows, others in folds.split(X, y):
        clf = ProvenanceClassifier(
            backbone="mlp", max_epochs=10, routing="soft", random_state=case["seed"]
        ).fit(X[rows], y[rows])
        p[others] = clf.predict_proba(X[others])
        disagreement[others] = label_disagreement(clf.explain(X[others], k=10), y[others])
    scores = cleanlab_scores(y, p, "cross-validated")
    scores["disagreement, cross-validated", "high"] = disagreement
    scores["loss", "high"] = -np.log(p[np.arange(len(y)), y].clip(1e-12))
    state = dict.fromkeys(("test_accuracy", "index_accuracy", "errors_fitted"), "")
    add_ranking(results, case, scores, data["bad"], state)


def add_ranking(results, case, scores, bad, state):
    """A line for each score, the loss last."""
    ranking = label_error_ranking(
        {"loss" if name[0] == "loss" else name: value for name, value in scores.items()}, bad
    )
    lines = zip(scores, ranking.auroc, ranking.found, strict=True)
    for (name, end), auroc, (at_10, at_20) in sorted(lines, key=lambda line: line[0][0] == "loss"):
        if not results.has(**case, score=name, end=end):
            results.add(
                **case,
                score=name,
                end=end,
                auroc=round(auroc, 4),
                found_at_10=round(at_10, 4),
                found_at_20=round(at_20, 4),
                **state,
            )


def training_and_other_scores(clf, X, others):
    """By name: scores of the training rows, and of each set of other rows."""
    hard = clf.routing
    scores = {
        "entropy, all indices": [index_entropy(clf, rows) for rows in (X, *others)],
        "class confidence": [-clf.predict_proba(rows).max(1) for rows in (X, *others)],
    }
    pixels = NearestNeighbors(n_neighbors=10).fit(X)
    scores["distance in pixels"] = [pixels.kneighbors(rows)[0].mean(1) for rows in (None, *others)]
    for method in METHODS[::-1]:  # entropy last
        clf.set_params(routing="soft" if method == "disagreement" else hard)
        detector = ProvenanceOutlierDetector(clf, method=method).fit(X)
        scores[method] = [-detector.score_samples(rows) for rows in (X, *others)]
    clf.set_params(routing=hard)
    return scores


def measure_new(results, case, clf, data):
    kinds, X_test = data["new"], data["X_test"]
    scores = training_and_other_scores(clf, data["X"], [X_test, *kinds.values()])
    for name, (train, test, *new) in scores.items():
        flagged = np.mean(test > np.quantile(train, 0.9))
        for kind, strange in zip(kinds, new, strict=True):
            add(results, case | {"among": "new images", "outliers": kind}, name, test, strange,
                flagged)  # fmt: skip


def measure_outliers(results, case, clf, data):
    kinds = data["bad"]
    clean = np.ones(len(data["X"]), dtype=bool)
    clean[np.concatenate(list(kinds.values()))] = False
    scores = training_and_other_scores(clf, data["X"], [data["X_test"]])
    for name, (train, test) in scores.items():
        flagged = np.mean(test > np.quantile(train, 0.9))
        for kind, rows in kinds.items():
            add(results, case | {"among": "training images", "outliers": kind}, name, train[clean],
                train[rows], flagged)  # fmt: skip


def add(results, case, name, normal, strange, flagged):
    auroc = roc_auc_score(
        np.arange(len(normal) + len(strange)) >= len(normal), np.append(normal, strange)
    )
    ends = {"high": auroc, "low": 1 - auroc} if name.startswith("entropy") else {"high": auroc}
    for end, area in sorted(ends.items(), reverse=True):
        line = case | {"score": name, "end": end}
        if not results.has(**line):
            results.add(
                **line,
                auroc=round(float(area), 4),
                mean_normal=round(float(normal.mean()), 4),
                mean_outliers=round(float(strange.mean()), 4),
                # share of test images beyond the 90 % quantile of training images
                test_flagged=round(flagged, 4) if end == "high" else "",
            )


if __name__ == "__main__":
    main()
