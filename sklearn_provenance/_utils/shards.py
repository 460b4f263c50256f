"""A table of rows on disk, in shards, each change of which happens whole or not at all.

A shard is a ``.npy`` file for each column, named after its content, so that files are written once
and never changed. The manifest names the files of all shards, with checksums, and is replaced in
one step. A change that takes long writes a journal of the shards that are done: whoever makes the
same change again goes on there, and ends with the same files to the last byte.
"""

import hashlib
import io
import json
import os
import shutil
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from .files import checksum, locked, write

MANIFEST = "manifest.json"
_JOURNAL = "journal.json"
_CHECKSUM_LENGTH = 40  # hexadecimal digits
_PIECE = 1 << 20  # bytes that are read at once


class ShardedTable:
    """Columns of rows in a folder.

    Parameters
    ----------
    folder : path-like
        Folder of the files. Nothing else may be kept in it.
    kind : str
        What the table is, as the manifest says it.
    version : int
        Version of its content. Newer ones are refused.
    """

    def __init__(self, folder, kind, version):
        self.folder = Path(folder).absolute()
        self.kind = kind
        self.version = version

    # --- reading ---

    def read(self):
        """Read the manifest.

        Returns
        -------
        dict or None
            ``shards``, ``files`` and ``notes``; None where there is no table yet.

        Raises
        ------
        ValueError
            If the manifest is damaged, of something else, or newer.
        """
        path = self.folder / MANIFEST
        content = self._read_json(path)
        if content is None:
            return None
        kind = content.get("kind")
        version = content.get("version")
        if kind != self.kind:
            raise ValueError(f"{path} must be the manifest of {self.kind}; got that of {kind!r}")
        if not isinstance(version, int) or version > self.version:
            raise ValueError(
                f"{path} must be of version {self.version} or lower, which this version of the "
                f"package can read; got version {version!r}. Use a newer version of the package"
            )
        return content

    def _read_json(self, path):
        """Read a file that :meth:`_write_json` wrote; None where there is none."""
        try:
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            outer = json.loads(text)
            content = outer["content"]
            sound = outer["checksum"] == checksum(_json(content))
        except (ValueError, TypeError, KeyError, RecursionError):
            sound = False
        if not sound:
            raise ValueError(
                f"{path} is damaged or was not written by this package. Restore it, or delete the "
                "folder and build it again"
            )
        return content

    def column(self, manifest, name):
        """Read a column of all shards into memory, checked."""
        return np.concatenate([self.shard_column(shard, name) for shard in manifest["shards"]])

    def shard_column(self, shard, name):
        """Read a column of a shard into memory, checked."""
        path = self.path(name, shard)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise missing(path) from None
        if not _has_checksum(shard["files"][name], content):
            raise damaged(path)
        return npy.read_array(io.BytesIO(content), allow_pickle=False)

    def path(self, name, shard):
        """Return the file of a column of a shard."""
        return self.folder / f"{name}-{shard['files'][name]}.npy"

    def file(self, manifest, name):
        """Read a file that belongs to all rows, checked; None where there is none."""
        digest = manifest["files"].get(name)
        if digest is None:
            return None
        path = self.folder / f"{name}-{digest}.bin"
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise missing(path) from None
        if not _has_checksum(digest, content):
            raise damaged(path)
        return content

    def file_path(self, manifest, name):
        """Return the path of a file that belongs to all rows, checked; None where there is none."""
        digest = manifest["files"].get(name)
        if digest is None:
            return None
        path = self.folder / f"{name}-{digest}.bin"
        check_file(path, digest)
        return path

    def check(self, manifest):
        """Raise a ValueError unless all files have their checksums."""
        for shard in manifest["shards"]:
            for name in shard["files"]:
                check_file(self.path(name, shard), shard["files"][name])
        for name in manifest["files"]:
            self.file(manifest, name)

    def n_bytes(self, manifest):
        """Count the bytes of all files."""
        return sum((self.folder / name).stat().st_size for name in self._names(manifest))

    # --- writing ---

    @contextmanager
    def locked(self, progress=None):
        """Hold the table against other processes, and remove what changes left that were killed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / ".lock", progress) as obstacle:
            if obstacle is not None:
                raise OSError(
                    obstacle.errno,
                    f"{obstacle.strerror}; choose a folder that can be written to",
                    str(self.folder),
                ) from obstacle
            manifest = self.read()
            if manifest is None:
                self._refuse_strangers()
            yield manifest

    def _refuse_strangers(self):
        """Raise where the folder has files that are none of a table's."""
        for path in self.folder.iterdir():
            known = path.name in (".lock", _JOURNAL) or path.suffix in (".npy", ".bin", ".tmp")
            if not known:
                raise ValueError(
                    f"{self.folder} must be an empty or new folder, or hold {self.kind}; it has "
                    f"the file {path.name!r} and no {MANIFEST}"
                )

    def write_shard(self, columns):
        """Write the columns of a shard, arrays by name, and return its entry in the manifest."""
        files = {}
        for name, values in columns.items():
            values = np.ascontiguousarray(values)
            header = io.BytesIO()
            npy.write_array_header_1_0(header, npy.header_data_from_array_1_0(values))
            content = header.getvalue(), values.view(np.uint8)
            files[name] = _content_checksum(*content)
            path = self.folder / f"{name}-{files[name]}.npy"
            if not path.exists():
                write(path, *content)
        return {"n_rows": len(values), "files": files}

    def write_file(self, name, content):
        """Write a file that belongs to all rows, and return its checksum."""
        digest = _content_checksum(content)
        path = self.folder / f"{name}-{digest}.bin"
        if not path.exists():
            write(path, content)
        return digest

    def adopt_file(self, name, save):
        """Have ``save(path)`` write a file that belongs to all rows, and return its checksum."""
        temporary = self.folder / f".{uuid.uuid4().hex}.tmp"
        try:
            save(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            with temporary.open("rb") as file:
                digest = _content_checksum(*_pieces(file))
            os.replace(temporary, self.folder / f"{name}-{digest}.bin")
        finally:
            temporary.unlink(missing_ok=True)
        return digest

    def journal(self, key):
        """Return the entries of shards that the change of this key has done before."""
        content = self._read_json(self.folder / _JOURNAL)
        if content is None or content["key"] != key:
            return []
        return content["shards"]

    def note(self, key, shards):
        """Write down which shards the change of this key has done."""
        self._write_json(self.folder / _JOURNAL, {"key": key, "shards": shards})

    def commit(self, shards, notes, files=None):
        """Make shards the content of the table, and delete files that are no part of it."""
        content = {
            "kind": self.kind,
            "version": self.version,
            "shards": [{"n_rows": s["n_rows"], "files": s["files"]} for s in shards],
            "files": files or {},
            "notes": notes,
        }
        self._write_json(self.folder / MANIFEST, content)
        self.clean(content)
        return content

    def clean(self, manifest):
        """Delete the journal, and files that no manifest names."""
        names = self._names(manifest) | {MANIFEST, ".lock"}
        for path in sorted(self.folder.iterdir()):
            if path.name not in names and path.suffix in (".npy", ".bin", ".tmp", ".json"):
                with suppress(FileNotFoundError):
                    path.unlink()

    def copy(self, manifest, folder):
        """Write the table into another folder."""
        other = ShardedTable(folder, self.kind, self.version)
        with other.locked() as there:
            if there is not None:
                raise ValueError(
                    f"{folder} must not hold {self.kind} already; choose another folder"
                )
            for name in sorted(self._names(manifest)):
                shutil.copyfile(self.folder / name, other.folder / name)
            other.commit(manifest["shards"], manifest["notes"], manifest["files"])

    def _names(self, manifest):
        """Return the names of all files of the manifest."""
        names = {f"{name}-{digest}.bin" for name, digest in manifest["files"].items()}
        for shard in manifest["shards"]:
            names |= {f"{name}-{digest}.npy" for name, digest in shard["files"].items()}
        return names

    def _write_json(self, path, content):
        text = json.dumps({"content": content, "checksum": checksum(_json(content))}, indent=1)
        write(path, text.encode())


def check_file(path, digest):
    """Raise a ValueError unless a file has its checksum; it is read in pieces."""
    try:
        with open(path, "rb") as file:
            sound = _has_checksum(digest, *_pieces(file))
    except FileNotFoundError:
        raise missing(path) from None
    if not sound:
        raise damaged(path)


def _pieces(file):
    return iter(lambda: file.read(_PIECE), b"")


def _content_checksum(*parts):
    """Compute the checksum of the content of a file.

    Many processors have instructions for SHA-256, which then takes two fifths of BLAKE2's time.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:_CHECKSUM_LENGTH]


def _has_checksum(expected, *parts):
    """Return whether a content has a checksum; older files have one of BLAKE2, which is shorter."""
    if len(expected) == _CHECKSUM_LENGTH:
        return _content_checksum(*parts) == expected
    return checksum(*parts) == expected


def _json(content):
    return json.dumps(content, sort_keys=True).encode()


def missing(path):
    """Return the error of a file that is not there."""
    return ValueError(
        f"{path} is missing: the folder is not complete, or was changed after it was loaded. Load "
        "it again, or restore the file"
    )


def damaged(path):
    """Return the error of a file whose content does not have its checksum."""
    return ValueError(
        f"{path} is damaged: its content does not have its checksum. Restore it, or delete the "
        "folder and build it again"
    )
