"""Rows on disk survive interruptions, kills and company, and are never mistaken for others."""

import json
import os
import signal
import threading
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tqdm.auto import tqdm

from sklearn_provenance.tangent import FeatureStore

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")


def matrix(n_rows=20, n_components=3, dtype="float32", seed=0):
    return np.random.default_rng(seed).normal(size=(n_rows, n_components)).astype(dtype)


class Computed:
    """Gives rows, remembers which, and stops before the n-th call."""

    def __init__(self, values, stop_at=None):
        self.values, self.stop_at, self.calls = values, stop_at, []

    def __call__(self, rows):
        if len(self.calls) == self.stop_at:
            raise KeyboardInterrupt
        self.calls.append(rows)
        return self.values[rows]

    @property
    def rows(self):
        return [i for rows in self.calls for i in range(rows.start, rows.stop)]


def stored(folder, compute, batch_size=4, key="k", values=None, **arguments):
    values = compute.values if values is None else values
    store = FeatureStore(folder)
    return store.rows(key, *values.shape, values.dtype, compute, batch_size, **arguments)


@given(
    n_rows=st.integers(1, 30), n_components=st.integers(1, 5), seed=st.integers(0, 2**31),
    dtype=st.sampled_from(["float32", "float64", "int16"]),
    runs=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 5)), max_size=4),
)  # fmt: skip
@settings(max_examples=60)
def test_interruptions_lose_the_batch_in_flight_and_no_more(
    tmp_path_factory, n_rows, n_components, seed, dtype, runs
):
    folder = tmp_path_factory.mktemp("store")
    values = (matrix(n_rows, n_components, "float64", seed) * 100).astype(dtype)
    seen = []
    for batch_size, stop_at in [*runs, (7, None)]:
        compute = Computed(values, stop_at)
        try:
            rows = stored(folder, compute, batch_size)
        except KeyboardInterrupt:
            assert len(compute.calls) == stop_at
        seen += compute.rows
        assert all(call.stop - call.start <= batch_size for call in compute.calls)
    assert seen == list(range(n_rows))
    np.testing.assert_array_equal(rows, values)
    assert rows.dtype == dtype
    np.testing.assert_array_equal(np.load(next(folder.glob("*.npy"))), values)


def test_what_comes_back_is_a_read_only_map_of_the_file(tmp_path):
    rows = stored(tmp_path, Computed(matrix()))
    assert isinstance(rows, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        rows[0] = 1
    again = Computed(matrix())
    np.testing.assert_array_equal(stored(tmp_path, again), rows)
    assert again.calls == []


def test_keys_do_not_meet(tmp_path):
    def first(rows):
        # In the middle of one matrix another one is computed: the lock is not the folder's.
        stored(tmp_path, Computed(matrix(seed=2)), key="other")
        return matrix(seed=1)[rows]

    for _ in range(2):
        np.testing.assert_array_equal(stored(tmp_path, first, values=matrix()), matrix(seed=1))
        other = stored(tmp_path, Computed(matrix(seed=3)), key="other")
        np.testing.assert_array_equal(other, matrix(seed=2))


def test_memory_is_bounded_by_a_batch(tmp_path):
    def compute(rows):
        return np.full((rows.stop - rows.start, 1000), float(rows.start))

    tracemalloc.start()
    try:
        FeatureStore(tmp_path).rows("k", 4000, 1000, "float64", compute, 50)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    batch = 50 * 1000 * 8
    assert batch < peak < 4 * batch  # the whole is 80 batches


def test_progress_begins_where_it_stopped(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path, Computed(matrix(), stop_at=3))
    assert capsys.readouterr().err == ""
    stored(tmp_path, Computed(matrix()), progress="rows of a test")
    shown = capsys.readouterr().err
    assert "rows of a test" in shown
    assert "12/20" in shown
    assert "20/20" in shown
    assert "4/20" not in shown.replace("12/20", "")


def fork():
    """Fork; in the child, progress bars lock nothing that would stay locked when it is killed."""
    child = os.fork()
    if child == 0:
        tqdm.set_lock(threading.RLock())
    return child


def run_in_fork(work):
    """Exit status of a forked process; signals as negative numbers."""
    child = fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_before(name, number):
    """Make the number-th call of os.<name> kill the process instead."""
    original, calls = getattr(os, name), []

    def kill(*args):
        calls.append(args)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)

    setattr(os, name, kill)


