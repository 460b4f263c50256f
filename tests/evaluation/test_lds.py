"""Linear datamodeling score: known truths, SciPy, and training by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from sklearn_provenance.attribution import (
    InfoGainAttributor,
    LastLayerAttributor,
    RandomAttributor,
)
from sklearn_provenance.evaluation import (
    PointsDisplay,
    Recipe,
    lds_from_truth,
    linear_datamodeling_score,
    retrain,
)

from ..retraining.conftest import data, mlp, random_masks
from .attributors import FITS, Counted, Told, fits


@pytest.fixture(scope="module")
def truth():
    """Masks, true effects of rows on each query, and margins that add up from them."""
    rng = np.random.default_rng(0)
    masks, effects = rng.random((60, 40)) < 0.5, rng.normal(size=(30, 40))
    return masks, effects, masks @ effects.T + rng.normal(size=30)


@pytest.fixture(scope="module")
def digits():
    """Binary task: rows, labels, queries, labels."""
    X, y = load_digits(n_class=2, return_X_y=True)
    X = X / 16 + np.random.default_rng(0).normal(size=X.shape) * 0.3
    return X[:200], y[:200], X[200:230], y[200:230]


def test_additive_truth(truth):
    masks, effects, margins = truth
    np.testing.assert_allclose(lds_from_truth(effects, masks, margins), 1.0)
    np.testing.assert_allclose(lds_from_truth(5 * effects + 0.0, masks, margins**3), 1.0)
    np.testing.assert_allclose(lds_from_truth(-effects, masks, margins), -1.0)
    # Chance: 1 / 60 of the masks and 1 / 40 of the rows in the variance of each correlation.
    chance = np.sqrt((1 / 60 + 1 / 40) / 30)
    permuted = np.random.default_rng(1).permuted(effects, axis=1)
    assert abs(lds_from_truth(permuted, masks, margins).mean()) < 3 * chance
    of_other_queries = np.roll(effects, 1, axis=0)
    assert abs(lds_from_truth(of_other_queries, masks, margins).mean()) < 3 * chance


@given(st.data())
def test_correlations_are_those_of_scipy(draw):
    n_masks, n_rows, n_queries = (draw.draw(st.integers(low, 6)) for low in (3, 2, 1))
    few = st.integers(-3, 3).map(float)  # ties
    scores = draw.draw(arrays(float, (n_queries, n_rows), elements=few))
    margins = draw.draw(arrays(float, (n_masks, n_queries), elements=few))
    masks = draw.draw(arrays(bool, (n_masks, n_rows)).filter(lambda m: m.any(1).all()))
    for query, found in enumerate(lds_from_truth(scores, masks, margins)):
        predicted = [scores[query][mask].sum() for mask in masks]
        if np.ptp(margins[:, query]) == 0:
            assert np.isnan(found)
        elif np.ptp(predicted) == 0:
            assert found == 0
        else:
            expected = spearmanr(predicted, margins[:, query]).statistic
            np.testing.assert_allclose(found, expected, atol=1e-12)


def test_infinite_margins_have_ranks(truth):
    masks, effects, margins = truth
    margins = np.where(margins == margins.min(0), -np.inf, margins)
    np.testing.assert_allclose(lds_from_truth(effects, masks, margins), 1.0)


def test_sums_that_differ_by_rounding_are_the_same():
    scores = np.full((1, 30), 0.1)
    scores[0, 0] = 0.1 + 1e-17
    masks = np.ones((50, 30), bool)
    for i, mask in enumerate(masks):
        mask[i % 30] = False
    assert lds_from_truth(scores, masks, np.arange(50.0)[:, None]).tolist() == [0.0]


def test_a_linear_model_whose_rows_add_up(digits):
    """With much regularisation a ridge classifier is a sum over rows: f(x_*) = Σ ±x·x_* / λ."""
    X, y, X_queries, y_queries = digits
    exact = Told(lambda x, label: np.where(y == label, 1, -1) * (X @ x))
    model = RidgeClassifier(alpha=1e7, fit_intercept=False)
    random = RandomAttributor(LogisticRegression(), candidates="all").fit(X, y)
    result = linear_datamodeling_score(
        {"exact": exact, "Random": random},
        *digits,
        model=model,
        n_masks=30,
        n_repeats=1,
    )
    assert result.masks.shape == (30, 200)
    assert (result.masks.sum(1) == 100).all()
    assert result.correlations.shape == (2, 30)
    np.testing.assert_allclose(result.correlations[0], 1.0, atol=1e-3)
    assert abs(result.scores[1]) < 4 * result.standard_errors[1] < 0.5


def test_influence_of_logistic_regression(digits):
    """A Newton step with the penalty's share of the Hessian predicts half of the rows well."""
    X, y, _, _ = digits
    model = LogisticRegression().fit(X, y)
    ones = np.c_[X, np.ones(len(X))]
    p = model.predict_proba(X)[:, 1]
    hessian = (ones.T * p * (1 - p)) @ ones + np.diag([1.0] * 64 + [0.0])
    steps = np.linalg.solve(hessian, ones.T * (y - p))  # (65, n_rows)
    methods = {
        "Newton": Told(lambda x, label: (1 if label else -1) * np.append(x, 1) @ steps),
        "LastLayer": LastLayerAttributor(model, candidates="all").fit(X, y),
        "InfoGain": InfoGainAttributor(model, candidates="all").fit(X, y),
        "Random": RandomAttributor(model, candidates="all").fit(X, y),
    }
    options = {"n_masks": 40, "n_repeats": 1, "random_state": 3}
    result = linear_datamodeling_score(methods, *digits, model=model, **options)
    newton, last_layer, gain, random = result.scores
    assert newton > 0.9
    assert newton > last_layer > gain > random + result.standard_errors[3]
    assert abs(random) < 4 * result.standard_errors[3] < 0.2
    truth = {"masks": result.masks, "margins": result.margins}
    again = linear_datamodeling_score(methods["LastLayer"], *digits, **truth)
    np.testing.assert_array_equal(again.correlations[0], result.correlations[1])


