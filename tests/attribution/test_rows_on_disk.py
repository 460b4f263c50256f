"""Rows of one's own that are a memory map stay where they are."""

import json

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from torch import nn

from sklearn_provenance import attribution as att
from sklearn_provenance._utils.row_arrays import RowArray
from sklearn_provenance.tangent import TangentFeatures

from ..checks import thorough
from ..memory import MEASURE, OVERHEAD, measurable


def itself(X):
    return X


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    X = (rng.normal(size=(120, 6)) + y[:, None]).astype(np.float16)
    X[[30, 60]] = X[0]
    path = tmp_path_factory.mktemp("rows") / "X.npy"
    np.save(path, X)
    mapped = np.load(path, mmap_mode="r")
    model = LogisticRegression(max_iter=500).fit(X, y)
    queries = rng.normal(size=(5, 6)) + 1
    return model, X.astype(np.float64), mapped, y, queries


METHODS = {
    "gain": (att.InfoGainAttributor, {}),
    "gain, scanned": (att.InfoGainAttributor, {"memory_limit": 4000}),
    "linear response": (att.InfoGainAttributor, {"solver": "linear_response"}),
    "pool": (att.InfoGainAttributor, {"pool_size": 9}),
    "index": (
        att.InfoGainAttributor,
        {"solver": "linear_response", "index": "exact", "candidates": "all"},
    ),
    "loss": (att.InfoLossAttributor, {}),
    "loss, in blocks": (att.InfoLossAttributor, {"memory_limit": 9000}),
    "RelatIF": (att.RelatIFAttributor, {}),
    "RelatIF, in blocks": (att.RelatIFAttributor, {"memory_limit": 13_000}),
    "RepSim": (att.RepSimAttributor, {}),
}


