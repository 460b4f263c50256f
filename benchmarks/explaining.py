"""Time and memory of predicting and explaining 10000 rows against 15000 training rows.

Each call runs in a fresh process. Its peak memory during the call is set beside what it held before
and beside the matrix of all index probabilities that it does without.
"""

import multiprocessing
import tempfile
import time
from pathlib import Path

import torch
from _common import Results, load, memory_mb, parse, parser, reset_peak

from sklearn_provenance import ProvenanceClassifier

CALLS = {
    "predict": lambda clf, X: clf.predict(X),
    "predict_index": lambda clf, X: clf.predict_index(X),
    "explain k=50": lambda clf, X: clf.explain(X, k=50),
    "kneighbors n_neighbors=50": lambda clf, X: clf.kneighbors(X, 50),
    "transform": lambda clf, X: clf.transform(X),
}


def measure(path, name, n_train, n_test, threads, queue):
    torch.set_num_threads(threads)
    clf = ProvenanceClassifier.load(path)
    X_test = load(f"fashion_{n_train}_flat", 0)[2][:n_test]
    CALLS[name](clf, X_test[:10])
    reset_peak()
    before, start = memory_mb("VmRSS"), time.perf_counter()
    CALLS[name](clf, X_test)
    queue.put((time.perf_counter() - start, before, memory_mb("VmHWM")))


def main():
    options = parse(parser(__doc__, "1000 queries, 2000 training rows"))
    n_train, n_test = (2000, 1000) if options.quick else (15_000, 10_000)
    results = Results("explaining", ["architecture", "call", "n_train", "n_test"])
    context = multiprocessing.get_context("spawn")
    for architecture in ("class_conditional", "single_branch"):
        X, y, *_ = load(f"fashion_{n_train}_flat", 0)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clf.safetensors"
            ProvenanceClassifier(architecture, max_epochs=1, random_state=0).fit(X, y).save(path)
            for name in CALLS:
                key = {"architecture": architecture, "call": name}
                if results.has(**key, n_train=n_train, n_test=n_test):
                    continue
                queue = context.Queue()
                arguments = (path, name, n_train, n_test, torch.get_num_threads(), queue)
                process = context.Process(target=measure, args=arguments)
                process.start()
                seconds, before, after = queue.get()
                process.join()
                results.add(
                    **key,
                    n_train=n_train,
                    n_test=n_test,
                    seconds=round(seconds, 2),
                    peak_mb=round(after),
                    extra_peak_mb=round(after - before),
                    full_matrix_mb=round(4 * n_train * n_test / 2**20),
                )


if __name__ == "__main__":
    main()
