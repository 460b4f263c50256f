"""Accuracy on distorted images: single branches over alpha against an isolated CNN.

The 14 distortions of the paper's section 7.8 and the images as they are, for networks that share
backbone, training images, batches and epochs. The isolated CNN is a class branch whose index branch
gets no gradient (`lambda_index=0`), so it differs from a single branch in two ways: class targets
instead of indices, and one hidden layer less. Every network of a seed sees the same distorted
images. *top1*, *majority@5* and *any@5* hold the labels of the named training rows against the true
label; *accuracy* is that of `predict`, which is the class with most of the index probability.

`--data fashion` takes Fashion-MNIST. A full run takes a GPU.
"""

import numpy as np
from _common import Results, parse, parser, subset

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.datasets import load_fashion_mnist, load_mnist
from sklearn_provenance.evaluation import robustness

ISOLATED = "isolated CNN"
QUICK = {"n_train": 6000, "n_test": 2000, "width": "small", "epochs": 10, "decay_epochs": 3}
FULL = {"n_train": 60_000, "n_test": 10_000, "width": "large", "epochs": 20, "decay_epochs": 4}
QUICK_ALPHAS = (0.0, 0.3, 0.5, 0.8)
FULL_ALPHAS = (0.0, 0.3, 0.5, 0.8, 0.2, 0.7, 0.9)


def network(alpha, sizes, seed):
    """An unfitted single branch, or with alpha None the isolated CNN."""
    options = {
        "width": sizes["width"],
        "max_epochs": sizes["epochs"],
        "warmup_epochs": min(3, sizes["epochs"] // 5),
        "decay_epochs": sizes["decay_epochs"],
        "random_state": seed,
        "verbose": 1,
    }
    if alpha is None:
        return ProvenanceClassifier("class_independent", lambda_index=0, index_subset=10, **options)
    return ProvenanceClassifier("single_branch", alpha=alpha, **options)


def main():
    arguments = parser(__doc__, "6000 images, 2000 tests, small networks, 10 epochs, 4 alphas")
    arguments.add_argument("--data", choices=["mnist", "fashion"], default="mnist")
    arguments.add_argument("--seeds", type=int, default=None, help="default: 2 if quick, else 3")
    options = parse(arguments)
    sizes, alphas = (QUICK, QUICK_ALPHAS) if options.quick else (FULL, FULL_ALPHAS)
    results = Results("robustness", ["data", "n_train", "epochs", "seed", "model", "distortion"])
    for seed in range(options.seeds or (2 if options.quick else 3)):
        run(results, options.data, sizes, alphas, seed)


def run(results, data, sizes, alphas, seed):
    loader = {"mnist": load_mnist, "fashion": load_fashion_mnist}[data]
    X, y = part(*loader("train", return_X_y=True), sizes["n_train"], seed)
    X_test, y_test = part(*loader("test", return_X_y=True), sizes["n_test"], seed)
    for alpha in (None, *alphas):
        model = ISOLATED if alpha is None else f"single branch, alpha={alpha:g}"
        case = {"data": data, "n_train": sizes["n_train"], "epochs": sizes["epochs"]}
        case |= {"seed": seed, "model": model}
        if results.has(**case, distortion="motion blur 5"):  # the last one
            continue
        clf = network(alpha, sizes, seed).fit(X, y)
        seconds = sum(epoch["dur"] for epoch in clf.history_)
        index_accuracy = np.mean(clf.predict_index(X) == np.arange(len(y)))
        measured = robustness({model: clf}, X_test, y_test, random_state=seed).summary()
        for line in measured.to_dict("records"):
            exemplars = {
                "top1": line["top1"],
                "majority@5": line["majority@5"],
                "any@5": line["any@5"],
                "index_accuracy": index_accuracy,
            }
            if alpha is None:  # its index branch has learnt nothing
                exemplars = dict.fromkeys(exemplars, np.nan)
            values = {"accuracy": line["accuracy"], "accuracy_se": line["accuracy_se"]}
            results.add(
                **case,
                distortion=line["distortion"],
                **{name: round(value, 4) for name, value in (values | exemplars).items()},
                width=sizes["width"],
                n_test=len(y_test),
                seconds=round(seconds, 1),
            )


def part(X, y, size, seed):
    return (X, y) if size == len(y) else subset(X, y, size, seed)


if __name__ == "__main__":
    main()
