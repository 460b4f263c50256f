"""BoostInAttributor: the definition written slowly, leaf refitting, and what is refused."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance.attribution import BoostInAttributor

rng = np.random.default_rng(0)
IRIS, SPECIES = load_iris(return_X_y=True)
IRIS = IRIS + rng.normal(size=IRIS.shape)
CANCER, MALIGNANT = (part[:120] for part in load_breast_cancer(return_X_y=True))
# Some wrong labels: rows of pure leaves that are all alike have no influence.
MALIGNANT = np.where(rng.random(120) < 0.15, 1 - MALIGNANT, MALIGNANT)
DIABETES, PROGRESS = (part[:120] for part in load_diabetes(return_X_y=True))
WEIGHT = rng.uniform(0.3, 2, 150)
ROUNDS = {"n_estimators": 8, "random_state": 0}
HIST = {"max_iter": 8, "random_state": 0, "min_samples_leaf": 8}
MODELS = {
    "gradient, 2 classes": (GradientBoostingClassifier(**ROUNDS), CANCER, MALIGNANT),
    "gradient, 3 classes": (GradientBoostingClassifier(**ROUNDS), IRIS, SPECIES),
    "exponential": (GradientBoostingClassifier(loss="exponential", **ROUNDS), CANCER, MALIGNANT),
    "hist, 2 classes": (HistGradientBoostingClassifier(**HIST), CANCER, MALIGNANT),
    "hist, 3 classes": (HistGradientBoostingClassifier(l2_regularization=2, **HIST), IRIS, SPECIES),
    "gradient regressor": (GradientBoostingRegressor(**ROUNDS), DIABETES, PROGRESS),
    "hist regressor": (HistGradientBoostingRegressor(**HIST), DIABETES, PROGRESS),
    "hist poisson": (HistGradientBoostingRegressor(loss="poisson", **HIST), DIABETES, PROGRESS),
    "hist gamma": (HistGradientBoostingRegressor(loss="gamma", **HIST), DIABETES, PROGRESS),
}
every_model = pytest.mark.parametrize("name", MODELS)


def unfitted(name):
    """A model of its own for each test, and its rows."""
    model, X, y = MODELS[name]
    return clone(model), X, y


def library(kind, task):
    """An estimator of an optional package."""
    package = pytest.importorskip(kind)
    if kind == "xgboost":
        cls = package.XGBClassifier if task == "classes" else package.XGBRegressor
        return cls(n_estimators=8, max_depth=3, n_jobs=1)
    cls = package.LGBMClassifier if task == "classes" else package.LGBMRegressor
    return cls(n_estimators=8, min_child_samples=8, verbose=-1, n_jobs=1)


def leaves_of(model, X):
    """Leaf of each row in each tree, as any number."""
    if hasattr(model, "estimators_"):
        return model.apply(X).reshape(len(X), -1)
    known, features = model._bin_mapper.make_known_categories_bitsets()
    columns = []
    for rounds in model._predictors:
        for predictor in rounds:
            nodes = predictor.nodes
            found = np.zeros(len(X), dtype=int)
            for row, x in enumerate(X):
                node = 0
                while not nodes[node]["is_leaf"]:
                    left = x[nodes[node]["feature_idx"]] <= nodes[node]["num_threshold"]
                    node = nodes[node]["left" if left else "right"]
                found[row] = node
            columns.append(found)
    return np.stack(columns, 1)


def boostin_slowly(model, X, y, queries, labels, measurement, sample_weight):
    """The definition, tree by tree and pair by pair, with scikit-learn's own losses."""
    loss, gradient = model._loss, isinstance(model, GradientBoostingClassifier | type(REGRESSOR))
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    leaves, asked = leaves_of(model, X), leaves_of(model, queries)
    n_outputs = model.n_trees_per_iteration_
    start = model._raw_predict_init(X[:1]) if gradient else model._baseline_prediction
    outputs = np.tile(np.ravel(start), (len(X), 1)).astype(float)
    query_outputs = np.tile(np.ravel(start), (len(queries), 1)).astype(float)
    factor = (n_outputs - 1) / n_outputs if gradient and n_outputs > 1 else 1.0
    l2 = 0.0 if gradient else model.l2_regularization
    scores = np.zeros((len(queries), len(X)))
    epsilon = 1e-6

    def derivatives(y, outputs):
        raw = outputs if n_outputs > 1 else outputs[:, 0]
        g, h = loss.gradient_hessian(y.astype(float), np.ascontiguousarray(raw))
        return g.reshape(outputs.shape), np.broadcast_to(h, g.shape).reshape(outputs.shape)

    slopes = None
    if measurement == "output":
        final = model._raw_predict(queries.astype(np.float32) if gradient else queries)
        slopes = np.ones((len(queries), n_outputs))
        if hasattr(model, "classes_") and n_outputs == 1:
            slopes[:, 0] = np.where(labels == 1, 1, -1)
        elif hasattr(model, "classes_"):
            for row, label in enumerate(labels):
                others = np.exp(final[row]) * (np.arange(n_outputs) != label)
                slopes[row] = -others / others.sum()
                slopes[row, label] = 1
    for number in range(leaves.shape[1]):
        output = number % n_outputs
        if output == 0:
            g, h = derivatives(y, outputs)
            s = slopes if measurement == "output" else -derivatives(labels, query_outputs)[0]
        for leaf in np.unique(leaves[:, number]):
            inside = leaves[:, number] == leaf

            def step(weights, inside=inside, output=output, g=g, h=h):
                top = factor * (weights * g[:, output])[inside].sum()
                return -model.learning_rate * top / ((weights * h[:, output])[inside].sum() + l2)

            value = step(weight)
            here = np.flatnonzero(asked[:, number] == leaf)
            for row in np.flatnonzero(inside):
                less = weight.copy()
                less[row] *= 1 - epsilon
                change = (value - step(less)) / epsilon
                scores[here, row] += s[here, output] * change
            outputs[inside, output] += value
            query_outputs[here, output] += value
    return scores


