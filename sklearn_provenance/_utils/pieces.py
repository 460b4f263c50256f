"""Rows in pieces for workers, which read them from a file or are sent them."""

import numpy as np
import torch

from .cluster import current_client
from .row_arrays import DaskFeatures, TakenRows, named_file, on_disk

# Bytes of a piece of rows that workers read, and of one that has to travel.
_READ_BYTES = 2**25
_SENT_BYTES = 2**22


class RowPieces:
    """Rows of numbers in pieces, which depend on the rows alone.

    Parameters
    ----------
    rows : ndarray, torch.Tensor or RowArray of shape (n_rows, n_columns)
        Rows.
    step : int, default=None
        Rows of a piece; None takes as many as are read or sent at once.

    Attributes
    ----------
    file : RowArray or None
        Where workers read rows; None where pieces hold them. Of a Dask array they hold futures of
        the client that is in use, whose workers compute them.
    step : int
        Rows of a piece.
    starts : range
        The first row of each piece.
    """

    def __init__(self, rows, step=None):
        self._numbers = None
        source = rows
        if isinstance(rows, TakenRows):
            source = rows.source
            self._numbers = rows.numbers
        source = on_disk(source)
        self.file = named_file(source)
        self._lazy = source if isinstance(source, DaskFeatures) else None
        self._client = current_client()
        self._rows = rows
        stays = self.file is not None or self._lazy is not None
        size = _READ_BYTES if stays else _SENT_BYTES
        self.step = step or max(1, size // max(1, rows.itemsize * rows.shape[1]))
        self.starts = range(0, len(rows), self.step)

    def __len__(self):
        return len(self.starts)

    def __iter__(self):
        """Yield the first row of each piece, and what :func:`read_piece` takes."""
        for start in self.starts:
            yield start, self.piece(start)

    def rows(self, start):
        """Return the slice of the rows of a piece."""
        return slice(start, min(start + self.step, len(self._rows)))

    def piece(self, start):
        """Return what :func:`read_piece` takes."""
        rows = self.rows(start)
        if self._lazy is not None and self._client is not None:
            numbers = rows if self._numbers is None else self._numbers[rows]
            return "sent", self._lazy.future(self._client, numbers)
        if self.file is None:
            block = self._rows[rows]
            if isinstance(block, torch.Tensor):
                block = block.cpu().numpy()
            return "sent", np.ascontiguousarray(block)
        if self._numbers is not None:
            rows = self._numbers[rows]
        return "read", rows


def read_piece(file, piece):
    """Return the rows (n, n_columns) of a piece."""
    how, what = piece
    if how == "sent":
        return np.ascontiguousarray(what)
    return file[what]
