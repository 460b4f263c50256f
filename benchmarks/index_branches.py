"""Large index branches: time and memory of steps, and what sampled softmax and subsets lose.

Four studies, which `--study` chooses from.

- *cost*: processor time of a step, and memory that `fit` takes beyond the rows at its peak, from
  1000 to a million rows of 20 numbers in 10 classes, with the full and the sampled index loss;
  processor time of `explain` for 100 queries. The full loss of a class-independent network of a
  million rows takes 6 GB.
- *accuracy*: index accuracy, class accuracy and exemplars of networks after training with either
  loss, on 4000 images of clothes, and on 100000 of digits and clothes, which have 20 classes. The
  full loss of a class-independent network is left out there. *Common* is the share of exemplars
  that a network has in common with that of the full loss; another seed says what to expect of it.
- *naming*: processor time, and memory beyond the network at its peak, to name 5 rows for 100 and
  1000 queries and to compute their probabilities, among 10000 to a million outputs of an untrained
  class-independent network. All logits of a batch of queries at once, blocks of outputs, and a
  search index of FAISS, whose time is measured after it was built. *Common* is the share of rows in
  common with those of all logits; weights that are not trained have no structure, so an inverted
  file finds few.
- *subsets*: outputs for 1 to 30 % of the rows, drawn at random, drawn in proportion to the classes,
  or selected by information gain from a logistic regression. The class branch sees all rows.
"""

import multiprocessing
import statistics
import time
import warnings

import numpy as np
import torch
from _common import Results, load, memory_mb, parse, parser, reset_peak
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_provenance import InfoGainAttributor, ProvenanceClassifier
from sklearn_provenance.retrieval import FaissIndex

INDEPENDENT, CONDITIONAL = ARCHITECTURES = ("class_independent", "class_conditional")
STUDIES = ("cost", "naming", "accuracy", "subsets")
SIZES = (1000, 10_000, 100_000, 1_000_000)
N_STEPS, N_QUERIES, K = 8, 100, 5
NAMING = {
    "all logits": None,
    "blocks": None,
    "blocks, names only": None,
    "FAISS, flat": FaissIndex(),
    "FAISS, lists": FaissIndex("inverted_file"),
    "FAISS, lists, names only": FaissIndex("inverted_file"),
}
# Above these numbers of logits memory is short, or a method takes minutes.
MOST_LOGITS = {"all logits": 1e8, "FAISS, flat": 1e8}
EPOCHS, SMALL = 15, 4000
# Loss, outputs drawn, and what is added to the seed, by number of rows and architecture. Others are
# compared with the full loss where it comes first.
LOSS = ("index_loss", "n_negatives", "other_seed")
LOSSES = {
    SMALL: {
        INDEPENDENT: (("full", 0, 0), ("full", 0, 100), ("sampled", 1024, 0), ("sampled", 256, 0))
    },
    100_000: {
        CONDITIONAL: (("full", 0, 0), ("sampled", 1024, 0)),
        INDEPENDENT: (("sampled", 1024, 0), ("sampled", 4096, 0)),
    },
}
SHARES = (0.01, 0.03, 0.1, 0.3)
SUBSET_DATA = ("digits_flat", "mnist_1000_flat", "fashion_1000_flat")
SUBSETS = ("random", "stratified", "InfoGain")


class Steps(Callback):
    """Take the processor time of steps, and end the training after some of them."""

    times: list = []

    def on_batch_end(self, net, **kwargs):
        self.times.append(time.process_time())
        if len(self.times) > N_STEPS:
            raise KeyboardInterrupt


def cost(results, sizes):
    for n_rows in sizes:
        for architecture in ARCHITECTURES:
            for loss in ("full", "sampled"):
                case = {"n_rows": n_rows, "architecture": architecture, "index_loss": loss}
                if results.has(**case):
                    continue
                context = multiprocessing.get_context("fork")
                with context.Pool(1) as pool:  # a process of its own has its own peak
                    results.add(**case, **pool.apply(measure_cost, (case,)))


def measure_cost(case):
    rng = np.random.default_rng(0)
    y = np.arange(case["n_rows"]) % 10
    X = rng.standard_normal((len(y), 20), dtype=np.float32) + y[:, None] % 4
    clf = ProvenanceClassifier(
        case["architecture"],
        index_loss=case["index_loss"],
        width="small",
        batch_size=128,
        device="cpu",
        callbacks=[Steps()],
        random_state=0,
    )
    if case["n_rows"] < 128 * (N_STEPS + 1):
        clf.set_params(max_epochs=2)
    reset_peak()
    before = memory_mb("VmRSS")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it was interrupted
        clf.fit(X, y)
    peak = memory_mb("VmHWM") - before
    start = time.process_time()
    clf.explain(X[:N_QUERIES], k=K)
    return {
        "outputs": clf.net_.module_.index_head.out_features,
        "step_seconds": round(statistics.median(np.diff(Steps.times)), 4),
        "peak_mb": round(peak),
        "explain_seconds": round(time.process_time() - start, 3),
    }


