"""Whoever keeps files here: damage, full disks, kills, company and folders without rights."""

import codecs
import errno
import fcntl
import importlib.util
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance._utils import files
from sklearn_provenance._utils.files import Rows, write
from sklearn_provenance.evaluation import retrain
from sklearn_provenance.explanation._page import write_page
from sklearn_provenance.retraining._removals import Removals
from sklearn_provenance.tangent import FeatureStore

from ..checks import thorough

X = np.random.default_rng(0).normal(size=(24, 3))
Y = np.arange(24) % 3
MASKS = np.random.default_rng(1).random((6, 24)) < 0.7
COMPUTED = []


class Counting(LogisticRegression):
    def fit(self, X, y):
        COMPUTED.append(len(X))
        return super().fit(X, y)


def features(folder):
    def compute(rows):
        COMPUTED.append(rows.start)
        return X[rows] ** 2

    return FeatureStore(folder).rows("squares", *X.shape, "float64", compute, 5)


def retraining(folder):
    return retrain(Counting(), X, Y, MASKS, X_eval=X[:4], store=folder).outputs


def removals(folder):
    copies = Removals(Counting(), X, Y, X[:4], (0,), folder)
    return copies.without([np.array([0, 1]), np.array([5])], [0, 0])


SAVED = {}


def estimator(folder):
    """Save where there is no file, and load."""
    if not SAVED:
        options = {"width": "small", "max_epochs": 1, "random_state": 0, "device": "cpu"}
        SAVED["classifier"] = ProvenanceClassifier(**options).fit(X, Y)
    path = Path(folder, "model")
    if not path.exists():
        Path(folder).mkdir(exist_ok=True)
        SAVED["classifier"].save(path)
    return ProvenanceClassifier.load(path, device="cpu").predict_proba(X)


def page(folder):
    path = Path(folder, "page.html")
    Path(folder).mkdir(exist_ok=True)
    write_page("<p>" + "page" * 500, path)
    return np.frombuffer(path.read_bytes(), np.uint8)


USERS = [features, retraining, removals, estimator]
ROWS = [features, retraining]


def files_of(folder):
    return sorted(p for p in Path(folder).rglob("*") if p.is_file() and p.suffix != ".lock")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Finished folders and what they hold."""
    folders = {user: tmp_path_factory.mktemp("kept") / "folder" for user in USERS}
    return {user: (folder, np.array(user(folder))) for user, folder in folders.items()}


def damages(path):
    raw = path.read_bytes()
    rng = np.random.default_rng(0)
    for size in {0, 1, 7, 9, len(raw) - 1, *rng.integers(0, len(raw), 8)}:
        yield raw[:size]
    for place in {0, 8, len(raw) - 1, *rng.integers(0, len(raw), 60)}:
        altered = bytearray(raw)
        altered[place] ^= 1 << rng.integers(8)
        yield bytes(altered)
    yield raw + b"0"
    yield b"a file of somebody else"
    yield b"[" * 100_000
    yield b'{"content": {"done": [[0, 24]]}, "checksum": ""}'
    yield np.random.default_rng(0).bytes(len(raw))


@pytest.mark.parametrize("user", USERS)
def test_damaged_and_foreign_files_give_a_clear_error_or_the_right_answer(user, kept, tmp_path):
    original, expected = kept[user]
    folder, refused = tmp_path / "folder", 0
    shutil.copytree(original, folder)
    for path in files_of(folder):
        sound = path.read_bytes()
        for content in damages(path):
            path.write_bytes(content)
            try:
                found = user(folder)
            except (ValueError, OSError) as error:
                found, message = None, str(error)
            if found is None:
                assert str(path.parent) in message  # where to look
                assert path.read_bytes() == content
                refused += 1
            else:
                np.testing.assert_array_equal(found, expected)
        path.write_bytes(sound)
    assert refused > 50 * len(files_of(folder))
    np.testing.assert_array_equal(user(folder), expected)


@pytest.mark.parametrize("user", ROWS)
def test_a_missing_file_is_not_replaced(user, kept, tmp_path):
    original, expected = kept[user]
    for missing in files_of(original):
        folder = tmp_path / missing.name
        shutil.copytree(original, folder)
        (folder / missing.name).unlink()
        (rest,) = files_of(folder)
        content = rest.read_bytes()
        with pytest.raises(ValueError, match=r"no manifest|is missing.* Delete"):
            user(folder)
        assert rest.read_bytes() == content
        rest.unlink()  # what the message says to do
        np.testing.assert_array_equal(user(folder), expected)


@pytest.mark.parametrize("user", ROWS)
def test_a_foreign_array_is_not_replaced(user, kept, tmp_path):
    name = next(path.name for path in files_of(kept[user][0]) if path.suffix == ".npy")
    np.save(tmp_path / name, np.ones(3))
    content = (tmp_path / name).read_bytes()
    with pytest.raises(ValueError, match="has no manifest"):
        user(tmp_path)
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize(
    "other", [np.zeros((24, 4)), np.zeros((24, 3), np.float32), np.asfortranarray(np.ones((24, 3)))]
)
def test_an_array_of_another_shape_or_type_is_refused(tmp_path, other):
    features(tmp_path)
    (path,) = tmp_path.glob("*.npy")
    np.save(path, other)
    with pytest.raises(ValueError, match="not an array of shape"):
        features(tmp_path)


def test_manifests_of_an_earlier_version_say_so(tmp_path):
    features(tmp_path)
    (path,) = tmp_path.glob("*.json")
    path.write_text('{"format": "sklearn_provenance feature rows, version 1", "n_done": 24}')
    with pytest.raises(ValueError, match=r"of an earlier version.* Delete"):
        features(tmp_path)


@contextmanager
def largest_file(size):
    """As a full disk: writing past a size raises OSError (Python ignores the signal)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("user", [*USERS, page])
