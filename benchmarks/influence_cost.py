"""Seconds and memory of InfluenceAttributor on large problems.

Logistic regression on 100000 rows of 50 features, on the words of all RTE texts, and on 11000 rows
of 100000 sparse features, 100 of them in a row, whose frequencies fall as those of words. Peaks are
of the process from where it stood before the step, seconds of the wall and of the CPU.
"""

import time

import numpy as np
from _common import Results, memory_mb, parse, parser, reset_peak
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from sklearn_provenance import InfluenceAttributor
from sklearn_provenance.datasets import load_rte


def table(n=100_000, d=50):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    log_odds = 0.3 * X @ rng.normal(size=d)
    return X, (log_odds + rng.logistic(size=n) > 0).astype(int)


def texts():
    data = load_rte("train")
    return TfidfVectorizer().fit_transform([" ".join(pair) for pair in data.data]), data.target


def words(n=11_000, d=100_000, length=100):
    rng = np.random.default_rng(0)
    frequency = 1 / np.arange(1, d + 1) ** 0.9
    columns = rng.choice(d, size=length * n, p=frequency / frequency.sum())
    rows = np.repeat(np.arange(n), length)
    counts = csr_matrix((np.ones(length * n), (rows, columns)), shape=(n, d))
    X = TfidfTransformer().fit_transform(counts)
    scores = 10 * X @ rng.normal(size=d)
    return X, (scores - np.median(scores) + rng.logistic(size=n) > 0).astype(int)


def main():
    options = parse(parser(__doc__, "the table only"))
    results = Results("influence_cost", ["data", "step"])
    for name, make in {
        "100000 x 50": table,
        "RTE texts": texts,
        "11000 x 100000, sparse": words,
    }.items():
        if results.has(data=name, step="predict_without 100 rows") or (
            options.quick and make is not table
        ):
            continue
        X, y = make()
        model = LogisticRegression(tol=1e-6, max_iter=1000).fit(X, y)
        attributor = InfluenceAttributor(model)
        steps = {
            "fit": lambda X=X, y=y, a=attributor: a.fit(X, y),
            "attribute 100 queries": lambda X=X, a=attributor: a.attribute(X[:100]),
            "attribute again": lambda X=X, a=attributor: a.attribute(X[:100]),
            "explain 5 queries, k=10": lambda X=X, a=attributor: a.explain(X[:5], k=10),
            "predict_without 100 rows": lambda X=X, a=attributor: a.predict_without(
                X[:100], np.arange(100)
            ),
        }
        for step, call in steps.items():
            reset_peak()
            held, wall, cpu = memory_mb("VmRSS"), time.perf_counter(), time.process_time()
            call()
            results.add(
                data=name,
                step=step,
                n=X.shape[0],
                d=X.shape[1],
                seconds=f"{time.perf_counter() - wall:.2f}",
                cpu_seconds=f"{time.process_time() - cpu:.2f}",
                extra_peak_mb=round(memory_mb("VmHWM") - held),
            )


if __name__ == "__main__":
    main()
