"""LanceIndex: LanceDB, a vector database on disk or in object storage, searched with both signs."""

import os
import re
import uuid
from collections.abc import Mapping
from contextlib import contextmanager
from math import ceil
from typing import Literal

import numpy as np
from sklearn.utils._param_validation import StrOptions

from .._utils.arguments import whole
from .._utils.types import Path
from ._base import RowIndex, with_spare
from ._faiss import list_count, without_repeats
from ._rows import read_chunks

_LISTED = {"inverted_file": "IvfFlat", "quantized_inverted_file": "IvfSq"}
# Identifiers in one condition of a deletion.
_DELETED = 10_000
# An address that pathlib has taken a slash from.
_SHORTENED = re.compile(r"(?!file:)[A-Za-z][\w+.-]+:/(?!/)")
# What LanceDB says of a table, a version or a file of it that is no longer there.
_GONE = re.compile("not found|no longer exists", re.IGNORECASE)
# Letters of an error of LanceDB that are repeated; it goes on with places in its own sources.
_REPEATED = 800


class LanceIndex(RowIndex):
    """Search for the rows with the largest absolute inner product by LanceDB.

    The database has a copy of the rows in single precision, in a folder or in object storage, and
    memory holds the parts that a search reads. LanceDB has no metric for absolute inner products,
    so it is asked for each query and its negative for somewhat more than k rows. These are ranked
    by products in double precision, from the rows given to ``build``. Only rows that LanceDB did
    not find may be missing.

    It needs the package lancedb: ``pip install sklearn-provenance[lance]``.

    Parameters
    ----------
    uri : str or pathlib.Path
        Folder of the database, or its address in object storage, such as ``"s3://bucket/folder"``:
        a str then, because a Path has no double slash.
    kind : {"flat", "inverted_file", "quantized_inverted_file"}, default="flat"
        How the database finds rows, as in :class:`FaissIndex`: it reads all of them; those in some
        of the lists around centres of k-means; or there a byte for each number.
    n_lists : int or "auto", default="auto"
        Lists of an inverted file; ``"auto"`` is the root of the number of rows, with 39 rows in
        each list or more.
    n_probe : int or "auto", default="auto"
        Lists that a search reads; ``"auto"`` is an eighth of them. Where they hold fewer than k
        rows, twice as many are read.
    storage_options : dict of str, default=None
        Options of ``lancedb.connect`` for object storage, such as ``{"endpoint":
        "https://storage.example.org", "region": "eu-central-1"}``. They are not written into
        stores or files, but they are printed and pickled with the search index. Keys are better in
        the environment, from which LanceDB reads ``AWS_ACCESS_KEY_ID`` and
        ``AWS_SECRET_ACCESS_KEY``.
    verbose : bool, default=False
        Whether to show progress.

    Attributes
    ----------
    table_name_ : str
        Table of the database. Every ``build`` makes a new one; :meth:`drop_table` deletes it.
    version_ : int
        Version of the table that is searched.
    n_lists_ : int or None
        Lists of an inverted file; None for "flat".
    rows_ : ndarray or torch.Tensor of shape (n_rows, n_features)
        The rows given to ``build``, in the same memory.
    largest_norm_ : float
        Length of the longest row, or of one that was removed.

    See Also
    --------
    FaissIndex : Search in memory.

    Notes
    -----
    A pickle or a file of the search index names the table and its version, which must be there
    when it is loaded. Centres of lists are drawn at random by LanceDB, so that two builds of
    an inverted file may find different rows.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn_provenance.retrieval import LanceIndex
    >>> rows = np.array([[1.0, 0.0], [0.0, 1.0], [-3.0, 1.0]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     index = LanceIndex(folder).build(rows)
    ...     index.search([[1.0, 0.0]], k=2)[0]
    array([[2, 0]])
    """

    _parameter_constraints: dict = {
        **RowIndex._parameter_constraints,
        "uri": [str, os.PathLike],
        "kind": [StrOptions({"flat", *_LISTED})],
        "n_lists": [whole(), StrOptions({"auto"})],
        "n_probe": [whole(), StrOptions({"auto"})],
        "storage_options": [Mapping, None],
    }
    _shaped_by = ("uri", "kind", "n_lists")

    def __init__(
        self,
        uri: Path,
        kind: Literal["flat", "inverted_file", "quantized_inverted_file"] = "flat",
        *,
        n_lists: int | Literal["auto"] = "auto",
        n_probe: int | Literal["auto"] = "auto",
        storage_options: Mapping[str, str] | None = None,
        verbose: bool = False,
    ) -> None:
        self.uri = uri
        self.kind = kind
        self.n_lists = n_lists
        self.n_probe = n_probe
        self.storage_options = storage_options
        self.verbose = verbose

    def drop_table(self) -> None:
        """Delete the table of the rows from the database, if it is still there.

        Raises
        ------
        NotFittedError
            If ``build`` was not called before.
        OSError
            If the database is out of reach.
        """
        self._check_built("drop_table")
        database = self._connect()
        with self._reached():
            database.drop_table(self.table_name_, ignore_missing=True)
        vars(self).pop("_open", None)

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("_open", None)
        return state

    def _validate_params(self):
        super()._validate_params()
        if _SHORTENED.match(os.fspath(self.uri)):
            raise ValueError(
                "uri must be a str with two slashes where it is an address, such as "
                f"'s3://bucket/folder'; got {self.uri!r}"
            )
        for name, value in (self.storage_options or {}).items():
            if not (isinstance(name, str) and isinstance(value, str)):  # which may be a secret
                raise TypeError(
                    'storage_options must be texts by name, such as {"allow_http": "true"}; '
                    f"the value of {name!r} is of type {type(value).__name__}"
                )

    def _connect(self):
        lancedb = _import_lancedb()
        options = None
        if self.storage_options is not None:
            options = dict(self.storage_options)
        with self._reached():
            return lancedb.connect(os.fspath(self.uri), storage_options=options)

    @contextmanager
    def _reached(self, table=None, of_rows=()):
        """Raise an OSError for a database out of reach, a ValueError for one without the table.

        A store builds the search index again after a ValueError, and changes nothing after an
        OSError. LanceDB raises errors of the same classes for both. Errors ``of_rows``, which have
        passed through LanceDB, stay as they are.
        """
        try:
            yield
        except (ValueError, OSError, RuntimeError) as error:
            if error in of_rows:
                raise
            said = str(error)
            is_gone = table is not None and _GONE.search(said)
            if len(said) > _REPEATED:
                said = f"{said[:_REPEATED]}..."
            if is_gone:
                raise ValueError(
                    f"the database at {str(self.uri)!r} must hold the table {table!r} of the "
                    f"search index, but: {said}. Build the search index again"
                ) from error
            raise OSError(
                f"the database at {str(self.uri)!r} must be within reach, by the options that it "
                f"needs, but LanceDB says: {said}"
            ) from error

    def _build(self, rows, largest):
        lists = None
        if self.kind != "flat":
            lists = list_count(self.n_lists, len(rows))
        name = f"rows-{uuid.uuid4().hex}"
        errors = []
        batches = self._batches(rows, largest, np.arange(len(rows)), errors)
        database = self._connect()
        with self._reached(of_rows=errors):
            table = database.create_table(name, batches, schema=_schema(rows.shape[1]))
            if lists is not None:
                kind = getattr(_import_lancedb().index, _LISTED[self.kind])
                table.create_index("vector", config=kind(distance_type="dot", num_partitions=lists))
        self.table_name_ = name
        self.version_ = table.version
        self.n_lists_ = lists
        self.scale_ = largest
        self.n_listed_ = len(rows)
        self._open = table

    def _batches(self, rows, scale, ids, errors):
        """Yield rows, divided by the scale, with their identifiers; note errors of the rows."""
        import pyarrow as pa

        width = rows.shape[1]
        schema = _schema(width)
        try:
            for start, chunk in read_chunks(rows, self._chunk_rows(rows), self.verbose):
                numbers = (chunk / scale).float().cpu().numpy().ravel()
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(numbers), width)
                names = pa.array(ids[start : start + len(chunk)])
                yield pa.RecordBatch.from_arrays([names, vectors], schema=schema)
        except Exception as error:
            errors.append(error)
            raise

    def _table(self):
        """Open the table at the version of this index."""
        if not hasattr(self, "_open"):
            database = self._connect()
            with self._reached(self.table_name_):
                self._open = database.open_table(self.table_name_)
        with self._reached(self.table_name_):
            if self._open.version != self.version_:
                self._open.checkout(self.version_)
        return self._open

    def _writable(self):
        """Open the table to write to it; versions after that of this index are given up."""
        database = self._connect()
        with self._reached(self.table_name_):
            table = database.open_table(self.table_name_)
            if table.version != self.version_:
                table.restore(self.version_)
        self._open = table
        return table

    def _add(self, behind, ids, largest):
        if self.n_lists_ is not None and ids[-1] >= 2 * self.n_listed_:
            return False  # the lists were made for fewer rows
        table = self._writable()
        errors = []
        with self._reached(self.table_name_, errors):
            table.add(self._batches(behind, self.scale_, ids, errors))
            self.version_ = table.version
        return True

    def _remove(self, ids):
        table = self._writable()
        for start in range(0, len(ids), _DELETED):
            names = ", ".join(map(str, ids[start : start + _DELETED].tolist()))
            with self._reached(self.table_name_):
                table.delete(f"row IN ({names})")
        self.version_ = table.version
        return True

    def _described(self):
        names = ("table_name_", "version_", "n_lists_", "scale_", "n_listed_")
        return {name: getattr(self, name) for name in names}, b""

    def _restore(self, description, content):
        vars(self).update(description)
        vars(self).pop("_open", None)
        self._table()

    def _found(self, directions, k):
        n_found = with_spare(k, len(self.rows_))
        found = np.full((len(directions), 2 * n_found), -1)
        n_probe = None
        if self.n_lists_ is not None:
            n_probe = self.n_probe
            if n_probe == "auto":
                n_probe = ceil(self.n_lists_ / 8)
            n_probe = min(n_probe, self.n_lists_)
        unfinished = np.arange(len(directions))
        while len(unfinished):
            found[unfinished] = self._ask(directions[unfinished], n_found, n_probe)
            if n_probe in (None, self.n_lists_):
                break
            unfinished = unfinished[(found[unfinished] >= 0).sum(1) < k]
            n_probe = min(2 * n_probe, self.n_lists_)
        return found

    def _ask(self, directions, n, n_probe):
        """Find n rows for each query and each negative; return them once, ascending, or -1."""
        both = np.concatenate([directions, -directions]).astype(np.float32)
        asked = self._table().search(list(both), vector_column_name="vector")
        asked = asked.distance_type("dot").select(["row", "_distance"]).limit(n)
        if n_probe is not None:
            asked = asked.nprobes(n_probe)
        with self._reached(self.table_name_):
            answer = asked.to_arrow()
        rows = np.asarray(answer["row"])
        of_query = np.asarray(answer["query_index"])
        found = np.full((len(both), n), -1)
        place = np.arange(len(rows)) - np.searchsorted(of_query, of_query)
        found[of_query, place] = rows
        half = len(directions)
        return without_repeats(np.concatenate([found[:half], found[half:]], axis=1))


def _schema(width):
    import pyarrow as pa

    return pa.schema([("row", pa.int64()), ("vector", pa.list_(pa.float32(), width))])


def _import_lancedb():
    try:
        import lancedb
        import lancedb.index
    except ImportError as error:
        raise ImportError(
            "LanceIndex needs the package lancedb: pip install sklearn-provenance[lance]"
        ) from error
    return lancedb
