"""Finding the rows with the largest |inner product|: time, memory and what is found.

Rows are tangent features of Fashion-MNIST training images for a ReLU network, each at its own
label; queries are those of test images at the predicted label. Recall is the share of the 50 rows
with the largest |inner product| that are found. Every method runs in a fresh process; search times
are the least of five. Memory is what the process allocates beyond what it held before, without the
pages of a memory map, which the system may drop. FAISS's graph (HNSW) is measured though the
package does not offer it, and independent Gaussian rows show what happens without structure.

`retrieval_pool.csv` answers another question: what does exact InfoGain lose when it picks from a
pool of the rows with the largest |inner product| instead of all rows of the query's class? Noise
variances are multiples of the mean kernel diagonal of the training rows.
"""

import multiprocessing
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from _common import Results, load, memory_mb, parse, parser
from torch import nn

from sklearn_provenance.information import greedy
from sklearn_provenance.retrieval import ExactIndex, FaissIndex
from sklearn_provenance.tangent import TangentFeatures

TOP, REPEATS = 50, 5


class Graph:
    """FAISS's HNSW graph with 32 links, searched with both signs."""

    ef_search = 64

    def build(self, rows):
        import faiss

        self.rows_ = rows
        self.index_ = faiss.IndexHNSWFlat(rows.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        self.index_.add(rows)
        return self

    def set_params(self, ef_search):
        self.ef_search = ef_search
        return self

    def search(self, queries, k):
        import faiss

        search = faiss.SearchParametersHNSW(efSearch=max(self.ef_search, k))
        plus, minus = (self.index_.search(s * queries, k, params=search) for s in (1, -1))
        products = np.concatenate([plus[0], -minus[0]], 1)
        numbers = np.concatenate([plus[1], minus[1]], 1)
        order = np.argsort(-np.abs(products), 1, kind="stable")[:, :k]
        return np.take_along_axis(numbers, order, 1), np.take_along_axis(products, order, 1)


# Index, whether its rows are a memory map, and settings of a search.
METHODS = {
    "exact": (ExactIndex, False, [{}]),
    "exact, memory map": (ExactIndex, True, [{}]),
    "FAISS flat": (lambda: FaissIndex("flat"), False, [{}]),
    "FAISS scalar quantized": (lambda: FaissIndex("scalar_quantized"), False, [{}]),
    "FAISS inverted file": (
        lambda: FaissIndex("inverted_file"),
        False,
        [{"n_probe": n} for n in (1, 4, 8, "auto", 32, 1000)],
    ),
    "FAISS HNSW32": (Graph, False, [{"ef_search": n} for n in (64, 128, 256)]),
}


class PeakMemory:
    """Highest memory of its own that this process held, sampled every 10 ms, in MB."""

    def __enter__(self):
        self.before = self.peak = memory_mb("RssAnon")
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.sample)
        self.thread.start()
        return self

    def sample(self):
        while not self.done.wait(0.01):
            self.peak = max(self.peak, memory_mb("RssAnon"))

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def measure(folder, name, threads, queue):
    torch.set_num_threads(threads)
    make, mapped, settings = METHODS[name]
    rows = np.load(folder / "rows.npy", mmap_mode="r" if mapped else None)
    queries, best = np.load(folder / "queries.npy"), np.load(folder / "best.npy")
    if name.startswith("FAISS"):
        import faiss

        faiss.omp_set_num_threads(threads)
    make().build(rows[:200]).search(queries[:2], 1)
    measured = []
    with PeakMemory() as memory:
        start = time.perf_counter()
        index = make().build(rows)
        build = time.perf_counter() - start
        for setting in settings:
            if setting:
                index.set_params(**setting)
            seconds, single = [], []
            for _ in range(REPEATS):
                start = time.perf_counter()
                found, _ = index.search(queries, TOP)
                seconds.append(time.perf_counter() - start)
            for _ in range(REPEATS):
                start = time.perf_counter()
                index.search(queries[:1], TOP)
                single.append(time.perf_counter() - start)
            shares = [len(np.intersect1d(a, b)) / TOP for a, b in zip(found, best, strict=True)]
            measured.append(
                {
                    "setting": describe(index, setting),
                    "build_seconds": round(build, 2),
                    "search_seconds": round(min(seconds), 3),
                    "one_query_seconds": round(min(single), 4),
                    "recall": round(float(np.mean(shares)), 4),
                    "lowest_recall": round(min(shares), 2),
                }
            )
    size = 0
    if hasattr(index, "index_"):
        size = faiss.serialize_index(index.index_).nbytes / 2**20
    sizes = {"index_mb": round(size), "extra_peak_mb": round(memory.peak - memory.before)}
    queue.put([{**line, **sizes} for line in measured])


def describe(index, setting):
    if "n_probe" in setting:
        return f"{index._probes()} of {index.n_lists_} lists"
    return ", ".join(f"{k}={v}" for k, v in setting.items())


