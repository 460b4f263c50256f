"""ForestAttributor: weights of training rows against the forests' own predictions."""

import inspect
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import issparse
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeRegressor

from sklearn_provenance.attribution import ForestAttributor

from ..versions import TREES_KNOW_MISSING

IRIS, SPECIES = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
CANCER, MALIGNANT = load_breast_cancer(return_X_y=True)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
rng = np.random.default_rng(0)
WEIGHT = rng.uniform(0.5, 3, 442)
FORESTS = {
    "random forest": (RandomForestClassifier(12), (IRIS, NAMES)),
    "half samples": (RandomForestClassifier(12, max_samples=0.5, min_samples_leaf=3), "cancer"),
    "balanced": (RandomForestClassifier(12, class_weight="balanced"), "cancer"),
    "balanced subsample": (
        RandomForestClassifier(12, class_weight="balanced_subsample", max_depth=3),
        (IRIS, SPECIES),
    ),
    "weights of classes": (
        RandomForestClassifier(12, class_weight={0: 5, 1: 0.5}, criterion="entropy"),
        "cancer",
    ),
    "extra trees": (ExtraTreesClassifier(12, max_depth=4), (IRIS, SPECIES)),
    "extra trees, balanced subsample": (
        ExtraTreesClassifier(12, class_weight="balanced_subsample", max_depth=3),
        "cancer",
    ),
    "extra trees with bags": (ExtraTreesClassifier(12, bootstrap=True, max_depth=4), "cancer"),
    "regressor": (RandomForestRegressor(12), "diabetes"),
    "regressor, 100 rows": (RandomForestRegressor(12, max_samples=100, max_depth=5), "diabetes"),
    "few leaves": (RandomForestRegressor(12, max_leaf_nodes=9), "diabetes"),
    "poisson": (RandomForestRegressor(12, criterion="poisson", min_samples_leaf=5), "diabetes"),
    "extra trees regressor": (ExtraTreesRegressor(12, min_samples_leaf=4), "diabetes"),
    "tree": (DecisionTreeClassifier(max_depth=3, class_weight="balanced"), "cancer"),
    "tree regressor": (DecisionTreeRegressor(min_samples_leaf=7), "diabetes"),
    "extra tree": (ExtraTreeRegressor(min_samples_leaf=7), "diabetes"),
}  # fmt: skip
SETS = {"cancer": (CANCER[:300], MALIGNANT[:300]), "diabetes": (DIABETES, PROGRESS)}


def fitted(name, sample_weight=None, seed=0):
    """A forest that was fitted, its rows, and rows that it has not seen."""
    estimator, data = FORESTS[name]
    X, y = SETS.get(data, data) if isinstance(data, str) else data
    rows = np.random.default_rng(seed).permutation(len(y))
    seen, unseen = rows[:-40], rows[-40:]
    weight = None if sample_weight is None else sample_weight[: len(seen)]
    estimator.set_params(random_state=seed)
    return estimator.fit(X[seen], y[seen], sample_weight=weight), X[seen], y[seen], X[unseen]


def outputs_of(estimator, X):
    return estimator.predict_proba(X) if hasattr(estimator, "classes_") else estimator.predict(X)


def sums(weights, y, estimator):
    if hasattr(estimator, "classes_"):
        return weights @ (y[:, None] == estimator.classes_)
    return weights @ y


def assert_equal(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("sample_weight", [None, WEIGHT], ids=["equal", "weighted"])
@pytest.mark.parametrize("name", FORESTS)
def test_weights_reproduce_predictions(name, sample_weight):
    model, X, y, queries = fitted(name, sample_weight)
    weight = None if sample_weight is None else sample_weight[: len(y)]
    attributor = ForestAttributor(model).fit(X, y, sample_weight=weight)
    weights = attributor.weights(queries)
    assert issparse(weights)
    assert weights.shape == (40, len(y))
    assert weights.data.min() > 0
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-12)
    assert_equal(sums(weights, y, model), outputs_of(model, queries))
    # attribute: the weights of the rows that may be named.
    scores = attributor.attribute(queries)
    if not hasattr(model, "classes_"):
        np.testing.assert_array_equal(scores, weights.toarray())
        assert_equal(scores @ y, model.predict(queries))
        return
    best = model.predict_proba(queries).max(1)
    np.testing.assert_allclose(np.nansum(scores, 1), best, rtol=1e-12)
    assert (np.isnan(scores) == (y[None] != model.predict(queries)[:, None])).all()
    other = np.repeat(model.classes_[-1:], 40)
    share = np.nansum(attributor.attribute(queries, other), 1)
    np.testing.assert_allclose(share, model.predict_proba(queries)[:, -1], atol=1e-12)


