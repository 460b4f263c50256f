"""A scheduler that is killed, and comes back at its address with workers that know nothing."""

import threading
import time

import joblib
import numpy as np
import pytest

from sklearn_provenance._utils.cluster import Cluster
from sklearn_provenance.attribution import AttributionStore
from sklearn_provenance.attribution.rules._greedy_by_workers import SharedShards
from sklearn_provenance.attribution.rules._influence_by_workers import SharedMeanShards
from sklearn_provenance.retraining import Recipe, retrain
from sklearn_provenance.tangent import TangentFeatures

from .machines import Machines
from .problems import (
    MASKS,
    QUERIES,
    TRUTH,
    Signal,
    X,
    Y,
    feature_attributor,
    fitted,
    influence_attributor,
    network,
    small_pieces,
)

distributed = pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def cut(monkeypatch):
    small_pieces(monkeypatch)


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    machines = Machines(tmp_path_factory.mktemp("machines"))
    yield machines
    machines.close()


@pytest.fixture
def client(machines):
    machines.start()
    with distributed.Client(machines.address, timeout=120) as client:
        client.wait_for_workers(1, timeout=120)
        yield client


@pytest.fixture
def stopper(tmp_path):
    return Signal(tmp_path)


def running(client):
    """Wait until a client has found the scheduler that came back, with a worker."""
    end = time.monotonic() + 120
    while client.status != "running":
        assert client.status == "connecting"
        assert time.monotonic() < end
        time.sleep(0.05)
    client.wait_for_workers(1, timeout=120)


class Killed:
    """Run a call, and kill the scheduler while a worker is at a piece, after some results."""

    def __init__(self, monkeypatch, machines, stopper, after):
        self.machines = machines
        self.stopper = stopper
        self.after = after
        self.n_results = 0
        result = Cluster.result

        def counted(cluster, future):
            value = result(cluster, future)
            self.n_results += 1
            if self.n_results == self.after:
                stopper.set(5)
            return value

        monkeypatch.setattr(Cluster, "result", counted)

    def message(self, call):
        """Return what the call says."""
        caught = []

        def run():
            try:
                call()
            except RuntimeError as error:
                caught.append(str(error))

        if not self.after:
            self.stopper.set(5)
        thread = threading.Thread(target=run)
        thread.start()
        self.stopper.pid()
        self.machines.kill_scheduler()
        thread.join(120)
        assert not thread.is_alive()
        assert len(caught) == 1
        return caught[0]


@pytest.fixture
def asked(monkeypatch):
    """Names of the functions that workers are asked to call."""
    names = []
    submit = Cluster.submit
    monkeypatch.setattr(Cluster, "submit", lambda *a: names.append(a[1].__name__) or submit(*a))
    return names


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("pass", "another client"),
        ("features", "the same client"),
        ("retraining", "the same client"),
    ],
)
def test_what_is_finished_in_a_store_is_not_done_again(
    kind, what, client, machines, stopper, asked, tmp_path, monkeypatch
):
    kept = tmp_path / "kept"
    model = network(stopper)
    options = {"group_size": 1, "recipe": Recipe(max_epochs=2), "X_eval": QUERIES}

    def work(client, folder=kept):
        if kind == "retraining":
            return retrain(model, X, Y, MASKS, store=folder, client=client, **options).outputs
        if kind == "features":
            params = {"n_components": 16, "batch_size": 5, "store": folder}
            features = TangentFeatures(model.eval(), **params).fit(X)
            with joblib.parallel_config("threading" if client is None else "dask", client=client):
                return features.transform(X, Y)
        store = AttributionStore(folder, shard_rows=5)
        feature_attributor(stopper).fit(X, Y, store=store, client=client)
        files = [path for path in folder.iterdir() if path.name != ".lock"]
        return {path.name: path.read_bytes() for path in files}

    expected = work(None, tmp_path / "alone")
    piece, n_pieces = {
        "retraining": ("_train", 6),
        "pass": ("_write_shard", 20),
        "features": ("_measure_piece", 20),
    }[kind]
    killed = Killed(monkeypatch, machines, stopper, after=1)
    message = killed.message(lambda: work(client))
    n_done = killed.n_results
    assert f"the client has lost it after {n_done} pieces" in message
    assert "what workers held in memory is lost" in message
    assert f"that are done are in {str(kept)!r}. Start the scheduler" in message
    machines.start()
    asked.clear()
    if what == "the same client":
        running(client)
        found = work(client)
    else:
        found = work(machines.address)
    assert asked == [piece] * (n_pieces - n_done)
    if kind != "pass":
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


def test_what_has_no_store_begins_again(client, machines, stopper, asked, monkeypatch):
    attributor = fitted(stopper)
    expected = attributor.score(QUERIES, TRUTH)
    killed = Killed(monkeypatch, machines, stopper, after=1)
    message = killed.message(lambda: attributor.score(QUERIES, TRUTH, client=client))
    assert "during the density of targets" in message
    assert "what workers held in memory is lost. Start the scheduler" in message
    n_asked = len(asked)
    machines.start()
    running(client)
    asked.clear()
    assert attributor.score(QUERIES, TRUTH, client=client) == pytest.approx(expected, rel=1e-12)
    assert len(asked) >= n_asked


@pytest.mark.parametrize("kind", ["explain", "select", "influence"])
def test_between_two_rounds(kind, client, machines, stopper, monkeypatch):
    """The client is back before it is asked again: it must not wait for futures of before."""
    shards = SharedShards
    if kind == "influence":
        shards = SharedMeanShards
        attributor = influence_attributor(stopper)
    else:
        attributor = fitted(stopper)

    def work(attributor, client=None):
        if kind == "select":
            return attributor.select(QUERIES, 8, client=client)
        return attributor.explain(QUERIES, k=5, client=client).indices

    expected = work(attributor)
    fresh = influence_attributor(stopper) if kind == "influence" else fitted(stopper)
    condition = shards.condition
    rounds = []

    def condition_and_restart(shards, *pick):
        condition(shards, *pick)
        rounds.append(pick)
        if len(rounds) == 3:
            machines.kill_scheduler()
            machines.start()
            running(client)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "condition", condition_and_restart)
        with pytest.raises(RuntimeError, match="the scheduler must stay up during the"):
            work(fresh, client)
    assert len(rounds) == 3
    np.testing.assert_array_equal(work(fresh, client), expected)
