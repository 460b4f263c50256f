"""The scorer against margins of models trained by hand."""

import os
import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_provenance import InfoGainAttributor
from sklearn_provenance.attribution import RandomAttributor, RepSimAttributor
from sklearn_provenance.evaluation import Recipe, brittleness_scorer

from ..retraining.conftest import reference
from .attributors import Counted, fits, supported
from .test_brittleness import log_odds


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


def folds(n_splits=2):
    return StratifiedKFold(n_splits, shuffle=True, random_state=0)


def drop_by_hand(attributor, X, y, queries, labels, size):
    """Mean drop of the margins of queries, with direct fits."""

    def margins(mask):
        model = LogisticRegression(max_iter=500).fit(X[mask], y[mask])
        logits = model.decision_function(queries)
        return np.array([log_odds(z, c) for z, c in zip(logits, labels, strict=True)])

    full, drops = margins(np.ones(len(X), bool)), []
    for number, picks in enumerate(attributor.explain(queries, labels, k=size).indices):
        mask = np.ones(len(X), bool)
        mask[picks] = False
        drops.append(full[number] - margins(mask)[number])
    return np.mean(drops)


def test_the_score_is_the_mean_drop_of_correct_queries(iris):
    X, y = iris
    train, held_out = next(folds().split(X, y))
    attributor = InfoGainAttributor(LogisticRegression(max_iter=500)).fit(X[train], y[train])
    correct = held_out[attributor.predict(X[held_out]) == y[held_out]]
    everyone = brittleness_scorer(size=9, n_queries=len(correct))
    score = everyone(attributor, X[held_out], y[held_out])
    expected = drop_by_hand(attributor, X[train], y[train], X[correct], y[correct], 9)
    np.testing.assert_allclose(score, expected, rtol=1e-6)
    assert isinstance(score, float)

    def few(random_state):
        scorer = brittleness_scorer(size=9, n_queries=6, random_state=random_state)
        return scorer(attributor, X[held_out], y[held_out])

    assert few(1) == few(1) != few(2)
    with pytest.raises(ValueError, match=rf"at most {len(correct)}"):
        brittleness_scorer(size=9, n_queries=75)(attributor, X[held_out], y[held_out])


def test_a_grid_search_over_the_noise_variance(iris, tmp_path):
    estimator = InfoGainAttributor(LogisticRegression(max_iter=500))
    grid = {"noise_variance": [1e-3, 1.0, 1e6, 1e7]}
    options = {"size": 8, "n_queries": 5}

    def search(scorer):
        return GridSearchCV(estimator, grid, scoring=scorer, cv=folds(), refit=False).fit(*iris)

    n_fits, found = fits(search, brittleness_scorer(Counted(max_iter=500), **options))
    scores = found.cv_results_["mean_test_score"]
    # The last two pick the same rows (the limit of much noise), which are removed once.
    assert scores[2] == scores[3]
    assert n_fits <= 2 * (1 + 3 * 5)
    assert len(set(scores)) == 3
    own = search(brittleness_scorer(**options)).cv_results_["mean_test_score"]
    np.testing.assert_allclose(own, scores)  # by default what the attributor explains is trained

    kept = brittleness_scorer(Counted(max_iter=500), store=tmp_path, **options)
    assert fits(search, kept)[0] == n_fits
    again = brittleness_scorer(Counted(max_iter=500), store=tmp_path, **options)
    n_again, found = fits(search, again)
    assert n_again == 0
    np.testing.assert_array_equal(found.cv_results_["mean_test_score"], scores)


def test_models_that_are_explained_by_default_are_told_apart(iris):
    X, y = iris
    scorer, scores = brittleness_scorer(size=8, n_queries=5), []
    attributors = [
        RepSimAttributor(LogisticRegression(C=C, max_iter=500)).fit(X[::2], y[::2])
        for C in (0.1, 10.0)
    ]
    easy = np.all([a.predict(X) == y for a in attributors], axis=0)
    held_out = np.flatnonzero(easy & (np.arange(150) % 2 == 1))
    for attributor in attributors:
        scores.append(scorer(attributor, X[held_out], y[held_out]))
        fresh = brittleness_scorer(size=8, n_queries=5)
        assert scores[-1] == fresh(attributor, X[held_out], y[held_out])
    assert scores[0] != scores[1]


def test_rows_that_matter_score_higher_than_random_rows():
    X, y, X_queries = supported()
    scorer = brittleness_scorer(size=4, n_queries=5)
    repsim, random = (
        scorer(cls(LogisticRegression()).fit(X, y), X_queries, np.ones(5, int))
        for cls in (RepSimAttributor, RandomAttributor)
    )
    assert repsim > 2 * random