def test_a_full_disk_is_an_error_that_names_the_file(user, tmp_path):
    expected = np.array(user(tmp_path / "reference"))
    # Not those of manifests: these hold seconds, with more digits in one run than in another.
    files = [path for path in files_of(tmp_path / "reference") if path.suffix != ".json"]
    largest = max(path.stat().st_size for path in files)
    for size in {0, 1, 100, largest // 2, largest - 1}:
        folder = tmp_path / str(size)
        with largest_file(size), pytest.raises(OSError, match="File too large") as caught:
            user(folder)
        assert Path(caught.value.filename).is_relative_to(folder)
        assert not list(folder.rglob("*.tmp"))
        np.testing.assert_array_equal(user(folder), expected)
        for path in files_of(folder):
            if path.suffix == ".npy":
                relative = path.relative_to(folder)
                assert path.read_bytes() == (tmp_path / "reference" / relative).read_bytes()


@pytest.fixture
def folder_without_rights():
    """A folder that cannot be written to, also where tests run as root."""
    base = Path(tempfile.mkdtemp())  # those of pytest cannot be entered by others
    base.chmod(0o755)
    root = os.geteuid() == 0

    @contextmanager
    def protect(folder):
        inside = [folder, *folder.rglob("*")]
        for path in inside:
            path.chmod(0o555 if path.is_dir() else 0o444)
        if root:
            codecs.lookup("cp437")  # that of zip files, which others may have no right to read
            os.seteuid(65534)
        try:
            yield
        finally:
            if root:
                os.seteuid(0)
            for path in inside:
                path.chmod(0o755 if path.is_dir() else 0o644)

    yield base / "folder", protect
    shutil.rmtree(base)


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("locks", [True, False])
def test_what_is_finished_can_be_read_without_rights(user, locks, folder_without_rights):
    folder, protect = folder_without_rights
    expected = np.array(user(folder))
    for path in [] if locks else list(folder.rglob("*.lock")):
        path.unlink()
    COMPUTED.clear()
    with protect(folder):
        np.testing.assert_array_equal(user(folder), expected)
    assert COMPUTED == []


class Stop(BaseException):
    pass


def interrupted(user, folder, name, number):
    """Raise in the number-th call of os.<name>."""
    original, calls = getattr(os, name), []

    def stop(*args):
        calls.append(args)
        if len(calls) == number:
            raise Stop
        return original(*args)

    setattr(os, name, stop)
    try:
        user(folder)
    except Stop:
        return True
    finally:
        setattr(os, name, original)
    return False


@pytest.mark.parametrize("user", ROWS)
def test_what_is_not_finished_cannot_go_on_without_rights(user, folder_without_rights):
    folder, protect = folder_without_rights
    assert interrupted(user, folder, "fsync", 6)
    with protect(folder), pytest.raises(OSError, match="rows have still to be computed") as caught:
        user(folder)
    assert caught.value.filename == str(folder)
    user(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
@pytest.mark.parametrize("name", ["fsync", *thorough("replace")])
@pytest.mark.parametrize("user", [*USERS, page])
def test_a_killed_process_leaves_files_that_another_goes_on_with(user, name, tmp_path):
    expected = np.array(user(tmp_path / "reference"))
    reference = {
        path.relative_to(tmp_path / "reference"): path.read_bytes()
        for path in files_of(tmp_path / "reference")
        if path.suffix in (".npy", ".html")
    }
    killed = True
    for number in range(1, 50):
        folder, original, calls = tmp_path / str(number), getattr(os, name), []
        child = os.fork()
        if child == 0:

            def kill(*args, number=number, original=original, calls=calls):
                calls.append(args)
                if len(calls) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*args)

            setattr(os, name, kill)
            try:
                user(folder)
            finally:
                os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        np.testing.assert_array_equal(user(folder), expected)
        for path, content in reference.items():
            assert (folder / path).read_bytes() == content
        if not killed:
            break
    assert not killed
    assert number > 1


@pytest.mark.parametrize("user", [*USERS, page])
def test_threads_at_once(user, tmp_path):
    expected, found = np.array(user(tmp_path / "reference")), []
    COMPUTED.clear()
    threads = [
        threading.Thread(target=lambda: found.append(user(tmp_path / "shared"))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for values in found:
        np.testing.assert_array_equal(values, expected)
    if user in ROWS:
        assert len(COMPUTED) == {features: 5, retraining: 6}[user]


def test_rows_in_any_order_and_once(tmp_path):
    def rows():
        return Rows(tmp_path / "a.npy", tmp_path / "a.json", {"of": "test"}, 7)

    values = np.arange(14.0).reshape(7, 2)
    for part in ([5, 2, 3], [0], [6, 1], [4]):
        with rows().locked() as kept:
            kept.add(part, values[part])
            np.testing.assert_array_equal(kept.take(part), values[part])
            with pytest.raises(ValueError, match="done already"):
                kept.add(part, values[part])
    with rows().locked() as kept:
        assert kept.done.all()
        np.testing.assert_array_equal(kept.array(), values)
        np.testing.assert_array_equal(kept.take([6, 0]), values[[6, 0]])


def test_written_through_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write(tmp_path / "link", b"content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"content"


def test_rows_that_vanish_while_they_are_read_are_refused(tmp_path):
    values = np.arange(14.0).reshape(7, 2)
    rows = Rows(tmp_path / "a.npy", tmp_path / "a.json", {"of": "test"}, 7)
    with rows.locked():
        rows.add(range(7), values)
        os.truncate(tmp_path / "a.npy", (tmp_path / "a.npy").stat().st_size - 1)
        np.testing.assert_array_equal(rows.take([0]), values[:1])
        with pytest.raises(ValueError, match=r"was truncated while it was read\. Delete a\.npy"):
            rows.take([6])


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_named(monkeypatch, tmp_path, number):
    """As some network file systems."""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    rows = Rows(tmp_path / "a.npy", tmp_path / "a.json", {"of": "test"}, 7)
    with pytest.raises(OSError, match=r"cannot be locked .*; use a local disk") as caught:
        rows.locked().__enter__()
    assert caught.value.errno == number
    assert caught.value.filename == str(tmp_path / "a.lock")


def test_a_lock_that_cannot_be_made_is_an_error(tmp_path):
    """Not for missing rights, but because a folder has its name."""
    (tmp_path / "a.lock").mkdir()
    rows = Rows(tmp_path / "a.npy", tmp_path / "a.json", {"of": "test"}, 7)
    with pytest.raises(IsADirectoryError):
        rows.locked().__enter__()


class Msvcrt:
    """The locks of Windows, by those of this system: one byte, PermissionError where it is held."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def locking(self, descriptor, mode, n_bytes):
        assert n_bytes == 1
        try:
            fcntl.flock(descriptor, fcntl.LOCK_UN if mode == 0 else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PermissionError(*error.args) from error


def test_locks_of_windows(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", Msvcrt())
    spec = importlib.util.find_spec(files.__name__)
    windows = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(windows)

    def rows():
        return windows.Rows(tmp_path / "a.npy", tmp_path / "a.json", {"of": "test"}, 2)

    found = []

    def wait():
        with rows().locked(progress="rows") as kept:
            found.append(kept.done.all())

    with rows().locked() as kept:
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.1)
        kept.add([0, 1], np.ones((2, 3)))
    thread.join()
    assert found == [True]
    assert "rows: waiting for another process" in capsys.readouterr().err
