"""Coresets against direct training on the rows selected."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from torch import nn

from sklearn_provenance.attribution import (
    InfoGainAttributor,
    InfoLossAttributor,
    RandomAttributor,
    RepSimAttributor,
    TRAKAttributor,
)
from sklearn_provenance.evaluation import LinesDisplay, Recipe, coreset_selection

from ..checks import thorough
from ..retraining.conftest import mlp, reference

MODEL = LogisticRegression(max_iter=1000)


@pytest.fixture(scope="module")
def iris():
    """Training rows, queries, test rows."""
    X, y = load_iris(return_X_y=True)
    X, X_rest, y, y_rest = train_test_split(X, y, train_size=60, random_state=0, stratify=y)
    return X, y, X_rest[:20], y_rest[:20], X_rest[20:], y_rest[20:]


@pytest.fixture(scope="module")
def methods(iris):
    X, y, *_ = iris
    model = LogisticRegression(max_iter=1000).fit(X, y)
    # Subsets to train on are to be diverse: a small noise variance.
    gaussian = {"measurement": "margin", "noise_variance": "0.01*diagonal"}
    methods = {
        "InfoGain": InfoGainAttributor(model, **gaussian),
        "linear": InfoGainAttributor(model, **gaussian, solver="linear_response"),
        "InfoLoss": InfoLossAttributor(model, **gaussian, candidates="all"),
        "RepSim": RepSimAttributor(model, candidates="all"),
        "TRAK": TRAKAttributor(model, n_components=8),
        "Random": RandomAttributor(model),
    }
    return {name: method.fit(X, y) for name, method in methods.items()}


def few(methods):
    return {name: methods[name] for name in ("InfoGain", "Random")}


@pytest.mark.parametrize("labels", [True, *thorough(False)])
def test_accuracy_is_that_of_direct_fits_to_the_selected_rows(iris, methods, labels):
    X, y, X_queries, y_queries, X_test, y_test = iris
    options = {"y_queries": y_queries} if labels else {}
    result = coreset_selection(
        methods, X, y, X_queries, X_test, y_test, model=MODEL, sizes=[7, 12, 30, 60], **options
    )
    assert result.accuracy.shape == (6, 2, 4, 1)
    select = {"y": y_queries} if labels else {}
    for i, (name, method) in enumerate(methods.items()):
        for j, balanced in enumerate([False, True]):
            for n, size in enumerate([7, 12, 30, 60]):
                rows = method.select(X_queries, size, balanced=balanced, **select)
                np.testing.assert_array_equal(result.subsets[name, balanced, size], [rows])
                if balanced:
                    assert np.ptp(np.bincount(y[rows], minlength=3)) <= 1
                direct = DummyClassifier(strategy="most_frequent")  # where there is one class
                if len(np.unique(y[rows])) > 1:
                    direct = LogisticRegression(max_iter=1000)
                direct.fit(X[rows], y[rows])
                assert result.accuracy[i, j, n, 0] == direct.score(X_test, y_test)


@pytest.mark.parametrize("batches", [None, "common"])
def test_networks_are_trained_as_the_recipe_says(iris, methods, batches):
    X, y, X_queries, _, X_test, y_test = iris
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    before = [p.clone() for p in module.parameters()]
    options = {"batch_size": 8, "max_epochs": 6, "lr": 0.1}
    recipe = Recipe(batches=batches or "own", **options)
    result = coreset_selection(
        few(methods), X, y, X_queries, X_test, y_test, model=module, sizes=[10, 25], seeds=(3, 8),
        balanced=False, recipe=recipe, device="cpu",
    )  # fmt: skip
    tensors = torch.tensor(X), torch.tensor(y)
    for i, name in enumerate(result.methods):
        for n, size in enumerate([10, 25]):
            for s, seed in enumerate([3, 8]):
                mask = np.zeros(len(X), bool)
                mask[result.subsets[name, False, size][s]] = True
                logits = reference(module, *tensors, mask, torch.tensor(X_test), recipe, seed)
                expected = (logits.argmax(1) == y_test).mean()
                assert result.accuracy[i, 0, n, s] == expected
    for old, new in zip(before, module.parameters(), strict=True):
        assert torch.equal(old, new)


def test_networks_get_full_batches_by_default():
    X, y = load_iris(return_X_y=True)
    torch.manual_seed(0)
    options = {"model": nn.Linear(4, 3).double(), "sizes": [40], "device": "cpu"}
    default, own, common = (
        coreset_selection(
            Broken(np.arange(0, 120, 3)), X, y, X[:3], X, y, recipe=recipe, balanced=True, **options
        ).accuracy
        for recipe in (None, Recipe(batches="own"), Recipe(batches="common"))
    )
    np.testing.assert_array_equal(default, own)
    assert default != common


def test_a_method_of_one_attributor_for_each_seed(iris):
    X, y, X_queries, _, X_test, y_test = iris
    randoms = [RandomAttributor(MODEL, random_state=s).fit(X, y) for s in range(4)]
    result = coreset_selection(
        {"Random": randoms, "one": randoms[0]}, X, y, X_queries, X_test, y_test,
        model=MODEL, sizes=[9], seeds=range(4), balanced=True,
    )  # fmt: skip
    for random, rows in zip(randoms, result.subsets["Random", True, 9], strict=True):
        np.testing.assert_array_equal(rows, random.select(X_queries, 9, balanced=True))
    assert len(np.unique(result.subsets["Random", True, 9], axis=0)) == 4
    assert len(np.unique(result.subsets["one", True, 9], axis=0)) == 1
    # Logistic regression has no randomness of its own: what varies is the selection.
    assert np.ptp(result.accuracy[0]) > 0
    assert np.ptp(result.accuracy[1]) == 0
    with pytest.raises(ValueError, match="3 seeds; 'Random' is a list of 4"):
        coreset_selection(
            {"Random": randoms}, X, y, X_queries, X_test, y_test, model=MODEL, sizes=[9],
            seeds=range(3),
        )  # fmt: skip


class LastRows:
    """Selects the last rows, and counts how often it is asked."""

    def __init__(self, n):
        self.n, self.asked = n, []

    def select(self, X_queries, k):
        self.asked.append(k)
        return np.arange(self.n)[::-1][:k]


def test_anything_that_selects_will_do_and_is_asked_once(iris):
    X, y, X_queries, _, X_test, y_test = iris
    last = LastRows(60)
    result = coreset_selection(
        last, X, y, X_queries, X_test, y_test, model=MODEL, sizes=[10, 20, 40], balanced=False
    )
    assert last.asked == [40]
    assert result.methods == ("LastRows",)
    np.testing.assert_array_equal(result.subsets["LastRows", False, 10][0], np.arange(59, 49, -1))


def test_selections_are_worth_more_than_chance(iris, methods):
    X, y, X_queries, _, X_test, y_test = iris
    result = coreset_selection(
        few(methods), X, y, X_queries, X_test, y_test, model=MODEL, sizes=[30]
    )
    assert (result.accuracy > 0.8).all()


def test_an_interrupted_run_resumes(iris, methods, tmp_path):
    X, y, X_queries, _, X_test, y_test = iris
    arguments = (few(methods), X, y, X_queries, X_test, y_test)
    options = {"model": mlp_of_four(), "sizes": [10, 20], "device": "cpu"}
    expected = coreset_selection(*arguments, **options).accuracy
    first = coreset_selection(*arguments, store=tmp_path, **options).accuracy
    stamp = (tmp_path / "manifest.json").stat().st_mtime_ns
    again = coreset_selection(*arguments, store=tmp_path, **options).accuracy
    assert (tmp_path / "manifest.json").stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(again, expected)
    with pytest.raises(ValueError, match="masks"):
        coreset_selection(*arguments, store=tmp_path, **options | {"sizes": [10, 21]})


def mlp_of_four():
    return nn.Sequential(nn.Linear(4, 5), *mlp()).double()


def test_tables_and_figure(iris, methods):
    X, y, X_queries, _, X_test, y_test = iris
    result = coreset_selection(
        few(methods), X, y, X_queries, X_test, y_test, model=mlp_of_four(), sizes=[10, 20, 40],
        seeds=(0, 1, 2), recipe=Recipe(max_epochs=3, batch_size=4), device="cpu",
    )  # fmt: skip
    pytest.importorskip("pandas")
    frame, summary = result.to_frame(), result.summary()
    assert frame.columns.tolist() == ["method", "balanced", "size", "seed", "accuracy"]
    assert len(frame) == 2 * 2 * 3 * 3
    line = frame.query("method == 'Random' and balanced and size == 20 and seed == 1")
    assert line.accuracy.tolist() == [result.accuracy[1, 1, 1, 1]]
    groups = frame.groupby(["method", "balanced", "size"], sort=False).accuracy
    np.testing.assert_allclose(summary.accuracy, groups.mean())
    np.testing.assert_allclose(summary.accuracy_se, groups.sem())
    assert (summary.n_seeds == 3).all()

    plt = pytest.importorskip("matplotlib.pyplot")
    display = result.plot()
    assert isinstance(display, LinesDisplay)
    labels = display.ax_.get_legend_handles_labels()[1]
    assert set(labels) == {"InfoGain", "Random", "classes balanced"}
    drawn = display.ax_.containers[3][0]
    assert drawn.get_linestyle() == "--"
    np.testing.assert_array_equal(drawn.get_xdata(), [10, 20, 40])
    np.testing.assert_allclose(drawn.get_ydata(), result.accuracy[1, 1].mean(-1))
    figure, ax = plt.subplots()
    one = coreset_selection(
        few(methods), X, y, X_queries, X_test, y_test, model=MODEL, sizes=[20], balanced=False
    )
    assert one.plot(ax=ax).figure_ is figure
    assert np.isnan(one.summary().accuracy_se).all()
    figure.canvas.draw()
    plt.close("all")


def test_one_class_is_predicted_where_rows_have_no_other(iris):
    X, y, X_queries, _, X_test, y_test = iris
    order = np.argsort(y, kind="stable")
    result = coreset_selection(
        {"two": Broken(order[18:23]), "one": Broken(order[:5]), "other": Broken(order[-5:])},
        X, y, X_queries, X_test, y_test, model=MODEL, sizes=[5], balanced=True,
    )  # fmt: skip
    direct = LogisticRegression(max_iter=1000).fit(X[order[18:23]], y[order[18:23]])
    expected = [direct.score(X_test, y_test), (y_test == 0).mean(), (y_test == 2).mean()]
    np.testing.assert_allclose(result.accuracy.ravel(), expected)
    only = coreset_selection(
        Broken(order[:5]), X, y, X_queries, X_test, y_test, model=MODEL, sizes=[5], balanced=True
    )
    assert only.accuracy.item() == expected[1]


class Broken:
    def __init__(self, rows):
        self.rows = rows

    def select(self, X_queries, k, balanced=False):
        return self.rows


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sizes": [5, 61]}, ValueError, "from 1 to 60"),
        ({"sizes": [5, 5]}, ValueError, "increase"),
        ({"sizes": []}, ValueError, "sizes"),
        ({"sizes": [0.1]}, ValueError, "whole"),
        ({"balanced": "yes"}, ValueError, "balanced"),
        ({"balanced": [True, True]}, ValueError, "balanced"),
        ({"attributors": {}}, ValueError, "got none"),
        ({"attributors": RandomAttributor}, TypeError, "select"),
        ({"attributors": {"x": MODEL}}, TypeError, "select"),
        ({"attributors": Broken(np.arange(4))}, ValueError, r"5 row numbers, got int64"),
        ({"attributors": Broken(np.arange(5.0))}, ValueError, "float64"),
        ({"attributors": Broken(np.array([1, 2, 3, 4, 60]))}, ValueError, "from 1 to 60"),
        ({"attributors": Broken(np.array([1, 2, 3, 3, 4]))}, ValueError, "5 different rows"),
        ({"model": FrozenEstimator(MODEL)}, TypeError, "FrozenEstimator"),
        ({"y_test": np.full(70, 7)}, ValueError, "none of the classes"),
        ({"masks": np.ones((1, 60), bool)}, TypeError, "masks"),
        ({"y": np.zeros(60, int)}, ValueError, "fitted on"),
    ],
)
def test_what_does_not_fit_is_refused(iris, methods, change, error, message):
    X, y, X_queries, _, X_test, y_test = iris
    arguments = {
        "attributors": methods["RepSim"], "X": X, "y": y, "X_queries": X_queries,
        "X_test": X_test, "y_test": y_test, "model": MODEL, "sizes": [5],
    }  # fmt: skip
    with pytest.raises(error, match=message):
        coreset_selection(**(arguments | change))
