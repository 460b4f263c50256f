"""Results that were recorded before they had one class: tables, texts, and what figures hold.

``python -m tests.results`` writes the file again; do so only where a change is meant. Models are
closed forms or told what to say, so that no training decides what is recorded.
"""

import json
from pathlib import Path
from unittest import mock

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_hex
from matplotlib.ticker import FixedLocator
from sklearn.base import BaseEstimator
from sklearn.naive_bayes import GaussianNB
from torch import nn

from sklearn_provenance import (
    Explanation,
    InfoGainAttributor,
    InfoLossAttributor,
    ProvenanceClassifier,
    evaluation,
    inspection,
)
from sklearn_provenance.inspection import _memorisation

FILE = Path(__file__).parent / "data" / "results.json"


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


class Told(BaseEstimator):
    """Attributes by |x·c| with every row of a matrix c, one for each training row."""

    def __init__(self, c, noise=0.0):
        self.c = c
        self.noise = noise

    def attribute(self, X, y=None):
        return np.abs(X @ self.c.T) + self.noise * rows(len(X), len(self.c), seed=5)

    def explain(self, X, y=None, k=5):
        scores = self.attribute(X)
        picks = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return Explanation(picks, np.take_along_axis(scores, picks, 1))

    def select(self, X, k, balanced=False):
        order = np.argsort(-self.attribute(X).sum(0), kind="stable")
        if not balanced:
            return order[:k]
        halves = [order[order % 2 == side] for side in (0, 1)]
        return np.stack([half[: -(-k // 2)] for half in halves], 1).ravel()[:k]


def problem():
    X, y = rows(60, 4), np.arange(60) % 2
    X[:, 0] += 1.5 * y
    X_queries, y_queries = rows(12, 4, seed=1), np.arange(12) % 2
    X_queries[:, 0] += 1.5 * y_queries
    methods = {"Told": Told(X), "Noise $x$": Told(X, noise=3.0)}
    return methods, X, y, X_queries, y_queries


def brittleness():
    methods, *data = problem()
    return evaluation.brittleness(methods, *data, model=GaussianNB(), sizes=(5, 20, 40))


def one_method():
    methods, *data = problem()
    sizes = {"sizes": (10,), "early_stop": False}
    return evaluation.brittleness({"A": methods["Told"]}, *data, model=GaussianNB(), **sizes)


def lds():
    methods, X, y, X_queries, y_queries = problem()
    masks = np.random.default_rng(0).random((20, 60)) < 0.5
    margins = masks @ methods["Told"].attribute(X_queries).T + rows(20, 12, seed=2)
    return evaluation.linear_datamodeling_score(
        methods, X, y, X_queries, y_queries, masks=masks, margins=margins
    )


def retrieval():
    methods, _, _, X_queries, y_queries = problem()
    relevant = np.random.default_rng(3).random((12, 60)) < 0.2
    return evaluation.backdoor_retrieval(methods, X_queries, y_queries, relevant, k=8, mrr_k=20)


def coreset():
    methods, X, y, X_queries, y_queries = problem()
    many = {f"{name}{i}": method for i in range(4) for name, method in methods.items()}
    return evaluation.coreset_selection(
        many, X, y, X_queries, X_queries, y_queries, model=GaussianNB(), sizes=[4, 10, 30],
        seeds=(None,),
    )  # fmt: skip


def relative_information():
    network = nn.Linear(4, 2, bias=False).double()
    network.weight.data = torch.as_tensor(rows(2, 4, seed=4))
    _, X, y, X_queries, _ = problem()
    settings = {"noise_variance": 2.0, "candidates": "all"}
    loss = InfoLossAttributor(network, **settings).fit(X, y)
    gain = InfoGainAttributor(network, **settings).fit(X, y)
    return evaluation.relative_information({"Gain": gain}, loss, X_queries, sizes=(2, 5, 9))


def label_errors():
    error = np.random.default_rng(0).random(80) < 0.15
    scores = {"influence": error + rows(80), "loss": np.round(error + rows(80, seed=1))}
    return evaluation.label_error_ranking(scores, error)


class Seeing(GaussianNB):
    """A classifier of images that may explain itself."""

    def predict(self, X):
        return super().predict(X.reshape(len(X), -1))


class Explaining(Seeing):
    def explain(self, X, k=5):
        indices = np.argsort(rows(len(X), 30, seed=int(X.sum()) % 97), axis=1)[:, :k]
        return Explanation(indices, np.ones(indices.shape), exemplar_labels=indices % 2)


def robustness():
    y = np.arange(40) % 2
    X = np.random.default_rng(0).integers(0, 150, (40, 5, 6), dtype=np.uint8)
    X[y == 1, 1:3, 2:4] += 80
    models = {"plain": Seeing().fit(X.reshape(40, -1), y)}
    models["explains"] = Explaining().fit(X.reshape(40, -1), y)
    distortions = {"turned": ("rotation", 20), "hidden $x$": ("occlusion", 3)}
    return evaluation.robustness(models, X, y, distortions=distortions, random_state=0)


class Generator(BaseEstimator):
    """Draws codes as samples; it is sure of those with a large first coordinate."""

    def fit(self, X=None, y=None):
        self.fitted_ = True
        return self

    def sample(self, n, random_state, return_codes):
        codes = random_state.normal(size=(n, 3))
        return codes, codes

    def explain_latent(self, codes, k):
        scores = 1 / (1 + np.exp(-codes[:, :1]))
        indices = np.zeros(scores.shape, int)
        return Explanation(indices, scores, query_labels=(codes[:, 1] > 0).astype(int))

    def reconstruct(self, X):
        return X + 0.1


def realism():
    X = rows(70, 3, seed=6)
    options = {"n_samples": 100, "n_bootstrap": 20, "random_state": 0, "threshold": 0.6}
    real = {"X_reference": X, "X_test": X[:45] - 0.2}
    return evaluation.realism(Generator().fit(), np.abs, **real, **options)


def scored(model, *args, **kwargs):
    """Scores of a fit that never took place."""
    alpha, seed, size = model.alpha, model.random_state, model.get_params()["width"] == "small"
    names = ("index_accuracy", "train_top1", "test_top1", "test_class_accuracy", "test_any@5")
    return {
        name: float(np.cos(i + alpha) ** 2 + 0.01 * (seed or 0) + 0.1 * size)
        for i, name in enumerate(names)
    }


def memorisation(**options):
    _, X, y, X_test, y_test = problem()
    with mock.patch.object(_memorisation, "_fit_and_measure", scored):
        return inspection.memorisation_curve(
            ProvenanceClassifier("single_branch"), X, y, X_test, y_test, **options
        )


def memorisation_of_variants():
    variants = {"small": {"width": "small"}, "large": {"width": "large"}}
    options = {"variants": variants, "param_range": (0.1, 0.5, 1.0), "seeds": (0, 1)}
    return memorisation(**options)


def memorisation_of_words():
    return memorisation(param_name="mixing", param_range=("sampled", "expected"))


def membership():
    _, X, y, X_others, _ = problem()
    models = {"half": GaussianNB().fit(X[:30], y[:30]), "all": GaussianNB().fit(X, y)}
    return inspection.membership_inference(models, X[:30], X_others)


def untrained(shape=()):
    X, y = rows(30, 16), np.array(["cat", "dog", "a long name of a class"])[np.arange(30) % 3]
    X = np.abs(X).reshape(30, *shape, -1)
    clf = ProvenanceClassifier(
        "class_independent", width="small", backbone="mlp", max_epochs=1, device="cpu",
        random_state=0,
    )  # fmt: skip
    return clf, X, y


def anomalies():
    clf, X, y = untrained()
    clf.fit(X, y, sample_id=np.array([f"id{i}" for i in range(30)]))
    return inspection.anomaly_ranking(clf, rows(30, seed=8).ravel())


def anomalous_images():
    clf, X, y = untrained((4,))
    return inspection.anomaly_ranking(clf.fit(X, y), rows(30, seed=8).ravel())


def clusters(shape=()):
    clf, X, y = untrained(shape)
    return inspection.embedding_clusters(
        clf.fit(X, y), label="dog", n_clusters=3, n_exemplars=2, embedding="pca", random_state=0
    )


def clusters_of_images():
    return clusters((4,))


# Each with the arguments of its plots.
RESULTS = {
    brittleness: ({}, {"what": "margin_drop"}, {"color": "red"}),
    one_method: ({}, {"what": "margin_drop"}),
    lds: ({}, {"color": "red"}),
    retrieval: ({},),
    coreset: ({},),
    relative_information: ({}, {"linestyle": "--"}),
    label_errors: ({},),
    robustness: ({}, {"what": "top1"}, {"what": "majority"}, {"what": "any"}),
    realism: ({},),
    memorisation_of_variants: ({}, {"measures": ("test_any@5",), "linewidth": 3}),
    memorisation_of_words: ({},),
    membership: ({}, {"statistic": "entropy", "linewidth": 3}),
    anomalies: ({}, {"kind": "histogram", "n": 2}, {"labels": ["dog"], "n": 3}),
    anomalous_images: ({"n": 2}, {"kind": "bars", "n": 2}),
    clusters: ({},),
    clusters_of_images: ({},),
}


def numbers(values):
    return [None if np.isnan(v) else float(f"{v:.5g}") for v in np.ravel(np.ma.filled(values))]


def line(artist):
    return {
        "xy": numbers(artist.get_xydata()),
        "style": [to_hex(artist.get_color()), artist.get_linestyle(), str(artist.get_marker()),
                  artist.get_linewidth(), artist.get_markersize(),
                  str(artist.get_markerfacecolor())[:4]],
        "label": str(artist.get_label()) if not str(artist.get_label()).startswith("_") else "",
    }  # fmt: skip


def ticks(axis):
    """Labels of ticks that were set; how many matplotlib finds room for depends on its version."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return []
    return [t.get_text() for t in axis.get_ticklabels()]


def axes(ax):
    """What is drawn on axes: data, colours, words."""
    legend = ax.get_legend()
    drawn = {
        "lines": [line(artist) for artist in ax.lines],
        "collections": [
            [numbers(getattr(c, "get_offsets", list)()),
             [numbers(s) for s in c.get_segments()] if hasattr(c, "get_segments") else [],
             [to_hex(color) for color in c.get_facecolor()]]
            for c in ax.collections
        ],
        "patches": [numbers(p.get_bbox().bounds) + [to_hex(p.get_facecolor())] for p in ax.patches],
        "images": [[numbers(i.get_array()), numbers(i.get_clim())] for i in ax.images],
        "texts": [[t.get_text(), t.get_fontsize()] for t in ax.texts],
        "words": [ax.get_xlabel(), ax.get_ylabel(), ax.get_title(), ax.get_title("left")],
        "limits": numbers([*ax.get_xlim(), *ax.get_ylim()]),
        "scale": ax.get_xscale(),
        "ticks": ticks(ax.xaxis) + ticks(ax.yaxis),
        "on": bool(ax.axison),
        "legend": None if legend is None else [t.get_text() for t in legend.get_texts()],
    }  # fmt: skip
    return {name: value for name, value in drawn.items() if value not in ([], None)}


def figure(display):
    figure = display.figure_
    figure.canvas.draw()
    subfigures = [f for sub in figure.subfigs for f in (sub, *sub.subfigs)]
    words = [
        text.get_text()
        for part in (figure, *subfigures)
        for text in (part._suptitle, part._supxlabel)
        if text is not None
    ]
    drawn = {
        "size": numbers(figure.get_size_inches()),
        "words": words,
        "axes": [axes(ax) for ax in figure.axes],
    }
    plt.close(figure)
    return drawn


def table(frame):
    return {
        name: numbers(column) if column.dtype.kind == "f" else [str(v) for v in column]
        for name, column in frame.items()
    }


def recorded(case):
    """Tables, text and figures of a case, as JSON keeps them."""
    result = case()
    return {
        "frame": table(result.to_frame()),
        "summary": table(result.summary()),
        "text": repr(result).splitlines(),
        "figures": [figure(result.plot(**options)) for options in RESULTS[case]],
    }


def main():
    """Write the file."""
    FILE.write_text(json.dumps({case.__name__: recorded(case) for case in RESULTS}, indent=None))


if __name__ == "__main__":
    main()