def test_in_a_pipeline_and_with_a_perceptron():
    X, y = load_digits(n_class=3, return_X_y=True)
    network = MLPClassifier((8,), tol=0.05, n_iter_no_change=2, random_state=0)
    pipeline = make_pipeline(PCA(4, random_state=0), InfoGainAttributor(network))
    search = GridSearchCV(
        pipeline,
        {"infogainattributor__noise_variance": [1.0, 1e3]},
        scoring=brittleness_scorer(size=20, n_queries=3, seeds=(0, 1)),
        cv=folds(),
        error_score="raise",
    )
    search.fit(X / 16, y)
    inner = search.best_estimator_[-1]
    Z = search.best_estimator_[:-1].transform(X / 16)
    scorer = brittleness_scorer(size=20, n_queries=3)
    assert scorer(search.best_estimator_, X / 16, y) == scorer(inner, Z, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_network_starts_from_the_weights_that_are_given(iris):
    X, y = iris[0].astype(np.float32), iris[1]
    torch.manual_seed(0)
    start = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    recipe = Recipe(lr=0.05, batch_size=16, max_epochs=15)
    trained = pickle.loads(pickle.dumps(start))
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.05, momentum=0.9)
    rows = torch.tensor(X[::2]), torch.tensor(y[::2])
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(trained(rows[0]), rows[1]).backward()
        optimizer.step()
    options = {"size": 10, "n_queries": 4}
    scorer = brittleness_scorer(start, recipe=recipe, device="cpu", **options)
    split = PredefinedSplit(np.where(np.arange(150) % 2, 0, -1))
    search = GridSearchCV(
        RepSimAttributor(trained), {"batch_size": [7]}, scoring=scorer, cv=split, refit=False
    ).fit(X, y)

    attributor = RepSimAttributor(trained).fit(X[::2], y[::2])
    queries = scorer._draw(attributor, X[1::2], y[1::2], are_numbers=False)
    held_out, labels = torch.tensor(X[1::2][queries]), y[1::2][queries]

    def logits(mask):
        return reference(start, *rows, mask, held_out, recipe)

    full, drops = logits(np.ones(75, bool)), []
    for q, picks in enumerate(attributor.explain(held_out, labels, k=10).indices):
        mask = np.ones(75, bool)
        mask[picks] = False
        drops.append(log_odds(full[q], labels[q]) - log_odds(logits(mask)[q], labels[q]))
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], np.mean(drops), rtol=1e-3)
    with pytest.raises(ValueError, match="weights before training"):
        brittleness_scorer(**options)(attributor, X[1::2], y[1::2])


def test_what_is_frozen_is_trained_again(iris):
    X, y = iris
    model = LogisticRegression(C=0.01).fit(X[::2], y[::2])
    scorer = brittleness_scorer(size=4, n_queries=1)
    frozen = RepSimAttributor(FrozenEstimator(model)).fit(X[::2], y[::2])
    plain = RepSimAttributor(model).fit(X[::2], y[::2])
    assert scorer(frozen, X[1::2], y[1::2]) == scorer(plain, X[1::2], y[1::2])


class Logged(LogisticRegression):
    """Holds an open file, which cannot be told from another."""

    log = open(os.devnull)  # noqa: SIM115  as long as the class


def test_models_that_cannot_be_told_apart_are_not_kept(iris):
    X, y = iris
    attributor = RepSimAttributor(Logged(C=0.01)).fit(X[::2], y[::2])
    scorer = brittleness_scorer(size=4, n_queries=1)
    with pytest.warns(UserWarning, match="what it depends on cannot be seen"):
        assert np.isfinite(scorer(attributor, X[1::2], y[1::2]))
    assert not scorer._folds


def test_it_travels_to_other_processes(iris):
    X, y = iris
    attributor = RepSimAttributor(LogisticRegression(max_iter=500)).fit(X[::2], y[::2])
    scorer = brittleness_scorer(size=8, n_queries=5)
    score = scorer(attributor, X[1::2], y[1::2])
    copy = pickle.loads(pickle.dumps(scorer))
    assert len(pickle.dumps(scorer)) < 1000  # without the models it knows
    assert copy(attributor, X[1::2], y[1::2]) == score
    assert repr(scorer) == "brittleness_scorer(size=8, n_queries=5)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, r"'size' parameter .* Got 0"),
        ({"n_queries": 2.0}, r"'n_queries' parameter"),
        ({"random_state": None}, r"'random_state' parameter .* an int"),
        ({"seeds": ()}, "several different ones"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        brittleness_scorer(**options)
