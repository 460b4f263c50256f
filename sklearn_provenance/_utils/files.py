"""Files that are written in one step, locked, checked when they are read, and resumed."""

import errno
import hashlib
import io
import json
import math
import os
import sys
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from tqdm.auto import tqdm

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

_FORMAT = "sklearn_provenance rows, version 2"
# What an attempt to take a lock that another holds raises.
_HELD = PermissionError if fcntl is None else BlockingIOError
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_PIECE = 1 << 20  # bytes that are read at once


def write(path, *parts):
    """Write a file in one step: it holds the old content or the new one, never a part.

    Parameters
    ----------
    path : path-like
        File to write or replace; a link stays a link.
    *parts : bytes-like
        Content of the file. Where it cannot be written, as to a full disk, the OSError names
        ``path``.
    """
    path = Path(path).resolve()
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    with _naming(path):
        try:
            with temporary.open("xb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def checksum(*parts):
    """Compute a digest of bytes-like parts, as text."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def read_npz(path, keys):
    """Read the named arrays of an npz file, each decompressed once and never unpickled."""
    with open(path, "rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
            missing = [key for key in keys if key not in archive.files]
            if missing:
                raise ValueError(f"no array named {', '.join(missing)}, only {archive.files}")
            return [archive[key] for key in keys]
        # A damaged archive raises whatever its codec (deflate, LZMA, ...) raises.
        except Exception as error:
            raise ValueError(f"{path} is not a usable npz file: {error}") from error


class Rows:
    """An array on disk whose rows are computed bit by bit, by several processes in turn.

    Beside the ``.npy`` file there are an empty ``.lock`` file, and a manifest, which holds the
    ``identity`` of the rows and which of them are done. Rows are on disk before the manifest counts
    them, and the manifest is replaced in one step, so that a process that is killed loses no more
    than the rows in flight. Rows are checked against the manifest's checksum when it is read. Rows
    that are done are never written again.

    Parameters
    ----------
    data, manifest : path-like
        The two files.
    identity : dict
        Everything that the rows depend on, as JSON values by name.
    n_rows : int
        Number of rows.
    row_shape : tuple of int, default=None
        Shape of one row; None takes that of the first rows.
    dtype : dtype-like, default=None
        Type of the numbers; None takes that of the first rows.

    Attributes
    ----------
    done : ndarray of shape (n_rows,), bool
        Rows that are done. Read under the lock.
    notes : dict
        JSON values that were stored with :meth:`add`.
    """

    def __init__(self, data, manifest, identity, n_rows, row_shape=None, dtype=None):
        self.data = Path(data)
        self.manifest = Path(manifest)
        self.identity = {"format": _FORMAT, **identity}
        self.n_rows = n_rows
        if row_shape is not None:
            self.identity |= {"shape": [n_rows, *row_shape], "dtype": np.dtype(dtype).str}
        self._forget()

    def _forget(self):
        """Start as if no row were done."""
        self.done = np.zeros(self.n_rows, bool)
        self.notes = {}
        self.row_shape = None
        self.dtype = None
        self._runs = []  # [start, stop] of the rows that are done, in the order of their checksum
        self._digest = hashlib.blake2b(digest_size=16)
        self._read_text = None  # of the manifest

    @contextmanager
    def locked(self, progress=None):
        """Wait for the lock, hold it, and read which rows are done.

        In a folder that cannot be written to, rows can be read without the lock if all are done.

        Parameters
        ----------
        progress : str, default=None
            Name of the rows in the line that tells that another process is waited for; None writes
            no line.
        """
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.data.with_suffix(".lock"), progress) as obstacle:
            self._open()
            if obstacle is not None and not self.done.all():
                raise OSError(
                    obstacle.errno,
                    f"{obstacle.strerror}, and {np.count_nonzero(~self.done)} of {self.n_rows} "
                    "rows have still to be computed; choose a folder that can be written to",
                    str(self.data.parent),
                ) from obstacle
            yield self

    def _open(self):
        """Read the manifest and check the rows, unless they are as they were read before."""
        try:
            text = self.manifest.read_bytes()
        except FileNotFoundError:
            if self.data.exists():
                raise self._refusal(self.data, f"has no manifest {self.manifest.name}") from None
            self._forget()
            return
        if text == self._read_text:
            return  # nobody else was here since
        self._forget()
        try:
            manifest = json.loads(text)
            content = manifest["content"]
            sound = manifest["checksum"] == checksum(json.dumps(content).encode())
        except (ValueError, TypeError, KeyError, RecursionError):
            sound = False
        if not sound:
            what = "is damaged, of an earlier version, or not a manifest of such rows"
            raise self._refusal(self.manifest, what)
        # The checksum tells that `_write_manifest` wrote this content.
        written = content["identity"]
        names = dict.fromkeys([*self.identity, *written])
        differ = [name for name in names if written.get(name) != self.identity.get(name)]
        if differ:
            raise ValueError(
                f"The folder {str(self.data.parent)!r} holds results of another call; what "
                f"differs: {', '.join(differ)}. Use another folder, or delete "
                f"{self.manifest.name} and {self.data.name}"
            )
        if content["done"]:
            self._set_shape(tuple(content["row_shape"]), np.dtype(content["dtype"]))
            self._check_data(content)
        for start, stop in content["done"]:
            self.done[start:stop] = True
        self._runs = content["done"]
        self.notes = content["notes"]
        self._read_text = text

    def _check_data(self, content):
        """Raise a ValueError unless the array has the rows of the manifest."""
        try:
            with self.data.open("rb") as file:
                header = file.read(len(self._header))
                size = file.seek(0, os.SEEK_END)
        except FileNotFoundError:
            raise self._refusal(self.data, "is missing, but has a manifest") from None
        if header != self._header:
            what = f"is not an array of shape {(self.n_rows, *self.row_shape)} and {self.dtype}"
            raise self._refusal(self.data, what)
        needed = self._offset(max(stop for _, stop in content["done"]))
        if size < needed or size > self._offset(self.n_rows):
            raise self._refusal(self.data, f"has {size} bytes where its rows need {needed}")
        for piece in self._pieces(content["done"]):
            self._digest.update(piece)
        if self._digest.hexdigest() != content["rows_checksum"]:
            raise self._refusal(self.data, "was altered: its rows do not have their checksum")

    def add(self, rows, values, **notes):
        """Write some rows; to be called under the lock.

        Parameters
        ----------
        rows : sequence of int
            Numbers of rows, none of which is done.
        values : ndarray of shape (len(rows), ...)
            The rows.
        **notes
            JSON values to store with them.
        """
        rows = np.asarray(rows)
        if self.done[rows].any():
            raise ValueError(f"Rows {rows[self.done[rows]].tolist()} are done already")
        if not self.done.any():
            self._set_shape(values.shape[1:], values.dtype)
            self._write_manifest()
            write(self.data, self._header)
        values = np.ascontiguousarray(values, self.dtype)
        ends = np.flatnonzero(np.diff(rows) != 1) + 1
        runs = [(int(part[0]), int(part[-1]) + 1) for part in np.split(rows, ends)]
        # Plain writes: a memory map would end the process with a signal where the disk is full.
        with _naming(self.data), self.data.open("r+b") as file:
            done = 0
            for start, stop in runs:
                file.seek(self._offset(start))
                file.write(values[done : done + stop - start])
                done += stop - start
            file.flush()
            os.fsync(file.fileno())
        self._digest.update(values)
        for start, stop in runs:
            if self._runs and self._runs[-1][1] == start:
                start = self._runs.pop()[0]
            self._runs.append([start, stop])
        self.done[rows] = True
        self.notes.update(notes)
        self._write_manifest()

    def _write_manifest(self):
        """Write the manifest for the rows that are done."""
        content = {
            "identity": self.identity,
            "row_shape": list(self.row_shape),
            "dtype": self.dtype.str,
            "done": self._runs,
            "rows_checksum": self._digest.hexdigest(),
            "notes": self.notes,
        }
        check = checksum(json.dumps(content).encode())
        text = json.dumps({"content": content, "checksum": check}, indent=1).encode()
        self._read_text = None
        write(self.manifest, text)
        self._read_text = text

    def take(self, rows):
        """Copy some rows into memory, as an ndarray of shape (len(rows), ...)."""
        pieces = self._pieces((int(row), int(row) + 1) for row in rows)
        return np.frombuffer(bytearray().join(pieces), self.dtype).reshape(-1, *self.row_shape)

    def array(self):
        """Map all rows read-only; to be called when all are done, after which none changes."""
        return np.load(self.data, mmap_mode="r", allow_pickle=False)

    def _pieces(self, runs):
        """Read runs of rows, some bytes at a time."""
        step = max(1, _PIECE // max(1, self._row_bytes))
        with self.data.open("rb") as file:
            for start, stop in runs:
                file.seek(self._offset(start))
                for first in range(start, stop, step):
                    size = (min(first + step, stop) - first) * self._row_bytes
                    piece = file.read(size)
                    if len(piece) != size:
                        raise self._refusal(self.data, "was truncated while it was read")
                    yield piece

    def _set_shape(self, row_shape, dtype):
        """Set shape and type of the rows, and what follows from them."""
        self.row_shape = row_shape
        self.dtype = dtype
        self._row_bytes = math.prod(row_shape) * dtype.itemsize
        content = io.BytesIO()
        fields = {"descr": dtype.str, "fortran_order": False, "shape": (self.n_rows, *row_shape)}
        npy.write_array_header_1_0(content, fields)
        self._header = content.getvalue()

    def _offset(self, row):
        """Return the place of a row in the file, in bytes."""
        return len(self._header) + row * self._row_bytes

    def _refusal(self, path, what):
        """Return the error for a file that cannot be used."""
        return ValueError(
            f"{path} {what}. Delete {self.data.name} and {self.manifest.name} to compute the rows "
            "again, or choose another folder"
        )


@contextmanager
def _naming(path):
    """Name a file in OSErrors, because that of a full disk does not."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


@contextmanager
def locked(path, progress=None):
    """Hold a lock that the operating system releases whichever way the process ends.

    The value is None, or the error of a folder that cannot be written to, where nothing is locked.
    """
    try:
        file = path.open("ab")
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        yield error
        return
    with file:
        waited = False
        while not _acquired(file):
            if not waited and progress is not None:
                tqdm.write(f"{progress}: waiting for another process", file=sys.stderr)
            waited = True
            time.sleep(0.05)
        try:
            yield None
        finally:
            _release(file)


def _acquired(file):
    """Take the lock of a file, and return whether it was free."""
    try:
        if fcntl is None:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except _HELD:
        return False
    except OSError as error:
        raise OSError(
            error.errno, f"cannot be locked ({error.strerror}); use a local disk", file.name
        ) from error
    return True


def _release(file):
    """Release the lock of a file."""
    if fcntl is None:
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_UN)
