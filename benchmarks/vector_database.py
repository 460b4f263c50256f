"""A vector database beside FAISS and the exact scan: time, memory and what is found.

200000 rows of 256 numbers in half precision in a file, drawn as those of ``stores.py``, and 100
queries for the 50 rows of the largest |inner product|. Every method runs in a fresh process.
Seconds are of the processor. Memory is what the process holds beyond the pages of the file; what
the index has on disk, or in memory, is its size.
"""

import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from _common import Results, parse, parser
from retrieval import PeakMemory
from stores import draw

from sklearn_provenance.retrieval import ExactIndex, FaissIndex, LanceIndex

TOP = 50
METHODS = {
    "exact scan": lambda folder: ExactIndex(),
    "FAISS, bytes": lambda folder: FaissIndex("scalar_quantized"),
    "FAISS, lists": lambda folder: FaissIndex("inverted_file"),
    "FAISS, lists of bytes": lambda folder: FaissIndex("quantized_inverted_file"),
    "LanceDB, all rows": lambda folder: LanceIndex(folder),
    "LanceDB, lists": lambda folder: LanceIndex(folder, "inverted_file"),
    "LanceDB, lists of bytes": lambda folder: LanceIndex(folder, "quantized_inverted_file"),
}


def measure(folder, name, queue):
    torch.set_num_threads(1)
    rows = np.load(folder / "rows.npy", mmap_mode="r")
    queries = np.load(folder / "queries.npy")
    METHODS[name](folder / "warm").build(np.asarray(rows[:2000])).search(queries[:2], 2)
    database = folder / f"database of {name}"
    with PeakMemory() as memory:
        started = time.process_time()
        index = METHODS[name](database).build(rows)
        build = time.process_time() - started
        started = time.process_time()
        found, _ = index.search(queries, TOP)
        search = time.process_time() - started
        started = time.process_time()
        index.search(queries[:1], TOP)
        one = time.process_time() - started
    path = folder / "saved"
    index.save(path)
    size = sum(file.stat().st_size for file in (path, *database.rglob("*")) if file.is_file())
    queue.put(
        {
            "build_cpu_seconds": round(build, 2),
            "search_cpu_seconds": round(search, 2),
            "one_query_cpu_seconds": round(one, 3),
            "extra_peak_mb": round(memory.peak - memory.before),
            "index_mb": round(size / 2**20),
            "found": found,
        }
    )


def main():
    options = parse(parser(__doc__.splitlines()[0], "20000 rows"))
    results = Results("vector_database", ["n_rows", "n_features", "method"])
    case = {"n_rows": 20_000 if options.quick else 200_000, "n_features": 256}
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        np.save(folder / "queries.npy", draw(folder / "rows.npy", *case.values()))
        best = None
        for name in METHODS:
            if best is not None and results.has(**case, method=name):
                continue
            queue = context.Queue()
            process = context.Process(target=measure, args=(folder, name, queue))
            process.start()
            line = queue.get()
            process.join()
            found = line.pop("found")
            if best is None:
                best = found
            shares = [len(np.intersect1d(*pair)) / TOP for pair in zip(found, best, strict=True)]
            line |= {"recall": round(np.mean(shares), 4), "lowest_recall": min(shares)}
            if not results.has(**case, method=name):
                results.add(**case, method=name, **line)


if __name__ == "__main__":
    main()
