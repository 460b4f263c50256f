"""Pieces of work on a cluster: which client is in use, and what is said of those that fail."""

import sys
from threading import Lock

import joblib
import pytest

from sklearn_provenance._utils import cluster
from sklearn_provenance._utils.cluster import Cluster

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
# Workers are threads of this process, and see what tests write here.
RUNS = []


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0"
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client


@pytest.fixture
def work(client):
    RUNS.clear()
    work = Cluster(client, "the work", kept="; some of it is kept")
    return work, work.shared("shared")


def noted(shared, *arguments):
    RUNS.append(arguments)
    return shared, *arguments


def broken_disk(shared, times):
    RUNS.append(times)
    if len(RUNS) <= times:
        raise OSError("the disk is gone")
    return len(RUNS)


def broken(shared):
    raise KeyError("no fault of the machine")


def client_inside(shared):
    with joblib.parallel_config("dask", client=distributed.get_client()):
        return cluster.current_client() is None


def test_an_address_is_enough(client):
    address = client.scheduler.address
    with cluster.using(address):
        made = cluster.current_client()
        assert made.scheduler.address == address
        assert made is not client
    assert made.status == "closed"
    assert cluster.current_client() is None
    with cluster.opened(None) as found:
        assert found is None


def test_a_task_has_no_client(client, work):
    """One that waited for others would hold up its worker."""
    with joblib.parallel_config("dask", client=client):
        assert cluster.current_client() is client
    work, shared = work
    assert work.result(work.submit(client_inside, shared))


def test_what_the_machine_breaks_is_tried_again(work):
    work, shared = work
    assert work.result(work.submit(broken_disk, shared, 2)) == 3
    RUNS.clear()
    with pytest.raises(OSError, match="the disk is gone"):
        work.result(work.submit(broken_disk, shared, 9))
    assert len(RUNS) == 4


def test_an_error_ends_the_pieces_that_need_its_piece(work):
    work, shared = work
    piece = work.submit(broken, shared)
    with pytest.raises(KeyError, match="no fault") as caught:
        work.result(work.submit(noted, shared, piece))
    assert caught.value.__notes__ == ["On a Dask worker, in the work."]
    assert not RUNS


def test_objects_must_be_sent(work):
    with pytest.raises(TypeError, match="the work needs objects that can be sent to workers"):
        work[0].shared(Lock())


class KillsWorkers:
    def result(self):
        raise distributed.KilledWorker("piece", None, 3)


class CannotFetch:
    """A result on a scheduler that has gone."""

    status = "finished"

    def result(self):
        raise distributed.comm.CommClosedError("in <TCP>: Connection reset by peer")


def test_what_is_lost_is_said(client, work):
    work, shared = work
    assert work.result(work.submit(noted, shared, 1)) == ("shared", 1)
    waiting = client.submit(sum, [1, 2], key="waiting")
    waiting.cancel()
    lost = "must stay up during the work, but .* after 1 pieces.*; some of it is kept. Start the"
    with pytest.raises(RuntimeError, match=lost):
        work.result(waiting)
    with pytest.raises(RuntimeError, match=lost):
        work.result(CannotFetch())
    with pytest.raises(RuntimeError, match=r"must survive the work, .*; some of it is kept"):
        work.result(KillsWorkers())


def test_a_client_that_is_closed(client):
    with distributed.Client(client.scheduler.address) as closed:
        work = Cluster(closed, "the work")
        shared = work.shared(1)
    for call in (
        lambda: work.submit(noted, shared),
        lambda: list(work.in_order(noted, shared, [()])),
    ):
        with pytest.raises(RuntimeError, match="the client has lost it after 0 pieces"):
            call()


class Unaware:
    """A client whose scheduler has gone a moment ago."""

    status = "running"

    def nthreads(self):
        raise distributed.comm.CommClosedError("in <TCP>")


def test_a_client_that_does_not_know_yet():
    with pytest.raises(RuntimeError, match="the client has lost it after 0 pieces"):
        list(Cluster(Unaware(), "the work").in_order(noted, None, [()]))


def test_the_package_that_is_missing_is_named(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install sklearn-provenance\[dask\]"):
        Cluster(client, "the work")
