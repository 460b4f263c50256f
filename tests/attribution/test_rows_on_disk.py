"""Rows of one's own that are a memory map stay where they are."""

import json
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sklearn_provenance import attribution as att
from sklearn_provenance._utils.row_arrays import RowArray

from ..checks import thorough


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
    "RelatIF": (att.RelatIFAttributor, {}),
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


def test_what_does_not_fit_is_refused_before_a_scan(problem):
    model, _, mapped, y, queries = problem
    attributor = att.InfoGainAttributor(
        model, features=itself, candidates="all", memory_limit=16 * 120 - 1
    ).fit(mapped, y)
    with pytest.raises(MemoryError, match="pass a pool_size"):
        attributor.explain(queries)


PEAK = """
import ctypes, json, resource, sys
libc = ctypes.CDLL(None)  # freed arrays go back to the system at once
assert libc.mallopt(-3, 65536) and libc.mallopt(-1, 65536)
import numpy as np, torch
torch.set_num_threads(1)
from sklearn_provenance import attribution as att

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

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
make = lambda: att.InfoGainAttributor(
    Model(), features=lambda X: X, memory_limit=limit, candidates="all", **params
)
queries = np.random.default_rng(1).normal(size=(8, X.shape[1]))
make().fit(X[:1000], y[:1000]).explain(queries, k=3)
before = peak()
found = make().fit(X, y).explain(queries, k=3)
print(json.dumps(peak() - before))
"""


@pytest.mark.parametrize("params", [{}, *thorough({"pool_size": 20})], ids=["scan", "pool"])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks glibc to free memory")
def test_peak_of_a_scan(template, tmp_path, params):
    """The file has 24 MB; in double precision it would take 96 MB."""
    n, width, limit = 60_000, 200, 4e6
    shape = (n, width)
    rows = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float16, shape)
    rng = np.random.default_rng(0)
    for start in range(0, n, 20_000):
        rows[start : start + 20_000] = rng.normal(size=(20_000, width))
    del rows
    run = template.run(PEAK, tmp_path / "X.npy", limit, json.dumps(params), timeout=300)
    assert run.returncode == 0, run.stderr
    grown = json.loads(run.stdout.splitlines()[-1])
    # Beside the budget: blocks that are read, and 40 bytes a row (labels, norms, digests).
    assert grown <= 1.2 * limit + 4e7, grown / 1e6