@pytest.mark.parametrize("name", ["random forest", "balanced subsample", "regressor", "poisson"])
def test_weights_by_definition(name):
    """Counts of rows in a query's leaf, tree after tree."""
    model, X, y, queries = fitted(name)
    found = ForestAttributor(model).fit(X, y).weights(queries).toarray()
    expected = np.zeros_like(found)
    for tree, drawn in zip(model.estimators_, model.estimators_samples_, strict=True):
        counts = np.bincount(drawn, minlength=len(y)).astype(float)
        if name == "balanced subsample":
            labels = y[drawn]
            share = {c: len(labels) / (3 * (labels == c).sum()) for c in np.unique(labels)}
            counts *= [share.get(label, 0) for label in y]
        own = tree.apply(X.astype(np.float32))
        for row, leaf in enumerate(tree.apply(queries.astype(np.float32))):
            inside = counts * (own == leaf)
            expected[row] += inside / inside.sum() / len(model.estimators_)
    np.testing.assert_allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize("name", FORESTS)
def test_training_rows_are_explained_out_of_bag(name):
    model, X, y, _ = fitted(name)
    attributor = ForestAttributor(model).fit(X, y)
    weights = attributor.weights()
    assert (weights.diagonal() == 0).all()
    if getattr(model, "bootstrap", False):
        scored = type(model)(**model.get_params() | {"oob_score": True})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # some rows have no tree
            scored.fit(X, y)
        is_classifier = hasattr(model, "classes_")
        expected = scored.oob_decision_function_ if is_classifier else scored.oob_prediction_
        voted = np.diff(weights.indptr) > 0
        assert_equal(sums(weights, y, model)[voted], expected[voted])
        assert voted.mean() > 0.9
    else:
        for row in range(0, len(y), 37):
            expected = leaves_without(model, X, y, row, attributor)
            np.testing.assert_allclose(weights[[row]].toarray()[0], expected, atol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # some rows have nobody in their leaves
        explanation = attributor.explain(k=1)
    labels = y if hasattr(model, "classes_") else None
    best = weights.toarray()
    if labels is not None:
        best = np.where(labels[:, None] == labels, best, 0)
    found = explanation.indices[:, 0]
    named = found >= 0
    np.testing.assert_array_equal(named, best.max(1) > 0)
    np.testing.assert_allclose(best[named, found[named]], best.max(1)[named])


def leaves_without(model, X, y, row, attributor):
    """Mean over the trees of the leaves' rows but one, for trees without bags."""
    trees = getattr(model, "estimators_", [model])
    weight = np.ones(len(y))
    if getattr(model, "class_weight", None) is not None:
        counts = {c: (y == c).sum() for c in np.unique(y)}
        weight = np.array([len(y) / (len(counts) * counts[c]) for c in y])
    votes = []
    for tree in trees:
        own = tree.apply(X.astype(np.float32))
        inside = weight * (own == own[row])
        inside[row] = 0
        if inside.any():
            votes.append(inside / inside.sum())
    return np.mean(votes, 0) if votes else np.zeros(len(y))


@pytest.mark.parametrize("name", FORESTS)
def test_predictions_without_rows(name):
    """Means of leaves without the rows, by taking their share out of each leaf."""
    model, X, y, queries = fitted(name)
    attributor = ForestAttributor(model).fit(X, y)
    assert_equal(attributor.predict_without(queries, []), outputs_of(model, queries))
    rows = np.arange(0, len(y), 3)
    kept = np.setdiff1d(np.arange(len(y)), rows)
    shares = attributor._features.shares.toarray()
    shares[:, rows] = 0
    total = shares.sum(1)
    values = np.where(total[:, None] > 0, shares, np.nan) / np.where(total > 0, total, 1)[:, None]
    leaves = attributor._features.inputs(queries) + attributor._features.starts
    means = np.nanmean(values[leaves], 1)  # (n_queries, n_train)
    assert not np.isnan(means).any()
    found = attributor.predict_without(queries, rows)
    np.testing.assert_allclose(found, sums(means, y, model), rtol=1e-10, atol=1e-10)
    everything = attributor.predict_without(queries, np.arange(len(y)))
    assert np.isnan(everything).all()
    assert len(kept)


@pytest.mark.parametrize("depth", [1, None])
def test_predictions_without_rows_keep_to_the_limit(depth):
    """Of shallow trees, weights of all rows for all queries are 240 MB."""
    X = np.random.default_rng(0).normal(size=(6000, 3))
    y = X[:, 0] > 0.1 * X[:, 1]
    model = RandomForestClassifier(20, max_depth=depth, min_samples_leaf=4, random_state=0)
    limit = 2e6
    few = ForestAttributor(model.fit(X, y), memory_limit=limit).fit(X, y)
    whole = ForestAttributor(model, prefit=True).fit(X, y)
    rows = np.arange(0, 6000, 7)
    queries = X[:2500]
    expected = whole.predict_without(queries, rows)
    few.predict_without(queries[:10], rows)
    leaves = few._features.inputs(queries).nbytes + few._features.inputs(queries[:1]).nbytes
    of_leaves = 16 * few._features.n_columns + 8 * 4 * len(y)  # sums, and indicators of classes
    tracemalloc.start()
    found = few.predict_without(queries, rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, expected)
    assert peak < 3 * leaves + of_leaves + limit, peak / 1e6


@pytest.mark.filterwarnings("ignore:Using the fractional value")
@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_any_forest(seed):
    """Random settings: weights add up to predictions, and to one."""
    draw = np.random.default_rng(seed)
    n, is_classifier = int(draw.integers(10, 60)), draw.random() < 0.5
    X = draw.integers(0, 4, size=(n, 3)).astype(float)  # with copies
    is_missing = draw.random(X.shape) < 0.05
    if TREES_KNOW_MISSING:
        X[is_missing] = np.nan
    y = draw.integers(0, 3, n) if is_classifier else draw.normal(size=n) * 10.0 ** draw.integers(6)
    cls = [RandomForestRegressor, ExtraTreesRegressor], [
        RandomForestClassifier, ExtraTreesClassifier
    ]  # fmt: skip
    cls = cls[is_classifier][int(draw.random() < 0.5)]
    params = {"n_estimators": int(draw.integers(1, 8)), "bootstrap": bool(draw.random() < 0.6)}
    params |= {"min_samples_leaf": int(draw.integers(1, 5)), "random_state": seed}
    if params["bootstrap"] and draw.random() < 0.5:
        params["max_samples"] = float(draw.uniform(0.2, 1))
    if is_classifier and draw.random() < 0.5:
        params["class_weight"] = str(draw.choice(["balanced", "balanced_subsample"]))
    weight = draw.uniform(0.1, 2, n) if draw.random() < 0.5 else None
    model = cls(**params).fit(X, y, sample_weight=weight)
    attributor = ForestAttributor(model).fit(X, y, sample_weight=weight)
    queries = draw.integers(0, 5, size=(9, 3)).astype(float)
    weights = attributor.weights(queries)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-12)
    assert_equal(sums(weights, y, model), outputs_of(model, queries))