def test_networks_and_repetitions():
    X, y, X_queries = data(20)
    masks, recipe = random_masks(4, 20), Recipe(batch_size=5, max_epochs=2, batches="own")
    arguments = Told(lambda x, label: np.ones(20)), X, y, X_queries, np.zeros(7, int)
    result = linear_datamodeling_score(
        *arguments,
        model=lambda: mlp(1).double(),
        masks=masks,
        n_repeats=3,
        recipe=recipe,
        device="cpu",
    )
    margins = [
        retrain(
            mlp(1).double(),
            X,
            y,
            masks,
            X_eval=X_queries,
            y_eval=np.zeros(7, int),
            recipe=recipe,
            seeds=[seed] * 4,
        ).margins()
        for seed in range(3)
    ]
    np.testing.assert_allclose(result.margins, np.mean(margins, 0), rtol=1e-7)
    np.testing.assert_array_equal(result.masks, masks)


def test_an_interrupted_run_goes_on(digits, tmp_path):
    X, y, _, _ = digits
    attributor = LastLayerAttributor(LogisticRegression(), candidates="all").fit(X, y)
    options = {"model": Counted(), "n_masks": 6, "n_repeats": 1, "store": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        fits(linear_datamodeling_score, attributor, *digits, stop_at=4, **options)
    assert FITS["done"] == 5
    n_fits, result = fits(linear_datamodeling_score, attributor, *digits, **options)
    assert n_fits == 2
    random = RandomAttributor(LogisticRegression(), candidates="all").fit(X, y)
    n_fits, other = fits(linear_datamodeling_score, random, *digits, **options)
    assert n_fits == 0
    np.testing.assert_array_equal(other.margins, result.margins)
    options["random_state"] = 1
    with pytest.raises(ValueError, match=r"another call.*masks"):
        linear_datamodeling_score(attributor, *digits, **options)


def test_standard_errors_cover_other_queries_and_other_subsets():
    rng = np.random.default_rng(0)

    def experiment(n_masks=40, n_rows=25, n_queries=15):
        masks = rng.random((n_masks, n_rows)) < 0.5
        effects = rng.normal(size=(n_queries, n_rows)) + rng.normal(size=n_rows)
        # What the method misses is partly the same for all queries.
        missed = rng.normal(size=(n_masks, 1)) * 4 + rng.normal(size=(n_masks, n_queries)) * 2
        margins = masks @ effects.T + missed
        y = np.arange(n_rows) % 2
        result = linear_datamodeling_score(
            Told(lambda x, label: effects[int(x[0])]),
            np.zeros((n_rows, 1)),
            y,
            np.arange(n_queries)[:, None],
            np.zeros(n_queries, int),
            masks=masks,
            margins=margins,
        )
        return result.scores[0], result.standard_errors[0]

    scores, errors = np.array([experiment() for _ in range(60)]).T
    assert 0.7 < errors.mean() / scores.std(ddof=1) < 1.4
    assert errors.std() < 0.5 * errors.mean()


def test_errors(digits, truth):
    X, y, X_queries, y_queries = digits
    masks, effects, margins = truth
    same_class = RandomAttributor(LogisticRegression()).fit(X, y)
    attributor = RandomAttributor(LogisticRegression(), candidates="all").fit(X, y)

    def run(attributors=attributor, y=y, y_queries=y_queries, **options):
        return linear_datamodeling_score(attributors, X, y, X_queries, y_queries, **options)

    with pytest.raises(ValueError, match='candidates="all"'):
        run(same_class, model=LogisticRegression())
    with pytest.raises(ValueError, match="model must be given"):
        run()
    with pytest.raises(ValueError, match="masks must be given with margins"):
        run(margins=margins)
    with pytest.raises(ValueError, match=r"'n_masks' parameter .* Got 2"):
        run(n_masks=2)
    with pytest.raises(ValueError, match=r"'share' parameter .* Got 1.0"):
        run(share=1.0)
    with pytest.raises(
        ValueError, match=r"some of the 200 rows in and some out; got 0.001, which is 0"
    ):
        run(share=0.001, model=LogisticRegression())
    with pytest.raises(ValueError, match=r"must hold 3 subsets or more, .* got 2"):
        run(masks=random_masks(2, 200), model=LogisticRegression())
    with pytest.raises(ValueError, match="not those of X and y"):
        run(y=1 - y)
    with pytest.raises(ValueError, match=r"margins must be numbers of shape \(5, 30\)"):
        run(masks=random_masks(5, 200), margins=np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"'a' must give scores of shape .*got shape \(30, 3\)"):
        run({"a": Told(lambda x, label: np.ones(3))})
    with pytest.raises(TypeError, match="a method attribute"):
        run(LogisticRegression().fit(X, y))
    with pytest.raises(ValueError, match="scores must be finite"):
        lds_from_truth(np.where(effects > 0, np.nan, effects), masks, margins)
    with pytest.raises(ValueError, match="that are nan"):
        lds_from_truth(effects, masks, np.where(margins > 0, np.nan, margins))
    with pytest.raises(ValueError, match=r"shape \(n_copies, 39\)"):
        lds_from_truth(effects[:, 1:], masks, margins)


def test_tables_and_figure(truth):
    masks, effects, margins = truth
    margins = margins.copy()
    margins[:, 4] = 2.0  # a query that nothing moves
    methods = {
        "exact": Told(lambda x, label: effects[int(x[0])]),
        "next": Told(lambda x, label: effects[int(x[0]) - 1]),
    }
    result = linear_datamodeling_score(
        methods,
        np.zeros((40, 1)),
        np.arange(40) % 2,
        np.arange(30)[:, None],
        np.zeros(30, int),
        masks=masks,
        margins=margins,
    )
    table = result.to_frame()
    assert list(table) == ["method", "query", "spearman"]
    assert len(table) == 60
    summary = result.summary().set_index("method")
    np.testing.assert_allclose(summary["lds"], table.groupby("method")["spearman"].mean())
    assert summary["n_queries"].tolist() == [29, 29]
    assert summary["n_masks"].tolist() == [60, 60]
    assert "exact  1.000 ± 0.000" in repr(result)

    display = result.plot()
    assert isinstance(display, PointsDisplay)
    points, _, _ = display.errorbars_[0]
    np.testing.assert_allclose(points.get_xdata(), result.scores)
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == ["exact", "next"]
    display.figure_.canvas.draw()
    assert result.plot(ax=display.ax_).ax_ is display.ax_
