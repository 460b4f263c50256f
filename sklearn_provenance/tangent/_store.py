"""Feature rows on disk, written batch by batch and taken up again where a process stopped."""

import hashlib
import io
import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from tqdm.auto import tqdm

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

# What an attempt to take a lock that another holds raises.
_HELD = PermissionError if fcntl is None else BlockingIOError
_FORMAT = "sklearn_provenance feature rows, version 1"


class FeatureStore:
    """A folder of feature matrices, each known by what it is computed from.

    A matrix is a ``.npy`` file with a manifest (``.json``) that says how many of its rows are
    done, and an empty ``.lock`` file. A batch's rows are on disk before the manifest counts them,
    and the manifest is replaced in one step, so a process that is killed loses no more than the
    batch it was computing. Processes that want the same matrix take turns: the second waits,
    and finds the rows done. Nothing is ever deleted; delete a matrix's files to free the space.

    Parameters
    ----------
    folder : str or pathlib.Path
        Where the files are; made if it does not exist. Its file system must support locks.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from sklearn_provenance.tangent import FeatureStore
    >>> X = np.arange(6.0).reshape(3, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = FeatureStore(folder)
    ...     rows = store.rows("squares of X", 3, 2, "float64", lambda part: X[part] ** 2, 1)
    ...     rows.sum()
    np.float64(55.0)
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def rows(self, key, n_rows, n_components, dtype, compute, batch_size, progress=None):
        """Give the rows of a matrix; compute those that are not on disk.

        Parameters
        ----------
        key : str
            Identifies what the rows are computed from, say a digest of it. Another key is another
            matrix.
        n_rows : int
            Rows of the matrix.
        n_components : int
            Columns of the matrix.
        dtype : dtype-like
            Type of its numbers.
        compute : callable
            ``compute(rows)`` gives an ndarray of shape (rows.stop - rows.start, n_components) for
            a slice of rows. Called in order, for the rows that are not done.
        batch_size : int
            Rows per call, and rows lost when the process is killed.
        progress : str, default=None
            What a progress bar says; None shows none.

        Returns
        -------
        numpy.memmap of shape (n_rows, n_components)
            The rows, mapped from disk and read-only.

        Raises
        ------
        ValueError
            If a file is damaged or not of this store, or ``compute`` gives another shape.
        OSError
            If the folder cannot be made, locked or written to.
        """
        if n_rows < 1 or n_components < 1 or batch_size < 1:
            raise ValueError(
                "n_rows, n_components and batch_size must be at least 1, got "
                f"{n_rows}, {n_components} and {batch_size}."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        matrix = _Matrix(self.folder, key, (int(n_rows), int(n_components)), np.dtype(dtype))
        with _locked(matrix.path(".lock"), progress):
            done = matrix.open()
            if done < n_rows:
                matrix.extend(done, compute, int(batch_size), progress)
        return np.load(matrix.path(".npy"), mmap_mode="r", allow_pickle=False)


class _Matrix:
    """Files of one matrix, to be touched by who holds its lock."""

    def __init__(self, folder, key, shape, dtype):
        self.stem = folder / hashlib.sha256(key.encode()).hexdigest()[:32]
        self.shape, self.dtype = shape, dtype
        self.row_bytes = shape[1] * dtype.itemsize
        self.identity = {"format": _FORMAT, "key": key, "shape": list(shape), "dtype": dtype.str}

    def path(self, suffix):
        return self.stem.with_name(self.stem.name + suffix)

    def open(self):
        """Number of rows done; starts a matrix that is not there."""
        try:
            text = self.path(".json").read_bytes()
        except FileNotFoundError:
            header = self._header()
            self.offset = len(header)
            self._replace(".npy", header)
            self._count(0)
            return 0
        try:
            manifest = json.loads(text)
            done = manifest.pop("n_done")
        except (ValueError, TypeError, AttributeError, KeyError):
            raise self._damaged(".json", "is no manifest of a feature store") from None
        if manifest != self.identity:
            raise self._damaged(".json", f"is of {manifest}, not of {self.identity}")
        if not isinstance(done, int) or not 0 <= done <= self.shape[0]:
            raise self._damaged(".json", f"counts {done!r} of {self.shape[0]} rows")
        self._check_rows(done)
        return done

    def extend(self, done, compute, batch_size, progress):
        """Compute, write and count the rows from ``done`` on."""
        n_rows = self.shape[0]
        bar = tqdm(total=n_rows, initial=done, desc=progress, disable=progress is None)
        with self.path(".npy").open("r+b") as file, bar:
            # Plain writes: a memory map would keep all rows in memory, and end the process with a
            # signal where the disk is full.
            file.truncate(self.offset + done * self.row_bytes)
            file.seek(0, os.SEEK_END)
            for start in range(done, n_rows, batch_size):
                part = slice(start, min(start + batch_size, n_rows))
                values = np.ascontiguousarray(compute(part), dtype=self.dtype)
                expected = (part.stop - part.start, self.shape[1])
                if values.shape != expected:
                    raise ValueError(
                        f"compute gave an array of shape {values.shape} for rows {part.start} to "
                        f"{part.stop - 1}; expected {expected}."
                    )
                file.write(values)
                file.flush()
                os.fsync(file.fileno())
                self._count(part.stop)
                bar.update(len(values))

    def _count(self, done):
        manifest = self.identity | {"n_done": done}
        self._replace(".json", json.dumps(manifest, indent=1).encode())

    def _replace(self, suffix, content):
        """Write a file in one step."""
        temporary = self.path(suffix + ".tmp")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path(suffix))

    def _header(self):
        content = io.BytesIO()
        fields = {"descr": self.dtype.str, "fortran_order": False, "shape": self.shape}
        npy.write_array_header_1_0(content, fields)
        return content.getvalue()

    def _check_rows(self, done):
        try:
            with self.path(".npy").open("rb") as file:
                npy.read_magic(file)
                header = npy.read_array_header_1_0(file)
                self.offset = file.tell()
                size = file.seek(0, os.SEEK_END)
        except FileNotFoundError:
            raise self._damaged(".npy", "is missing, but has a manifest") from None
        except ValueError as error:
            raise self._damaged(".npy", f"is no array ({error})") from None
        if header != (self.shape, False, self.dtype):
            raise self._damaged(".npy", f"is an array of {header}, not as its manifest says")
        needed = self.offset + done * self.row_bytes
        if size < needed or (done == self.shape[0] and size > needed):
            raise self._damaged(".npy", f"has {size} bytes where {done} rows need {needed}")

    def _damaged(self, suffix, what):
        return ValueError(
            f"{self.path(suffix)} {what}. Delete {self.path('.npy').name} and "
            f"{self.path('.json').name} to compute the rows again, or choose another folder."
        )


@contextmanager
def _locked(path, progress):
    """Hold a lock that the operating system releases whichever way the process ends."""
    with path.open("ab") as file:
        waited = False
        while not _acquired(file):
            if not waited and progress is not None:
                tqdm.write(f"{progress}: waiting for another process", file=sys.stderr)
            waited = True
            time.sleep(0.05)
        try:
            yield
        finally:
            _release(file)


def _acquired(file):
    try:
        if fcntl is None:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except _HELD:
        return False
    except OSError as error:
        raise OSError(
            f"{file.name} cannot be locked ({error}); choose a folder on a local disk."
        ) from error
    return True


def _release(file):
    if fcntl is None:
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_UN)
