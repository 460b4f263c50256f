"""Searches instead of passes over all rows: same answers with an exact index."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone

from sklearn_provenance.attribution import InfoGainAttributor
from sklearn_provenance.retrieval import ExactIndex
from sklearn_provenance.tangent import TangentFeatures

from ..checks import thorough

EXPLICIT = TangentFeatures(n_components="exact")


@pytest.fixture
def many(rng):
    X, y = rng.normal(size=(200, 5)), np.arange(200) % 3
    return X, y, rng.normal(size=(9, 5))


class Counting(ExactIndex):
    """Counts builds and searches."""

    builds, searches = 0, 0

    def build(self, rows):
        Counting.builds += 1
        return super().build(rows)

    def search(self, queries, k):
        Counting.searches += 1
        return super().search(queries, k)


@pytest.mark.parametrize("index", ["exact", ExactIndex(chunk_rows=7), "faiss"])
@pytest.mark.parametrize(
    ("candidates", "measurement"),
    [
        ("all", "margin"),
        ("same_class", "label_logit"),
        *thorough(("all", "label_logit"), ("same_class", "margin")),
    ],
)
def test_linear_response_by_search(network, many, candidates, measurement, index):
    if index == "faiss":
        pytest.importorskip("faiss")
    X, y, queries = many
    settings = {"solver": "linear_response", "candidates": candidates, "features": EXPLICIT}
    settings |= {"measurement": measurement}
    searched = InfoGainAttributor(network, index=index, **settings).fit(X, y)
    visited = InfoGainAttributor(network, **settings).fit(X, y)
    for rows in (queries, None):
        got, want = searched.explain(rows, k=6), visited.explain(rows, k=6)
        np.testing.assert_array_equal(got.indices, want.indices)
        np.testing.assert_allclose(got.scores, want.scores, rtol=1e-9)


@pytest.mark.parametrize("index", [None, "exact"])
@pytest.mark.parametrize("features", ["exact", EXPLICIT])
@pytest.mark.parametrize(
    ("solver", "candidates"),
    [
        ("exact", "same_class"),
        *thorough(("linear_response", "all"), ("exact", "all"), ("linear_response", "same_class")),
    ],
)
def test_a_pool_of_every_row_is_no_restriction(network, many, solver, candidates, features, index):
    if index and features == "exact":
        pytest.skip("an index searches explicit features")
    X, y, queries = many
    settings = {"solver": solver, "candidates": candidates, "features": features}
    pooled = InfoGainAttributor(network, pool_size=200, index=index, **settings).fit(X, y)
    visited = InfoGainAttributor(network, **settings).fit(X, y)
    for rows in (queries, None):
        got, want = pooled.explain(rows, k=6), visited.explain(rows, k=6)
        np.testing.assert_array_equal(got.indices, want.indices)
        np.testing.assert_allclose(got.scores, want.scores, rtol=1e-9)


@pytest.mark.parametrize("features", ["exact", EXPLICIT])
def test_picks_come_from_the_pool(network, many, features):
    """The pool is the rows of largest |k(x, x_*)|; the network's features are its inputs."""
    X, y, queries = many
    attributor = InfoGainAttributor(
        network, pool_size=8, candidates="all", features=features, noise_variance=0.01
    ).fit(X, y)
    exp = attributor.explain(queries, k=8)
    pools = np.abs(queries @ X.T).argsort(1)[:, -8:]
    np.testing.assert_array_equal(np.sort(exp.indices), np.sort(pools))
    own = attributor.explain(k=8).indices
    kernel = np.abs(X @ X.T)
    np.fill_diagonal(kernel, -1)
    np.testing.assert_array_equal(np.sort(own), np.sort(kernel.argsort(1)[:, -8:]))


def test_an_index_is_built_once_per_class_and_not_pickled(network, many):
    X, y, queries = many
    attributor = InfoGainAttributor(
        network, solver="linear_response", index=Counting(), features=EXPLICIT
    ).fit(X, y)
    Counting.builds = Counting.searches = 0
    before = attributor.explain(queries, np.zeros(9, dtype=int), k=4)
    assert (Counting.builds, Counting.searches) == (1, 4)
    attributor.explain(queries[:1], [0], k=2)
    assert (Counting.builds, Counting.searches) == (1, 6)
    again = pickle.loads(pickle.dumps(attributor)).explain(queries, np.zeros(9, dtype=int), k=4)
    assert Counting.builds == 2
    np.testing.assert_array_equal(again.indices, before.indices)
    attributor.fit(X[:30], y[:30])
    assert attributor.explain(queries, k=4).indices.max() < 30


def test_queries_of_a_pool_share_a_search(network, many):
    """A search reads all rows, for as many queries as there are, whatever the rows' number."""
    X, y, queries = many
    params = {"pool_size": 2, "candidates": "all", "measurement": "margin", "features": EXPLICIT}
    params["memory_limit"] = 160_000  # a quarter holds products of 25 queries and 200 rows
    attributor = InfoGainAttributor(network, index=Counting(), **params).fit(X, y)
    Counting.searches = 0
    attributor.explain(np.repeat(queries, 5, axis=0) + np.arange(45)[:, None], k=2)
    assert Counting.searches == 1


def test_the_users_index_is_not_changed(network, many):
    X, y, queries = many
    index = ExactIndex()
    state = dict(vars(index))
    attributor = InfoGainAttributor(network, solver="linear_response", index=index)
    clone(attributor).fit(X, y).explain(queries)
    assert vars(index) == state


def test_auto_features_are_a_sketch_with_an_index(network, many):
    X, y, queries = many
    attributor = InfoGainAttributor(network, solver="linear_response", index="exact").fit(X, y)
    assert isinstance(attributor.features_, TangentFeatures)
    assert attributor.transform(queries).shape == (9, 4096)


class Leaves(BaseEstimator):
    """Rows of one's own, in single precision."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.tanh(X).astype(np.float32)


def test_an_index_over_features_of_ones_own(network, many):
    X, y, queries = many
    settings = {"features": Leaves(), "candidates": "all", "solver": "linear_response"}
    got = InfoGainAttributor(network, index="exact", **settings).fit(X, y).explain(queries)
    want = InfoGainAttributor(network, **settings).fit(X, y).explain(queries)
    np.testing.assert_array_equal(got.indices, want.indices)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"index": "exact"}, "linear response"),
        ({"index": "exact", "pool_size": 9, "features": "exact"}, "explicit features"),
        ({"index": "annoy"}, "'index' parameter"),
        ({"pool_size": 0}, "'pool_size' parameter"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(network, many, params, message):
    X, y, _ = many
    with pytest.raises(ValueError, match=message):
        InfoGainAttributor(network, **params).fit(X, y)


def test_k_beyond_the_pool_is_refused(network, many):
    X, y, queries = many
    attributor = InfoGainAttributor(network, pool_size=5).fit(X, y)
    with pytest.raises(ValueError, match="pool_size=5"):
        attributor.explain(queries, k=6)


def test_faiss_that_is_not_installed_is_named(network, many, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    X, y, queries = many
    attributor = InfoGainAttributor(network, solver="linear_response", index="faiss").fit(X, y)
    with pytest.raises(ImportError, match=r"sklearn-provenance\[faiss\]"):
        attributor.explain(torch.as_tensor(queries))
