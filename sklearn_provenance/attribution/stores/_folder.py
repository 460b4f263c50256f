"""The folder of an attribution store: how rows get into it."""

import numpy as np
from tqdm.auto import tqdm

from ..._utils.cluster import Cluster, current_client
from ..._utils.dask_rows import DaskRows
from ..._utils.encoding import encode
from ..._utils.files import checksum
from ..._utils.hashing import row_digests
from ..._utils.row_arrays import named_file
from ..._utils.rows import take_rows
from ..._utils.shard_rows import ShardRows
from ..._utils.shards import ShardedTable
from ._content import StoreContent, check_identity
from ._index_file import PREFIX

_KIND = "an attribution store of sklearn_provenance"
_VERSION = 1
# Bytes of features in a shard.
_SHARD_BYTES = 2**25


class StoreFolder:
    """The files of an attribution store; see :class:`AttributionStore` for the parameters."""

    def __init__(self, path, dtype="auto", shard_rows="auto"):
        self.path = path
        self.dtype = dtype
        self.shard_rows = shard_rows
        self.table = ShardedTable(path, _KIND, _VERSION)

    def build(self, rows, notes, files, progress=None):
        """Make the store of rows, or find it made of the same; see :meth:`append`.

        ``notes["identity"]`` and the parameters of the store say what features depend on besides
        rows. A process that was killed in the middle is taken up where it was.
        """
        table = self.table
        with table.locked(progress) as manifest:
            if manifest is not None:
                content = self.content(manifest)
                self._check_same(content, rows, notes)
                wanted = content.notes | notes
                if wanted != content.notes:
                    manifest = table.commit(manifest["shards"], wanted, manifest["files"])
                else:
                    table.clean(manifest)  # of what a change that was killed has left
                return self.content(manifest)
            key = [notes["identity"], self.dtype, self.shard_rows]
            shards, encoding = self._write(key, [], rows, self.dtype, progress)
            notes = notes | encoding | {"shard_rows": self.shard_rows}
            digests = {name: table.write_file(name, part) for name, part in files.items()}
            return self.content(table.commit(shards, notes, digests))

    def append(self, rows, identity, progress=None, files_after=None):
        """Add rows to the store, or find that it has them.

        Rows whose identifiers are all there, with the same content, are not added again, so that
        the call may be repeated after it was killed. ``files_after(old, new)`` gives the checksums
        of the files that belong to all rows, from the content before and after.
        """
        table = self.table
        with table.locked(progress) as manifest:
            if manifest is None:
                raise self.no_store()
            content = self.content(manifest)
            check_identity(identity, content.notes)
            if rows.sample_id is None:
                rows.sample_id = _further_ids(content.sample_id, len(rows))
            present = np.isin(rows.sample_id, content.sample_id)
            if present.any():
                self._check_present(content, rows, present)
                table.clean(manifest)  # of what a change that was killed has left
                return content
            for name, new in (("sample_id", rows.sample_id), ("y", rows.y)):
                old = getattr(content, name)
                if _kind(old) != _kind(new):
                    raise TypeError(
                        f"{name} must be of the kind that the store has, {old.dtype}; got "
                        f"{new.dtype}"
                    )
            notes = content.notes
            self.shard_rows = notes["shard_rows"]
            key = [identity, checksum(str(manifest).encode())]
            shards, _ = self._write(key, manifest["shards"], rows, notes["encoding"], progress)
            files = without_indexes(manifest["files"])
            if files_after is not None:
                files = files_after(content, self.content(manifest | {"shards": shards}))
            return self.content(table.commit(shards, notes, files))

    def keep_file(self, manifest, name, save):
        """Keep a file that ``save(path)`` writes, if the store has the shards of a manifest."""
        with self.table.locked() as now:
            if now is None or now["shards"] != manifest["shards"]:
                return
            files = now["files"] | {name: self.table.adopt_file(name, save)}
            self.table.commit(now["shards"], now["notes"], files)

    def content(self, manifest=None):
        """Read what the store holds, but for features, which are read when they are indexed."""
        table = self.table
        if manifest is None:
            manifest = self.manifest()
        notes = manifest["notes"]
        exponents = None
        if notes["encoding"] == "float16":
            exponents = table.column(manifest, "exponents")
        features = ShardRows(
            table, manifest, "features", notes["width"], notes["encoding"], exponents
        )
        columns = {"y": "y", "sample_id": "ids", "norms": "norms", "digests": "digests"}
        read = {name: table.column(manifest, column) for name, column in columns.items()}
        return StoreContent(table, manifest, features, **read)

    def file(self, manifest, name):
        """Read a file of the store, checked; None where there is none."""
        return self.table.file(manifest, name)

    def copy(self, path):
        """Write the store into another folder."""
        self.table.copy(self.manifest(), path)

    def manifest(self):
        manifest = self.table.read()
        if manifest is None:
            raise self.no_store()
        return manifest

    def no_store(self):
        return FileNotFoundError(f"{str(self.path)!r} holds no attribution store")

    def _write(self, key, before, rows, dtype, progress):
        """Write rows behind the shards before, the last of which is filled up first.

        Returns
        -------
        shards : list of dict
            Entries of all shards.
        encoding
            What the notes must say of the features.
        """
        table = self.table
        key = checksum(repr(key).encode())
        done = table.journal(key)
        shards = list(before)
        encoding = {}
        start = 0
        cluster = None
        client = current_client()
        if client is not None:
            kept = f", and shards that are done are in {str(table.folder)!r}"
            cluster = Cluster(client, "the pass over the rows", kept)
        with tqdm(total=len(rows), desc=progress, disable=progress is None) as bar:
            while start < len(rows):
                parts = self._parts(encoding, before, start, rows)
                for part, entry in self._entries(rows, parts, done, dtype, cluster):
                    shards.append(entry)
                    encoding = entry["encoding"]
                    if not done:
                        table.note(key, shards[len(before) :])
                    start = part.stop
                    bar.update(part.stop - part.start)
        return self._joined(shards, len(before)), encoding

    def _parts(self, encoding, before, start, rows):
        """List the slices of the next shards: one where it decides about the size of others."""
        size = self._size(encoding, before, start, rows)
        starts = range(start, len(rows), size)
        parts = [slice(low, min(low + size, len(rows))) for low in starts]
        if start == 0:
            return parts[:1]
        return parts

    def _entries(self, rows, parts, done, dtype, cluster):
        """Yield slices and entries of shards: those that are done, and are taken from the list,
        and then those that are written now, here or by workers."""
        parts = list(parts)
        while done and parts:
            part = parts[0]
            if done[0]["rows"] != _name_of(rows.digests(part), rows.y[part], rows.sample_id[part]):
                done.clear()  # what follows is of other rows
                break
            yield parts.pop(0), done.pop(0)
        if cluster is None:
            for part in parts:
                X = take_rows(rows.X, part)
                yield part, _write_shard(self.table, rows.measure, None, dtype, X, *rows.of(part))
            return
        file = named_file(rows.X)
        shared = cluster.shared(self.table, rows.measure.without_labels(), file, dtype)

        def given(part):
            if isinstance(rows.X, DaskRows):
                return rows.X.future(cluster.client, part)
            return take_rows(rows.X, part) if file is None else part

        pieces = ((given(part), *rows.of(part)) for part in parts)
        entries = cluster.in_order(_write_shard, shared, pieces)
        for part, entry in zip(parts, entries, strict=True):
            for name in entry["files"]:
                if not self.table.path(name, entry).exists():
                    raise ValueError(
                        f"the folder of the store, {str(self.table.folder)!r}, must be the same "
                        "for workers as for the client; a worker has written into another"
                    )
            yield part, entry

    def _size(self, encoding, before, start, rows):
        """Count the rows of the next shard."""
        if self.shard_rows != "auto":
            size = self.shard_rows
        else:
            if not encoding:
                if before:
                    encoding = self.manifest()["notes"]
                else:
                    width = rows.measure.width(rows.X)
                    encoding = {"width": width, "encoding": self.dtype}
            wide = {"float16": 2, "bfloat16": 2, "float32": 4}.get(encoding["encoding"], 8)
            size = max(1, _SHARD_BYTES // (wide * encoding["width"]))
        if before and start == 0 and before[-1]["n_rows"] < size:
            return size - before[-1]["n_rows"]
        return size

    def _joined(self, shards, n_before):
        """Join the last shard before with the first new one, where that was made to fill it."""
        if not 0 < n_before < len(shards):
            return shards
        first, second = shards[n_before - 1 : n_before + 1]
        largest = max(shard["n_rows"] for shard in shards)
        if first["n_rows"] + second["n_rows"] > largest and len(shards) > n_before + 1:
            return shards
        table = self.table
        columns = {}
        for name in second["files"]:
            pair = [table.shard_column(shard, name) for shard in (first, second)]
            columns[name] = np.concatenate(pair)
        return [*shards[: n_before - 1], table.write_shard(columns), *shards[n_before + 1 :]]

    def _check_same(self, content, rows, notes):
        """Raise unless the store holds these rows, measured in the same way."""
        advice = "append_rows adds rows; otherwise choose another folder, or delete this one"
        check_identity(notes["identity"], content.notes, advice)
        if self.dtype not in ("auto", content.notes["encoding"]):
            raise ValueError(
                f"{str(self.path)!r} holds features in {content.notes['encoding']}, and the store "
                f"was asked for {self.dtype}; {advice}"
            )
        same = len(content.y) == len(rows) and np.array_equal(content.y, rows.y)
        same = same and np.array_equal(content.sample_id, rows.sample_id)
        start = 0
        for shard in content.manifest["shards"]:
            part = slice(start, start + shard["n_rows"])
            same = same and np.array_equal(content.digests[part], rows.digests(part))
            start = part.stop
        if not same:
            raise ValueError(
                f"{str(self.path)!r} holds other rows, labels or identifiers; {advice}"
            )

    def _check_present(self, content, rows, present):
        """Raise unless all rows are in the store, as they are."""
        if not present.all():
            raise ValueError(
                "sample_id must be of rows that the store does not have; it has "
                f"{present.sum()} of {len(rows)}, the first is {str(rows.sample_id[present][0])!r}"
            )
        order = np.argsort(content.sample_id, kind="stable")
        places = order[np.searchsorted(content.sample_id, rows.sample_id, sorter=order)]
        same = np.array_equal(content.y[places], rows.y)
        if not same or not np.array_equal(content.digests[places], rows.digests(slice(len(rows)))):
            raise ValueError(
                "sample_id must be of rows that the store does not have; it has other rows, or "
                "labels, under the same identifiers. Drop them first"
            )


def _write_shard(table, measure, file, dtype, X, y, ids, labels):
    """Measure rows, write their shard and return its entry; with a file, X is a slice of it."""
    if file is not None:
        X = take_rows(file.open(), X)
    digests = row_digests(X)
    values = measure.measured(X, labels)
    if dtype == "auto":
        dtype = "float64" if values.dtype.itemsize > 4 else "float32"
    stored, exponents, norms = encode(values, dtype)
    columns = {
        "features": stored,
        "norms": norms,
        "digests": digests,
        "y": y,
        "ids": ids,
    }
    if exponents is not None:
        columns["exponents"] = exponents
    width = int(values.shape[1])
    encoding = {"encoding": dtype, "width": width}
    entry = table.write_shard(columns)
    return entry | {"rows": _name_of(digests, y, ids), "encoding": encoding}


def without_indexes(files):
    """Leave out the files of search indexes, which are those of other rows."""
    return {name: digest for name, digest in files.items() if not name.startswith(PREFIX)}


def _name_of(digests, y, ids):
    """Return a text that tells these rows from others."""
    parts = [np.ascontiguousarray(part) for part in (digests, y, ids)]
    kinds = [f"{part.dtype.str}{part.shape}".encode() for part in parts]
    return checksum(*kinds, *(part.tobytes() for part in parts))


def _kind(values):
    """Return the kind of an array, with one for all integers and one for all texts."""
    return {"u": "i", "b": "i"}.get(values.dtype.kind, values.dtype.kind)


def _further_ids(ids, n):
    """Go on counting identifiers."""
    if ids.dtype.kind != "i":
        raise ValueError("sample_id must be given, because the rows of the store have identifiers")
    return np.arange(n) + ids.max() + 1