def test_explanations():
    model, X, y, queries = fitted("regressor")
    attributor = ForestAttributor(model).fit(X, y, sample_id=np.arange(len(y)) + 1000)
    explanation = attributor.explain(queries, k=5)
    dense = attributor.weights(queries).toarray()
    np.testing.assert_allclose(explanation.scores, -np.sort(-dense)[:, :5])
    np.testing.assert_array_equal(explanation.sample_id, explanation.indices + 1000)
    assert explanation.method == "Forest"
    last = explanation.scores[:, -1:]
    tied = (np.abs(dense - last) < 1e-12).sum(1) - (np.abs(explanation.scores - last) < 1e-12).sum(
        1
    )
    np.testing.assert_array_equal(explanation.n_tied, tied)
    # Rows without weight are no exemplars.
    with pytest.warns(UserWarning, match="fewer than k"):
        full = attributor.explain(queries[:3], k=len(y))
    np.testing.assert_array_equal((full.indices >= 0).sum(1), (dense[:3] > 0).sum(1))
    again = pickle.loads(pickle.dumps(attributor))
    np.testing.assert_array_equal(again.explain(queries, k=5).scores, explanation.scores)
    assert attributor.score(X, y) == model.score(X, y)
    total = dense.sum(0)
    np.testing.assert_allclose(total[attributor.select(queries, 4)], -np.sort(-total)[:4])


def test_everything_may_be_named():
    model, X, y, queries = fitted("random forest")
    every = ForestAttributor(model, candidates="all").fit(X, y)
    scores = every.attribute(queries)
    np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-12)
    assert_equal(scores @ (y[:, None] == model.classes_), model.predict_proba(queries))


