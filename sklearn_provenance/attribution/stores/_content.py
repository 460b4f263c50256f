"""What a store holds, and rows that are put into it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..._utils.hashing import row_digests
from ..._utils.rows import take_rows
from ..._utils.shard_rows import ShardRows
from ..._utils.shards import ShardedTable


@dataclass
class StoreContent:
    """What a store holds, as it was when it was read.

    Attributes
    ----------
    table, manifest
        Where the files are, and which.
    features : ShardRows of shape (n_rows, n_components)
        Features, which are read when they are indexed.
    y : ndarray of shape (n_rows,)
        Labels as they were given.
    sample_id : ndarray of shape (n_rows,)
        Identifiers.
    norms : ndarray of shape (n_rows,)
        Squared norms of the features as they are stored.
    digests : ndarray of shape (n_rows, 4)
        Digests of the rows as they were given.
    """

    table: ShardedTable
    manifest: dict
    features: ShardRows
    y: np.ndarray
    sample_id: np.ndarray
    norms: np.ndarray
    digests: np.ndarray = field(repr=False)

    @property
    def notes(self):
        """What the attributor has noted."""
        return self.manifest["notes"]

    @property
    def counts(self):
        """Whether identifiers just count the rows."""
        ids = self.sample_id
        return ids.dtype.kind == "i" and np.array_equal(ids, np.arange(len(ids)))


@dataclass
class NewRows:
    """Rows that are put into a store.

    Parameters
    ----------
    X : array-like of shape (n_rows, ...)
        Rows as they were given.
    y : ndarray of shape (n_rows,)
        Their labels.
    sample_id : ndarray of shape (n_rows,) or None
        Their identifiers; None where the store goes on counting.
    measure : callable
        ``measure.measured(X, labels)`` gives features (n, n_components) of rows at some of
        ``measure.labels``; ``measure.width(X)`` counts their columns.
    """

    X: Any
    y: np.ndarray
    sample_id: np.ndarray | None
    measure: Any

    def __len__(self):
        return len(self.y)

    def of(self, rows):
        """Take labels, identifiers, and what rows are measured at, of a slice of the rows."""
        return self.y[rows], self.sample_id[rows], self.measure.labels[rows]

    def digests(self, rows):
        """Compute digests of a slice of the rows."""
        return row_digests(take_rows(self.X, rows))


def as_ids(sample_id, n):
    """Return identifiers (n,) as an array of integers or texts, each there once.

    None counts from 0.
    """
    if sample_id is None:
        return np.arange(n)
    ids = plain(np.atleast_1d(np.asarray(sample_id)), "sample_id")
    if ids.dtype.kind not in "iuU":
        raise TypeError(
            f"sample_id must be integers or texts for a store; got an array of {ids.dtype}"
        )
    if ids.dtype.kind == "u":
        ids = ids.astype(np.int64)
    if len(np.unique(ids)) != len(ids):
        raise ValueError(
            "sample_id must name each row once for a store, from which rows are dropped by it; "
            f"{len(ids)} rows have {len(np.unique(ids))} names"
        )
    return ids


def plain(values, name):
    """Return an array without objects, of labels or identifiers."""
    if values.dtype.hasobject:
        if not all(isinstance(value, str) for value in values):
            raise TypeError(f"{name} must be numbers or texts for a store; got other objects")
        values = values.astype(str)
    if values.dtype.kind not in "biufUS":
        raise TypeError(f"{name} must be numbers or texts for a store; got {values.dtype}")
    return values


def check_identity(
    identity, notes, advice="give the model and the features that it was built with"
):
    """Raise unless the model, and how it is measured, are those that a store was built with."""
    if identity != notes["identity"]:
        raise ValueError(
            "the store was built with another model or other features, or with another version of "
            f"their code; {advice}"
        )
