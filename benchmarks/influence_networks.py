"""CPU seconds and memory of greedy influence beside greedy InfoLoss and TRAK on one network.

784-512-256-10 ReLU network on 15000 Fashion-MNIST images, about 1500 of each class, trained for
five epochs; one TensorSketch for all, of K = 1024. 100 test images are explained by k = 300 rows
among those of the class that is predicted for each. "fit" is the pass over the rows and what is
made of them at once, "system" what is made when a pick is first asked for. Peaks are of the process
from where it stood before `fit`.
"""

import time
from dataclasses import replace

import torch
from _common import Results, memory_mb, parse, parser, reset_peak
from _networks import MLP_RECIPE, as_inputs, mlp, train

from sklearn_provenance import InfluenceAttributor, InfoLossAttributor, TangentFeatures
from sklearn_provenance.attribution import TRAKAttributor
from sklearn_provenance.datasets import load_fashion_mnist


def methods(network, n_components):
    sketch = TangentFeatures(n_components=n_components)
    return {
        "InfoLoss": InfoLossAttributor(network, features=sketch, measurement="margin"),
        "influence, greedy": InfluenceAttributor(network, features=sketch),
        "influence, additive": InfluenceAttributor(network, features=sketch, selection="additive"),
        "TRAK": TRAKAttributor(network, features=sketch),
    }


def main():
    arguments = parser(__doc__, "3000 rows, 20 queries, k = 100")
    arguments.add_argument("--rows", type=int, default=15_000)
    arguments.add_argument("--components", type=int, default=1024)
    options = parse(arguments)
    n_train, n_queries, k = (3000, 20, 100) if options.quick else (options.rows, 100, 300)
    results = Results("influence_networks", ["method", "n_train", "n_queries", "k", "n_components"])
    images, y = load_fashion_mnist("train", return_X_y=True)
    X, y = as_inputs(images[:n_train]), y[:n_train]
    network = train(mlp(), X, torch.as_tensor(y), replace(MLP_RECIPE, max_epochs=5))
    images, _ = load_fashion_mnist("test", return_X_y=True)
    queries = as_inputs(images[:n_queries])
    for name, attributor in methods(network, options.components).items():
        case = {"method": name, "n_train": n_train, "n_queries": n_queries, "k": k}
        case["n_components"] = options.components
        if results.has(**case):
            continue
        reset_peak()
        held, start = memory_mb("VmRSS"), time.process_time()
        attributor.fit(X, y)
        fitted = time.process_time()
        attributor.explain(queries[:1], k=1)  # what is made when a pick is first asked for
        ready = time.process_time()
        attributor.explain(queries, k=k)
        done = time.process_time()
        results.add(
            **case,
            cpu_seconds_fit=round(fitted - start, 2),
            cpu_seconds_system=round(ready - fitted, 2),
            cpu_seconds_explain=round(done - ready, 2),
            extra_peak_mb=round(memory_mb("VmHWM") - held),
        )


if __name__ == "__main__":
    main()
