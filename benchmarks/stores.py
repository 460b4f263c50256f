"""How far explanations go: rows in a file and in a store, by exact scans and by search indexes.

Part 1 explains 100 queries by rows of 256 numbers in half precision that lie in a file, from 10000
to a million: processor time, memory of its own that the process holds at its peak, and what an
index finds of what the exact scan picks. Rows are drawn around 1000 centres whose spectrum decays
as that of tangent features. `--reference 10` has the exact scan explain the first 10 queries only,
with which the others are compared. Part 2 builds stores of tangent sketches of a network on digits
in each type of numbers, and measures what changes in picks and nats. Part 3 fits attributors on
Fashion-MNIST without and with a store in float32, by turns in one process, and gives the median and
the range of the ratios of processor seconds. Part 4 explains queries by InfoLoss and by RelatIF,
from features in memory and from those that are read in blocks, for each pick or once.
"""

import multiprocessing
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from _common import Results, parse, parser
from _networks import MLP_RECIPE, as_inputs, mlp, train
from retrieval import PeakMemory
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neural_network import MLPClassifier

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor, TangentFeatures
from sklearn_provenance.attribution import AttributionStore, RelatIFAttributor
from sklearn_provenance.datasets import load_digits, load_fashion_mnist
from sklearn_provenance.retrieval import FaissIndex

N_QUERIES, K, POOL = 100, 10, 200
METHODS = {
    "exact scan": {},
    "pool of 200, exact scan": {"pool_size": POOL},
    "pool of 200, FAISS bytes": {"pool_size": POOL, "index": FaissIndex("scalar_quantized")},
    "pool of 200, FAISS lists of bytes": {
        "pool_size": POOL,
        "index": FaissIndex("quantized_inverted_file"),
    },
}
DTYPES = ("float64", "float32", "float16", "bfloat16")


class Known(ClassifierMixin, BaseEstimator):
    """A model that has two classes; rows are compared by features that are there already."""

    classes_ = np.arange(2)

    def fit(self, X, y):
        return self

    def predict(self, X):
        return (np.asarray(X[:, 0]) > 0).astype(int)


def itself(X):
    return X


def draw(path, n, width):
    """Write n rows to a file in half precision, and return queries of the same distribution."""
    random = np.random.default_rng(0)
    scale = (1 + np.arange(width)) ** -0.5
    centres = random.normal(size=(1000, width)) * scale
    rows = np.lib.format.open_memmap(path, "w+", np.float16, (n, width))
    for start in range(0, n, 10_000):
        part = rows[start : start + 10_000]
        noise = random.normal(size=part.shape) * scale
        part[:] = centres[random.integers(1000, size=len(part))] + noise
    rows.flush()
    noise = random.normal(size=(N_QUERIES, width)) * scale
    return centres[random.integers(1000, size=N_QUERIES)] + noise


def measure(folder, params, threads, n_queries, queue):
    torch.set_num_threads(threads)
    folder = Path(folder)
    X = np.load(folder / "rows.npy", mmap_mode="r")
    queries = np.load(folder / "queries.npy")[:n_queries]
    y = np.arange(len(X)) % 2
    settings = {"features": itself, "candidates": "all", "memory_limit": 1e9}
    warm = InfoGainAttributor(Known(), **settings, **params).fit(X[:500], y[:500])
    warm.explain(queries[:2], k=2)
    with PeakMemory() as memory:
        start = time.process_time()
        attributor = InfoGainAttributor(Known(), **settings, **params).fit(X, y)
        fit = time.process_time() - start
        seconds = []
        for part in (queries[:1], queries):  # the first makes the index
            start, clock = time.process_time(), time.perf_counter()
            found = attributor.explain(part, k=K)
            seconds.append(time.process_time() - start)
    seconds.append(time.perf_counter() - clock)
    queue.put((fit, *seconds, memory.peak - memory.before, found.indices, found.scores))


