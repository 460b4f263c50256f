"""Workers that are killed, slow or more, and a scheduler that goes away, change no answer."""

import os
import signal
import tempfile
import threading
import time

import numpy as np
import pytest

from sklearn_provenance.attribution import AttributionStore
from sklearn_provenance.attribution.rules._greedy_by_workers import SharedShards
from sklearn_provenance.attribution.rules._influence_by_workers import SharedMeanShards
from sklearn_provenance.retraining import retrain

from .problems import (
    MASKS,
    QUERIES,
    WORKS,
    Signal,
    X,
    Y,
    feature_attributor,
    network,
    small_pieces,
)
from .test_workers import same

distributed = pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]
LOCAL = {"threads_per_worker": 1, "dashboard_address": ":0", "n_workers": 2}


@pytest.fixture(scope="module", autouse=True)
def cut():
    """Rows in several pieces, cut in this process."""
    with pytest.MonkeyPatch.context() as patch:
        small_pieces(patch)
        yield


@pytest.fixture(scope="module")
def processes():
    """Workers that are processes, and are started again where they end."""
    import dask

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    settings = {
        "distributed.worker.multiprocessing-method": "forkserver",
        # A worker that is not there when this has passed is given up, also if it died again.
        "distributed.deploy.lost-worker-timeout": "1 hour",
    }
    with dask.config.set(settings):
        # Forked from a process that has imported what takes long: a new worker is ready soon. Dask
        # says what it imports when it first asks, and then no more.
        context = distributed.utils.get_mp_context()
        context.set_forkserver_preload(["distributed", "tests.workers.problems"])
        with distributed.LocalCluster(**LOCAL) as local:
            yield local


@pytest.fixture(scope="module")
def client(processes):
    with distributed.Client(processes) as client:
        yield client


@pytest.fixture(scope="module")
def works():
    """The kinds of work, what a signal stops in each, and their answers on one machine."""
    with tempfile.TemporaryDirectory() as folder:
        stopper = Signal(folder)
        works = {name: work(stopper) for name, work in WORKS.items()}
        yield stopper, works, {name: work(None) for name, work in works.items()}


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.parametrize("name", WORKS)
def test_a_worker_is_killed_or_slow(name, killed, client, works):
    stopper, works, expected = works
    stopper.set(60 if killed else 1)
    found = []
    thread = threading.Thread(target=lambda: found.append(works[name](client)))
    thread.start()
    pid = stopper.pid()
    assert pid != os.getpid()
    if killed:
        os.kill(pid, signal.SIGKILL)
    thread.join(120)
    same(name, expected[name], found[0])


@pytest.mark.parametrize("name", ["greedy_gain", "greedy_loss", "coreset", "influence"])
def test_a_worker_is_killed_between_rounds(name, client, works, monkeypatch):
    """What it held is made again by others, from the rows and the picks so far."""
    _, works, expected = works
    client.wait_for_workers(2, timeout=120)
    pids = list(client.run(os.getpid).values())
    kind = SharedMeanShards if name == "influence" else SharedShards
    condition = kind.condition
    rounds = []

    def condition_and_kill(shards, *pick):
        condition(shards, *pick)
        rounds.append(pick)
        if len(rounds) == 3:
            os.kill(pids[0], signal.SIGKILL)

    monkeypatch.setattr(kind, "condition", condition_and_kill)
    same(name, expected[name], works[name](client))
    assert len(rounds) > 3


def test_the_number_of_workers_changes_nothing(processes, client, works):
    """To the last bit, also where sums come in another order than on one machine."""
    _, works, _ = works
    answers = {}
    for n_workers in (1, 4, 2):
        processes.scale(n_workers)
        client.wait_for_workers(n_workers)
        while len(client.nthreads()) != n_workers:
            time.sleep(0.05)
        answers[n_workers] = {name: work(client) for name, work in works.items()}
    for n_workers in (4, 2):
        for name in WORKS:
            if name == "feature_pass":
                assert answers[n_workers][name] == answers[1][name]
            else:
                np.testing.assert_array_equal(answers[n_workers][name], answers[1][name])


def test_a_scheduler_goes_away(works, tmp_path):
    """What is finished is kept, and the same call goes on with another client."""
    stopper, _, expected = works
    attributor = feature_attributor(stopper)
    outputs = tmp_path / "outputs"
    store = AttributionStore(tmp_path / "store", shard_rows=10)
    model = network(stopper)

    def fit(client):
        return attributor.fit(X, Y, store=store, client=client)

    def train(client):
        options = {"store": outputs, "group_size": 1, "client": client}
        return retrain(model, X, Y, MASKS, X_eval=QUERIES, **options)

    for work, kept in ((fit, tmp_path / "store"), (train, outputs)):
        local = distributed.LocalCluster(processes=False, **LOCAL | {"n_workers": 1})
        with distributed.Client(local) as client:
            caught = []

            def run(work=work, client=client, caught=caught):
                try:
                    work(client)
                except RuntimeError as error:
                    caught.append(str(error))

            n_before = len(list(kept.glob("*.npy"))) if kept.exists() else 0
            thread = threading.Thread(target=run)
            thread.start()
            while not kept.exists() or len(list(kept.glob("*.npy"))) <= n_before:
                time.sleep(0.01)
            with stopper.in_threads():
                stopper.set(5)
                stopper.pid()
            local.loop.add_callback(local.scheduler.close)
            thread.join(60)
        assert "the scheduler must stay up" in caught[0]
        assert str(kept) in caught[0]
        assert "make another client" in caught[0]
    table = store.folder.table
    assert table.folder.joinpath("journal.json").exists()
    whole = retrain(model, X, Y, MASKS, X_eval=QUERIES, group_size=1)
    np.testing.assert_array_equal(train(None).outputs, whole.outputs)
    fit(None)
    files = {path.name: path.read_bytes() for path in table.folder.iterdir() if path.is_file()}
    files.pop(".lock")
    assert files == expected["feature_pass"]