@needs_fork
@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("number", range(1, 12))
def test_a_process_killed_between_any_two_steps(tmp_path, name, number):
    """Steps: header and manifest made, then per batch rows written, flushed, manifest replaced."""
    values = matrix()
    log = tmp_path / "log"

    def compute(rows):
        with log.open("a") as file:
            file.write(f"{rows.start} {rows.stop}\n")
        return values[rows]

    def work():
        killed_before(name, number)
        stored(tmp_path / "store", compute, values=values)

    total = {"fsync": 2 + 2 * 5, "replace": 2 + 5}[name]
    assert run_in_fork(work) == (-signal.SIGKILL if number <= total else 0)
    np.testing.assert_array_equal(stored(tmp_path / "store", compute, values=values), values)
    rows = [i for line in log.read_text().splitlines() for i in range(*map(int, line.split()))]
    assert sorted(set(rows)) == list(range(20))
    assert len(rows) <= 20 + 4  # the batch in flight


@needs_fork
def test_a_process_killed_at_any_time(tmp_path):
    values = matrix(20)
    log = tmp_path / "log"

    def compute(rows):
        with log.open("a") as file:
            file.write(f"{rows.start} {rows.stop}\n")
        time.sleep(0.004)
        return values[rows]

    kills, delays = 0, np.random.default_rng(0).uniform(0.005, 0.06, 100)
    for delay in delays:
        child = fork()
        if child == 0:
            try:
                stored(tmp_path / "store", compute, batch_size=1, values=values)
            finally:
                os._exit(0)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        kills += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
        manifests = list((tmp_path / "store").glob("*.json"))
        if manifests and json.loads(manifests[0].read_text())["content"]["done"] == [[0, 20]]:
            break
    rows = stored(tmp_path / "store", compute, batch_size=1, values=values)
    np.testing.assert_array_equal(rows, values)
    assert kills > 2
    assert len(log.read_text().splitlines()) <= 20 + kills


def slowly(values, log):
    def compute(rows):
        with log.open("a") as file:
            file.write(f"{rows.start}\n")
        time.sleep(0.02)
        return values[rows]

    return compute


@needs_fork
def test_processes_share_the_work_without_doing_it_twice(tmp_path):
    values = matrix()
    compute = slowly(values, tmp_path / "log")
    children = []
    for _ in range(4):
        child = fork()
        if child == 0:
            rows = stored(tmp_path / "store", compute, values=values)
            os._exit(0 if np.array_equal(rows, values) else 1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert (tmp_path / "log").read_text().split() == ["0", "4", "8", "12", "16"]


def test_threads_share_the_work_without_doing_it_twice(tmp_path, capsys):
    values, found = matrix(), []
    compute = slowly(values, tmp_path / "log")

    def work():
        found.append(stored(tmp_path / "store", compute, values=values, progress="shared"))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rows in found:
        np.testing.assert_array_equal(rows, values)
    assert len(found) == 3
    assert (tmp_path / "log").read_text().split() == ["0", "4", "8", "12", "16"]
    assert "shared: waiting for another process" in capsys.readouterr().err


def test_another_shape_or_type_under_one_key_is_refused(tmp_path):
    stored(tmp_path, Computed(matrix()))
    for other in (matrix(19), matrix(20, 4), matrix(dtype="float64")):
        with pytest.raises(ValueError, match="what differs"):
            stored(tmp_path, Computed(other))


def test_compute_must_give_the_rows_asked_for(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(4, 3\) for rows 0 to 3, got \(4, 4\)"):
        stored(tmp_path, Computed(matrix(20, 4)), values=matrix())
    np.testing.assert_array_equal(stored(tmp_path, Computed(matrix())), matrix())


@pytest.mark.parametrize("change", [{"n_rows": 0}, {"n_components": 0}, {"batch_size": 0}])
def test_rows_refuses(tmp_path, change):
    arguments = {"n_rows": 2, "n_components": 2, "batch_size": 1} | change
    with pytest.raises(ValueError, match="at least 1"):
        FeatureStore(tmp_path).rows("k", dtype="float32", compute=None, **arguments)


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(FileExistsError, match="file"):
        stored(path, Computed(matrix()))


def test_a_folder_is_made(tmp_path):
    stored(str(tmp_path / "a" / "b"), Computed(matrix()))
    names = sorted(p.suffix for p in (tmp_path / "a" / "b").iterdir())
    assert names == [".json", ".lock", ".npy"]
