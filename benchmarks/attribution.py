"""What attribution costs, in training epochs of the network explained; one run, one process.

The first 15000 images of Fashion-MNIST, a 784-512-256-10 ReLU network without biases, 100 test
queries. The epoch (batches of 64, SGD) is timed before and after every step, and a step's ratio is
to the mean of the two, so that a machine whose speed drifts does not decide.
"""

import sys
import time
from dataclasses import replace

import numpy as np
import torch
from _common import Results, memory_mb, parse, parser, reset_peak
from _networks import MLP_RECIPE, as_inputs, mlp, train

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor, TangentFeatures
from sklearn_provenance.datasets import load_fashion_mnist
from sklearn_provenance.information import greedy
from sklearn_provenance.tangent import TangentModel, tangent_kernel

K = 4096


class Bench:
    def __init__(self, n_train, n_queries, epochs):
        images, labels = load_fashion_mnist("train", return_X_y=True)
        self.X, self.y = as_inputs(images[:n_train]), torch.as_tensor(labels[:n_train])
        images, _ = load_fashion_mnist("test", return_X_y=True)
        self.queries = as_inputs(images[:n_queries])
        self.network = train(mlp(), self.X, self.y, replace(MLP_RECIPE, max_epochs=epochs))
        with torch.no_grad():
            self.labels = self.network(self.queries).argmax(1)
        self.model = TangentModel(self.network)

    def epoch(self):
        start = time.perf_counter()
        train(mlp(), self.X, self.y, replace(MLP_RECIPE, max_epochs=1))
        return time.perf_counter() - start

    def kernel(self, rows, c, rows2=None):
        """Exact kernel of training rows at class c, or of queries and training rows."""
        labels = torch.full((len(rows),), c)
        if rows2 is None:
            return tangent_kernel(self.model, rows, labels)
        return tangent_kernel(self.model, rows, labels, rows2, torch.full((len(rows2),), c))

    # Steps return figures of their own, beside time and memory.

    def exact_same_class(self):
        """Kernels of every class's rows, and of the queries with the rows of their class."""
        for c in range(10):
            rows, queries = self.X[self.y == c], self.queries[self.labels == c]
            self.kernel(rows, c)
            if len(queries):
                self.kernel(queries, c, rows)
        return {}

    def exact_queries(self):
        """Kernel of the queries with all training rows, at one class."""
        self.kernel(self.queries, 0, self.X)
        return {}

    def sketch(self):
        """TensorSketch of every training row at its own label."""
        self.features("tensor").transform(self.X, self.y)
        return {}

    def sketch_error(self):
        """Error of the kernel of 100 queries and 500 rows, TensorSketch and dense signs."""
        rows, labels = self.X[:500], self.y[:500]
        exact = tangent_kernel(self.model, self.queries, self.labels, rows, labels).numpy()
        errors = {}
        for sketch in ("tensor", "rademacher"):
            transformer = self.features(sketch)
            kernel = transformer.transform(self.queries, self.labels) @ (
                transformer.transform(rows, labels).T
            )
            errors[sketch] = np.linalg.norm(kernel - exact) / np.linalg.norm(exact)
        return {
            "error": round(errors["tensor"], 4),
            "error_rademacher": round(errors["rademacher"], 4),
        }

    def features(self, sketch):
        return TangentFeatures(self.network, n_components=K, sketch=sketch).fit(self.X)

    def greedy(self):
        """Exact InfoGain, k = 300, among the rows of the most frequent class, kernels given."""
        c = int(self.y.bincount().argmax())
        rows = self.X[self.y == c][:1500]
        kernel, cross = self.kernel(rows, c), self.kernel(self.queries, c, rows)
        variance = self.kernel(self.queries, c).diagonal()
        start = time.perf_counter()
        greedy(kernel, cross, variance, float(kernel.diagonal().mean()), min(300, len(rows)))
        return {"seconds": time.perf_counter() - start}

    def info_gain(self):
        """InfoGainAttributor.explain of the queries, k = 50, from the network to the answer."""
        attributor = InfoGainAttributor(self.network).fit(self.X, self.y)
        attributor.explain(self.queries, k=50)
        return {}

    def info_loss(self, features="exact"):
        """InfoLossAttributor.explain of the queries of one class, k = 50, given all rows."""
        attributor = InfoLossAttributor(self.network, features=features).fit(self.X, self.y)
        c = int(self.labels.bincount().argmax())
        queries = self.queries[self.labels == c]
        attributor.explain(queries, torch.full((len(queries),), c), k=50)
        return {}

    def info_loss_sketch(self):
        """The same from features, K = 4096."""
        return self.info_loss(TangentFeatures(n_components=K))


STEPS = (
    "exact_same_class",
    "exact_queries",
    "sketch",
    "sketch_error",
    "greedy",
    "info_gain",
    "info_loss_sketch",
    "info_loss",
)

# Minutes long, and long enough to be steady.
ONCE = ("sketch_error", "info_loss")


def main():
    arguments = parser(__doc__, "2000 training rows, 20 queries")
    options = parse(arguments)
    n_train, n_queries, epochs = (2000, 20, 2) if options.quick else (15_000, 100, 10)
    results = Results("attribution", ["step", "n_train", "repeat"])
    bench = None
    for repeat in range(1 if options.quick else 3):
        for step in STEPS:
            if results.has(step=step, n_train=n_train, repeat=repeat) or (repeat and step in ONCE):
                continue
            bench = bench or Bench(n_train, n_queries, epochs)
            before = bench.epoch()
            reset_peak()
            held, start = memory_mb("VmRSS"), time.perf_counter()
            figures = getattr(bench, step)()
            seconds = figures.pop("seconds", time.perf_counter() - start)
            peak = memory_mb("VmHWM")
            epoch = (before + bench.epoch()) / 2
            results.add(
                step=step,
                n_train=n_train,
                n_queries=n_queries,
                repeat=repeat,
                seconds=round(seconds, 3),
                epoch_seconds=round(epoch, 3),
                epochs=round(seconds / epoch, 2),
                peak_mb=round(peak),
                extra_peak_mb=round(peak - held),
                error=figures.get("error", ""),
                error_rademacher=figures.get("error_rademacher", ""),
            )


if __name__ == "__main__":
    sys.exit(main())
