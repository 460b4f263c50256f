"""Results of retraining; on disk, so that what is finished is never trained again."""

import functools
import json
import numbers
import os
import types
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import torch

from ..tangent import measure

MANIFEST, OUTPUTS = "manifest.json", "outputs.npy"


@dataclass(frozen=True, eq=False)
class Retrained:
    """What the copies of a model say about the evaluation rows.

    Parameters
    ----------
    outputs : ndarray of shape (n_copies, n_eval, n_classes) or (n_copies, ...)
        Logits of each copy, or what ``evaluate`` made of them. Mapped from disk where there is a
        store.
    classes : ndarray of shape (n_classes,)
        Label of each column of logits.
    y_eval : array-like of shape (n_eval,) or None
        Labels of the evaluation rows.
    seconds : float
        Time that training and evaluating took, of earlier runs with the same store too.
    route : str
        How copies were trained.
    """

    outputs: np.ndarray
    classes: np.ndarray
    y_eval: np.ndarray | None
    seconds: float
    route: str

    def margins(self, y=None):
        """Log odds of a label for each copy and row: log(p / (1 - p)), in nats.

        Parameters
        ----------
        y : array-like of shape (n_eval,), default=None
            Labels; None takes ``y_eval``.

        Returns
        -------
        ndarray of shape (n_copies, n_eval)
            Margins, float64; negative where the other classes together are more probable.
        """
        y = self.y_eval if y is None else y
        if self.outputs.ndim != 3:
            raise ValueError(
                f"Margins need logits, but outputs have shape {self.outputs.shape}. "
                'Use evaluate="logits" or evaluate="margin".'
            )
        return np.stack([margin(logits, y, self.classes) for logits in self.outputs])


class Store:
    """Outputs of copies, in a folder.

    ``outputs.npy`` is an array with a row for each copy; ``manifest.json`` says which rows are
    filled in and what they were computed from. Rows are written before the manifest is replaced,
    in one step, so that it never promises what is not there.

    Parameters
    ----------
    folder : path-like
        Made where it does not exist.
    n_copies : int
        Rows of the outputs.
    digests : dict of str to str
        What the outputs depend on, each part by name.

    Attributes
    ----------
    done : ndarray of shape (n_copies,), bool
        Copies that are finished.
    seconds : float
        What they took.
    outputs : ndarray of shape (n_copies, ...) or None
        Their outputs; None as long as there are none.
    """

    def __init__(self, folder, n_copies, digests):
        self.folder = Path(folder)
        self.digests = digests
        self.done = np.zeros(n_copies, bool)
        self.seconds = 0.0
        self.outputs = None
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / MANIFEST).exists():
            self._resume()

    def _resume(self):
        path = self.folder / MANIFEST
        try:
            manifest = json.loads(path.read_text())
            theirs, done = manifest["digests"], manifest["done"]
            self.seconds = manifest["seconds"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{str(path)!r} is not a manifest of retraining.") from error
        names = [*self.digests, *(name for name in theirs if name not in self.digests)]
        differ = [name for name in names if theirs.get(name) != self.digests.get(name)]
        if differ:
            raise ValueError(
                f"The folder {str(self.folder)!r} holds results of another call; what differs: "
                f"{', '.join(differ)}. Use another folder, or remove this one."
            )
        self.done[done] = True
        self.outputs = np.load(self.folder / OUTPUTS, mmap_mode="r+")

    def add(self, copies, outputs, seconds):
        """Keep the outputs of some copies.

        Parameters
        ----------
        copies : ndarray of shape (n,), int
            Their numbers.
        outputs : ndarray of shape (n, ...)
            What they gave.
        seconds : float
            What they took.
        """
        if self.outputs is None:
            shape = (len(self.done), *outputs.shape[1:])
            self.outputs = np.lib.format.open_memmap(
                self.folder / OUTPUTS, "w+", outputs.dtype, shape
            )
        check_shape(copies, outputs, self.outputs)
        self.outputs[copies] = outputs
        self.outputs.flush()
        self.done[copies] = True
        self.seconds += seconds
        manifest = {
            "digests": self.digests,
            "seconds": self.seconds,
            "done": np.flatnonzero(self.done).tolist(),
        }
        path = self.folder / (MANIFEST + ".new")
        with path.open("w") as file:
            json.dump(manifest, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path, self.folder / MANIFEST)

    def read(self):
        """All outputs, read-only."""
        return np.load(self.folder / OUTPUTS, mmap_mode="r")


def check_shape(copies, outputs, others):
    """Raise unless outputs have the shape of those before."""
    if outputs.shape[1:] != others.shape[1:]:
        raise ValueError(
            f"Copies {copies.tolist()} gave outputs of shape {outputs.shape[1:]}, those before "
            f"{others.shape[1:]}: evaluate must give the same shape for every copy."
        )


def digest(*values):
    """Digest of arrays, estimators, functions and containers of them.

    A function counts as its code, its defaults and the numbers, texts, arrays and functions that it
    closes over.
    """
    return joblib.hash([_plain(value) for value in values])


def _plain(value):
    if isinstance(value, functools.partial):
        return [_plain(v) for v in (value.func, value.args, value.keywords)]
    if isinstance(value, types.MethodType):
        return [_plain(value.__func__), _state(vars(value.__self__).values())]
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        values = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *cells]
        return [value.__qualname__, _code(value.__code__), _state(values)]
    if isinstance(value, dict):
        return [[str(key), _plain(v)] for key, v in value.items()]
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if hasattr(value, "detach"):
        return value.detach().cpu().numpy()
    return value


def _state(values):
    """What of a function's values can decide what it returns, and stays the same between runs."""
    kinds = (numbers.Number, str, bytes, np.ndarray, types.FunctionType, tuple)
    return [_plain(v) for v in values if isinstance(v, kinds) or hasattr(v, "detach")]


def _code(code):
    constants = [_code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code, code.co_names, constants]


def label_columns(y, n_rows, classes):
    """Columns of the logits that labels stand for."""
    if y is None:
        raise ValueError("Margins are those of labels: give y_eval.")
    y = np.asarray(y)
    if y.shape != (n_rows,):
        raise ValueError(f"{n_rows} evaluation rows, but labels of shape {y.shape}.")
    columns = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    unknown = np.unique(y[classes[columns] != y])
    if len(unknown):
        raise ValueError(f"Labels {unknown.tolist()} are none of the classes {classes.tolist()}.")
    return columns


def margin(logits, y, classes):
    """Log odds of labels, float64."""
    columns = torch.from_numpy(label_columns(y, len(logits), classes))
    logits = torch.from_numpy(np.array(logits, dtype=np.float64))
    return measure(logits, columns, "margin").numpy()