def run_methods(results, data, rows, queries):
    case = {"data": data, "n_rows": len(rows), "n_features": rows.shape[1]}
    missing = [name for name in METHODS if not results.has(**case, method=name)]
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        products = np.abs(queries.astype(float) @ rows.astype(float).T)
        np.save(folder / "best.npy", np.argsort(-products, 1, kind="stable")[:, :TOP])
        np.save(folder / "rows.npy", rows)
        np.save(folder / "queries.npy", queries)
        for name in missing:
            queue = context.Queue()
            arguments = (folder, name, torch.get_num_threads(), queue)
            process = context.Process(target=measure, args=arguments)
            process.start()
            lines = queue.get()
            process.join()
            for line in lines:
                results.add(**case, method=name, n_queries=len(queries), **line)


def run_pools(results, rows, queries, y, predicted):
    """Greedy InfoGain among all rows of the class, and in pools of the largest |products|."""
    scale = float(np.square(rows.astype(float)).sum(1).mean())
    for noise in (0.1, 1, 10):
        if results.has(noise_over_scale=noise, n_rows=len(rows)):
            continue
        parts, seconds, n_candidates = {}, {}, []
        for label in np.unique(predicted):
            features = torch.from_numpy(rows[y == label])
            chosen = torch.from_numpy(queries[predicted == label])
            n_candidates += [len(features)] * len(chosen)
            start = time.perf_counter()
            picks, nats = information_gain(features, chosen, noise * scale)
            seconds["all"] = seconds.get("all", 0) + time.perf_counter() - start
            for pool in (50, 100, 200):
                start = time.perf_counter()
                near, _ = ExactIndex().build(features).search(chosen, pool)
                near = torch.from_numpy(np.sort(near, 1))
                found = [
                    information_gain(features[some], query[None], noise * scale)
                    for some, query in zip(near, chosen, strict=True)
                ]
                seconds[pool] = seconds.get(pool, 0) + time.perf_counter() - start
                places, pool_nats = (torch.cat(tensors) for tensors in zip(*found, strict=True))
                compared = compare(near, picks, nats, near.gather(1, places), pool_nats)
                for k, shares in compared.items():
                    parts.setdefault((pool, k), []).append(shares)
        for (pool, k), shares in parts.items():
            inside, shared, same, share = torch.cat(shares, 1)
            results.add(
                noise_over_scale=noise,
                pool=pool,
                k=k,
                n_rows=len(rows),
                n_features=rows.shape[1],
                n_queries=len(queries),
                mean_candidates=round(np.mean(n_candidates)),
                picks_in_pool=round(float(inside.mean()), 4),
                picks_shared=round(float(shared.mean()), 4),
                queries_with_the_same_picks=round(float(same.mean()), 2),
                share_of_nats=round(float(share.mean()), 5),
                lowest_share_of_nats=round(float(share.min()), 4),
                seconds_all_k50=round(seconds["all"], 2),
                seconds_pool_k50=round(seconds[pool], 2),
            )


def information_gain(features, queries, noise):
    """Fifty exact greedy picks for each query, and their nats."""
    features, queries = features.double(), queries.double()
    kernel, cross = features @ features.T, queries @ features.T
    return greedy(kernel, cross, queries.square().sum(1), noise, TOP)


def compare(near, picks, nats, pool_picks, pool_nats):
    """Per k a row each: picks that the pool holds, that are shared, same picks, share of nats."""
    compared = {}
    for k in (10, TOP):
        inside = (picks[:, :k, None] == near[:, None]).any(2).double().mean(1)
        shared = (picks[:, :k, None] == pool_picks[:, None, :k]).any(2).double().mean(1)
        same = (picks[:, :k] == pool_picks[:, :k]).all(1).double()
        share = pool_nats[:, :k].sum(1) / nats[:, :k].sum(1)
        compared[k] = torch.stack([inside, shared, same, share])
    return compared


def network(X, y, epochs):
    """784-512-256-10 ReLU network without biases, trained by SGD."""
    torch.manual_seed(0)
    layers = [nn.Linear(*sizes, bias=False) for sizes in ((784, 512), (512, 256), (256, 10))]
    net = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, target = torch.from_numpy(X), torch.from_numpy(y).long()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(net(x[rows]), target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net


def main():
    options = parse(parser(__doc__, "3000 rows, 512 components, 20 queries"))
    n_rows, n_components, n_queries = (3000, 512, 20) if options.quick else (15_000, 4096, 100)
    X, y, X_test, y_test = load(f"fashion_{n_rows}_flat", 0)
    X, X_test = (a.reshape(len(a), -1) / np.float32(255) for a in (X, X_test))
    net = network(X, y, epochs=8)
    with torch.no_grad():
        predicted = net(torch.from_numpy(X_test)).argmax(1).numpy()
    print(f"test accuracy {np.mean(predicted == y_test):.3f}")
    X_test, predicted = X_test[:n_queries], predicted[:n_queries]
    tangent = TangentFeatures(net, n_components).fit(X[:3])
    rows, queries = tangent.transform(X, y), tangent.transform(X_test, predicted)

    results = Results("retrieval", ["data", "n_rows", "n_features", "method"])
    run_methods(results, "tangent features", rows, queries)
    random = np.random.default_rng(0)
    gaussian = [random.normal(size=(n, 512)).astype(np.float32) for n in (n_rows, n_queries)]
    run_methods(results, "Gaussian", *gaussian)
    pools = Results("retrieval_pool", ["noise_over_scale", "n_rows"])
    run_pools(pools, rows, queries, y, predicted)


if __name__ == "__main__":
    main()