def test_unfitted_weighted_and_contained():
    tree = DecisionTreeRegressor(min_samples_leaf=5, random_state=0)
    weight = WEIGHT[:442]
    attributor = ForestAttributor(tree).fit(DIABETES, PROGRESS, sample_weight=weight)
    expected = tree.fit(DIABETES, PROGRESS, sample_weight=weight).predict(DIABETES)
    assert_equal(attributor.weights(DIABETES) @ PROGRESS, expected)
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0))
    attributor = ForestAttributor(pipeline).fit(IRIS, NAMES)
    fitted_pipeline = attributor.estimator_
    found = attributor.weights(IRIS) @ (NAMES[:, None] == attributor.classes_)
    assert_equal(found, fitted_pipeline.predict_proba(IRIS))
    warm = RandomForestClassifier(3, warm_start=True, random_state=0).fit(IRIS, NAMES)
    warm.set_params(n_estimators=6).fit(IRIS, NAMES)
    attributor = ForestAttributor(warm).fit(IRIS, NAMES)
    found = attributor.weights(IRIS) @ (NAMES[:, None] == attributor.classes_)
    assert_equal(found, warm.predict_proba(IRIS))


def test_weights_of_a_fitted_forest_are_known_where_it_keeps_them():
    model = RandomForestRegressor(5, random_state=0, min_samples_leaf=5)
    model.fit(DIABETES, PROGRESS, sample_weight=WEIGHT)
    if not hasattr(model, "_sample_weight"):
        pytest.skip("before scikit-learn 1.9")
    weights = ForestAttributor(model).fit(DIABETES, PROGRESS).weights(DIABETES)
    assert_equal(weights @ PROGRESS, model.predict(DIABETES))


def test_errors():
    forest = RandomForestClassifier(5, random_state=0).fit(IRIS, NAMES)
    for X, y in (
        (IRIS[::-1], NAMES),
        (IRIS, np.roll(NAMES, 50)),
        (IRIS[:149], NAMES[:149]),
        (np.vstack([IRIS, IRIS]), np.hstack([NAMES, NAMES])),
    ):
        with pytest.raises(ValueError, match="that the forest was trained on"):
            ForestAttributor(forest).fit(X, y)
    tree = DecisionTreeRegressor(random_state=0, min_samples_leaf=5)
    tree.fit(DIABETES, PROGRESS, sample_weight=WEIGHT)
    with pytest.raises(ValueError, match="sample_weight must be those"):
        ForestAttributor(tree).fit(DIABETES, PROGRESS)
    with pytest.raises(ValueError, match="median"):
        ForestAttributor(DecisionTreeRegressor(criterion="absolute_error")).fit(DIABETES, PROGRESS)
    constrained = RandomForestRegressor(3, monotonic_cst=[1] + [0] * 9)
    with pytest.raises(ValueError, match="clips"):
        ForestAttributor(constrained).fit(DIABETES, PROGRESS)
    for other in (LogisticRegression(max_iter=1000), GradientBoostingClassifier(n_estimators=2)):
        with pytest.raises(TypeError, match=rf"RandomForest.*got {type(other).__name__}"):
            ForestAttributor(other).fit(IRIS, NAMES)
    two = RandomForestRegressor(3).fit(IRIS, np.stack([SPECIES, SPECIES], 1))
    with pytest.raises(TypeError, match="several targets"):
        ForestAttributor(two).fit(IRIS, SPECIES)
    with pytest.raises(NotFittedError):
        ForestAttributor(RandomForestClassifier(), prefit=True).fit(IRIS, NAMES)
    with pytest.raises(NotFittedError):
        ForestAttributor(forest).weights(IRIS)
    attributor = ForestAttributor(forest).fit(IRIS, NAMES)
    before = attributor.weights(IRIS).toarray()
    with pytest.raises(ValueError, match="trained on"):
        attributor.fit(IRIS[::-1], NAMES)
    np.testing.assert_array_equal(attributor.weights(IRIS).toarray(), before)
    with pytest.raises(ValueError, match="features"):
        attributor.weights(IRIS[:, :2])
    for rows in ([150], [-1], [0.5], [[0]]):
        with pytest.raises(ValueError, match="rows must be"):
            attributor.predict_without(IRIS, rows)
    assert "sample_weight" in inspect.signature(attributor.fit).parameters
