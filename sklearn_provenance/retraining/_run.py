"""One call of the retraining engine, with what it has finished."""

import time
from pathlib import Path
from warnings import warn

import numpy as np
from sklearn.utils._param_validation import validate_parameter_constraints
from tqdm.auto import tqdm

from .._utils.cluster import check_client, opened
from .._utils.files import Rows
from .._utils.hashing import fingerprint
from .._utils.labels import label_columns
from .._utils.rows import n_rows
from ._by_workers import groups_by_workers
from ._constraints import RETRAIN
from ._copies import NetworkCopies
from ._estimators import estimator_copies, is_estimator
from ._results import Retrained, check_outputs, margin
from ._schedule import check_masks, check_seeds

_DIVERGED = "Training of copies {} diverged: loss, weights or outputs became NaN or infinite"
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} [{elapsed}<{remaining}]"


class Run:
    """One call: checked arguments, the trainer of the copies and what is finished."""

    def __init__(
        self,
        model,
        X,
        y,
        masks,
        *,
        X_eval,
        y_eval=None,
        seeds=None,
        evaluate="logits",
        store=None,
        client=None,
        verbose=False,
        **options,
    ):
        self.client = check_client(client)
        given = {"model": model, "X": X, "y": y, "X_eval": X_eval, "seeds": seeds} | options
        given |= {"evaluate": evaluate, "store": store, "verbose": verbose}
        validate_parameter_constraints(RETRAIN, given, "retrain")
        n = n_rows(X)
        if n_rows(y) != n:
            raise ValueError(f"X has {n} rows, but y has {n_rows(y)}")
        masks = check_masks(masks, n)
        seeds = check_seeds(seeds, len(masks))
        trainer = estimator_copies(model) if is_estimator(model) else NetworkCopies
        self.trainer = trainer(model, X, y, X_eval, masks, seeds, **options)
        self.y_eval = y_eval
        self.evaluate = evaluate
        self.verbose = verbose
        if evaluate == "margin":
            if self.trainer.classes is None:
                raise ValueError(
                    'evaluate="margin" needs classes, but the copies predict numbers. Use '
                    'evaluate="logits", which keeps the numbers'
                )
            self.evaluate = lambda logits: margin(logits, self.y_eval, self.trainer.classes)
            label_columns(self.y_eval, n_rows(X_eval), self.trainer.classes)
        self.n_copies = len(masks)
        self.store = None
        if store is not None:
            labels = None
            if evaluate == "margin":
                labels = y_eval
            digests = {
                **self.trainer.digests(),
                "X": fingerprint(X),
                "y": fingerprint(y),
                "X_eval": fingerprint(X_eval),
                "masks": fingerprint(masks),
                "seeds": fingerprint(seeds),
                "evaluate": fingerprint(evaluate, labels),
            }
            unknown = [name for name, digest in digests.items() if digest is None]
            if unknown:
                raise ValueError(
                    f"store needs arguments that can be seen into, but {', '.join(unknown)} hold "
                    "what the warning names; remove it or use store=None"
                )
            outputs = Path(store, "outputs.npy")
            manifest = Path(store, "manifest.json")
            self.store = Rows(outputs, manifest, digests, len(masks))
            with self._locked():
                pass  # another call's results are refused before anything is trained

    def result(self):
        """Train what is missing and collect everything."""
        if self.store is not None:
            with self._locked():
                for _ in self._train(np.flatnonzero(~self.store.done)):
                    pass
                return self._retrained(self.store.array(), self.store.notes["seconds"])
        seconds = 0.0
        outputs = None
        for copies, values, took in self._train(np.arange(self.n_copies)):
            seconds += took
            if outputs is None:
                outputs = np.empty((self.n_copies, *values.shape[1:]), values.dtype)
            check_outputs(copies, values, outputs.shape[1:], outputs.dtype)
            outputs[copies] = values
        return self._retrained(outputs, seconds)

    def _retrained(self, outputs, seconds):
        """Make the result, and warn of copies that diverged."""
        _warn_of_diverged(np.arange(self.n_copies), outputs, stacklevel=5)
        return Retrained(outputs, self.trainer.classes, self.y_eval, seconds, self.trainer.route)

    def groups(self):
        """Give what is stored, then train the rest."""
        if self.store is None:
            for copies, values, _ in self._train(np.arange(self.n_copies)):
                _warn_of_diverged(copies, values, stacklevel=3)
                yield copies, values
            return
        given = np.zeros(self.n_copies, bool)
        training = None
        while not given.all():
            # The lock is free while the caller looks at a group: another run may finish copies.
            with self._locked():
                copies = np.flatnonzero(self.store.done & ~given)
                if len(copies):
                    values = self.store.take(copies)
                    training = None
                else:
                    training = training or self._train(np.flatnonzero(~given))
                    copies, values, _ = next(training)
            given[copies] = True
            _warn_of_diverged(copies, values, stacklevel=3)
            yield copies, values

    def _evaluated(self, number, logits):
        """Evaluate a copy's logits; nan, of the same shape, if it diverged."""
        if not np.isnan(logits).any():
            return np.asarray(self.evaluate(logits))
        values = np.asarray(self.evaluate(np.zeros_like(logits)))  # of the same shape
        if values.dtype.kind not in "fc":
            raise ValueError(
                f"{_DIVERGED.format([int(number)])}, which {values.dtype}, that evaluate gives, "
                "cannot say. Take a smaller lr, or return floating-point numbers"
            )
        return np.full_like(values, np.nan)

    def _locked(self):
        """Keep other processes from the store; say that it waits only where it is verbose."""
        return self.store.locked("retraining" if self.verbose else None)

    def _train(self, pending):
        """Yield copies, what is kept of them and the seconds that they took, group by group."""
        with tqdm(
            desc=f"retraining, {self.trainer.route}",
            total=self.n_copies,
            initial=self.n_copies - len(pending),
            bar_format=_BAR,
            disable=not self.verbose,
        ) as bar:
            start = time.perf_counter()
            for copies, logits in self._groups(pending, bar.update):
                values = logits
                if self.evaluate != "logits":
                    values = np.stack(list(map(self._evaluated, copies, logits)))
                seconds = time.perf_counter() - start
                if self.store is not None:
                    check_outputs(copies, values, self.store.row_shape, self.store.dtype)
                    total = self.store.notes.get("seconds", 0.0) + seconds
                    self.store.add(copies, values, seconds=total)
                yield copies, values, seconds
                start = time.perf_counter()

    def _groups(self, pending, tick):
        """Yield copies and their outputs, trained here or by workers, group by group."""
        with opened(self.client) as client:
            if client is None:
                yield from self.trainer.groups(pending, tick)
                return
            kept = ""
            if self.store is not None:
                kept = f", and copies that are done are in {str(self.store.data.parent)!r}"
            yield from groups_by_workers(client, self.trainer, pending, tick, kept)


def _warn_of_diverged(copies, outputs, stacklevel):
    """Name copies whose outputs are all nan."""
    if outputs.dtype.kind not in "fc":
        return
    at = zip(copies.tolist(), outputs, strict=True)
    diverged = [number for number, values in at if values.size and np.isnan(values).all()]
    if diverged:
        warn(
            f"{_DIVERGED.format(diverged)}; their results are nan. Take a smaller lr, or fewer "
            "epochs.",
            UserWarning,
            stacklevel=stacklevel,
        )
