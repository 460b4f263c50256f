"""How selection scales: time against candidates N, features K, picks k and queries, one at a time.

Rows are Fashion-MNIST images of one class, their features TensorSketches of a 784-512-256-10
network's gradients. Timed is the selection alone, from kernels or features that are there; the best
of three.
"""

import time
from dataclasses import replace

import numpy as np
import torch
from _common import Results, memory_mb, parse, parser, reset_peak
from _networks import MLP_RECIPE, as_inputs, mlp, train

from sklearn_provenance import TangentFeatures
from sklearn_provenance.datasets import load_fashion_mnist
from sklearn_provenance.information import greedy, greedy_features

BASE = {"N": 1500, "K": 1024, "k": 100, "queries": 40}
SWEEPS = {
    "N": (375, 750, 1500, 3000, 6000),
    "K": (256, 512, 1024, 2048, 4096),
    "k": (25, 50, 100, 200, 400),
    "queries": (5, 10, 20, 40, 80, 160),
}
QUICK = {"N": (375, 750), "K": (256, 512), "k": (25, 50), "queries": (5, 10)}
METHODS = {
    "InfoGain, kernel": (greedy, "info_gain"),
    "InfoGain, features": (greedy_features, "info_gain"),
    "linear response, kernel": (greedy, "linear_response"),
    "InfoLoss, kernel": (greedy, "info_loss"),
    "InfoLoss, features": (greedy_features, "info_loss"),
}


def data(K):
    """Features of 6000 training images of a class, and of 160 test images, at that class."""
    images, labels = load_fashion_mnist("train", return_X_y=True)
    X, y = as_inputs(images), torch.as_tensor(labels)
    tests, test_labels = load_fashion_mnist("test", return_X_y=True)
    network = train(mlp(), X[:15_000], y[:15_000], replace(MLP_RECIPE, max_epochs=2))
    sketch = TangentFeatures(network, n_components=K).fit(X[:100])
    rows, queries = X[y == 6], as_inputs(tests[test_labels == 6])[:160]
    return [
        torch.as_tensor(sketch.transform(x, np.full(len(x), 6)), dtype=torch.float64)
        for x in (rows, queries)
    ]


def main():
    options = parse(parser(__doc__, "two points per curve"))
    results = Results("scaling", ["method", "varied", *BASE])
    features = {}
    for varied, values in (QUICK if options.quick else SWEEPS).items():
        for value in values:
            size = BASE | {varied: value}
            for method, (select, rule) in METHODS.items():
                if varied == "K" and select is greedy:
                    continue  # a kernel does not know how many features it came from
                if results.has(method=method, varied=varied, **size):
                    continue
                if size["K"] not in features:
                    features = {size["K"]: data(size["K"])}
                rows, queries = features[size["K"]]
                rows, queries = rows[: size["N"]], queries[: size["queries"]]
                noise = float(rows.square().sum(1).mean())
                system = rows, queries
                if select is greedy:
                    system = rows @ rows.T, queries @ rows.T, queries.square().sum(1)
                reset_peak()
                held, seconds = memory_mb("VmRSS"), []
                for _ in range(3):
                    start = time.perf_counter()
                    select(*system, noise, size["k"], rule)
                    seconds.append(time.perf_counter() - start)
                results.add(
                    method=method,
                    varied=varied,
                    **size,
                    seconds=round(min(seconds), 4),
                    extra_peak_mb=round(memory_mb("VmHWM") - held),
                )


if __name__ == "__main__":
    main()
