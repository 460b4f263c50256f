"""``training_`` of every estimator, and what estimators say of rows that they were trained on."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression

from sklearn_provenance import ProvenanceClassifier, ProvenanceVAE, TrainingData
from sklearn_provenance.attribution import InfoLossAttributor, RepSimAttributor

QUICK = {"width": "small", "max_epochs": 2, "device": "cpu", "random_state": 0}
MODELS = {
    "classifier": ProvenanceClassifier(**QUICK),
    "single branch": ProvenanceClassifier("single_branch", **QUICK),
    "autoencoder": ProvenanceVAE(4, **QUICK),
    "attributor": RepSimAttributor(LogisticRegression(max_iter=1000)),
}
NAMES = ["a", "b", "c", "d"]


def iris():
    X, y = load_iris(return_X_y=True)
    return X[::3].astype(np.float32), np.array(["x", "y", "z"])[y[::3]]


def images(kind):
    """Digits as users hold them, and the input_shape that they need."""
    X, y = load_digits(n_class=3, return_X_y=True)
    X, y = X[:60].reshape(-1, 8, 8) * 15, y[:60]
    if kind == "flat":
        return X.astype(np.uint8).reshape(60, -1), y, (8, 8)
    if kind == "channels last":
        return np.repeat(X[..., None], 3, 3).astype(np.uint8), y, None
    return (X / 255).astype(np.float32)[:, None], y, None


@pytest.mark.parametrize("name", MODELS)
def test_it_holds_what_fit_was_given(name):
    X, y = iris()
    ids = np.arange(len(y)) + 1000
    training = clone(MODELS[name]).fit(X, y, sample_id=ids).training_
    assert isinstance(training, TrainingData)
    np.testing.assert_array_equal(training.X, X)
    np.testing.assert_array_equal(training.y, y)
    np.testing.assert_array_equal(training.sample_id, ids)
    assert (len(training), training.row_shape) == (50, (4,))
    assert repr(training) == "TrainingData(n_rows=50, row_shape=(4,))"


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_said_before_fit(name):
    assert not hasattr(MODELS[name], "training_")
    assert not hasattr(MODELS[name], "candidates_")


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("name", MODELS)
def test_methods_take_rows_of_a_frame_as_they_are_held(name, frame, recwarn):
    X, y = iris()
    X = frame(dict(zip(NAMES, X.T, strict=True)))
    estimator = clone(MODELS[name]).fit(X, y)
    training = estimator.training_
    np.testing.assert_array_equal(np.asarray(training.X), np.asarray(X))
    estimator.predict(training.X)
    estimator.predict(training.take([3, 1]).X)
    assert not [w for w in recwarn if "feature names" in str(w.message)]


@pytest.mark.parametrize("kind", ["flat", "channels last", "channels first"])
@pytest.mark.parametrize("name", ["classifier", "autoencoder"])
def test_images_are_held_as_they_were_given(name, kind, tmp_path):
    X, y, shape = images(kind)
    estimator = clone(MODELS[name]).set_params(backbone="mlp", input_shape=shape).fit(X, y)
    estimator.save(tmp_path / "saved")
    loaded = type(estimator).load(tmp_path / "saved", device="cpu")
    for one in (estimator, pickle.loads(pickle.dumps(estimator)), loaded):
        training = one.training_
        assert (training.X.dtype, training.row_shape) == (X.dtype, shape or X.shape[1:])
        np.testing.assert_array_equal(training.X, X)
        np.testing.assert_array_equal(one.find_training_rows(training.X), np.arange(60))


@given(rows=st.lists(st.integers(0, 49), min_size=1), mask=st.booleans())
def test_rows_are_taken_with_their_labels_and_names(rows, mask):
    X, y = iris()
    training = TrainingData(X, y, np.arange(50) * 2)
    chosen = np.isin(np.arange(50), rows) if mask else rows
    part = training.take(chosen)
    np.testing.assert_array_equal(part.X, X[chosen])
    np.testing.assert_array_equal(part.y, y[chosen])
    np.testing.assert_array_equal(part.sample_id, np.arange(50)[chosen] * 2)
    for label in (*"xyz", "none"):
        np.testing.assert_array_equal(part.of_class(label), np.flatnonzero(part.y == label))


def test_rows_without_a_shape():
    training = TrainingData(["a text", "another"], np.array([0, 1]))
    assert training.row_shape is None
    assert training.take([1]).X == ["another"]


@given(seed=st.integers(0, 2**31 - 1), sparse=st.booleans())
def test_rows_are_found_by_their_values(seed, sparse):
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(seed)
    X = rng.integers(0, 3, size=(20, 2)).astype(np.float32)  # copies among rows
    clf = known_rows(X)
    queries = rng.integers(0, 4, size=(15, 2)).astype(np.float32)
    expected = [next((i for i, row in enumerate(X) if (row == q).all()), -1) for q in queries]
    given_ = csr_matrix(queries) if sparse else torch.tensor(queries)
    np.testing.assert_array_equal(clf.find_training_rows(given_), expected)


def known_rows(X):
    """A classifier of X that was trained for one short epoch."""
    params = {**QUICK, "max_epochs": 1}
    return ProvenanceClassifier(backbone="mlp", **params).fit(X, np.arange(len(X)) % 2)


def test_candidates_of_provenance_estimators():
    X, y = iris()
    clf = ProvenanceClassifier(**QUICK).fit(X, y)
    assert clf.candidates_ == "same_class"
    # The network answers, whatever parameter was set after fit.
    assert clf.set_params(architecture="single_branch").candidates_ == "same_class"
    assert clf.set_params(routing="soft").candidates_ == "all"
    for architecture in ("single_branch", "class_independent"):
        assert ProvenanceClassifier(architecture, **QUICK).fit(X, y).candidates_ == "all"
    vae = ProvenanceVAE(4, **QUICK).fit(X, y)
    assert vae.candidates_ == "same_class"
    assert vae.set_params(routing="soft").candidates_ == "all"


@pytest.mark.parametrize("routing", ["hard", "soft"])
@pytest.mark.parametrize("subset", [None, 0.5])
@pytest.mark.parametrize(
    "architecture", ["class_conditional", "class_independent", "single_branch"]
)
def test_the_nearest_row_of_a_class(architecture, subset, routing):
    X, y = iris()
    clf = ProvenanceClassifier(architecture, index_subset=subset, routing=routing, **QUICK)
    clf.fit(X, y)
    queries, classes = X[:30] + 0.5, y[np.arange(30) * 7 % 50]
    # Soft routing ranks the rows of one class as the branch that is told the class does.
    proba = clf.set_params(routing="soft").index_proba(queries)
    proba = np.where(y[None, :] == classes[:, None], proba, -1)
    clf.set_params(routing=routing)
    np.testing.assert_array_equal(clf.predict_index(queries, classes), proba.argmax(1))
    with pytest.raises(ValueError, match="holds the label 'w'"):
        clf.predict_index(queries, ["w"] * 30)
    with pytest.raises(ValueError, match="one label for each of the 30 rows"):
        clf.predict_index(queries, classes[:5])


class TestInformationLost:
    def fitted(self):
        torch.manual_seed(0)
        X, y = iris()
        network = torch.nn.Linear(4, 3, bias=False, dtype=torch.float64)
        encoded = np.unique(y, return_inverse=True)[1]
        return InfoLossAttributor(network, noise_variance=1.0).fit(X, encoded), X

    @pytest.mark.parametrize("measurement", ["label_logit", "margin"])
    def test_greedy_sets_lose_the_sum_of_their_scores(self, measurement):
        attributor, X = self.fitted()
        attributor.set_params(measurement=measurement)
        attributor.fit(X, attributor.training_.y)
        explanation = attributor.explain(X[:6] + 0.1, k=4)
        nats = attributor.information_lost(X[:6] + 0.1, explanation.indices)
        np.testing.assert_allclose(nats, explanation.scores.cumsum(1), rtol=1e-7)
        sets = np.stack([explanation.indices, explanation.indices[:, ::-1]])
        both = attributor.information_lost(X[:6] + 0.1, sets)
        np.testing.assert_allclose(both[0], nats)
        np.testing.assert_allclose(both[1, :, -1], nats[:, -1])  # of a set, not of its order

    @pytest.mark.parametrize(
        "rows",
        [
            [[0, 1]] * 5,
            [[0, 0]] * 6,
            [[0, 50]] * 6,
            [[0, -1]] * 6,
            [[0.0, 1.0]] * 6,
            [0, 1, 2, 3, 4, 5],
            None,
        ],
    )
    def test_sets_that_are_none(self, rows):
        attributor, X = self.fitted()
        with pytest.raises(ValueError, match="rows must"):
            attributor.information_lost(X[:6], rows)

    def test_kernels_that_do_not_fit(self):
        attributor, X = self.fitted()
        y, rows = attributor.training_.y, [[0]]
        lost = attributor.information_lost(X[:1], rows)
        attributor.set_params(memory_limit=8 * len(X) * (len(X) - 1))
        blocks = attributor.fit(X, y).information_lost(X[:1], rows)  # features fit
        np.testing.assert_allclose(blocks, lost, rtol=1e-9)
        attributor.set_params(memory_limit=1000)
        with pytest.raises(MemoryError, match="memory_limit"):
            attributor.fit(X, y).information_lost(X[:1], rows)
