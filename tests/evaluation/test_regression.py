"""Protocols of regressors: known answers of least squares, and what is refused."""

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from skorch import NeuralNetRegressor
from torch import nn

from sklearn_provenance import Explanation, InfluenceAttributor, InfoGainAttributor
from sklearn_provenance.attribution import (
    ForestAttributor,
    RandomAttributor,
    RelatIFAttributor,
    RepSimAttributor,
)
from sklearn_provenance.evaluation import (
    Recipe,
    backdoor_retrieval,
    brittleness,
    brittleness_scorer,
    coreset_selection,
    lds_from_truth,
    linear_datamodeling_score,
    relative_information,
    robustness,
)

from ..checks import thorough
from .attributors import Told

N_QUERIES = 6


def problem(n=50, dtype=np.float64):
    """Training rows and targets, queries and targets."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n + N_QUERIES, 3)).astype(dtype)
    y = (100 + 20 * X @ np.array([1.0, -2.0, 0.5]) + 5 * rng.standard_t(3, size=len(X))).astype(
        dtype
    )
    return X[:n], y[:n], X[n:], y[n:]


def least_squares(direction="down"):
    X, y, *_ = problem()
    return InfluenceAttributor(LinearRegression(), direction=direction).fit(X, y)


@pytest.mark.parametrize("y_queries", ["targets", None])
@pytest.mark.parametrize("direction", ["down", "up"])
def test_the_predicted_drop_is_realised(direction, y_queries):
    X, y, X_queries, targets = problem()
    attributor = least_squares(direction)
    result = brittleness(
        attributor, X, y, X_queries, targets if y_queries else None, model=LinearRegression(),
        sizes=(1, 2, 7), direction=direction,
    )  # fmt: skip
    predicted = attributor.explain(X_queries, k=7).scores.cumsum(1)[:, [0, 1, 6]]
    moved = result.output_drop if direction == "down" else -result.output_rise
    np.testing.assert_allclose(moved[0], predicted, rtol=0, atol=1e-8)
    assert (np.sign(predicted) == (1 if direction == "down" else -1)).all()
    np.testing.assert_allclose(result.outputs, LinearRegression().fit(X, y).predict(X_queries))
    assert not hasattr(result, "flipped")
    assert not hasattr(result, "moved")
    assert 1 < result.n_copies <= 1 + 3 * N_QUERIES


def test_single_rows_drop_as_attribute_says():
    X, y, X_queries, _ = problem()
    drops = least_squares().attribute(X_queries)
    first = Told(lambda x, label: -np.arange(50.0))
    result = brittleness(first, X, y, X_queries, np.ones(6), model=LinearRegression(), sizes=[1])
    np.testing.assert_allclose(result.output_drop[0, :, 0], drops[:, 0], atol=1e-8)


def test_a_mean_of_targets_by_hand():
    """Without targets 6 and 8 of [2, 4, 6, 8], the mean falls from 5 to 3."""
    X, y = np.zeros((4, 1)), np.array([2.0, 4, 6, 8])
    best = Told(lambda x, label: y)
    arguments = best, X, y, X[:2], np.zeros(2)
    options = {"model": DummyRegressor(), "sizes": (1, 2, 3)}
    result = brittleness(*arguments, **options)
    np.testing.assert_allclose(result.output_drop, np.broadcast_to([1, 2, 3.0], (1, 2, 3)))
    result = brittleness(*arguments, **options, direction="up")
    np.testing.assert_allclose(result.output_rise, np.broadcast_to([-1, -2, -3.0], (1, 2, 3)))
    worst = Told(lambda x, label: -y)
    result = brittleness(worst, *arguments[1:], **options, direction="any", threshold=1.5)
    np.testing.assert_allclose(result.output_change[0], [[1, 2, np.nan]] * 2)
    assert result.moved[0].tolist() == [[0, 1, 1]] * 2


def test_thresholds_stop_early_or_not():
    X, y = np.zeros((4, 1)), np.array([2.0, 4, 6, 8])
    arguments = Told(lambda x, label: y), X, y, X[:2], np.zeros(2)
    options = {"model": DummyRegressor(), "sizes": (1, 2, 3), "threshold": 1.5}
    early = brittleness(*arguments, **options)
    assert early.moved[0].tolist() == [[0, 1, 1]] * 2
    np.testing.assert_array_equal(early.output_drop[0], [[1, 2, np.nan]] * 2)
    every = brittleness(*arguments, **options, early_stop=False)
    assert every.moved[0].tolist() == [[0, 1, 1]] * 2
    np.testing.assert_array_equal(every.output_drop[0], [[1, 2, 3]] * 2)
    assert (early.n_copies, every.n_copies) == (3, 4)
    down = brittleness(*arguments, **options | {"direction": "up"})
    assert not down.moved.any()


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1)).double()


MODELS = {
    "ridge": (Ridge(), {}),
    "forest": (RandomForestRegressor(5), {}),
    "MLPRegressor": (MLPRegressor(max_iter=20), {}),
    "skorch": (
        NeuralNetRegressor(
            nn.Linear(3, 1), max_epochs=2, train_split=None, verbose=0, lr=1e-3, batch_size=16
        ),
        {},
    ),
    "network": (network(), {"recipe": Recipe(loss="squared_error", lr=1e-4, max_epochs=2)}),
    "factory": (network, {"recipe": Recipe(loss="huber", lr=1e-3, max_epochs=2)}),
}


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(
    "name", ["ridge", "forest", "network", *thorough("MLPRegressor", "skorch", "factory")]
)
def test_every_protocol_trains_every_kind_of_regressor(name):
    model, options = MODELS[name]
    X, y, X_queries, y_queries = problem(dtype=np.float32)
    if name == "skorch":
        y = y[:, None]
    random = RandomAttributor(Ridge(), random_state=0).fit(X, y.ravel())
    methods = {"Random": random, "Told": Told(lambda x, label: X @ x)}
    arguments = methods, X, y, X_queries, y_queries
    result = brittleness(*arguments, model=model, sizes=(2, 5), seeds=(0, 1), **options)
    assert result.output_drop.shape == (2, N_QUERIES, 2)
    assert np.isfinite(result.output_drop).all()
    again = brittleness(*arguments, model=model, sizes=(2, 5), seeds=(0, 1), **options)
    np.testing.assert_array_equal(result.output_drop, again.output_drop)  # the seed decides

    result = linear_datamodeling_score(*arguments, model=model, n_masks=4, n_repeats=2, **options)
    assert result.outputs.shape == (4, N_QUERIES)
    assert result.correlations.shape == (2, N_QUERIES)
    assert not hasattr(result, "margins")

    result = coreset_selection(
        random, X, y, X_queries, X_queries, y_queries, model=model, sizes=(10, 50), **options
    )
    assert result.r2.shape == result.rmse.shape == (1, 1, 2, 1)
    assert result.balanced == (False,)


def test_least_squares_obey_the_linear_datamodeling_score():
    X, y, X_queries, y_queries = problem()
    attributor = least_squares()
    options = {"model": LinearRegression(), "n_masks": 30, "n_repeats": 1}
    result = linear_datamodeling_score(attributor, X, y, X_queries, y_queries, **options)
    outputs = [LinearRegression().fit(X[m], y[m]).predict(X_queries) for m in result.masks]
    np.testing.assert_allclose(result.outputs, outputs)
    expected = lds_from_truth(attributor.attribute(X_queries), result.masks, result.outputs)
    np.testing.assert_allclose(result.correlations[0], expected)
    assert result.scores[0] > 0.8
    without = linear_datamodeling_score(attributor, X, y, X_queries, None, **options)
    np.testing.assert_array_equal(without.correlations, result.correlations)
    measured = linear_datamodeling_score(
        attributor, X, y, X_queries, None, masks=result.masks, margins=result.outputs
    )
    np.testing.assert_array_equal(measured.outputs, result.outputs)
    np.testing.assert_array_equal(measured.correlations, result.correlations)


def test_coresets_are_judged_on_the_test_rows():
    X, y, X_test, y_test = problem()
    order = np.random.default_rng(3).permutation(50)

    class Ordered:
        def select(self, X_queries, k):
            return order[:k]

    result = coreset_selection(
        {"a": Ordered()}, X, y, X_test, X_test, y_test, model=Ridge(), sizes=(5, 20)
    )
    for place, size in enumerate((5, 20)):
        rows = order[:size]
        predicted = Ridge().fit(X[rows], y[rows]).predict(X_test)
        assert result.r2[0, 0, place, 0] == pytest.approx(r2_score(y_test, predicted))
        rmse = np.sqrt(np.mean((predicted - y_test) ** 2))
        assert result.rmse[0, 0, place, 0] == pytest.approx(rmse)
    assert list(result.to_frame()) == ["method", "balanced", "size", "seed", "r2", "rmse"]
    assert {"r2", "r2_se", "rmse", "rmse_se"} <= set(result.summary())
    assert "Test R²" in repr(result)
    pytest.importorskip("matplotlib")
    assert result.plot().ax_.get_ylabel() == "test R²"
    assert "units of the target" in result.plot(what="rmse").ax_.get_ylabel()


def test_a_coreset_of_one_target_is_fitted():
    """A classifier is not fitted to one class; a regressor is to one target."""
    X, y, X_test, y_test = problem()
    result = coreset_selection(
        {"a": RandomAttributor(Ridge()).fit(X, y)}, X, y, X_test, X_test, y_test,
        model=DummyRegressor(), sizes=(1,), normalize=False,
    )  # fmt: skip
    row = result.subsets["a", False, 1][0]
    assert result.rmse[0, 0, 0, 0] == pytest.approx(np.sqrt(np.mean((y_test - y[row]) ** 2)))


def test_normalize_reaches_selectors_that_take_it():
    X, y, X_test, y_test = problem()
    asked = []

    class Asked:
        def select(self, X_queries, k, normalize=True):
            asked.append(normalize)
            return np.arange(k)

    rest = X_test, X_test, y_test
    options = {"model": Ridge(), "sizes": (4,)}
    for normalize in (None, True, False):
        coreset_selection({"a": Asked()}, X, y, *rest, **options, normalize=normalize)
    assert asked == [True, True, False]
    gain = InfoGainAttributor(Ridge()).fit(X, y)
    subsets = [
        coreset_selection({"a": gain}, X, y, *rest, **options, normalize=n).subsets["a", False, 4]
        for n in (True, False)
    ]
    for normalize, (rows,) in zip((True, False), subsets, strict=True):
        expected = gain.select(X_test, 4, normalize=normalize)
        np.testing.assert_array_equal(rows, expected)


def test_attributors_of_forests_and_information_take_part():
    X, y, X_queries, y_queries = problem()
    model = RandomForestRegressor(5, min_samples_leaf=12, random_state=0).fit(X, y)
    methods = {
        "Forest": ForestAttributor(model),
        "RepSim": RepSimAttributor(model),
        "InfoGain": InfoGainAttributor(model),
        "RelatIF": RelatIFAttributor(model),
    }
    methods = {name: method.fit(X, y) for name, method in methods.items()}
    result = brittleness(
        methods, X, y, X_queries, y_queries, model=model, sizes=(5, 15), direction="any"
    )
    assert result.methods == tuple(methods)
    assert (result.output_change > 0).any()
    np.testing.assert_allclose(result.outputs, model.predict(X_queries))


def test_tables_texts_and_figures_speak_of_units():
    X, y, X_queries, _ = problem()
    methods = {"influence": least_squares(), "Random": RandomAttributor(Ridge()).fit(X, y)}
    result = brittleness(
        methods, X, y, X_queries, None, model=LinearRegression(), sizes=(2, 9), threshold=20.0
    )
    frame = result.to_frame()
    assert list(frame) == ["method", "query", "size", "output_drop", "moved"]
    summary = result.summary()
    assert list(summary)[2:4] == ["output_drop", "output_drop_se"]
    np.testing.assert_allclose(
        summary.output_drop, frame.groupby(["method", "size"], sort=False).output_drop.mean()
    )
    assert "moved by more than 20 without the first rows" in repr(result)
    without = brittleness(
        methods, X, y, X_queries, None, model=LinearRegression(), sizes=(2, 9), direction="down"
    )
    assert "mean drop of the output without the first rows, in units of the target" in repr(without)
    pytest.importorskip("matplotlib")
    assert without.plot().ax_.get_ylabel() == "drop of the output (units of the target)"
    assert "drop of the output (units of the target)" in result.plot().ax_.get_ylabel()
    assert "moved by more than 20" in result.plot(what="moved").ax_.get_ylabel()
    with pytest.raises(ValueError, match="what must be one of"):
        result.plot(what="flipped")


def test_a_model_that_does_not_move_has_no_drops():
    X, y, X_queries, _ = problem()
    model = DummyRegressor(strategy="constant", constant=3.0)
    result = brittleness(
        least_squares(), X, y, X_queries, None, model=model, sizes=(1, 2), direction="down"
    )
    np.testing.assert_array_equal(result.output_drop, 0)
    assert repr(result).count("0.000") == 2


@pytest.mark.parametrize("size", [1e-5, 1.0, 1e6])
def test_texts_show_three_digits_of_any_unit(size):
    X, y = np.zeros((4, 1)), size * np.array([2.0, 4, 6, 8])
    best = Told(lambda x, label: y)
    text = repr(brittleness(best, X, y, X[:1], [0.0], model=DummyRegressor(), sizes=(1, 2)))
    found = [float(cell) for cell in text.splitlines()[-1].split()[1:]]
    np.testing.assert_allclose(found, [size, 2 * size], rtol=0.01)


def test_a_run_resumes(tmp_path):
    X, y, X_queries, _ = problem()
    options = {"model": Ridge(), "sizes": (2,), "store": tmp_path}
    first = brittleness(least_squares(), X, y, X_queries, None, **options)
    files = sorted(tmp_path.rglob("*.npz"))
    again = brittleness(least_squares(), X, y, X_queries, None, **options)
    assert sorted(tmp_path.rglob("*.npz")) == files
    np.testing.assert_array_equal(first.output_drop, again.output_drop)


def test_a_scorer_is_the_mean_drop():
    X, y, X_queries, y_queries = problem()
    attributor = least_squares()
    score = brittleness_scorer(size=3, n_queries=N_QUERIES)(attributor, X_queries, y_queries)
    result = brittleness(attributor, X, y, X_queries, None, model=LinearRegression(), sizes=[3])
    assert score == pytest.approx(result.output_drop.mean())
    search = GridSearchCV(
        InfoGainAttributor(Ridge()),
        {"noise_variance": [0.1, 10.0]},
        scoring=brittleness_scorer(size=4, n_queries=3, direction="any"),
        cv=2,
    )
    assert np.isfinite(search.fit(X, y).cv_results_["mean_test_score"]).all()
    with pytest.raises(ValueError, match=r"n_queries must be at most 6.* got 7"):
        brittleness_scorer(size=3, n_queries=7)(attributor, X_queries, y_queries)
    with pytest.raises(ValueError, match="direction must be that of the attributors"):
        brittleness_scorer(size=3, direction="up")(attributor, X_queries, y_queries)


def test_other_protocols():
    X, y, X_queries, y_queries = problem()
    gain = InfoGainAttributor(Ridge()).fit(X, y)
    relevant = np.arange(50) < 9
    result = backdoor_retrieval(gain, X_queries, y_queries, relevant, k=9)
    assert np.isnan(result.attack_success).all()  # numbers are not hit or missed
    from sklearn_provenance import InfoLossAttributor

    reference = InfoLossAttributor(Ridge()).fit(X, y)
    ratios = relative_information(gain, reference, X_queries, sizes=(2, 4)).ratios
    assert (ratios <= 1 + 1e-9).all()
    with pytest.raises(TypeError, match=r"classifiers must .* got the regressor Ridge"):
        robustness(Ridge().fit(X, y), X, y, image_shape=(1, 3))


PROTOCOLS = {
    "brittleness": lambda attributors, X, y, *queries, **options: brittleness(
        attributors, X, y, *queries, sizes=(2,), **options
    ),
    "lds": lambda *arguments, **options: linear_datamodeling_score(
        *arguments, n_masks=4, **options
    ),
    "coreset": lambda attributors, X, y, *queries, **options: coreset_selection(
        attributors, X, y, queries[0], *queries, sizes=(9,), **options
    ),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_bad_input(name):
    run = PROTOCOLS[name]
    X, y, X_queries, y_queries = problem()
    labels = y > 100
    numbers = RandomAttributor(Ridge()).fit(X, y)
    classes = RandomAttributor(LogisticRegression()).fit(X, labels)
    data = X, y, X_queries, y_queries
    queries = X_queries, y_queries > 100
    with pytest.raises(ValueError, match=r"must explain numbers.*'Random' explains classes"):
        run(classes, *data, model=Ridge())
    with pytest.raises(ValueError, match=r"must explain classes.*'Random' explains numbers"):
        run(numbers, X, labels, *queries, model=LogisticRegression())
    with pytest.raises(ValueError, match=r"must explain classes.*squared_error"):
        run(numbers, *data, model=network())
    with pytest.raises(TypeError, match="is an attributor, InfluenceAttributor"):
        run(numbers, *data, model=least_squares())
    with pytest.raises(ValueError, match="fitted on 50 rows that are not those"):
        run(numbers, X, y + 1, *data[2:], model=Ridge())
    with pytest.raises(ValueError, match=r"one number for each row of X, got shape \(50, 2\)"):
        run(numbers, X, np.stack([y, y], 1), *data[2:], model=Ridge())
    with pytest.raises(ValueError, match="finite numbers"):
        run(numbers, X, y, X_queries, np.full(N_QUERIES, np.inf), model=Ridge())
    with pytest.raises(ValueError, match="each of the 6 rows"):
        run(numbers, X, y, X_queries, y_queries[:4], model=Ridge())
    with pytest.raises(ValueError, match="recipe concern networks"):
        run(numbers, *data, model=Ridge(), recipe=Recipe())


def test_bad_input_of_one_protocol():
    X, y, X_queries, y_queries = problem()
    data = X, y, X_queries, y_queries
    numbers = RandomAttributor(Ridge()).fit(X, y)
    classes = RandomAttributor(LogisticRegression()).fit(X, y > 100)
    options = {"model": Ridge(), "sizes": (2,)}
    with pytest.raises(ValueError, match=r"direction must be that of the attributors.*'up'"):
        brittleness(least_squares("up"), *data, **options)
    with pytest.raises(ValueError, match=r"direction must be that of the attributors.*'any'"):
        brittleness(least_squares("any"), *data, **options)
    brittleness(least_squares("any"), *data, **options, direction="any")
    for bad in ({"direction": "left"}, {"threshold": 0.0}, {"threshold": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            brittleness(numbers, *data, **options, **bad)
    for bad in ({"direction": "any"}, {"threshold": 2.0}):
        with pytest.raises(ValueError, match="for models that predict numbers"):
            brittleness(
                classes, X, y > 100, X_queries, y_queries > 100,
                model=LogisticRegression(), sizes=(2,), **bad,
            )  # fmt: skip
    coreset = numbers, X, y, X_queries, X_queries
    with pytest.raises(ValueError, match="balanced must be False for a regressor"):
        coreset_selection(*coreset, y_queries, **options, balanced=True)
    with pytest.raises(ValueError, match=r"different targets.* got 6 times 1"):
        coreset_selection(*coreset, np.ones(6), **options)
    with pytest.raises(ValueError, match="normalize"):
        coreset_selection(*coreset, y_queries, **options, normalize="yes")
    with pytest.raises(TypeError, match="a method select"):
        coreset_selection(least_squares(), *coreset[1:], y_queries, **options)


def test_a_method_of_ones_own_explains_either():
    X, y, X_queries, _ = problem()

    class First:
        def explain(self, X, k=5):
            return Explanation(np.tile(np.arange(k), (len(X), 1)), np.ones((len(X), k)))

    for model, targets, asked in (
        (Ridge(), y, None),
        (LogisticRegression(), y > 100, X_queries @ [1, -2, 0.5] > 0),
    ):
        result = brittleness(First(), X, targets, X_queries, asked, model=model, sizes=(3,))
        assert result.methods == ("First",)
