"""What bfloat16 and torch.compile make of a pass for features: time, error, and changed picks.

The 784-512-256-10 network, trained on 15000 Fashion-MNIST images, and ResNet-9 of a quarter of its
width, trained on 2500 CIFAR-10 images. K = 4096, one thread; passes take turns, and the least CPU
time of each counts.

bfloat16: the network computes under `torch.autocast`, sketches stay in single precision. Kernels of
20 queries with 500 rows and the ten rows that InfoGain names for each are compared with those of
exact features in single precision, as are those of a sketch without autocast.

compiled: one step forward and backward over the same rows, as it is and by `torch.compile`, whose
seconds are those of the first step, on the clock. The pass itself needs what goes in and out of
each layer, and is not compiled.
"""

import os
import time
from dataclasses import replace

import numpy as np
import torch
from _common import Results, parse, parser
from _images import Images
from _networks import train
from torch import nn
from torch.nn import functional as F

from sklearn_provenance import InfoGainAttributor, TangentFeatures
from sklearn_provenance.tangent import TangentModel, tangent_kernel

os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # compile anew
K = 4096
N_QUERIES, N_ROWS, N_PICKS = 20, 500, 10


class Autocast(nn.Module):
    """A network that computes in bfloat16 where autocast does."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.network(x).float()


def least_seconds(steps, repeats):
    """Least CPU seconds of each step, which take turns."""
    seconds = dict.fromkeys(steps, np.inf)
    for _ in range(repeats):
        for name, run in steps.items():
            start = time.process_time()
            run()
            seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds


def picks(network, features, X, y, queries, labels):
    """Rows that InfoGain names for each query."""
    attributor = InfoGainAttributor(network, features=features).fit(X, y)
    return attributor.explain(queries, labels, k=N_PICKS).indices


def precisions(case, network, X, y, repeats):
    """Passes, kernels and picks in single precision and under autocast."""
    y = y.numpy()
    queries = case.as_tensor(case.test_images[:N_QUERIES])
    labels = case.test_y[:N_QUERIES]
    studied = {"float32": network, "bfloat16": Autocast(network).eval()}
    fitted = {name: TangentFeatures(one, K).fit(X) for name, one in studied.items()}
    passes = {name: lambda one=one: one.transform(X, y) for name, one in fitted.items()}
    seconds = least_seconds(passes, repeats)
    rows, given = X[:N_ROWS], torch.as_tensor(y[:N_ROWS])
    model = TangentModel(network)
    exact = tangent_kernel(model, queries, torch.as_tensor(labels), rows, given).numpy()
    picked = picks(network, "exact", X, y, queries, labels)
    for name, one in studied.items():
        phi = fitted[name].transform(queries, labels)
        kernel = phi @ fitted[name].transform(rows, y[:N_ROWS]).T
        found = picks(one, TangentFeatures(n_components=K), X, y, queries, labels)
        shared = [len(set(a) & set(b)) for a, b in zip(found, picked, strict=True)]
        yield {
            "variant": f"pass, {name}",
            "cpu_seconds": round(seconds[name], 3),
            "ratio": round(seconds[name] / seconds["float32"], 3),
            "kernel_error": round(np.linalg.norm(kernel - exact) / np.linalg.norm(exact), 4),
            "picks_shared": round(np.mean(shared) / N_PICKS, 3),
            "seconds_to_compile": "",
        }


def compiled(network, X, y, repeats):
    """Steps of the network as it is and compiled."""

    def step(network):
        for rows in torch.arange(len(X)).split(128):
            F.cross_entropy(network(X[rows]), y[rows]).backward()
        network.zero_grad()

    faster = torch.compile(network)
    start = time.perf_counter()  # processes of its own compile
    step(faster)
    first = time.perf_counter() - start
    steps = {"as it is": network, "compiled": faster}
    runs = {name: lambda one=one: step(one) for name, one in steps.items()}
    seconds = least_seconds(runs, repeats)
    for name in steps:
        yield {
            "variant": f"forward and backward, {name}",
            "cpu_seconds": round(seconds[name], 3),
            "ratio": round(seconds[name] / seconds["as it is"], 3),
            "kernel_error": "",
            "picks_shared": "",
            "seconds_to_compile": round(first, 1) if name == "compiled" else "",
        }


def main():
    options = parse(parser(__doc__, "500 rows, 2 epochs"))
    torch.set_num_threads(options.threads or 1)
    results = Results("pass_variants", ["network", "n_train", "variant"])
    for data, n_train, epochs in (("fashion_mnist", 15_000, 20), ("cifar10", 2500, 12)):
        if options.quick:
            n_train, epochs = 500, 2
        case = Images(data, n_train, width=16)
        line = {"network": case.network, "n_train": n_train}
        if results.has(**line, variant="forward and backward, compiled"):
            continue
        X, y = case.inputs()
        recipe = replace(case.recipe, max_epochs=epochs)
        network = train(case.make(seed=0), X, y, recipe)
        rows = slice(0, 4096 if data == "fashion_mnist" else 256)
        repeats = 2 if options.quick else 7
        found = list(precisions(case, network, X, y, repeats))
        found += compiled(network, X[rows], y[rows], repeats)
        for one in found:
            results.add(**line, **one)


if __name__ == "__main__":
    main()
