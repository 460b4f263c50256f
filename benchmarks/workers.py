"""What workers of a Dask cluster cost: each kind of work without them, and with one, two and four.

Processor seconds are those of the client and of its workers together, in the second call: what
workers need to import the package is no part of them. They say what the cluster adds,
whatever else the machine does meanwhile. Workers are processes with one thread. Megabytes are the
arguments of tasks, and their results that the client asks for: what a network between the machines
would carry. Rows lie in a file that workers read, except those of the feature pass, of influence
and of training.
"""

import pickle
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from _common import Results, parse, parser
from distributed import Client, Future, LocalCluster
from stores import Known, draw, itself
from torch import nn

from sklearn_provenance import (
    InfluenceAttributor,
    InfoGainAttributor,
    InfoLossAttributor,
    TangentFeatures,
)
from sklearn_provenance._utils.cluster import Cluster
from sklearn_provenance.attribution import AttributionStore, RelatIFAttributor
from sklearn_provenance.datasets import load_digits
from sklearn_provenance.retraining import Recipe, retrain


def mlp(n_in):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(n_in, 64), nn.ReLU(), nn.Linear(64, 10)).eval()


class OfTen(Known):
    """A model of ten classes."""

    classes_ = np.arange(10)

    def predict(self, X):
        return (1000 * np.abs(np.asarray(X[:, 0], dtype=np.float64))).astype(int) % 10


def works(folder, quick):
    """The kinds of work, as functions of a client."""
    n_rows, n_measured, n_copies = (20_000, 2_000, 8) if quick else (100_000, 5_000, 16)
    queries = draw(folder / "rows.npy", n_rows, 256)
    rows = np.load(folder / "rows.npy", mmap_mode="r")
    y = np.arange(n_rows) % 2
    settings = {"features": itself, "candidates": "all", "noise_variance": "0.1*diagonal"}
    gain = InfoGainAttributor(Known(), **settings).fit(rows, y)
    loss = InfoLossAttributor(Known(), **settings).fit(rows, y)
    cosines = RelatIFAttributor(Known(), **settings).fit(rows, y)
    of_class = InfoLossAttributor(OfTen(), **settings | {"candidates": "same_class"})
    of_class.fit(rows, np.arange(n_rows) % 10)
    searched = InfoGainAttributor(Known(), index="exact", pool_size=200, **settings).fit(rows, y)
    X, labels = load_digits("train", return_X_y=True)
    X = X.reshape(len(X), -1).astype(np.float32) / 16
    many = X[np.arange(n_measured) % len(X)] + np.arange(n_measured)[:, None] * np.float32(1e-6)
    many_labels = labels[np.arange(n_measured) % len(X)]
    features = TangentFeatures(n_components=256)
    measured = InfoGainAttributor(mlp(64), features=features, measurement="margin")
    numbers = np.arange(n_rows) % n_measured
    more = many[numbers] + (np.arange(n_rows) // n_measured)[:, None] * np.float32(1e-3)
    influence = InfluenceAttributor(mlp(64), features=features, candidates="all")
    influence.fit(more, many_labels[numbers])
    masks = np.random.default_rng(0).random((n_copies, len(X))) < 0.5
    training = {"recipe": Recipe(max_epochs=5), "group_size": 8, "X_eval": X[:100]}
    calls = iter(range(100))

    def feature_pass(client):
        store = AttributionStore(folder / f"store {next(calls)}", shard_rows=1000)
        measured.fit(many, many_labels, store=store, client=client)

    return {
        f"feature pass, {n_measured} rows": feature_pass,
        f"exact scan, {n_rows} rows": lambda client: searched.explain(
            queries * (1 + 1e-9 * next(calls)), k=10, client=client
        ),
        f"10 picks of InfoGain, {n_rows} rows": lambda client: gain.explain(
            queries * (1 + 1e-9 * next(calls)), k=10, client=client
        ),
        f"10 picks of InfoLoss, {n_rows} rows": lambda client: loss.explain(
            queries * (1 + 1e-9 * next(calls)), k=10, client=client
        ),
        f"10 picks of InfoLoss of 10 classes, {n_rows} rows": lambda client: of_class.explain(
            queries * (1 + 1e-9 * next(calls)), k=10, client=client
        ),
        f"10 largest cosines of RelatIF, {n_rows} rows": lambda client: cosines.explain(
            queries * (1 + 1e-9 * next(calls)), k=10, client=client
        ),
        f"10 picks of influence, {n_rows} rows": lambda client: influence.explain(
            X[:100] * np.float32(1 + 1e-6 * next(calls)), k=10, client=client
        ),
        f"influence of single rows, {n_rows} rows": lambda client: influence.attribute(
            X[:100], client=client
        ),
        f"density, {n_rows} rows": lambda client: gain.score(
            queries, np.arange(100) % 2, client=client
        ),
        f"coreset of 20, {n_rows} rows": lambda client: gain.select(queries, 20, client=client),
        f"coreset of 20 by InfoLoss, {n_rows} rows": lambda client: loss.select(
            queries, 20, client=client
        ),
        f"retraining, {n_copies} copies": lambda client: retrain(
            mlp(64), X, labels, masks, client=client, **training
        ),
    }


def processor_seconds(client):
    """Seconds that this process and the workers have used so far."""
    total = time.process_time()
    if client is not None:
        total += sum(client.run(time.process_time).values())
    return total


def warm_up():
    """Import what every kind of work needs, on a worker."""
    import sklearn_provenance
    import sklearn_provenance.attribution
    import sklearn_provenance.retraining
    from sklearn_provenance._utils import cluster

    return cluster, sklearn_provenance


class Traffic:
    """Count the tasks of a cluster, and the bytes that they take and give."""

    def __init__(self):
        self.tasks = self.sent = self.received = 0
        submit, result = Cluster._submit, Cluster.result

        def counted_submit(cluster, function, *arguments):
            self.tasks += 1
            plain = [one for one in arguments if not isinstance(one, Future)]
            self.sent += len(pickle.dumps(plain))
            return submit(cluster, function, *arguments)

        def counted_result(cluster, future):
            value = result(cluster, future)
            self.received += len(pickle.dumps(value))
            return value

        methods = {"_submit": counted_submit, "result": counted_result}
        self.counting = mock.patch.multiple(Cluster, **methods)


def measure(results, name, work, client, n_workers):
    if results.has(work=name, workers=n_workers):
        return
    if client is not None:
        client.run(warm_up)
    traffic = Traffic()
    with traffic.counting:
        work(client)  # workers import what they need
    started = time.perf_counter()
    before = processor_seconds(client)
    work(client)
    seconds = time.perf_counter() - started
    used = processor_seconds(client) - before
    results.add(
        work=name,
        workers=n_workers,
        cpu_seconds=round(used, 2),
        seconds=round(seconds, 2),
        tasks=traffic.tasks,
        sent_mb=round(traffic.sent / 2**20, 2),
        received_mb=round(traffic.received / 2**20, 2),
    )


def main():
    options = parse(parser(__doc__.splitlines()[0]))
    results = Results("workers", ["work", "workers"])
    with tempfile.TemporaryDirectory() as folder:
        made = works(Path(folder), options.quick)
        for name, work in made.items():
            measure(results, name, work, None, 0)
        for n_workers in (1, 2, 4):
            local = LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None)
            with local, Client(local) as client:
                for name, work in made.items():
                    measure(results, name, work, client, n_workers)


if __name__ == "__main__":
    main()
