"""Answers do not depend on the memory that is allowed, nor on batches, and memory is kept to."""

import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_provenance.attribution.rules import _gain

from .conftest import ATTRIBUTORS, answers, assert_same, every_attributor, network


@pytest.fixture
def module():
    return network(torch.float64)


@pytest.fixture
def data(data):
    X, y, queries = data
    return X.astype(np.float64), y, queries.astype(np.float64)


@pytest.mark.parametrize(
    ("candidates", "limit"), [("same_class", 1.0), ("all", 1.0), ("all", 5000.0)]
)
@every_attributor
def test_answers_do_not_depend_on_the_limit(name, module, data, limit, candidates):
    X, y, queries = data
    if name == "random" or ("index" in name and candidates == "same_class"):
        return
    make = ATTRIBUTORS[name].make
    attributor = make(module, candidates=candidates, memory_limit=limit)
    expected = answers(make(module, candidates=candidates).fit(X, y), queries)
    try:
        found = answers(attributor.fit(X, y), queries)
    except MemoryError as error:
        assert "memory_limit" in str(error)
        assert "pass" in str(error) or "raise" in str(error)
        return
    assert_same(found, expected, exact=False)
    assert_same(answers(attributor, queries), expected, exact=False)


def test_columns_are_exact(module, data, monkeypatch):
    """Where the kernel does not fit, InfoGain computes the columns of its picks alone."""
    X, y, queries = data

    def refused(*arguments):
        raise AssertionError("the kernel of all rows was computed")

    for name in ("gain", "gain of margins", "gain, linear response"):
        make = ATTRIBUTORS[name].make
        expected = make(module, candidates="all").fit(X, y).explain(queries, k=24)
        attributor = make(module, candidates="all", memory_limit=100).fit(X, y)
        with monkeypatch.context() as patch:
            patch.setattr(_gain, "KernelSystem", refused)
            found = attributor.explain(queries, k=24)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6, atol=1e-12)
        np.testing.assert_array_equal(found.n_tied, expected.n_tied)
        # The last rounds of rows that tell nothing more are compared too: nothing is padded.
        assert (np.sort(found.indices) == np.arange(24)).all()


@every_attributor
def test_answers_do_not_depend_on_batches(name, module, data):
    X, y, queries = data
    if name == "random":
        return
    make = ATTRIBUTORS[name].make
    expected = answers(make(module).fit(X, y), queries)
    found = answers(make(module, batch_size=5).fit(X, y), queries)
    assert_same(found, expected, exact=False)


@every_attributor
def test_queries_do_not_depend_on_their_company(name, module, data):
    """A query alone is answered as among others."""
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(module).fit(X, y)
    together = attributor.explain(queries, k=3)
    scores = attributor.attribute(queries)
    for i in (0, 3):
        alone = attributor.explain(queries[i : i + 1], k=3)
        np.testing.assert_array_equal(alone.indices[0], together.indices[i])
        np.testing.assert_allclose(alone.scores[0], together.scores[i], rtol=1e-6)
        row = attributor.attribute(queries[i : i + 1])[0]
        np.testing.assert_allclose(row, scores[i], rtol=1e-6, atol=1e-9)


def test_what_does_not_fit_is_refused_before_it_starts():
    n_calls = []

    class Counting(nn.Linear):
        def forward(self, x):
            n_calls.append(len(x))
            return super().forward(x)

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 400)), np.arange(300) % 2
    module = Counting(400, 2).double()
    limit = 8 * 300**2 - 1
    for name in ("loss", "RelatIF"):
        attributor = ATTRIBUTORS[name].make(module, candidates="all", memory_limit=limit)
        n_calls.clear()
        with pytest.raises(MemoryError, match="memory_limit"):
            attributor.fit(X, y).explain(X[:2], k=2)
        assert sum(n_calls) < 2 * 302  # a pass over rows and queries at most, and no kernel


@pytest.mark.parametrize(
    ("name", "needed", "advice"),
    [
        ("RepSim", 300 * 40 * 8, "pass features"),
        ("representer", 300 * 40 * 8, "raise memory_limit"),
        ("last layer", 300 * 40 * 8 + 2 * 8 * 82**2, 'kind="representer"'),
        ("TRAK", 300 * 16 * 8 + 2 * 8 * 16**2, "smaller n_components"),
        ("TRAK of two", 2 * 300 * 16 * 8 + 3 * 8 * 16**2, "smaller n_components"),
        ("EK-FAC", 8 * (40**2 + 11**2 + 40 * 11) + 8 * (2**2 + 41**2 + 2 * 41), "n_samples"),
    ],
)
def test_fit_says_before_a_pass_what_must_be_kept(name, needed, advice):
    n_rows_seen = []

    class Counting(nn.Linear):
        def forward(self, x):
            n_rows_seen.append(len(x))
            return super().forward(x)

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 10)), np.arange(300) % 2
    module = nn.Sequential(Counting(10, 40), nn.Tanh(), nn.Linear(40, 2)).double()
    make = ATTRIBUTORS[name].make
    with pytest.raises(MemoryError, match=r"memory_limit=.*bytes; pass") as error:
        make(module, candidates="all", memory_limit=needed - 1).fit(X, y)
    assert advice in str(error.value)
    assert max(n_rows_seen) <= 32  # rows that are looked at to find layers
    make(module, candidates="all", memory_limit=needed).fit(X, y).explain(X[:2], k=2)


