"""What the baselines promise together: answers per query, identities, an untouched model."""

import copy
import functools
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.attribution import (
    EKFACAttributor,
    GradDotAttributor,
    LastLayerAttributor,
    RandomAttributor,
    RelatIFAttributor,
    RepSimAttributor,
    TRAKAttributor,
)

from ..checks import thorough
from .test_contract import Noisy, state

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

BASELINES = {
    "ekfac": (EKFACAttributor, {}),
    "graddot": (GradDotAttributor, {}),
    "random": (RandomAttributor, {}),
    "repsim": (RepSimAttributor, {}),
    "influence": (LastLayerAttributor, {}),
    "representer": (LastLayerAttributor, {"kind": "representer"}),
    "relatif": (RelatIFAttributor, {}),
    "relatif, margin": (RelatIFAttributor, {"measurement": "margin"}),
    "trak": (TRAKAttributor, {"n_components": 16}),
}
IRIS, SPECIES = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]


def make(name, estimator, **params):
    cls, own = BASELINES[name]
    return cls(estimator, **own | params)


@pytest.fixture
def model(data):
    X, y, _ = data
    return MLPClassifier((7,), max_iter=50, random_state=0).fit(X, y)


@pytest.mark.parametrize("candidates", ["same_class", "all"])
@pytest.mark.parametrize("name", BASELINES)
def test_the_rows_of_the_largest_scores_are_named(model, data, name, candidates):
    X, y, queries = data
    attributor = make(name, model, candidates=candidates).fit(X, y)
    exp = attributor.explain(queries, k=4)
    scores = attributor.attribute(queries)
    assert scores.shape == (7, 30)
    labels = model.predict(queries)
    np.testing.assert_array_equal(exp.query_labels, labels)
    allowed = (labels[:, None] == y) | (candidates == "all")
    np.testing.assert_array_equal(np.isfinite(scores), allowed)
    ranked = np.argsort(-np.where(allowed, scores, -np.inf), axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(exp.indices, ranked)
    np.testing.assert_allclose(exp.scores, np.take_along_axis(scores, ranked, 1), rtol=1e-12)
    assert exp.method == attributor.method_
    assert exp.score_name not in ("", "score")


@pytest.mark.parametrize("name", BASELINES)
def test_a_query_is_answered_by_itself(model, data, name):
    X, y, queries = data
    attributor = make(name, model, candidates="all").fit(X, y)
    exp, scores = attributor.explain(queries), attributor.attribute(queries)
    order = np.array([4, 0, 6])
    some = attributor.explain(queries[order])
    np.testing.assert_array_equal(some.indices, exp.indices[order])
    np.testing.assert_allclose(attributor.attribute(queries[order]), scores[order], rtol=1e-8)
    again = make(name, model, candidates="all").fit(X, y)
    np.testing.assert_array_equal(again.attribute(queries), scores)


@pytest.mark.parametrize("name", BASELINES)
def test_training_rows_are_explained_by_the_others(model, data, name):
    X, y, _ = data
    attributor = make(name, model).fit(X, y)
    exp = attributor.explain(k=9)
    assert (exp.indices != np.arange(30)[:, None]).all()
    np.testing.assert_array_equal(exp.exemplar_labels, np.tile(y[:, None], 9))
    assert (np.diff(exp.scores, axis=1) <= 0).all()


@pytest.mark.parametrize("name", set(BASELINES) - {"random"})
def test_permuting_the_training_rows_permutes_the_answer(model, data, rng, name):
    X, y, queries = data
    order = rng.permutation(len(X))
    before = make(name, model).fit(X, y).attribute(queries)
    after = make(name, model).fit(X[order], y[order]).attribute(queries)
    np.testing.assert_allclose(after, before[:, order], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", BASELINES)
def test_padding_labels_and_identities(model, data, name):
    X, _, queries = data
    y = np.array(["cat", "dog", "eel"])[np.arange(30) % 3]
    ids = np.array([f"row {i}" for i in range(30)])
    columns = [f"feature {i}" for i in range(5)]
    model = MLPClassifier((7,), max_iter=50, random_state=0)
    frame = pd.DataFrame(X, columns=columns)
    attributor = make(name, model).fit(frame, y, sample_id=ids)
    questions = pd.DataFrame(queries, columns=columns)
    with pytest.warns(UserWarning, match="7 of 7 queries have fewer than k=12 candidates"):
        exp = attributor.explain(questions, ["cat"] * 7, k=12)
    assert (exp.indices[:, 10:] == -1).all()
    assert np.isnan(exp.scores[:, 10:]).all()
    assert set(exp.exemplar_labels[:, :10].ravel()) == {"cat"}
    np.testing.assert_array_equal(exp.sample_id[:, :10], ids[exp.indices[:, :10]])
    assert exp.feature_names == columns
    with pytest.raises(ValueError, match="does not know"):
        attributor.attribute(questions, ["cow"] * 7)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", BASELINES)
def test_the_model_stays_as_it_was(data, name, training):
    X, y, queries = data
    torch.manual_seed(0)
    module = Noisy()
    module(torch.as_tensor(X, dtype=torch.float32)).sum().backward()
    module.train(training)
    module.layers[3].eval()
    module.layers[0].bias.requires_grad_(False)
    before = state(module)
    attributor = make(name, module).fit(X, y)
    exp = attributor.explain(queries)
    attributor.attribute(queries)
    attributor.explain(k=2)
    attributor.select(queries, 3)
    attributor.predict(queries)
    attributor.score(queries, attributor.predict(queries))
    if name != "random":
        attributor.transform(queries)
    assert state(module) == before
    np.testing.assert_array_equal(attributor.explain(queries).scores, exp.scores)
    with pytest.raises(RuntimeError, match="own error"):
        attributor.explain(queries * 1e8)
    if name != "random":  # which does not run the network on training rows
        with pytest.raises(RuntimeError, match="own error"):
            make(name, module).fit(X * 1e8, y)
    assert state(module) == before
    expected = copy.deepcopy(module).eval()(torch.as_tensor(queries).float()).argmax(1)
    np.testing.assert_array_equal(exp.query_labels, expected)


@pytest.mark.parametrize("name", BASELINES)
def test_clone_and_pickle(data, name):
    X, y, queries = data
    attributor = make(name, MLPClassifier((4,), max_iter=20, random_state=0), candidates="all")
    copied = clone(attributor)
    before = attributor.fit(X, y, sample_id=y).attribute(queries)
    loaded = pickle.loads(pickle.dumps(attributor))
    np.testing.assert_array_equal(loaded.attribute(queries), before)
    np.testing.assert_array_equal(copied.fit(X, y).attribute(queries), before)


ESTIMATORS = {
    "logistic": LogisticRegression(max_iter=500),
    "mlp": MLPClassifier((7, 5), max_iter=30, random_state=0),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
    "class conditional": ProvenanceClassifier(width="small", max_epochs=3, device="cpu"),
    "class independent": ProvenanceClassifier(
        "class_independent", width="small", max_epochs=3, device="cpu"
    ),
}


TARGETS = {"three": NAMES, "two": NAMES == "virginica"}


@functools.cache
def fitted(estimator, targets):
    """An estimator of a kind, which no baseline trains again."""
    return clone(ESTIMATORS[estimator]).fit(IRIS, TARGETS[targets])


@pytest.mark.parametrize("classes", ["two", *thorough("three")])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", BASELINES)
def test_estimators_of_every_kind(name, estimator, classes):
    targets = TARGETS[classes]
    # One baseline fits the estimator itself.
    trained = ESTIMATORS[estimator] if name == "graddot" else fitted(estimator, classes)
    attributor = make(name, trained).fit(IRIS, targets)
    exp = attributor.explain(IRIS[::25], k=3)
    assert np.isfinite(exp.scores).all()
    assert set(exp.query_labels) <= set(targets)
    assert 0 <= attributor.score(IRIS, targets) <= 1 or name.startswith("relatif")


@pytest.mark.parametrize("name", BASELINES)
def test_select_takes_the_largest_mean_score(model, data, name):
    X, y, queries = data
    attributor = make(name, model, candidates="all").fit(X, y)
    labels = np.arange(7) % 3
    total = attributor.attribute(queries, labels).mean(0)
    picks = attributor.select(queries, 6, labels)
    np.testing.assert_array_equal(picks, np.argsort(-total, kind="stable")[:6])
    shares = np.bincount(y[attributor.select(queries, 6, labels, balanced=True)])
    np.testing.assert_array_equal(shares, [2, 2, 2])
    ones = np.ones(7, dtype=int)
    narrow = make(name, model).fit(X, y).select(queries, 5, ones)
    ranking = np.argsort(-attributor.attribute(queries, ones).mean(0), kind="stable")
    np.testing.assert_array_equal(narrow, ranking[y[ranking] == 1][:5])


@pytest.mark.parametrize("name", BASELINES)
def test_rows_are_scored_once_for_all_sizes_and_shares(model, data, name, monkeypatch):
    X, y, queries = data
    attributor = make(name, model, candidates="all").fit(X, y)
    labels = np.arange(7) % 3
    calls = []
    total = type(attributor)._total
    monkeypatch.setattr(type(attributor), "_total", lambda *a: calls.append(0) or total(*a))
    largest, smaller = (attributor.select(queries, k, labels) for k in (6, 3))
    attributor.select(queries, 6, labels, balanced=True)
    assert len(calls) == 1
    np.testing.assert_array_equal(smaller, largest[:3])
    attributor.select(queries, 6, np.roll(labels, 1))
    attributor.select(queries[:5], 6, labels[:5])
    assert len(calls) == 3


# The others compare leaves.
@pytest.mark.parametrize("name", ["ekfac", "graddot", "influence", "trak"])
def test_classifiers_that_are_no_networks_are_refused(name):
    with pytest.raises(TypeError, match="RandomForestClassifier"):
        make(name, RandomForestClassifier(2)).fit(IRIS, SPECIES)