def run_rows(n, width, results, n_reference=N_QUERIES, methods=tuple(METHODS)):
    case = {"n_rows": n, "n_features": width, "threads": torch.get_num_threads()}
    missing = [m for m in methods if not results.has(**case, method=m)]
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "queries.npy", draw(Path(folder) / "rows.npy", n, width))
        found = {}
        for method in ["exact scan", *(m for m in missing if m != "exact scan")]:
            queue = context.Queue()
            n_queries = n_reference if method == "exact scan" else N_QUERIES
            arguments = (folder, METHODS[method], torch.get_num_threads(), n_queries, queue)
            process = context.Process(target=measure, args=arguments)
            process.start()
            fit, first, seconds, clock, peak, picks, nats = queue.get()
            process.join()
            found[method] = picks[:n_reference], nats[:n_reference]
            exact, exact_nats = found["exact scan"]
            picks, nats = found[method]
            shared = [len(np.intersect1d(*pair)) / K for pair in zip(picks, exact, strict=True)]
            if method in missing:
                results.add(
                    n_rows=n,
                    n_features=width,
                    method=method,
                    file_mb=round(2 * n * width / 2**20),
                    fit_cpu_seconds=round(fit, 2),
                    first_query_cpu_seconds=round(first, 2),
                    explain_cpu_seconds=round(seconds, 2),
                    explain_seconds=round(clock, 2),
                    peak_mb=round(peak),
                    n_queries=n_queries,
                    k=K,
                    recall=round(float(np.mean(shared)), 4),
                    share_of_nats=round(float(np.mean(nats.sum(1) / exact_nats.sum(1))), 5),
                )


def measure_posterior(cls, folder, memory_limit, queue):
    torch.set_num_threads(1)
    X = np.load(Path(folder) / "rows.npy", mmap_mode="r")
    queries = np.load(Path(folder) / "queries.npy")[:10]
    y = np.arange(len(X)) % 2
    settings = {"features": itself, "candidates": "all", "memory_limit": memory_limit}
    cls(Known(), **settings).fit(X[:2000], y[:2000]).explain(queries[:2], k=2)
    with PeakMemory() as memory:
        attributor = cls(Known(), **settings).fit(X, y)
        seconds = []
        for part in (queries[:1], queries):  # the first makes the posterior
            start = time.process_time()
            found = attributor.explain(part, k=K)
            seconds.append(time.process_time() - start)
    queue.put((*seconds, memory.peak - memory.before, found.indices))


def run_posterior(cls, n, width, limits, results):
    context = multiprocessing.get_context("spawn")
    if all(results.has(n_rows=n, n_features=width, memory_limit_mb=limit) for limit in limits):
        return
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "queries.npy", draw(Path(folder) / "rows.npy", n, width))
        first_picks = None
        for limit in limits:
            queue = context.Queue()
            arguments = (cls, folder, limit * 1e6, queue)
            process = context.Process(target=measure_posterior, args=arguments)
            process.start()
            first, seconds, peak, picks = queue.get()
            process.join()
            if first_picks is None:
                first_picks = picks
            results.add(
                n_rows=n,
                n_features=width,
                memory_limit_mb=limit,
                file_mb=round(2 * n * width / 2**20),
                in_double_precision_mb=round(8 * n * width / 2**20),
                first_query_cpu_seconds=round(first, 2),
                explain_cpu_seconds=round(seconds, 2),
                peak_mb=round(peak),
                n_queries=len(picks),
                k=K,
                same_picks=bool((picks == first_picks).all()),
            )


