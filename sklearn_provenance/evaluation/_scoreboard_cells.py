"""What the scoreboard has measured, kept as it comes."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .._utils.files import read_npz, write
from .._utils.tables import nan_mean, standard_error

_FIELDS = ("values", "score", "standard_error", "chance", "reason")


@dataclass(frozen=True)
class Cell:
    """What one method reaches by one criterion.

    Parameters
    ----------
    values : ndarray of shape (n,)
        What the score is the mean of; empty where nothing was measured.
    score, standard_error, chance : float
        nan where nothing was measured.
    reason : str
        Why nothing was measured; empty where it was.
    """

    values: np.ndarray
    score: float
    standard_error: float
    chance: float
    reason: str = ""

    @classmethod
    def measured(cls, measure, method):
        """Measure a method."""
        values = np.asarray(measure.values(method), dtype=np.float64)
        if measure.standard_error is None:
            error = standard_error(values, 0)
        else:
            error = measure.standard_error(method)
        return cls(values, float(nan_mean(values, 0)), float(error), float(measure.chance))

    @classmethod
    def skipped(cls, reason):
        """Say why a method was not measured."""
        return cls(np.empty(0), np.nan, np.nan, np.nan, str(reason))


class Cells:
    """A folder of cells by their keys.

    Parameters
    ----------
    folder : path-like or None
        Where cells are kept. None keeps nothing.
    """

    def __init__(self, folder):
        self.folder = folder and Path(folder)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def read(self, key):
        """Return the cell of a key; None where there is none, or the key is None."""
        path = self._path(key)
        if path is None or not path.exists():
            return None
        values, score, error, chance, reason = read_npz(path, _FIELDS)
        if values.ndim != 1 or score.ndim or error.ndim or chance.ndim:
            raise ValueError(f"{path} must hold a cell of a scoreboard. Delete it to measure again")
        return Cell(values, float(score), float(error), float(chance), str(reason))

    def write(self, key, cell):
        """Keep a cell."""
        path = self._path(key)
        if path is None:
            return
        content = io.BytesIO()
        np.savez(content, **{name: getattr(cell, name) for name in _FIELDS})
        write(path, content.getvalue())

    def _path(self, key):
        if self.folder is None or key is None:
            return None
        return self.folder / f"cell-{key}.npz"