def test_random_signs_count(module, data):
    X, y, _ = data
    with pytest.raises(MemoryError, match="pass a smaller n_samples"):
        ATTRIBUTORS["EK-FAC"].make(module, n_samples=10**12).fit(X, y)


@pytest.mark.parametrize(("name", "n_kernels"), [("loss", 1), ("RelatIF", 2)])
def test_fit_refuses_a_kernel_more_than_the_limit(name, n_kernels):
    """RelatIF asks the kernel for variances of rows after it was factorised: two of them."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 80)), np.arange(60) % 2
    module, size = nn.Linear(80, 2).double(), 8 * n_kernels * 60**2
    make = ATTRIBUTORS[name].make
    with pytest.raises(MemoryError, match="memory_limit"):
        make(module, candidates="all", memory_limit=size - 1).fit(X, y)
    make(module, candidates="all", memory_limit=size).fit(X, y).explain(X[:2], k=2)


# Freed arrays go back to the system at once, so that peaks are those of arrays in use and not of
# what the allocator happens to hold (with glibc's defaults they differ by 80 MB between runs).
PEAK = """
import ctypes, json, resource, sys
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
libc = ctypes.CDLL(None)
assert libc.mallopt(M_MMAP_THRESHOLD, 65536) and libc.mallopt(M_TRIM_THRESHOLD, 65536)
import numpy as np, torch
torch.set_num_threads(1)
from sklearn_provenance import attribution as att
from sklearn_provenance.tangent import TangentFeatures

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

name, n, n_queries, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
torch.manual_seed(0)
width = int(sys.argv[5])
module = torch.nn.Sequential(
    torch.nn.Linear(20, width), torch.nn.Tanh(), torch.nn.Linear(width, 10)
)
X = np.random.default_rng(0).normal(size=(n, 20)).astype(np.float32)
y = np.arange(n) % 10
cls, params = {
    "gain": (att.InfoGainAttributor, {"measurement": "margin"}),
    "sketch": (att.InfoGainAttributor, {"features": TangentFeatures(n_components=512)}),
    "RelatIF": (att.RelatIFAttributor, {}),
    "RepSim": (att.RepSimAttributor, {}),
    "last layer": (att.LastLayerAttributor, {}),
    "representer": (att.LastLayerAttributor, {"kind": "representer"}),
    "TRAK": (att.TRAKAttributor, {"n_components": 512}),
    "EK-FAC": (att.EKFACAttributor, {"n_samples": 1}),
}[name]
warm = cls(module, candidates="all", memory_limit=limit, **params)
warm.fit(X[:600], y[:600]).explain(X[:5], k=5)
before = peak()
done = "answered"
try:
    a = cls(module, candidates="all", memory_limit=limit, **params).fit(X, y)
    e = a.explain(X[:n_queries], k=5)
    assert (e.indices >= 0).all()
except MemoryError as error:
    done = str(error)
print(json.dumps({"grown": peak() - before, "done": done}))
"""


@pytest.mark.parametrize(
    ("name", "n", "width", "n_queries", "limit", "answered"),
    [
        # The kernel of 4000 rows takes 128 MB.
        ("gain", 4000, 100, 20, 1e8, True),
        pytest.param("sketch", 4000, 100, 20, 1e8, True, marks=pytest.mark.thorough),
        pytest.param("RelatIF", 4000, 100, 20, 1e8, False, marks=pytest.mark.thorough),
        # Penultimate features take 80 MB, in double precision 160 MB.
        pytest.param("RepSim", 20_000, 1000, 20, 8.1e7, True, marks=pytest.mark.thorough),
        pytest.param("representer", 20_000, 1000, 20, 8.1e7, True, marks=pytest.mark.thorough),
        # The Hessian of 2010 weights and its factor take 65 MB.
        ("last layer", 5000, 200, 20, 7e7, True),
        # Sketches of 30000 rows take 61 MB, in double precision 123 MB.
        pytest.param("TRAK", 30_000, 100, 20, 6.6e7, True, marks=pytest.mark.thorough),
        # The Fisher matrix takes 16 MB, gradients of 800 queries 99 MB.
        pytest.param("EK-FAC", 400, 1000, 800, 3e7, True, marks=pytest.mark.thorough),
    ],
)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks glibc to free memory")
def test_peak(name, n, width, n_queries, limit, answered, template):
    """All rows are candidates. What batches take while they are worked off comes on top."""
    run = template.run(PEAK, name, n, n_queries, limit, width, timeout=300)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["done"] == "answered" if answered else "memory_limit" in found["done"]
    data, batches = n * 20 * 4, 3e7
    assert found["grown"] <= 1.2 * limit + 3 * data + batches, found["grown"] / 1e6
