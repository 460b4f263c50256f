"""Brittleness against removing rows and training by hand."""

import itertools

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from torch import nn

from sklearn_provenance import InfoGainAttributor, ProvenanceClassifier
from sklearn_provenance.attribution import RandomAttributor, RepSimAttributor
from sklearn_provenance.evaluation import LinesDisplay, Recipe, brittleness

from ..retraining.conftest import data, mlp, reference
from .attributors import FITS, Counted, Told, by_support, fits, supported

SIZES = (4, 9, 15)


@pytest.fixture(scope="module")
def iris():
    """Training rows and labels, queries and labels."""
    X, y = load_iris(return_X_y=True)
    X = (X - X.mean(0)) / X.std(0)
    queries = np.arange(51, 120, 4)[::-1]  # one of the first is misclassified
    return X[::2], y[::2], X[queries], y[queries]


@pytest.fixture(scope="module")
def methods(iris):
    model = LogisticRegression().fit(*iris[:2])
    methods = {"Random": RandomAttributor(model), "InfoGain": InfoGainAttributor(model)}
    return {name: method.fit(*iris[:2]) for name, method in methods.items()}


def log_odds(logits, label):
    p = np.exp(logits - logits.max())
    p /= p.sum()
    return np.log(p[label] / (1 - p[label]))


def by_hand(methods, X, y, X_queries, y_queries, sizes, train):
    """Correct queries, then flips and drops (n_methods, n_queries, n_sizes), one after the other.

    ``train(mask)`` gives logits of the queries.
    """
    full = train(np.ones(len(X), bool))
    queries = [q for q, logits in enumerate(full) if logits.argmax() == y_queries[q]]
    flips = np.empty((len(methods), len(queries), len(sizes)))
    drops = np.empty_like(flips)
    for (m, name), (i, q), (s, size) in itertools.product(
        enumerate(methods), enumerate(queries), enumerate(sizes)
    ):
        picks = methods[name].explain(X_queries[q : q + 1], y_queries[q : q + 1], k=size).indices
        mask = np.ones(len(X), bool)
        mask[picks[0]] = False
        logits = train(mask)[q]
        flips[m, i, s] = logits.argmax() != y_queries[q]
        drops[m, i, s] = log_odds(full[q], y_queries[q]) - log_odds(logits, y_queries[q])
    return queries, flips, drops