REGRESSOR = GradientBoostingRegressor()


@pytest.mark.parametrize("measurement", ["loss", "output"])
@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@every_model
def test_definition(name, weighted, measurement):
    model, X, y = unfitted(name)
    rows, asked = np.arange(len(y)) % 4 > 0, np.arange(len(y)) % 12 == 0
    weight = WEIGHT[: rows.sum()] if weighted else None
    model.fit(X[rows], y[rows], sample_weight=weight)
    attributor = BoostInAttributor(model, measurement=measurement, candidates="all")
    attributor.fit(X[rows], y[rows], sample_weight=weight)
    found = attributor.attribute(X[asked], y[asked])
    expected = boostin_slowly(model, X[rows], y[rows], X[asked], y[asked], measurement, weight)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=2e-5 * scale)


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("kind", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("task", ["2 classes", "3 classes", "numbers"])
def test_libraries(kind, task, weighted):
    """Steps are taken again; scores are the slope of leaf refitting at small weights."""
    X, y = {
        "2 classes": (CANCER, MALIGNANT),
        "3 classes": (IRIS, SPECIES),
        "numbers": (DIABETES, PROGRESS),
    }[task]
    weight = WEIGHT[: len(y)] if weighted else None
    model = library(kind, "numbers" if task == "numbers" else "classes")
    model.fit(X, y, sample_weight=weight)
    attributor = BoostInAttributor(model, candidates="all", measurement="output")
    attributor.fit(X, y, sample_weight=weight)
    raw = {"output_margin": True} if kind == "xgboost" else {"raw_score": True}
    expected = model.predict(X, **raw)
    found = attributor.predict_without(X, [])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    scores, refit = attributor.attribute(X[:30]), attributor.leaf_refit(X[:30])
    assert np.corrcoef(scores.ravel(), refit.ravel())[0, 1] > 0.85
    if weight is not None and kind == "lightgbm":
        with pytest.raises(ValueError, match="sample_weight must be those"):
            BoostInAttributor(model).fit(X, y)


@pytest.mark.parametrize("kind", ["gradient", "gradient regressor", "xgboost"])
def test_leaf_refitting_is_retraining_where_the_structure_stays(kind):
    """One column of zeros and ones: all trees split there, whichever row is removed."""
    x = np.repeat([0.0, 1.0], 12)[:, None]
    y = (np.random.default_rng(1).random(24) < np.where(x[:, 0] > 0, 0.7, 0.3)).astype(int)
    if kind == "xgboost":
        package = pytest.importorskip("xgboost")
        model = package.XGBClassifier(n_estimators=5, max_depth=1, base_score=0.5, n_jobs=1)
    elif kind == "gradient":
        model = GradientBoostingClassifier(n_estimators=5, max_depth=1, init="zero")
    else:
        model = GradientBoostingRegressor(n_estimators=5, max_depth=1, init="zero")
    attributor = BoostInAttributor(model, candidates="all", measurement="output").fit(x, y)
    queries, sets = np.array([[0.0], [1.0]]), [[0], [5, 20], [13, 14, 15]]

    def outputs(fitted):
        if kind == "xgboost":
            return fitted.predict(queries, output_margin=True)
        return fitted.decision_function(queries) if kind == "gradient" else fitted.predict(queries)

    def without(rows):
        kept = np.setdiff1d(np.arange(24), rows)
        return outputs(type(model)(**model.get_params()).fit(x[kept], y[kept]))

    tolerance = {"rtol": 2e-5, "atol": 2e-6} if kind == "xgboost" else {"atol": 1e-12}
    for rows in sets:
        np.testing.assert_allclose(
            attributor.predict_without(queries, rows), without(rows), **tolerance
        )
    sign = np.array([1, 1]) if "regressor" in kind else 2 * attributor.predict(queries) - 1
    drops = np.stack([outputs(attributor.estimator_) - without([row]) for row in range(24)], 1)
    np.testing.assert_allclose(attributor.leaf_refit(queries), sign[:, None] * drops, **tolerance)


@every_model
def test_leaf_refitting_agrees_with_influence(name):
    model, X, y = unfitted(name)
    attributor = BoostInAttributor(model, candidates="all", measurement="output").fit(X, y)
    outputs = attributor.predict_without(X, [])
    trained = attributor.estimator_
    expected = getattr(trained, "decision_function", trained.predict)(X)
    if name in ("hist poisson", "hist gamma"):
        expected = np.log(expected)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    rows = np.arange(0, len(y), 3)
    scores = attributor.attribute(X[:20])[:, rows]
    refit = attributor.leaf_refit(X[:20], rows=rows)
    assert np.corrcoef(scores.ravel(), refit.ravel())[0, 1] > 0.8
    loss = BoostInAttributor(model, candidates="all", measurement="loss").fit(X, y)
    rises = loss.leaf_refit(X[:20], y[:20], rows=rows)
    assert np.corrcoef(loss.attribute(X[:20], y[:20])[:, rows].ravel(), rises.ravel())[0, 1] > 0.6


def test_rows_that_early_stopping_holds_out_have_no_influence():
    for model in (
        HistGradientBoostingClassifier(max_iter=10, early_stopping=True, random_state=0),
        GradientBoostingClassifier(n_estimators=10, n_iter_no_change=20, random_state=0),
        HistGradientBoostingClassifier(
            max_iter=10, early_stopping=True, class_weight="balanced", random_state=3
        ),
    ):
        attributor = BoostInAttributor(model, candidates="all").fit(CANCER, MALIGNANT)
        influence = attributor.attribute(CANCER)
        assert (influence == 0).all(0).sum() == 12


@every_model
def test_explanations(name):
    model, X, y = unfitted(name)
    attributor = BoostInAttributor(model).fit(X, y)
    is_classifier = hasattr(attributor.estimator_, "classes_")
    assert attributor.measurement_ == ("loss" if is_classifier else "output")
    explanation = attributor.explain(X[:6], k=3)
    scores = attributor.attribute(X[:6])
    best = -np.sort(-np.where(np.isnan(scores), -np.inf, scores), 1)[:, :3]
    np.testing.assert_allclose(explanation.scores, best)
    assert (explanation.n_tied >= 0).all()
    assert "loss" in explanation.score_name if is_classifier else "output" in explanation.score_name
    among = attributor.explain(k=2)
    assert (among.indices != np.arange(len(y))[:, None]).all()
    again = pickle.loads(pickle.dumps(attributor)).explain(X[:6], k=3)
    np.testing.assert_array_equal(again.indices, explanation.indices)
    if not is_classifier:
        of_loss = BoostInAttributor(model, measurement="loss").fit(X, y)
        for call in (of_loss.explain, of_loss.attribute, of_loss.leaf_refit):
            with pytest.raises(ValueError, match="y must be given"):
                call(X[:2])


def test_rows_of_a_pure_leaf_that_are_alike_have_no_influence():
    """Not even by rounding: the score is the same without any of them, to first order."""
    x = np.repeat([0.0, 1.0, 2.0], 20)[:, None] + np.zeros((60, 2))
    y = (x[:, 0] > 0).astype(int)
    for model in (
        GradientBoostingClassifier(n_estimators=10),
        HistGradientBoostingClassifier(max_iter=10, min_samples_leaf=5),
    ):
        attributor = BoostInAttributor(model).fit(x, y)
        assert (attributor.attribute(x[:2])[:, :20] == 0).all()
        assert attributor.explain(x[:1], k=5).n_tied == 15


def test_pipelines():
    model = GradientBoostingClassifier(n_estimators=5, random_state=0)
    plain = BoostInAttributor(model).fit(CANCER, MALIGNANT).attribute(CANCER[:4])
    inside = BoostInAttributor(make_pipeline(StandardScaler(), model)).fit(CANCER, MALIGNANT)
    np.testing.assert_allclose(inside.attribute(CANCER[:4]), plain)


def test_errors():
    cases = [
        (RandomForestClassifier(3), TypeError, "GradientBoosting.*got RandomForestClassifier"),
        (LogisticRegression(), TypeError, "GradientBoosting.*got LogisticRegression"),
        (GradientBoostingClassifier(subsample=0.5), ValueError, "subsample .* must be 1"),
        (
            GradientBoostingClassifier(n_iter_no_change=3, random_state=None),
            ValueError,
            "random_state .* must be an integer",
        ),
        (
            GradientBoostingClassifier(init=LogisticRegression(max_iter=9999)),
            ValueError,
            "init predicts",
        ),
        (
            HistGradientBoostingClassifier(monotonic_cst=[1] * 4, min_samples_leaf=5),
            ValueError,
            "Newton steps",
        ),
    ]
    for model, error, message in cases:
        with pytest.raises(error, match=message):
            BoostInAttributor(model).fit(IRIS[:100], SPECIES[:100])
    for model in (
        GradientBoostingRegressor(loss="absolute_error"),
        HistGradientBoostingRegressor(loss="quantile", quantile=0.5),
    ):
        with pytest.raises(ValueError, match=r"loss of .* must be"):
            BoostInAttributor(model).fit(DIABETES, PROGRESS)
    model = HistGradientBoostingClassifier(max_iter=5).fit(IRIS, SPECIES)
    for X, y in ((IRIS[::-1], SPECIES), (IRIS[:100], SPECIES[:100])):
        with pytest.raises(ValueError, match="that the model was trained on"):
            BoostInAttributor(model).fit(X, y)
    with pytest.raises(ValueError, match="that the model was trained on"):
        BoostInAttributor(model).fit(IRIS, SPECIES, sample_weight=WEIGHT)
    with pytest.raises(NotFittedError):
        BoostInAttributor(HistGradientBoostingClassifier(), prefit=True).fit(IRIS, SPECIES)
    attributor = BoostInAttributor(model).fit(IRIS, SPECIES)
    for rows in ([150], [0.5]):
        with pytest.raises(ValueError, match="rows must be"):
            attributor.leaf_refit(IRIS, rows=rows)
        with pytest.raises(ValueError, match="rows must be"):
            attributor.predict_without(IRIS, rows)


@pytest.mark.parametrize("kind", ["xgboost", "lightgbm"])
def test_refused_libraries(kind):
    model = library(kind, "classes")
    refused = [{"reg_alpha": 1.0}, {"subsample": 0.5, "subsample_freq": 1}]
    if kind == "xgboost":
        refused = [{"reg_alpha": 1.0}, {"subsample": 0.5}, {"num_parallel_tree": 2}]
        refused += [{"max_delta_step": 1}, {"objective": "binary:hinge"}]
    for params in refused:
        model = library(kind, "classes").set_params(**params)
        with pytest.raises(ValueError, match=f"{next(iter(params))} of .* must be"):
            BoostInAttributor(model).fit(CANCER, MALIGNANT)


@pytest.mark.parametrize("measurement", ["output", "loss"])
def test_trees_without_splits_have_no_leaves_to_refit(measurement):
    model = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=1000).fit(IRIS, SPECIES)
    attributor = BoostInAttributor(model, candidates="all", measurement=measurement)
    attributor.fit(IRIS, SPECIES)
    np.testing.assert_allclose(
        attributor.predict_without(IRIS[:3], [0, 60]), model.decision_function(IRIS[:3])
    )
    np.testing.assert_allclose(attributor.leaf_refit(IRIS[:3]), 0, atol=1e-12)