@pytest.mark.parametrize("candidates", ["same_class", "all"])
@pytest.mark.parametrize("name", METHODS)
def test_answers_are_those_of_rows_in_memory(problem, name, candidates):
    model, X, mapped, y, queries = problem
    cls, params = METHODS[name]
    params = {"candidates": candidates} | params
    expected = cls(model, features=itself, **params).fit(X, y)
    attributor = cls(model, features=itself, **params).fit(mapped, y)
    assert isinstance(attributor._rows.inputs, RowArray)
    for rows in (queries, None):
        found, known = attributor.explain(rows, k=4), expected.explain(rows, k=4)
        np.testing.assert_array_equal(found.indices, known.indices)
        np.testing.assert_allclose(found.scores, known.scores, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(
        attributor.attribute(queries), expected.attribute(queries), rtol=1e-7, atol=1e-12
    )


def test_rows_that_are_not_finite_are_refused(problem, tmp_path):
    model, X, _, y, _ = problem
    X = X.copy()
    X[77, 2] = np.nan
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    with pytest.raises(ValueError, match="must be finite; those of row 77 are not"):
        att.InfoGainAttributor(model, features=itself).fit(mapped, y)


@pytest.mark.parametrize("cls", [att.InfoGainAttributor, att.InfoLossAttributor])
@pytest.mark.parametrize("balanced", [False, True])
def test_coresets_are_those_of_rows_in_memory(problem, cls, balanced):
    model, X, mapped, y, queries = problem
    params = {"features": itself, "noise_variance": "0.1*diagonal"}
    expected = cls(model, **params).fit(X, y)
    for attributor in (
        cls(model, memory_limit=1.2e4, **params).fit(mapped, y),
        cls(model, memory_limit=1.2e4, candidates="all", **params).fit(X, y),
    ):
        expected.set_params(candidates=attributor.candidates).fit(X, y)
        for options in ({}, {"normalize": False}):
            found = attributor.select(queries, 9, balanced=balanced, **options)
            known = expected.select(queries, 9, balanced=balanced, **options)
            np.testing.assert_array_equal(found, known)
    many = np.vstack([queries, queries * 2, queries[::-1] - 1])  # more than features
    found = attributor.select(many, 9, balanced=balanced)
    np.testing.assert_array_equal(found, expected.select(many, 9, balanced=balanced))


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("candidates", ["same_class", "all"])
def test_mean_cosines_are_those_of_rows_in_memory(problem, candidates, balanced):
    model, X, mapped, y, queries = problem
    params = {"features": itself, "noise_variance": "0.1*diagonal", "candidates": candidates}
    expected = att.RelatIFAttributor(model, **params).fit(X, y)
    attributor = att.RelatIFAttributor(model, memory_limit=13_000, **params).fit(mapped, y)
    labels = np.arange(5) % 2
    found = attributor.select_sizes(queries, [9, 20], labels, balanced=balanced)
    known = expected.select_sizes(queries, [9, 20], labels, balanced=balanced)
    for one, other in zip(found, known, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("where", ["store", "memory", "features"])
def test_sketches_on_disk(problem, tmp_path, where):
    """InfoLoss within a budget, from a store, from results of joblib that are mapped, or a file."""
    _, X, _, y, queries = problem
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double().eval()
    sketch = TangentFeatures(n_components=8, random_state=0)
    params = {"measurement": "margin", "noise_variance": "0.1*diagonal"}
    expected = att.InfoLossAttributor(model, features=sketch, **params).fit(X, y)
    params["memory_limit"] = 9000  # features of all rows take 23 kB three times
    if where == "store":
        att.InfoLossAttributor(model, features=sketch, **params).fit(X, y, store=tmp_path / "s")
        attributor = att.InfoLossAttributor.load(tmp_path / "s", memory_limit=9000)
    elif where == "memory":
        memory = joblib.Memory(tmp_path, mmap_mode="r", verbose=0)
        attributor = att.InfoLossAttributor(model, features=sketch, memory=memory, **params)
        attributor.fit(X, y).fit(X, y)  # what is found again is mapped
    else:
        sketch = clone(sketch).set_params(store=tmp_path / "features")
        attributor = att.InfoLossAttributor(model, features=sketch, **params).fit(X, y)
    assert isinstance(attributor._rows.own().array, RowArray)
    for rows in (queries, None) if where != "store" else (queries,):
        found, known = attributor.explain(rows, k=4), expected.explain(rows, k=4)
        np.testing.assert_array_equal(found.indices, known.indices)
        np.testing.assert_allclose(found.scores, known.scores, rtol=1e-6)


@pytest.mark.parametrize("cls", [att.InfoLossAttributor, att.RelatIFAttributor])
def test_stores_of_features_given_by_a_callable(problem, tmp_path, cls):
    model, X, mapped, y, queries = problem
    expected = cls(model, features=itself).fit(X, y).explain(queries)
    attributor = cls(model, features=itself).fit(mapped, y, store=tmp_path / "store")
    np.testing.assert_array_equal(attributor.explain(queries).indices, expected.indices)
    again = cls.load(tmp_path / "store", model, features=itself)
    np.testing.assert_array_equal(again.explain(queries).indices, expected.indices)


def test_what_is_lost_without_sets(problem):
    """The kernel of all rows, 115 kB, is not formed."""
    model, X, mapped, y, queries = problem
    params = {"features": itself, "noise_variance": "0.1*diagonal", "candidates": "all"}
    expected = att.InfoLossAttributor(model, **params).fit(X, y)
    sets = expected.explain(queries, k=4).indices
    known = expected.information_lost(queries, sets)
    for limit in (9000, 30_000):  # features are read in blocks, or are in memory
        attributor = att.InfoLossAttributor(model, memory_limit=limit, **params).fit(mapped, y)
        found = attributor.information_lost(queries, sets)
        np.testing.assert_allclose(found, known, rtol=1e-10)


def test_cosines_that_do_not_fit_are_refused_before_rows_are_measured(problem):
    model, X, mapped, y, queries = problem
    needed = 8 * (11 * 120 + 6**2)
    params = {"features": itself, "candidates": "all"}
    attributor = att.RelatIFAttributor(model, memory_limit=needed, **params).fit(mapped, y)
    assert attributor.explain(queries).indices.shape == (5, 5)
    said = "cosines of a query with 120 rows, beside the posterior of 6 features, take .* fewer"
    with pytest.raises(MemoryError, match=said):
        att.RelatIFAttributor(model, memory_limit=needed - 1, **params).fit(mapped, y)


@pytest.mark.parametrize("cls", [att.InfoGainAttributor, att.InfoLossAttributor])
def test_what_does_not_fit_is_refused_before_a_scan(problem, cls):
    model, X, mapped, y, queries = problem
    params = {"features": itself, "candidates": "all"}
    needed = 32 * 120
    said = "pass a pool_size"
    if cls is att.InfoLossAttributor:
        needed += 8 * 6**2
        said = "beside the posterior of 6 features, take .* give fit fewer rows"
    attributor = cls(model, memory_limit=needed, **params).fit(mapped, y)
    attributor.explain(queries)
    with pytest.raises(MemoryError, match=r"5 queries with 120 candidates.*fewer queries"):
        attributor.select(queries, 9)
    with pytest.raises(MemoryError, match=said):
        cls(model, memory_limit=needed - 1, **params).fit(mapped, y).explain(queries)


def test_a_posterior_that_does_not_fit_is_refused_before_rows_are_measured(tmp_path, monkeypatch):
    passes = []
    monkeypatch.setattr(TangentFeatures, "_measured_at", lambda *args: passes.append(args))
    model = nn.Linear(40, 3)
    X = np.zeros((5000, 40), dtype=np.float32)
    y = np.arange(5000) % 3
    sketch = TangentFeatures(n_components=256)
    said = "posterior of 256 features is a matrix of 256 x 256 numbers.* TangentFeatures"
    for store in (None, tmp_path / "store"):
        for cls in (att.InfoLossAttributor, att.RelatIFAttributor):
            attributor = cls(
                model, features=sketch, measurement="margin", memory_limit=3 * 8 * 256**2 - 1
            )
            with pytest.raises(MemoryError, match=said):
                attributor.fit(X, y, store=store)
    assert not passes
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("cls", [att.InfoLossAttributor, att.RelatIFAttributor])
def test_fit_says_that_a_posterior_takes_more_where_squares_lose_digits(cls, stored, tmp_path):
    """The first look at rows tells it, and no query has to ask."""
    model = nn.Linear(100, 3)
    rows = np.random.default_rng(0).normal(size=(500, 100)).astype(np.float32)
    y = np.arange(500) % 3
    store = tmp_path / "store" if stored else None
    params = {"features": itself, "noise_variance": 1e-9, "measurement": "margin"}
    needed = 7 * 8 * 100**2
    with pytest.raises(MemoryError, match="of which 7 copies take"):
        cls(model, memory_limit=needed - 1, **params).fit(rows, y, store=store)
    # What was measured stays in the store, from which a larger limit goes on.
    cls(model, memory_limit=needed, **params).fit(rows, y, store=store).explain(rows[:2], k=2)


PEAK = (
    MEASURE
    + """
from sklearn_provenance import attribution as att
from sklearn.base import BaseEstimator, ClassifierMixin

class Model(ClassifierMixin, BaseEstimator):
    classes_ = np.arange(2)
    def fit(self, X, y):
        return self
    def predict(self, X):
        return (np.asarray(X)[:, 0] > 0).astype(int)

path, limit, params = sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3])
X = np.load(path, mmap_mode="r")
y = np.arange(len(X)) % 2
name = params.pop("method", "InfoGain")
make = lambda: getattr(att, name + "Attributor")(
    Model(), features=lambda X: X, memory_limit=limit, candidates="all", **params
)
queries = np.random.default_rng(1).normal(size=(8, X.shape[1]))

def use(X, y):
    attributor = make().fit(X, y)
    attributor.explain(queries, k=3)
    if name == "RelatIF":
        attributor.select(queries, 3)
        attributor.attribute(queries[:1])
    elif "pool_size" not in params:
        attributor.select(queries[:3], 3)
        attributor.attribute(queries[:1])

use(X[:1000], y[:1000])
print(json.dumps(grown(lambda: use(X, y))))
"""
)


@pytest.mark.parametrize(
    "params",
    [{"method": "InfoLoss"}, {"method": "RelatIF"}, *thorough({}, {"pool_size": 20})],
    ids=["loss", "RelatIF", "gain", "pool"],
)
@measurable
def test_peak_of_a_scan(template, tmp_path, params):
    """The file has 24 MB; in double precision it would take 96 MB."""
    n, width, limit = 60_000, 200, 4e6 if params.get("method") != "RelatIF" else 1.2e7
    shape = (n, width)
    rows = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float16, shape)
    rng = np.random.default_rng(0)
    for start in range(0, n, 20_000):
        rows[start : start + 20_000] = rng.normal(size=(20_000, width))
    del rows
    run = template.run(PEAK, tmp_path / "X.npy", limit, json.dumps(params), timeout=300)
    assert run.returncode == 0, run.stderr
    grown, said = json.loads(run.stdout.splitlines()[-1])
    assert not said
    pages = 4e6  # of the file, which the system has mapped around rows that were read
    assert grown <= 1.2 * limit + pages + OVERHEAD, grown / 1e6
