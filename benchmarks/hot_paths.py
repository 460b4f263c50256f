"""Where the time of the hot paths goes: passes for features, the greedy selection, the scan.

Shares of the time inside torch, by kind of operation, from `torch.profiler` on one thread. The
networks are those of feature_passes.py, on random rows, as costs do not depend on what is in them.
"""

import time

import numpy as np
import torch
from _common import Results, parse, parser
from _networks import mlp, resnet9
from torch.profiler import ProfilerActivity, profile

from sklearn_provenance import TangentFeatures
from sklearn_provenance.information import greedy, greedy_features

K = 4096
KINDS = {
    "Fourier transforms": ("fft",),
    "matrix products": ("mm", "dot", "mv", "linalg_", "cholesky", "triangular"),
    "convolutions": ("convolution",),
    "buckets": ("scatter", "index_add", "index_put"),
    "other layers": ("pool", "norm", "threshold", "relu", "clamp"),
    "sums and maxima": ("sum", "max", "min", "topk", "sort", "cum"),
    "copies": ("copy", "index", "gather", "cat", "fill", "zero", "clone", "as_strided"),
    "arithmetic": ("mul", "add", "sub", "div", "sqrt", "log", "where", "square", "pow"),
}


def kind_of(operation):
    """Kind of a torch operation, by its name; the first that fits."""
    name = operation.removeprefix("aten::")
    for kind, parts in KINDS.items():
        if any(part in name for part in parts):
            return kind
    return "other"


def passes(n_images, n_rows):
    """Passes for sketched features."""
    networks = {"784-512-256-10": (mlp(), torch.randn(n_rows, 784))}
    for width, share in ((16, 4), (32, 2)):
        images = torch.randn(n_images, 3, 32, 32)
        networks[f"ResNet-9 / {share}"] = resnet9(width=width, channels_last=True), images
    for name, (network, X) in networks.items():
        features = TangentFeatures(network, K).fit(X)
        y = np.arange(len(X)) % 10
        yield f"pass, {name}", lambda features=features, X=X, y=y: features.transform(X, y)


def selections(n_rows, n_queries=100, k=50):
    """Greedy selections of 50 rows for each of 100 queries."""
    phi = torch.randn(n_rows, 1024, dtype=torch.float64) / 32
    queries = torch.randn(n_queries, 1024, dtype=torch.float64) / 32
    kernel, cross = phi @ phi.T, queries @ phi.T
    variance = queries.square().sum(1)
    for rule in ("info_gain", "info_loss"):
        yield (
            f"greedy, {rule}, kernel",
            lambda rule=rule: greedy(kernel, cross, variance, 1.0, k, rule),
        )
        yield (
            f"greedy, {rule}, features",
            lambda rule=rule: greedy_features(phi, queries, 1.0, k, rule),
        )


def main():
    options = parse(parser(__doc__, "64 images, 256 rows"))
    torch.set_num_threads(options.threads or 1)
    torch.manual_seed(0)
    n_images, n_rows, n_selected = (64, 256, 500) if options.quick else (256, 4096, 1500)
    results = Results("hot_paths", ["path", "kind"])
    for path, run in (*passes(n_images, n_rows), *selections(n_selected)):
        if results.has(path=path, kind="all"):
            continue
        for _ in range(2):  # what is kept from call to call is kept
            start = time.process_time()
            run()
            seconds = time.process_time() - start
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            run()
        times = {}
        for event in profiled.key_averages():
            kind = kind_of(event.key)
            times[kind] = times.get(kind, 0) + event.self_cpu_time_total
        shares = {kind: value / sum(times.values()) for kind, value in times.items()}
        for kind in sorted(shares, key=shares.get, reverse=True):
            results.add(path=path, kind=kind, share=round(shares[kind], 3), cpu_seconds="")
        results.add(path=path, kind="all", share=1.0, cpu_seconds=round(seconds, 3))


if __name__ == "__main__":
    main()