def run_dtypes(results, n_components):
    if all(results.has(dtype=dtype, n_components=n_components) for dtype in DTYPES):
        return
    X, y = load_digits("train", return_X_y=True)
    queries, _ = load_digits("test", return_X_y=True)
    X, queries = (part.reshape(len(part), -1) / 16.0 for part in (X, queries))
    model = MLPClassifier((64,), max_iter=300, random_state=0).fit(X, y)
    sketch = TangentFeatures(n_components=n_components)
    params = {"features": sketch, "measurement": "margin", "candidates": "all"}
    InfoGainAttributor(model, **params).fit(X[:50], y[:50])
    start = time.process_time()
    expected = InfoGainAttributor(model, **params).fit(X, y)
    in_memory = time.process_time() - start
    expected = expected.explain(queries, k=K)
    for dtype in DTYPES:
        with tempfile.TemporaryDirectory() as folder:
            store = AttributionStore(folder, dtype=dtype)
            start = time.process_time()
            attributor = InfoGainAttributor(model, **params).fit(X, y, store=store)
            seconds = time.process_time() - start
            found = attributor.explain(queries, k=K)
            pairs = zip(found.indices, expected.indices, strict=True)
            shared = np.array([len(np.intersect1d(*pair)) / K for pair in pairs])
            nats = found.scores.sum(1) / expected.scores.sum(1)
            results.add(
                dtype=dtype,
                n_components=n_components,
                n_rows=len(X),
                n_queries=len(queries),
                k=K,
                bytes_per_row=round(store.info()["n_bytes"] / len(X)),
                picks_shared=round(float(shared.mean()), 5),
                queries_with_the_same_picks=round(float((shared == 1).mean()), 4),
                same_order=round(float((found.indices == expected.indices).all(1).mean()), 4),
                largest_error_of_nats=f"{np.abs(nats - 1).max():.1e}",
                fit_cpu_seconds=round(seconds, 2),
                fit_cpu_seconds_in_memory=round(in_memory, 2),
            )


def run_added(results, n_rows, n_pairs=9):
    for n_components in (1024, 4096):
        case = {"n_rows": n_rows, "n_components": n_components}
        if results.has(**case):
            continue
        X, y = load_fashion_mnist("train", return_X_y=True)
        X, y = as_inputs(X[:n_rows]), torch.as_tensor(y[:n_rows]).long()
        network = train(mlp(), X, y, replace(MLP_RECIPE, max_epochs=1))
        features = TangentFeatures(n_components=n_components)
        attributor = InfoGainAttributor(
            network, features=features, measurement="margin", noise_variance="0.1*diagonal"
        )
        pairs = []
        for number in range(n_pairs + 1):  # the first is warm-up
            with tempfile.TemporaryDirectory() as folder:
                store = AttributionStore(folder, dtype="float32")
                seconds = {}
                for stored in (number % 2 == 0, number % 2 == 1):
                    start = time.process_time()
                    attributor.fit(X, y, store=store if stored else None)
                    seconds[stored] = time.process_time() - start
            pairs.append((seconds[False], seconds[True]))
        alone, with_store = np.transpose(pairs[1:])
        ratios = with_store / alone
        results.add(
            **case,
            pairs=n_pairs,
            fit_cpu_seconds_in_memory=round(float(np.median(alone)), 2),
            fit_cpu_seconds=round(float(np.median(with_store)), 2),
            ratio=round(float(np.median(ratios)), 3),
            ratio_lowest=round(float(ratios.min()), 3),
            ratio_highest=round(float(ratios.max()), 3),
        )


def main():
    options = parser(__doc__, "10000 rows, and sketches to 256 components")
    options.add_argument("--width", type=int, default=256, help="numbers in a row (default: 256)")
    options.add_argument("--rows", type=int, help="one number of rows only")
    options.add_argument("--reference", type=int, default=N_QUERIES, help="queries of exact scans")
    options.add_argument("--methods", nargs="+", choices=METHODS, default=tuple(METHODS))
    options = parse(options)
    run_added(Results("store_added", ["n_rows", "n_components"]), 1000 if options.quick else 3000)
    run_dtypes(Results("store_dtypes", ["dtype", "n_components"]), 256 if options.quick else 1024)
    for cls, name in ((InfoLossAttributor, "store_loss"), (RelatIFAttributor, "store_relatif")):
        posterior = Results(name, ["n_rows", "n_features", "memory_limit_mb"])
        run_posterior(cls, 10_000, 256, (1000, 20), posterior)
        if not options.quick:
            run_posterior(cls, 100_000, 256, (1000, 100), posterior)
            run_posterior(cls, 1_000_000, 256, (1000,), posterior)
    sizes = (10_000,) if options.quick else (10_000, 100_000, 1_000_000)
    if options.rows:
        sizes = (options.rows,)
    results = Results("stores", ["n_rows", "n_features", "method", "threads"])
    for n in sizes:
        run_rows(n, options.width, results, options.reference, options.methods)


if __name__ == "__main__":
    main()
