"""Workers of a client compute the chunks of rows that are a Dask array."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from sklearn_provenance import InfluenceAttributor, InfoGainAttributor, InfoLossAttributor
from sklearn_provenance._utils import cluster
from sklearn_provenance._utils.dask_rows import DaskRows
from sklearn_provenance.attribution import RelatIFAttributor
from sklearn_provenance.retrieval import ExactIndex
from sklearn_provenance.tangent import TangentFeatures

from ..checks import thorough
from .problems import small_pieces

distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")
# What other packages say of each other.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
N = 90
RNG = np.random.default_rng(0)
Y = np.arange(N) % 3
X = (RNG.normal(size=(N, 6)) + Y[:, None]).astype(np.float32)
QUERIES = RNG.normal(size=(4, 6)).astype(np.float32) + 1
SKETCH = TangentFeatures(n_components=8, random_state=0, batch_size=20)


def itself(rows):
    return rows


@pytest.fixture(autouse=True)
def cut(monkeypatch):
    small_pieces(monkeypatch)


@pytest.fixture(scope="module")
def client():
    """One worker with one thread, which a task that waits for another would hold up."""
    settings = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"}
    local = distributed.LocalCluster(processes=False, **settings)
    with local, distributed.Client(local, set_as_default=False) as client:
        yield client


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double().eval()
    return {"own": LogisticRegression(max_iter=500).fit(X, Y), "network": network}


CASES = [
    (InfoGainAttributor, "own", {"pool_size": 20}),
    (InfoLossAttributor, "network", {}),
    *thorough(
        (InfoGainAttributor, "own", {}),
        (InfoGainAttributor, "network", {}),
        (InfoLossAttributor, "own", {}),
        (RelatIFAttributor, "own", {}),
        (RelatIFAttributor, "network", {}),
        (InfluenceAttributor, "network", {}),
    ),
]


@pytest.mark.parametrize("persisted", [False, True])
@pytest.mark.parametrize(("cls", "kind", "params"), CASES)
def test_answers_are_those_of_one_machine(client, models, cls, kind, params, persisted, tmp_path):
    features = itself if kind == "own" else SKETCH
    make = cls(models[kind], features=features, measurement="margin", **params)
    known = make.fit(X, Y).explain(QUERIES, k=4)
    rows = da.from_array(X, chunks=((40, 0, 20, 30), (2, 4)))
    if persisted:
        rows = client.persist(rows)  # only this client can read it
    make.fit(rows, Y, client=client)
    found = make.explain(QUERIES, k=4, client=client)
    np.testing.assert_array_equal(found.indices, known.indices)
    np.testing.assert_allclose(found.scores, known.scores, rtol=1e-10, atol=1e-14)
    if cls is InfoGainAttributor:
        make.fit(rows, Y, client=client, store=tmp_path / "store")
        make.append_rows(rows[:40], Y[:40], client=client)
        assert len(make.training_) == N + 40


def test_pieces_do_not_pass_through_the_client(client, monkeypatch):
    rows = da.from_array(X.astype(np.float64), chunks=(30, 6))
    expected = ExactIndex().build(X.astype(np.float64)).search(QUERIES, 20)
    read = []
    monkeypatch.setattr(
        DaskRows, "_chunk", lambda *a, make=DaskRows._chunk: read.append(a) or make(*a)
    )
    with cluster.using(client):
        index = ExactIndex().build(rows)
        assert not read
        found = index.search(QUERIES, 20)
    np.testing.assert_array_equal(found, expected)
    assert not read


def test_a_task_does_not_wait_for_others(client):
    """Rows that were sent to a worker are computed in its thread."""
    rows = DaskRows(da.from_array(X, chunks=20))
    work = cluster.Cluster(client, "a sum")
    shared = work.shared(rows)
    assert work.result(work.submit(_sum, shared)) == X.sum()

    def attributed():
        model = LogisticRegression().fit(X, Y)
        return InfoGainAttributor(model, features=itself).fit(rows.array, Y).explain(QUERIES)

    found = client.submit(attributed).result(timeout=120)  # a task of the user's own
    np.testing.assert_array_equal(found.indices, attributed().indices)


def _sum(rows):
    return np.asarray(rows).sum()


def test_errors_of_chunks_are_raised(client):
    def fails(block):
        raise ValueError("no such file")

    rows = da.from_array(X, chunks=20).map_blocks(fails, dtype=X.dtype, meta=X[:0])
    model = LogisticRegression().fit(X, Y)
    with pytest.raises(ValueError, match="no such file"):
        InfoGainAttributor(model, features=itself).fit(rows, Y, client=client)
