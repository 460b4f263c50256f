"""Copies of a model trained without some of the rows, no copy trained twice."""

import io
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np

from .._utils.files import read_npz, write
from .._utils.rows import n_rows
from ._retrain import iter_retrain, retrain


@dataclass
class Known:
    """What was trained before: full models, and outputs of copies by their key."""

    full: list | None = None
    copies: dict = field(default_factory=dict)


class Removals:
    """Outputs of copies trained without some of the rows.

    Sets of rows come as the caller meets them, and often more than once: two methods name the same
    rows, or a run is repeated with another method. A copy is known by the rows it was trained
    without and its seed, wherever they came from.

    Parameters
    ----------
    model : torch.nn.Module, callable, classifier or regressor
        As :func:`retrain` takes it.
    X, y : array-like of shape (n_rows, ...) and (n_rows,)
        All training rows.
    X_eval : array-like of shape (n_eval, ...)
        Rows that copies are evaluated on.
    seeds : tuple of int or None
        Repetitions. All of them train a full model here.
    store : path-like or None
        Folder in which outputs are kept as they come.
    known : Known or None
        What the same arguments gave before.
    **options
        Further arguments of :func:`retrain`.

    Attributes
    ----------
    known : Known
        What is known now.
    full : ndarray of shape (n_seeds, n_eval, n_classes) or (n_seeds, n_eval)
        Logits of the models trained on all rows, or the numbers that they predict.
    classes : ndarray of shape (n_classes,) or None
        Label of each column of logits; None where the models predict numbers.
    n_copies : int
        Different copies that were asked for, the full models among them.
    """

    def __init__(self, model, X, y, X_eval, seeds, store=None, known=None, **options):
        self._arguments = (model, X, y)
        self._options = {"X_eval": X_eval} | options
        self.n_rows = n_rows(X)
        self.seeds = seeds
        self.folder = store and Path(store)
        self.known = known or Known()
        if self.known.full is None:
            self.known.full = [self._train_full(seed) for seed in seeds]
        full = self.known.full
        self.full = np.stack([f.outputs[0] for f in full])
        self.classes = full[0].classes
        if np.isnan(self.full).any():
            raise ValueError(
                "Training on all rows must not diverge, because predictions are compared with "
                "those of that model; got NaN or infinity. Take a smaller lr"
            )
        self._asked = set()
        if self.folder is not None:
            for path in sorted(self.folder.glob("copies-*.npz")):
                keys, outputs = read_npz(path, ("keys", "logits"))
                if keys.ndim != 1 or outputs.shape != (len(keys), *self.full.shape[1:]):
                    raise ValueError(
                        f"{path} must hold outputs of shape {self.full.shape[1:]} for each copy, "
                        f"got shape {outputs.shape} for {keys.shape} copies. Delete it to train "
                        "them again"
                    )
                self.known.copies.update(zip(keys.tolist(), outputs, strict=True))

    def _train_full(self, seed):
        # Stores of the engine hold the full models: they refuse a folder of another experiment.
        store = self.folder and self.folder / f"full-{seed}"
        return self._call(retrain, np.ones((1, self.n_rows), bool), [seed], store=store)

    def _call(self, function, masks, seeds, **options):
        """Call ``retrain`` or ``iter_retrain`` for copies of these seeds."""
        if seeds[0] is None:
            seeds = None
        return function(*self._arguments, masks, seeds=seeds, **self._options, **options)

    @property
    def n_copies(self):
        """Different copies that were asked for, the full models among them."""
        return len(self._asked) + len(self.seeds)

    def without(self, removed, repetitions):
        """Compute outputs of copies trained without some rows.

        Parameters
        ----------
        removed : sequence of ndarray of int
            Rows that each copy is trained without.
        repetitions : sequence of int
            Position of each copy's seed among the seeds.

        Returns
        -------
        ndarray of shape (n_copies, n_eval, n_classes) or (n_copies, n_eval)
            In the order of ``removed``.
        """
        seeds = [self.seeds[r] for r in repetitions]
        keys = [_key(rows, seed) for rows, seed in zip(removed, seeds, strict=True)]
        self._asked.update(keys)
        missing = {key: i for i, key in enumerate(keys) if key not in self.known.copies}
        if missing:
            new_keys = list(missing)
            places = list(missing.values())
            masks = np.ones((len(missing), self.n_rows), bool)
            for mask, place in zip(masks, places, strict=True):
                mask[removed[place]] = False
            groups = self._call(iter_retrain, masks, [seeds[place] for place in places])
            for copies, outputs in groups:
                self._keep([new_keys[copy] for copy in copies], outputs)
        return np.stack([self.known.copies[key] for key in keys])

    def _keep(self, keys, outputs):
        """Remember copies, and write them to the folder."""
        self.known.copies.update(zip(keys, outputs, strict=True))
        if self.folder is None:
            return
        name = f"copies-{blake2b(''.join(keys).encode(), digest_size=8).hexdigest()}.npz"
        content = io.BytesIO()
        np.savez(content, keys=np.array(keys), logits=outputs)
        write(self.folder / name, content.getvalue())


def _key(rows, seed):
    """Make the key of a copy: the set of rows that it lacks, and its seed."""
    rows = np.sort(np.asarray(rows)).astype("<i8")
    return f"{blake2b(rows.tobytes(), digest_size=16).hexdigest()}-{seed}"
