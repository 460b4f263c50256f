"""Stores: what an attributor has learned of its rows, on disk."""

from ._folder import StoreFolder
from ._index_file import IndexFile
from ._store import AttributionStore
from ._stored_rows import StoredRows

__all__ = ["AttributionStore", "IndexFile", "StoreFolder", "StoredRows"]