def test_a_classifier_is_trained_without_the_rows(iris, methods):
    X, y, X_queries, _ = iris
    model = LogisticRegression()
    queries, flips, drops = by_hand(
        methods, *iris, SIZES, lambda mask: model.fit(X[mask], y[mask]).decision_function(X_queries)
    )
    result = brittleness(methods, *iris, model=model, sizes=SIZES, early_stop=False)
    assert result.methods == ("Random", "InfoGain")
    assert result.queries.tolist() == queries
    assert result.n_given == 18 > len(queries)
    assert 0 < flips.mean() < 1  # there is something to be wrong about
    np.testing.assert_array_equal(result.flipped, flips)
    np.testing.assert_allclose(result.margin_drop, drops, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seeds", [3, (0, 5)])
def test_networks_and_several_seeds(seeds):
    X, y, X_queries = data(40)
    recipe, sizes = Recipe(lr=0.1, batch_size=8, max_epochs=6), (3, 12)
    module, rows = mlp().double(), X.numpy()
    rng = np.random.default_rng(0)
    methods = {
        "one": Told(lambda x, label: np.sin(rows @ x.numpy())),
        "two": Told(lambda x, label: rows @ x.numpy()),
    }
    numbers = np.atleast_1d(seeds).tolist()
    y_queries = rng.integers(0, 3, 7)
    y_queries[:5] = reference(module, X, y, np.ones(40, bool), X_queries[:5], recipe).argmax(1)
    expected = [
        by_hand(
            methods,
            *(X, y, X_queries, y_queries, sizes),
            lambda mask, seed=seed: reference(module, X, y, mask, X_queries, recipe, seed),
        )
        for seed in numbers
    ]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    result = brittleness(
        methods,
        *(X, y, X_queries, y_queries),
        model=module,
        sizes=sizes,
        recipe=recipe,
        seeds=seeds,
        early_stop=False,
        device="cpu",
    )
    common = sorted(set.intersection(*(set(queries) for queries, _, _ in expected)))
    assert result.queries.tolist() == common != []
    places = [[queries.index(q) for q in common] for queries, _, _ in expected]
    for values, of in ((result.flipped, 1), (result.margin_drop, 2)):
        mean = np.mean([e[of][:, p] for e, p in zip(expected, places, strict=True)], axis=0)
        np.testing.assert_allclose(values, mean, rtol=1e-8, atol=1e-8)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("stack", [1, 3])
def test_grouping_and_the_factory_change_nothing(stack):
    X, y, X_queries = data(30)
    methods = Told(lambda x, label: (X @ x).numpy())
    y_queries = mlp().double()(X_queries).argmax(1).numpy()
    arguments = methods, X, y, X_queries, y_queries
    options = {"recipe": Recipe(batch_size=8, max_epochs=2), "sizes": (2, 5), "device": "cpu"}
    one = brittleness(*arguments, model=mlp().double(), **options)
    # The factory draws nothing from the seed, so that it gives the same network.
    two = brittleness(*arguments, model=lambda: mlp().double(), group_size=stack, **options)
    assert one.methods == ("Told",)
    np.testing.assert_array_equal(one.queries, two.queries)
    np.testing.assert_allclose(one.margin_drop, two.margin_drop, atol=1e-8)


def test_early_stop_leaves_fallen_queries_alone(iris, methods):
    options = {"model": Counted(), "sizes": SIZES}
    n_all, every = fits(brittleness, methods, *iris, early_stop=False, **options)
    n_early, early = fits(brittleness, methods, *iris, **options)
    np.testing.assert_array_equal(early.flipped, np.maximum.accumulate(every.flipped, -1))
    fallen_before = np.zeros_like(early.flipped, bool)
    fallen_before[..., 1:] = early.flipped[..., :-1]
    assert fallen_before.any()
    np.testing.assert_array_equal(np.isnan(early.margin_drop), fallen_before)
    tried = ~fallen_before
    np.testing.assert_allclose(early.margin_drop[tried], every.margin_drop[tried])
    assert n_early == early.n_copies < n_all == every.n_copies <= 1 + every.flipped.size


def test_rows_that_carry_a_prediction_beat_random_rows():
    X, y, X_queries = supported()
    model, y_queries = LogisticRegression(), np.ones(len(X_queries), int)
    methods = {
        "support": by_support(X),
        "RepSim": RepSimAttributor(model).fit(X, y),
        "Random": RandomAttributor(model).fit(X, y),
    }
    result = brittleness(methods, X, y, X_queries, y_queries, model=model, sizes=(2, 4))
    assert len(result.queries) == len(X_queries)
    np.testing.assert_array_equal(result.flipped[0, :, -1], 1)
    np.testing.assert_array_equal(result.flipped[1, :, -1], 1)
    assert result.flipped[2].mean() < 0.3
    assert (result.margin_drop[0, :, 0] > result.margin_drop[2, :, 0]).all()


def test_a_set_that_two_methods_name_is_removed_once(iris):
    def score(order):
        return Told(lambda x, label: order * (iris[1] == label))

    ahead, back = np.arange(75.0), 74 - np.arange(75.0)
    options = {"model": Counted(), "sizes": (5, 25), "early_stop": False}
    n_one, _ = fits(brittleness, score(ahead + 1), *iris, **options)
    methods = {"one": score(ahead + 1), "other order": score(back + 1), "again": score(ahead + 1)}
    n_three, result = fits(brittleness, methods, *iris, **options)
    # Two classes are asked about; all 25 rows of a class are the same set in any order.
    assert (n_one, n_three) == (1 + 2 * 2, 1 + 2 * 3)
    assert result.n_copies == n_three
    np.testing.assert_array_equal(result.flipped[0], result.flipped[2])


def test_an_interrupted_run_goes_on_and_more_methods_train_only_what_is_new(
    iris, methods, tmp_path
):
    options = {"model": Counted(), "sizes": SIZES}
    n_fits, expected = fits(brittleness, methods, *iris, **options)
    options["store"] = tmp_path / "new" / "folder"
    with pytest.raises(KeyboardInterrupt):
        fits(brittleness, methods, *iris, stop_at=n_fits // 2, **options)
    assert FITS["done"] == n_fits // 2 + 1
    n_rest, result = fits(brittleness, methods, *iris, **options)
    assert n_rest == n_fits - n_fits // 2
    np.testing.assert_array_equal(result.flipped, expected.flipped)
    np.testing.assert_array_equal(result.margin_drop, expected.margin_drop)
    assert fits(brittleness, methods, *iris, **options)[0] == 0

    model = LogisticRegression().fit(*iris[:2])
    more = methods | {"RepSim": RepSimAttributor(model).fit(*iris[:2])}
    n_more, result = fits(brittleness, more, *iris, **options)
    alone = fits(brittleness, more["RepSim"], *iris, model=Counted(), sizes=SIZES)
    assert n_more == result.n_copies - n_fits <= alone[0] - 1
    np.testing.assert_array_equal(result.flipped[2], alone[1].flipped[0])
    assert fits(brittleness, more, *iris, **options | {"seeds": (0, 1)})[0] == result.n_copies
    with pytest.raises(ValueError, match=r"another call.*X_eval"):
        brittleness(methods, *iris[:2], iris[2] + 1, iris[3], **options)
    with pytest.raises(ValueError, match=r"another call.*estimator"):
        brittleness(methods, *iris, **options | {"model": LogisticRegression(C=3)})


def test_other_kinds_of_rows(iris, methods):
    names = np.array(["setosa", "versicolor", "virginica"])
    X, y, X_queries, y_queries = iris
    frames = pd.DataFrame(X), names[y], pd.DataFrame(X_queries), names[y_queries]
    model = LogisticRegression()
    expected = brittleness(methods, *iris, model=model, sizes=SIZES)
    attributor = InfoGainAttributor(model).fit(*frames[:2])
    with joblib.parallel_config("threading"):
        result = brittleness(attributor, *frames, model=model, sizes=SIZES, n_jobs=2)
    assert result.methods == ("InfoGain",)
    np.testing.assert_array_equal(result.flipped[0], expected.flipped[1])

    tensors = [torch.as_tensor(a) for a in iris]
    network = nn.Linear(4, 3).double()
    attributor = InfoGainAttributor(network).fit(tensors[0], y)
    options = {"sizes": SIZES, "recipe": Recipe(lr=0.1, max_epochs=20)}
    result = brittleness(attributor, *tensors, model=network, **options)
    expected = brittleness(attributor, *iris, model=network, **options)
    assert len(result.queries) > 0
    np.testing.assert_allclose(result.margin_drop, expected.margin_drop)


def test_a_provenance_network_is_a_method_too(iris):
    classifier = ProvenanceClassifier(width="small", max_epochs=5, device="cpu", random_state=0)
    classifier.fit(*iris[:2])
    model = LogisticRegression()
    result = brittleness({"PN": classifier}, *iris, model=model, sizes=(5,))
    picks = classifier.explain(iris[2][result.queries[:1]], k=5).indices[0]
    rest = np.setdiff1d(np.arange(75), picks)
    logits = model.fit(iris[0][rest], iris[1][rest]).decision_function(iris[2])
    query = result.queries[0]
    assert result.flipped[0, 0, 0] == (logits[query].argmax() != iris[3][query])


def test_a_class_that_is_gone(iris):
    everything = Told(lambda x, label: (iris[1] == label) * 1.0)
    model = LogisticRegression()
    result = brittleness(everything, *iris, model=model, sizes=(10, 25), early_stop=False)
    np.testing.assert_array_equal(result.flipped[..., 1], 1)
    np.testing.assert_array_equal(result.margin_drop[..., 1], np.inf)
    assert result.means("margin_drop")[0][0, 1] == np.inf
    assert np.isfinite(result.means("margin_drop")[0][0, 0])


def test_errors(iris, methods):
    X, y, X_queries, y_queries = iris
    model = LogisticRegression()

    def run(attributors=methods, X=X, y=y, y_queries=y_queries, model=model, **options):
        return brittleness(attributors, X, y, X_queries, y_queries, model=model, **options)

    with pytest.raises(ValueError, match="'Random' was fitted on 75 rows that are not those"):
        run(X=X[1:], y=y[1:])
    with pytest.raises(ValueError, match="that are not those of X and y"):
        run(y=np.roll(y, 1))
    with pytest.raises(ValueError, match="each of the 75 rows of X, got an array of shape"):
        run(y=y[1:])
    with pytest.raises(ValueError, match="each of the 18 rows of X_queries"):
        run(y_queries=y_queries[1:])
    for sizes in ((10, 5), (0, 5), (5, 75), (2.0, 3.0), ()):
        with pytest.raises(ValueError, match="sizes must be whole numbers that increase"):
            run(sizes=sizes)
    with pytest.raises(ValueError, match="must name 26 rows for each query; it names 25"):
        run(sizes=(5, 26))
    with pytest.raises(ValueError, match="classifies none of the 18 queries"):
        run(y_queries=np.zeros(18, int), sizes=SIZES)
    with pytest.raises(ValueError, match="none of the classes"):
        run(y_queries=y_queries + 7, sizes=SIZES)
    with pytest.raises(ValueError, match="got none"):
        run({})
    with pytest.raises(TypeError, match=r"fitted attributors with a method explain.* as 'a'"):
        run({"a": model})
    with pytest.raises(ValueError, match="not fitted"):
        run({"a": InfoGainAttributor(model)})
    with pytest.raises(TypeError, match="got a FrozenEstimator"):
        run(model=FrozenEstimator(model), sizes=SIZES)
    with pytest.raises(ValueError, match="several different ones"):
        run(seeds=(1, 1), sizes=SIZES)


def test_tables(iris, methods):
    result = brittleness(methods, *iris, model=LogisticRegression(), sizes=SIZES)
    table = result.to_frame()
    assert list(table) == ["method", "query", "size", "flipped", "margin_drop"]
    assert len(table) == result.flipped.size
    line = table[(table["method"] == "InfoGain") & (table["query"] == result.queries[3])]
    np.testing.assert_array_equal(line["flipped"], result.flipped[1, 3])
    np.testing.assert_array_equal(line["size"], SIZES)

    groups = table.groupby(["method", "size"], sort=False)
    summary = result.summary().set_index(["method", "size"])
    for what in ("flipped", "margin_drop"):
        np.testing.assert_allclose(summary[what], groups[what].mean())
        np.testing.assert_allclose(summary[f"{what}_se"], groups[what].sem())
    np.testing.assert_array_equal(summary["n_trained"], groups["margin_drop"].count())
    assert (summary["n_queries"] == len(result.queries)).all()
    text = repr(result)
    assert f"{len(result.queries)} of 18 queries" in text
    assert f"{summary['flipped'].iloc[-1]:.2f}" in text


def test_one_query_has_no_standard_error(iris, methods):
    one = iris[2][-1:], iris[3][-1:]
    model = LogisticRegression()
    result = brittleness(methods, *iris[:2], *one, model=model, sizes=SIZES)
    assert np.isnan(result.means()[1]).all()
    assert result.means()[0].shape == (2, 3)


def test_figure(iris, methods):
    result = brittleness(methods, *iris, model=LogisticRegression(), sizes=SIZES)
    display = result.plot()
    assert isinstance(display, LinesDisplay)
    assert display.figure_ is display.ax_.figure
    mean, error = result.means()
    for i, container in enumerate(display.errorbars_):
        line, _, (bars,) = container
        np.testing.assert_allclose(line.get_ydata(), mean[i])
        np.testing.assert_allclose(line.get_xdata(), SIZES, atol=0.5)
        heights = np.array([segment[:, 1] for segment in bars.get_segments()])
        np.testing.assert_allclose(np.diff(heights)[:, 0], 2 * error[i])
        assert container.get_label() == result.methods[i]
    assert display.ax_.get_ylabel() == "fraction misclassified"
    drops = result.plot(what="margin_drop", ax=display.ax_, color="red")
    assert drops.ax_ is display.ax_
    assert drops.errorbars_[0][0].get_color() == "red"
    assert "not yet misclassified" in drops.ax_.get_ylabel()
    display.figure_.canvas.draw()
    with pytest.raises(ValueError, match="what must be one of"):
        result.plot(what="accuracy")