def naming(results, sizes):
    for n_rows in sizes:
        missing = [
            (method, n_queries)
            for method in NAMING
            for n_queries in (100, 1000)
            if n_rows * n_queries <= MOST_LOGITS.get(method, np.inf)
            and not results.has(n_rows=n_rows, method=method, n_queries=n_queries)
        ]
        if not missing:
            continue
        X, clf = untrained(n_rows)
        for method, n_queries in missing:
            context = multiprocessing.get_context("fork")
            queue = context.Queue()
            arguments = (clf, X[:n_queries], method, queue)
            process = context.Process(target=measure_naming, args=arguments)
            process.start()  # a process of its own has its own peak
            results.add(n_rows=n_rows, method=method, n_queries=n_queries, **queue.get())
            process.join()


def untrained(n_rows):
    """Rows, and a class-independent network after one step."""
    rng = np.random.default_rng(0)
    y = np.arange(n_rows) % 10
    X = rng.standard_normal((n_rows, 20), dtype=np.float32)
    X += y[:, None] % 4
    clf = ProvenanceClassifier(
        "class_independent",
        index_loss="sampled",
        width="small",
        batch_size=128,
        device="cpu",
        callbacks=[OneStep()],
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it was interrupted
        clf.fit(X, y)
    clf.net_.optimizer_ = None  # which has two numbers for each weight
    return X, clf


class OneStep(Callback):
    """End the training after one step."""

    def on_batch_end(self, net, **kwargs):
        raise KeyboardInterrupt


def measure_naming(clf, X, method, queue):
    exact = clf.set_params(index=None).kneighbors(X[:20], K, return_distance=False)
    clf.set_params(index=NAMING[method])
    build = 0
    if clf.index is not None:
        start = time.process_time()
        clf.predict_index(X[:1])
        build = time.process_time() - start
    reset_peak()
    before = memory_mb("VmRSS")
    start = time.process_time()
    if method == "all logits":
        found = name_by_all_logits(clf, X)
    elif method.endswith("names only"):
        found = clf.kneighbors(X, K, return_distance=False)
    else:
        found = clf.explain(X, K).indices
    seconds = time.process_time() - start
    common = [len(set(a) & set(b)) / K for a, b in zip(found[:20], exact, strict=True)]
    queue.put(
        {
            "build_seconds": round(build, 2),
            "seconds": round(seconds, 3),
            "peak_mb": round(memory_mb("VmHWM") - before),
            "common": round(np.mean(common), 3),
        }
    )


@torch.inference_mode()
def name_by_all_logits(clf, X):
    """Rows of the largest of all logits, which are held for all queries at once."""
    log_proba = clf.net_.module_.eval()(torch.tensor(X)).index_logits.log_softmax(1)
    return log_proba.topk(K).indices.numpy()


def accuracy(results, sizes, seeds):
    for n_train in sizes:
        for seed in range(seeds if n_train == SMALL else 1):
            X, y, X_test, y_test = images(n_train, seed)
            queries = slice(0, 2000)
            for architecture, losses in LOSSES[n_train].items():
                line = {"n_train": n_train, "architecture": architecture, "seed": seed}
                cases = [line | dict(zip(LOSS, loss, strict=True)) for loss in losses]
                full = None
                for case in cases:
                    compared = case == cases[0] and case["index_loss"] == "full"
                    missing = [other for other in cases if not results.has(**other)]
                    if case not in missing and not (compared and missing):
                        continue
                    clf = ProvenanceClassifier(
                        architecture,
                        index_loss=case["index_loss"],
                        n_negatives=case["n_negatives"] or 1024,
                        width="small",
                        max_epochs=EPOCHS,
                        decay_epochs=4,
                        random_state=seed + case["other_seed"],
                        verbose=int(n_train > SMALL),
                    )
                    start = time.process_time()
                    clf.fit(X, y)
                    seconds = time.process_time() - start
                    exemplars = clf.kneighbors(X_test[queries], K, return_distance=False)
                    if compared:
                        full = exemplars
                    if case not in missing:
                        continue
                    own = clf.predict_index(X) == np.arange(len(X))
                    right = y[exemplars] == y_test[queries, None]
                    results.add(
                        **case,
                        epochs=EPOCHS,
                        seconds=round(seconds, 1),
                        index_accuracy=round(own.mean(), 4),
                        class_accuracy=round(clf.score(X_test, y_test), 4),
                        exemplar_accuracy=round(right.mean(), 4),
                        common="" if full is None else round(share_in_common(full, exemplars), 4),
                    )


def images(n_train, seed):
    """Flat rows: clothes, or digits and clothes in equal numbers, with the classes of both."""
    if n_train == SMALL:
        return load(f"fashion_{n_train}_flat", seed)
    sets = [load(f"{name}_{n_train // 2}_flat", seed) for name in ("mnist", "fashion")]
    X, y, X_test, y_test = (np.concatenate(parts) for parts in zip(*sets, strict=True))
    y[n_train // 2 :] += 10
    y_test[len(y_test) // 2 :] += 10
    order = np.random.default_rng(seed).permutation(len(y_test))
    return X, y, X_test[order], y_test[order]


def share_in_common(a, b):
    return np.mean([len(set(found) & set(other)) / K for found, other in zip(a, b, strict=True)])


def subsets(results, seeds):
    for seed in range(seeds):
        for data in SUBSET_DATA:
            X, y, X_test, y_test = load(data, seed)
            X_test, y_test = X_test[:2000], y_test[:2000]
            for share in SHARES:
                for method in SUBSETS:
                    case = {"data": data, "seed": seed, "share": share, "method": method}
                    if results.has(**case):
                        continue
                    n_indexed = max(round(share * len(y)), 10)
                    rows = choose(method, n_indexed, X, y, seed)
                    clf = ProvenanceClassifier(
                        "class_independent",
                        index_subset=rows,
                        width="small",
                        max_epochs=20,
                        decay_epochs=5,
                        random_state=seed,
                    )
                    clf.fit(X, y)
                    exemplars = clf.kneighbors(X_test, K, return_distance=False)
                    same = y[exemplars] == y_test[:, None]  # (n_test, K)
                    results.add(
                        **case,
                        n_train=len(y),
                        n_indexed=len(clf.index_),
                        class_accuracy=round(clf.score(X_test, y_test), 4),
                        first_exemplar=round(same[:, 0].mean(), 4),
                        any_exemplar=round(same.any(axis=1).mean(), 4),
                    )


def choose(method, n_indexed, X, y, seed):
    """Rows that get an output. A class without one is given a row, in place of the last."""
    rng = np.random.default_rng(seed)
    if method == "stratified":
        return n_indexed
    if method == "random":
        rows = rng.permutation(len(y))
    else:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
        attributor = InfoGainAttributor(
            model, measurement="margin", candidates="all", noise_variance="0.01*diagonal"
        )
        attributor.fit(X, y)
        queries = rng.choice(len(y), 300, replace=False)
        rows = attributor.select(X[queries], n_indexed, y[queries], balanced=True)
    rows = list(rows[:n_indexed])
    for c in np.setdiff1d(np.unique(y), y[rows]):
        alone = [row for row in rows if np.sum(y[rows] == y[row]) == 1]
        rows.remove(next(row for row in reversed(rows) if row not in alone))
        rows.append(rng.choice(np.flatnonzero(y == c)))
    return np.array(rows)


def main():
    arguments = parser(__doc__, "up to 100000 rows, one seed")
    arguments.add_argument("--study", nargs="+", choices=STUDIES, default=STUDIES)
    options = parse(arguments)
    seeds = 1 if options.quick else 2
    if "cost" in options.study:
        keys = ["n_rows", "architecture", "index_loss"]
        sizes = SIZES[:3] if options.quick else SIZES
        cost(Results("index_branches", keys), sizes)
    if "naming" in options.study:
        keys = ["n_rows", "method", "n_queries"]
        sizes = SIZES[1:2] if options.quick else SIZES[1:]
        naming(Results("index_branches_naming", keys), sizes)
    if "accuracy" in options.study:
        keys = ["n_train", "architecture", "seed", "index_loss", "n_negatives", "other_seed"]
        sizes = list(LOSSES)[: 1 if options.quick else None]
        accuracy(Results("index_branches_accuracy", keys), sizes, seeds)
    if "subsets" in options.study:
        subsets(Results("index_subsets", ["data", "seed", "share", "method"]), seeds)


if __name__ == "__main__":
    main()
