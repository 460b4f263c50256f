"""Seconds of greedy influence and of greedy InfoLoss on one network, and of their feature passes.

784-512-256-10 ReLU network on Fashion-MNIST; TensorSketch with K = 4096 for both. Queries are test
images, candidates the rows of the class that is predicted for each.
"""

import time

import torch
from _common import Results, parse, parser
from _networks import MLP_RECIPE, as_inputs, mlp, train

from sklearn_provenance import InfluenceAttributor, InfoLossAttributor, TangentFeatures
from sklearn_provenance.attribution import TRAKAttributor
from sklearn_provenance.datasets import load_fashion_mnist


def methods(network):
    sketch = TangentFeatures(n_components=4096)
    return {
        "InfoLoss": InfoLossAttributor(network, features=sketch, measurement="margin"),
        "influence, greedy": InfluenceAttributor(network, features=sketch),
        "influence, additive": InfluenceAttributor(network, features=sketch, selection="additive"),
        "TRAK": TRAKAttributor(network, features=sketch),
    }


def main():
    arguments = parser(__doc__, "3000 rows, 20 queries, k = 100")
    arguments.add_argument("--rows", type=int, default=15_000)
    options = parse(arguments)
    n_train, n_queries, k = (3000, 20, 100) if options.quick else (options.rows, 100, 300)
    results = Results("influence_networks", ["method", "n_train", "n_queries", "k"])
    images, y = load_fashion_mnist("train", return_X_y=True)
    X, y = as_inputs(images[:n_train]), y[:n_train]
    network = train(mlp(), X, torch.as_tensor(y), MLP_RECIPE)
    images, _ = load_fashion_mnist("test", return_X_y=True)
    queries = as_inputs(images[:n_queries])
    for name, attributor in methods(network).items():
        case = {"method": name, "n_train": n_train, "n_queries": n_queries, "k": k}
        if results.has(**case):
            continue
        start = time.perf_counter()
        attributor.fit(X, y)
        fitted = time.perf_counter()
        attributor.explain(queries[:1], k=1)  # what is made when a pick is first asked for
        ready = time.perf_counter()
        attributor.explain(queries, k=k)
        done = time.perf_counter()
        results.add(
            **case,
            seconds_fit=round(fitted - start, 2),
            seconds_system=round(ready - fitted, 2),
            seconds_explain=round(done - ready, 2),
        )


if __name__ == "__main__":
    main()
