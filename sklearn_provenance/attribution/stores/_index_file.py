"""Search indexes that are kept in a store, beside the rows that they search."""

import errno

import numpy as np

from ...retrieval import ExactIndex, make_index

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
# How names of files begin that belong to a search index.
PREFIX = "index-"


def can_be_kept(index):
    """Return whether a search index can be kept: an exact scan has nothing to keep."""
    methods = ("save", "load", "add", "remove")
    has_all = all(callable(getattr(index, name, None)) for name in methods)
    return has_all and not isinstance(index, ExactIndex)


class IndexFile:
    """The file of a search index among the rows of a class, or among all.

    Parameters
    ----------
    folder : StoreFolder
        The store.
    manifest : dict
        What the store held when it was read.
    label : int or None
        Position of the class; None for all rows.
    """

    def __init__(self, folder, manifest, label):
        self.folder = folder
        self.manifest = manifest
        self.name = f"{PREFIX}{'all' if label is None else label}"

    def built(self, index, rows):
        """Load a search index (not built yet) of rows, or build and keep it."""
        if not can_be_kept(index):
            return index.build(rows)
        manifest = self.folder.manifest()
        if manifest["shards"] != self.manifest["shards"]:
            return index.build(rows)  # the store has other rows meanwhile
        path = self.folder.table.file_path(manifest, self.name)
        if path is not None:
            try:
                return index.load(path, rows)
            except ValueError:  # it was built with other parameters
                pass
        index.build(rows)
        try:
            self.folder.keep_file(self.manifest, self.name, index.save)
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
        return index


def files_after(folder, index, old, new, left, labels):
    """Make the files of search indexes for a store whose rows change.

    Parameters
    ----------
    folder : StoreFolder
        The store.
    index : object
        The parameter ``index`` of the attributor.
    old, new : StoreContent
        The store before and after.
    left : ndarray of shape (n_old,), bool
        Rows that stay; those that are new come behind them.
    labels : callable
        ``labels(y)`` gives the positions of the classes of rows.

    Returns
    -------
    dict of str
        Checksums by name: of the files of the store after the change.
    """
    table = folder.table
    files = {}
    for name, digest in old.manifest["files"].items():
        if not name.startswith(PREFIX):
            files[name] = digest
            continue
        searcher = make_index(index)
        numbers = np.arange(len(old.y))
        after = np.arange(len(new.y))
        if name != f"{PREFIX}all":
            label = int(name.removeprefix(PREFIX))
            numbers = np.flatnonzero(labels(old.y) == label)
            after = np.flatnonzero(labels(new.y) == label)
        gone = np.flatnonzero(~left[numbers])
        if not can_be_kept(searcher) or not len(after):
            continue  # it is built again, or has no rows
        if not len(gone) and len(after) == len(numbers):
            files[name] = digest
            continue
        rows = old.features.taken(numbers)
        try:
            searcher.load(table.file_path(old.manifest, name), rows)
        except ValueError:  # built with other parameters
            continue
        if len(gone):
            n_left = len(numbers) - len(gone)
            searcher.remove(new.features.taken(after[:n_left]), gone)
        searcher.add(new.features.taken(after))
        files[name] = table.adopt_file(name, searcher.save)
    return files
