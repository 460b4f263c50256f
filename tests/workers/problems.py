"""The kinds of work that workers share, on a few rows."""

import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sklearn_provenance import (
    InfluenceAttributor,
    InfoGainAttributor,
    InfoLossAttributor,
    TangentFeatures,
)
from sklearn_provenance._utils import pieces
from sklearn_provenance._utils.row_arrays import RowArray
from sklearn_provenance.attribution import AttributionStore, RelatIFAttributor
from sklearn_provenance.retraining import Recipe, retrain

N = 96
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 5))
X[80:] = X[:16]  # copies, in other pieces than their originals
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
QUERIES = RNG.normal(size=(7, 5))
TRUTH = (QUERIES[:, 0] > 0).astype(int)
THREE = Y + (X[:, 2] > 1)  # classes
PHI = RNG.normal(size=(N, 8))
PHI[80:] = PHI[:16]
MASKS = RNG.random((6, N)) < 0.7


class Signal:
    """Stops the first who asks while a file is there: to be killed, or just to be slow.

    The process that made it is not stopped, except within :meth:`in_threads`.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.owner = os.getpid()

    @contextmanager
    def in_threads(self):
        """Stop threads of this process, too."""
        threads = self.folder / "threads"
        threads.touch()
        yield
        threads.unlink()

    def set(self, seconds):
        for name in ("stopped", "stop"):
            self.folder.joinpath(name).unlink(missing_ok=True)
        part = self.folder / "stop.part"
        part.write_text(str(seconds))
        part.rename(self.folder / "stop")

    def pid(self, timeout=120):
        """Wait until somebody has stopped, and return its process."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                return int(self.folder.joinpath("stopped").read_text())
            except FileNotFoundError:
                time.sleep(0.02)
        raise TimeoutError("nobody has stopped")

    def wait(self):
        if os.getpid() == self.owner and not self.folder.joinpath("threads").exists():
            return
        mine = self.folder / f"stop.{os.getpid()}"
        try:
            self.folder.joinpath("stop").rename(mine)
        except FileNotFoundError:
            return
        seconds = float(mine.read_text())
        mine.write_text(str(os.getpid()))
        mine.rename(self.folder / "stopped")
        time.sleep(seconds)


class StoppingRows(RowArray):
    """Rows that workers read, and stop at."""

    def __init__(self, array, signal):
        self.array = array
        self.signal = signal
        self.shape = array.shape
        self.dtype = array.dtype

    def _read(self, start, stop):
        self.signal.wait()
        return self.array[start:stop].copy()

    def _gather(self, rows):
        return self.array[rows]


class StoppingLayer(nn.Module):
    """Hands its input on, and stops in workers."""

    def __init__(self, signal):
        super().__init__()
        self.signal = signal

    def forward(self, x):
        self.signal.wait()
        return x


def network(signal, n_outputs=2, seed=0):
    torch.manual_seed(seed)
    layers = nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, n_outputs)
    return nn.Sequential(StoppingLayer(signal), *layers).double()


class Features:
    """Features of rows of the training set: those of PHI, which workers read."""

    def __init__(self, signal):
        self.signal = signal

    def __call__(self, rows):
        if len(rows) < N:
            return PHI[: len(rows)] * 1.5 + 0.1
        return StoppingRows(PHI, self.signal)


def fitted(signal, kind=InfoGainAttributor, **params):
    params = {"noise_variance": "0.1*diagonal", "candidates": "all", **params}
    return kind(network(signal).eval(), features=Features(signal), **params).fit(X, Y)


# Each makes what is needed without workers, and returns a function of a client.


def feature_attributor(signal):
    return InfoGainAttributor(
        network(signal).eval(),
        measurement="margin",
        candidates="all",
        features=TangentFeatures(n_components=16),
    )


def feature_pass(signal):
    attributor = feature_attributor(signal)

    def work(client):
        with tempfile.TemporaryDirectory() as folder:
            store = AttributionStore(folder, shard_rows=10)
            attributor.fit(X, Y, store=store, client=client)
            files = [path for path in Path(folder).iterdir() if path.name != ".lock"]
            return {path.name: path.read_bytes() for path in files}

    return work


def explaining(attributor):
    def work(client):
        forget_answers(attributor)
        explanation = attributor.explain(QUERIES, k=5, client=client)
        return explanation.indices, explanation.scores

    return work


def forget_answers(attributor):
    """Let the same question be asked again, as if it was the first."""
    network = getattr(attributor, "_network", None)
    if network is None:
        attributor._kept = type(attributor._kept)(attributor.memory_limit)
        return
    results = network._kept._results
    for key in [key for key in results if key[0] == "answer"]:
        del results[key]
    vars(network._rule_at(None, everything=True)).pop("_shared", None)


def influence_attributor(signal, **params):
    """Two networks with all curvature of three classes, whose features workers read."""
    models = [network(signal, 3, seed).eval() for seed in (0, 1)]
    features = TangentFeatures(n_components=8, random_state=0)
    params = {"features": features, "curvature": "softmax", "candidates": "all", **params}
    attributor = InfluenceAttributor(models, **params).fit(X, THREE)
    for model in attributor._network._rule_at(None, everything=True).models:
        model.points.array = StoppingRows(model.points.array, signal)
    return attributor


def exact_scan(signal):
    return explaining(fitted(signal, index="exact", pool_size=20))


def greedy_gain(signal):
    return explaining(fitted(signal))


def greedy_loss(signal):
    return explaining(fitted(signal, InfoLossAttributor))


def cosines(signal):
    return explaining(fitted(signal, RelatIFAttributor))


def influence(signal):
    return explaining(influence_attributor(signal))


def influence_of_rows(signal):
    attributor = influence_attributor(signal, candidates="auto")

    def work(client):
        forget_answers(attributor)
        return attributor.attribute(QUERIES, client=client)

    return work


def density(signal):
    attributor = fitted(signal)
    return lambda client: attributor.score(QUERIES, TRUTH, client=client)


def coreset(signal):
    attributor = fitted(signal)
    return lambda client: attributor.select(QUERIES, 8, client=client)


def balanced_coreset(signal):
    attributor = fitted(signal, solver="linear_response")
    return lambda client: attributor.select(QUERIES, 8, balanced=True, client=client)


def coreset_of_loss(signal):
    attributor = fitted(signal, InfoLossAttributor)
    return lambda client: attributor.select(QUERIES, 8, balanced=True, client=client)


def retraining(signal):
    model = network(signal)
    options = {"recipe": Recipe(max_epochs=2, lr=0.3), "group_size": 2, "seeds": range(6)}

    def work(client):
        return retrain(model, X, Y, MASKS, X_eval=QUERIES, client=client, **options).outputs

    return work


WORKS = {
    work.__name__: work
    for work in (
        *(
            feature_pass,
            exact_scan,
            greedy_gain,
            greedy_loss,
            cosines,
            influence,
            influence_of_rows,
            density,
        ),
        *(coreset, balanced_coreset, coreset_of_loss, retraining),
    )
}


def small_pieces(patch):
    """Cut rows into several pieces."""
    for name in ("_READ_BYTES", "_SENT_BYTES"):
        patch.setattr(pieces, name, 20 * PHI.itemsize * PHI.shape[1])
