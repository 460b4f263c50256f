"""Robustness against counting by hand, and against what classifiers are shown."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_provenance import Explanation, ProvenanceClassifier
from sklearn_provenance.attribution import RepSimAttributor
from sklearn_provenance.datasets import DISTORTIONS, distort, load_digits
from sklearn_provenance.evaluation import PointsDisplay, robustness
from sklearn_provenance.evaluation._robustness import _exemplars_right

MILD = {
    "noise": ("gaussian_noise", 0.2),
    "turned": ("rotation", 20),
    "moved": ("translation", 1),
    "hidden": ("occlusion", 2),
}


class Seen(ClassifierMixin, BaseEstimator):
    """Says 1 where the first pixel is set, and keeps what it was shown."""

    def fit(self, X=None, y=None):
        self.shown_ = []
        return self

    def predict(self, X):
        self.shown_.append(X.copy())
        return (X.reshape(len(X), -1)[:, 0] > 0).astype(int)


class Explaining(Seen):
    """Names rows 0, 1, 2 of the labels given, in this order, for every query."""

    def __init__(self, labels):
        self.labels = labels

    def explain(self, X, k=5):
        indices = np.tile(np.arange(k), (len(X), 1))
        labels = np.tile(self.labels[:k], (len(X), 1))
        return Explanation(indices, np.ones(indices.shape), exemplar_labels=labels)


def images(n=12, height=5, width=6, channels=(), seed=0):
    shape = (n, height, width, *channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X_test, y_test = load_digits("test", return_X_y=True)
    X, y, X_test, y_test = X[:300], y[:300], X_test[:120], y_test[:120]
    options = {"width": "small", "max_epochs": 12, "device": "cpu", "random_state": 0}
    networks = {
        architecture: ProvenanceClassifier(architecture, backbone="mlp", **options).fit(X, y)
        for architecture in ("class_conditional", "single_branch")
    }
    return X, y, X_test, y_test, networks


def test_figures_are_those_of_the_same_images(digits):
    *_, X, y, networks = digits
    result = robustness(networks, X, y, distortions=MILD, random_state=3)
    assert result.classifiers == ("class_conditional", "single_branch")
    assert result.distortions == ("clean", *MILD)
    assert result.correct.shape == (2, 5, len(X))
    seed = np.random.RandomState(3).randint(2**31 - 1)
    distorted = [X, *(distort(X, *pair, random_state=seed) for pair in MILD.values())]
    for i, network in enumerate(networks.values()):
        for j, shown in enumerate(distorted):
            assert result.correct[i, j].mean() == network.score(shown, y)
            named = network.explain(shown, k=5).exemplar_labels
            for q, labels in enumerate(named.tolist()):
                counts = Counter(labels)  # in order of rank, so that max takes the first
                assert result.top1[i, j, q] == (labels[0] == y[q])
                assert result.majority[i, j, q] == (max(counts, key=counts.get) == y[q])
                assert result.any[i, j, q] == (y[q] in labels)
    accuracy = result.correct.mean(axis=2)
    assert accuracy[:, 0].min() > 0.85
    assert (accuracy[:, 2] < accuracy[:, 0]).all()
    # Under hard routing exemplars have the predicted label.
    np.testing.assert_array_equal(result.any[0], result.correct[0])
    assert (result.any[1] >= result.majority[1]).all()
    assert result.top1[1].mean() != result.correct[1].mean()


@given(
    rows=st.lists(st.lists(st.integers(-1, 3), min_size=4, max_size=4), min_size=1, max_size=5),
    names=st.booleans(),
)
def test_majority_by_counting(rows, names):
    labels = [sorted(row, key=lambda label: label < 0) for row in rows]  # padding at the end
    indices = np.where(np.array(labels) < 0, -1, np.arange(4))
    scores = np.where(indices < 0, np.nan, 1.0)
    kind = np.array(list("abcd")) if names else np.arange(4)
    y = np.zeros(len(rows), int)
    explanation = Explanation(indices, scores, exemplar_labels=kind[np.array(labels)])
    top1, most, some = _exemplars_right(explanation, kind[y])
    for q, row in enumerate(labels):
        named = [label for label in row if label >= 0]
        counts = {label: named.count(label) for label in named}
        assert top1[q] == (named[:1] == [0])
        assert most[q] == (bool(named) and max(counts, key=counts.get) == 0)
        assert some[q] == (0 in named)


def test_all_classifiers_see_the_same_images():
    X, y = images(n=30, height=28, width=28), np.arange(30) % 2
    first, second = Seen().fit(), Seen().fit()
    before = X.copy()
    result = robustness({"a": first, "b": second}, X, y)
    np.testing.assert_array_equal(X, before)
    assert result.distortions == ("clean", *DISTORTIONS)
    assert len(first.shown_) == 15
    np.testing.assert_array_equal(first.shown_, second.shown_)
    np.testing.assert_array_equal(first.shown_[0], X)
    assert len(np.unique(first.shown_, axis=0)) == 15
    np.testing.assert_array_equal(result.correct[0], result.correct[1])
    assert np.isnan(result.top1).all()

    fewer = {name: DISTORTIONS[name] for name in ("rotation 30", "occlusion 4")}
    robustness(alone := Seen().fit(), X, y, distortions=fewer)
    places = [0, *(result.distortions.index(name) for name in fewer)]
    np.testing.assert_array_equal(alone.shown_, np.array(first.shown_)[places])
    robustness(other := Seen().fit(), X, y, distortions=fewer, random_state=1)
    assert not np.array_equal(other.shown_, alone.shown_)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_images_keep_the_form_they_came_in(channels):
    X, y = images(channels=channels), np.arange(12) % 2
    robustness(expected := Seen().fit(), X, y, distortions=MILD)
    forms = {(5, 6, *channels): X.reshape(12, -1)}
    if channels:
        forms[3, 5, 6] = np.moveaxis(X, -1, 1).reshape(12, -1)
    for shape, flat in forms.items():
        for given_ in (flat, flat.reshape(12, *shape)):
            options = {"image_shape": shape} if given_ is flat else {}
            robustness(seen := Seen().fit(), given_, y, distortions=MILD, **options)
            for shown, image in zip(seen.shown_, expected.shown_, strict=True):
                assert shown.shape == given_.shape
                shown = shown.reshape(12, *shape)
                shown = np.moveaxis(shown, 1, -1) if shape[0] == 3 else shown
                np.testing.assert_array_equal(shown, image)


def test_distortions_of_your_own():
    X, y = images(channels=(3,)), np.arange(12) % 2
    seeds = []

    def negative(images, random_state):
        seeds.append(random_state)
        assert images.shape == (12, 5, 6, 3)
        images[:] = 255 - images
        return images

    channels_first = np.moveaxis(X, -1, 1)
    seen, before = Seen().fit(), channels_first.copy()
    robustness(seen, channels_first, y, distortions={"negative": negative})
    np.testing.assert_array_equal(channels_first, before)
    np.testing.assert_array_equal(seen.shown_[1], 255 - channels_first)
    robustness(seen, channels_first, y, distortions={"negative": negative})
    assert seeds[0] == seeds[1]
    with pytest.raises(ValueError, match=r"'half' makes images of shape \(6, 5, 6, 3\)"):
        robustness(seen, X, y, distortions={"half": lambda images, random_state: images[::2]})


def test_pipelines_and_attributors_are_explained(digits):
    X, y, X_test, y_test, networks = digits
    inside = make_pipeline(
        FunctionTransformer(lambda rows: rows.reshape(-1, 8, 8).astype(np.uint8)),
        networks["single_branch"],
    )
    flat, flat_test = (a.reshape(-1, 64) for a in (X, X_test))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(flat, y)
    classifiers = {"plain": model, "RepSim": RepSimAttributor(model).fit(flat, y), "inside": inside}
    result = robustness(classifiers, flat_test, y_test, distortions=MILD, image_shape=(8, 8))
    np.testing.assert_array_equal(result.correct[0], result.correct[1])
    assert np.isnan(result.majority[0]).all()
    np.testing.assert_array_equal(result.majority[1], result.correct[1])  # of the same class
    alone = robustness(networks["single_branch"], X_test, y_test, distortions=MILD)
    for name in ("correct", "top1", "majority", "any"):
        np.testing.assert_array_equal(getattr(result, name)[2], getattr(alone, name)[0])


def test_tables_and_figure():
    X, y = images(n=20), np.arange(20) % 2
    classifiers = {"a": Seen().fit(), "b": Explaining([1, 0, 0]).fit()}
    result = robustness(classifiers, X, y, distortions=MILD, k=3)
    pytest.importorskip("pandas")
    frame, summary = result.to_frame(), result.summary()
    measures = ["accuracy", "top1", "majority@3", "any@3"]
    assert frame.columns.tolist() == ["classifier", "distortion", "image", *measures]
    assert len(frame) == 2 * 5 * 20
    groups = frame.groupby(["classifier", "distortion"], sort=False)
    np.testing.assert_allclose(summary[measures], groups[measures].mean())
    np.testing.assert_allclose(summary["accuracy_se"], groups["accuracy"].sem())
    explained = summary[summary["classifier"] == "b"]
    np.testing.assert_array_equal(explained[measures[1:]], [[0.5, 0.5, 1.0]] * 5)
    drop = result.correct[:, :1] - result.correct
    np.testing.assert_allclose(summary["drop"], drop.mean(axis=2).ravel())
    error = drop.std(axis=2, ddof=1).ravel() / np.sqrt(20)
    np.testing.assert_allclose(summary["drop_se"], error)
    assert summary["n_images"].tolist() == [20] * 10

    plt = pytest.importorskip("matplotlib.pyplot")
    figure, ax = plt.subplots()
    display = result.plot(ax=ax)
    assert isinstance(display, PointsDisplay)
    assert display.figure_ is figure
    assert ax.get_legend_handles_labels()[1] == ["a", "b"]
    for bars, means in zip(display.errorbars_, result.correct.mean(axis=2), strict=True):
        np.testing.assert_allclose(bars[0].get_xdata(), means)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["clean", *MILD]
    assert ax.yaxis_inverted()
    only = result.plot(what="majority")  # of the one that explains
    assert only.ax_.get_legend_handles_labels()[1] == ["b"]
    assert "3 exemplars" in only.ax_.get_xlabel()
    figure.canvas.draw()
    with pytest.raises(ValueError, match="what must be one of"):
        result.plot(what="majority@3")
    with pytest.raises(ValueError, match="no classifier explains"):
        robustness(Seen().fit(), X, y, distortions={}).plot(what="any")
    plt.close("all")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"classifiers": {}}, ValueError, "got none"),
        ({"classifiers": Seen}, TypeError, "fitted classifier"),
        ({"classifiers": LogisticRegression()}, ValueError, "not fitted"),
        ({"y": np.zeros(11, int)}, ValueError, "each of the 12 rows of X"),
        ({"X": images().astype(str)}, ValueError, "must hold images, that is numbers, got .* <U"),
        ({"X": images().reshape(12, 30)}, ValueError, r"image_shape=\(H, W\)"),
        ({"image_shape": (6, 5)}, ValueError, r"shape \(5, 6\), which is not an image of shape"),
        ({"X": images(channels=(3,))[:, :3]}, ValueError, "channels-first and as channels-last"),
        ({"X": images() / 100}, ValueError, "from 0"),
        ({"distortions": ["rotation 30"]}, TypeError, "'distortions' parameter"),
        ({"distortions": {"clean": ("rotation", 3)}}, ValueError, "must not be named 'clean'"),
        ({"distortions": {"turned": "rotation"}}, TypeError, r"must be pairs .* as 'turned'"),
        ({"distortions": {"turned": ("turn", 3)}}, ValueError, "kind must be"),
        ({"k": 0}, ValueError, r"'k' parameter .* Got 0"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, message):
    arguments = {"classifiers": Seen().fit(), "X": images(), "y": np.arange(12) % 2}
    arguments |= {"distortions": MILD} | change
    with pytest.raises(error, match=message):
        robustness(**arguments)


class Nameless(Explaining):
    """Names rows, but not their labels."""

    def explain(self, X, k=5):
        return super().explain(X, k)._replace(exemplar_labels=None)


def test_exemplars_without_labels_are_not_counted():
    nameless = Nameless([1, 0, 0]).fit()
    result = robustness(nameless, images(), np.arange(12) % 2, distortions={}, k=3)
    assert np.isfinite(result.correct).all()
    assert np.isnan(result.top1).all()
    assert np.isnan(result.any).all()


def test_labels_of_another_kind_are_refused(digits):
    *_, X, y, networks = digits
    with pytest.raises(ValueError, match="no label of y is among the classes"):
        robustness(networks, X, y.astype(str), distortions=MILD)
