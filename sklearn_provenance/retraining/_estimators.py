"""Clones of a scikit-learn classifier or regressor, as copies that the engine trains."""

import copy
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial

import joblib
import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.frozen import FrozenEstimator
from torch import nn

from .._utils.arguments import check_labels, check_numbers
from .._utils.hashing import fingerprint
from .._utils.restored import restored_generators
from .._utils.row_arrays import FileArray, named_file
from .._utils.rows import take_rows


class EstimatorCopies:
    """Clones of an estimator, fitted in processes; as :class:`NetworkCopies`.

    A subclass sets ``targets``, which are given to ``fit``, and ``read``, a function of a fitted
    clone and the evaluation rows that returns its outputs, of shape (n_eval, ...).
    """

    def __init__(self, model, X, y, X_eval, masks, seeds, n_jobs=None, **options):
        given = [name for name, value in options.items() if value not in (None, "auto")]
        if given:
            raise ValueError(
                f"{', '.join(given)} concern networks, but model is {type(model).__name__}, which "
                "is fitted as its own parameters say, in n_jobs processes"
            )
        self.model = model
        self.X = X
        self.targets = y
        self.X_eval = X_eval
        self.masks = masks
        self.seeds = seeds
        self.n_jobs = n_jobs
        self.classes = None
        self.route = "scikit-learn clones"

    def digests(self):
        """Return what tells the copies from those of another model."""
        return {"estimator": fingerprint(self.model)}

    def plans(self, pending):
        """Yield the number of each copy, and what :meth:`train` takes."""
        seeds = self.seeds or [None] * len(self.masks)
        for number in pending:
            yield np.array([number]), (self.masks[number], seeds[number], number)

    def train(self, plan, tick=None):
        """Fit a copy, and return its outputs (1, n_eval, ...)."""
        rows = self.model, self.X, self.targets, self.X_eval
        return _fit_clone(*rows, *plan, self.read)[None]

    def groups(self, pending, tick):
        """Yield numbers of copies and their outputs, one copy after the other."""
        rows = self.model, self.X, self.targets, self.X_eval
        plans = self.plans(pending)
        tasks = (joblib.delayed(_fit_clone)(*rows, *plan, self.read) for _, plan in plans)
        results = joblib.Parallel(self.n_jobs, return_as="generator")(tasks)
        try:
            for number, outputs in zip(pending, results, strict=True):
                tick(1)
                yield np.array([number]), outputs[None]
        finally:
            with warnings.catch_warnings():  # that a caller stopped early is no news to it
                warnings.simplefilter("ignore", UserWarning)
                results.close()

    def without_plans(self):
        """Copy what :meth:`train` needs beside plans; files are named instead of sent."""
        trainer = copy.copy(self)
        trainer.masks = trainer.seeds = None
        trainer.X, trainer.X_eval = (named_file(rows) or rows for rows in (self.X, self.X_eval))
        return trainer


class ClassifierCopies(EstimatorCopies):
    """Clones of a classifier, which give logits."""

    def __init__(self, model, X, y, X_eval, masks, seeds, **options):
        super().__init__(model, X, y, X_eval, masks, seeds, **options)
        self.targets = check_labels(y, "y", masks.shape[1])
        self.classes = np.unique(self.targets)
        self.read = partial(_logits, classes=self.classes)


class RegressorCopies(EstimatorCopies):
    """Clones of a regressor, which give their predictions in the units of the target."""

    def __init__(self, model, X, y, X_eval, masks, seeds, **options):
        super().__init__(model, X, y, X_eval, masks, seeds, **options)
        check_targets(y, masks.shape[1])
        if isinstance(y, torch.Tensor):
            y = y.detach().cpu()
        self.targets = np.asarray(y)
        self.read = partial(_numbers, target_ndim=self.targets.ndim)


def _logits(model, X_eval, classes):
    """Compute logits (n_eval, n_classes) of a fitted classifier; -inf for classes without rows."""
    if hasattr(model, "decision_function"):
        values = np.asarray(model.decision_function(X_eval), dtype=np.float64)
        if values.ndim == 1:
            values = np.stack([-values / 2, values / 2], 1)
    else:
        with np.errstate(divide="ignore"):
            values = np.log(np.asarray(model.predict_proba(X_eval), dtype=np.float64))
    if values.shape[1] != len(model.classes_):
        raise ValueError(
            f"The decision function of {type(model).__name__} must have one column for each of "
            f"the {len(model.classes_)} classes; got {values.shape[1]} columns"
        )
    logits = np.full((len(values), len(classes)), -np.inf)
    if np.isnan(values).any() or (values == np.inf).any():
        return np.full_like(logits, np.nan)
    logits[:, np.searchsorted(classes, model.classes_)] = values
    return logits


def _numbers(model, X_eval, target_ndim):
    """Compute predictions (n_eval,) of a fitted regressor."""
    values = np.asarray(model.predict(X_eval), dtype=np.float64)
    if values.size != len(values):
        raise ValueError(
            f"{type(model).__name__} must predict one number for each row; got predictions of "
            f"shape {values.shape}"
        )
    is_network = hasattr(model, "module_")
    if is_network and values.ndim != target_ndim:
        # Its loss has compared every output with every target.
        raise ValueError(
            f"y must have as many dimensions as the outputs of the module, whose shape is "
            f"{values.shape}; got {target_ndim}. Pass y.reshape(-1, 1) or y.ravel()"
        )
    if not np.isfinite(values).all():
        return np.full(len(values), np.nan)
    return values.ravel()


def check_targets(y, n_rows, name="y", of="X"):
    """Return targets of a regression as float64 (n_rows,), where there is one for each row.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or (n_rows, 1)
        Targets.
    n_rows : int
        How many there must be.
    name, of : str
        What the caller calls them, and the rows.

    Returns
    -------
    ndarray of shape (n_rows,), float64
        Targets.

    Raises
    ------
    ValueError
        If there are several for each row, or some are no finite numbers.
    """
    shape = np.shape(y)
    if len(shape) == 2 and shape[1] != 1:
        raise ValueError(
            f"{name} must have one number for each row of {of}, got shape {shape}. Measure one "
            "target at a time"
        )
    return check_numbers(check_labels(y, name, n_rows, of), name, (n_rows,))


def fitted_clone(model, X, y, seed=None):
    """Fit a clone of an estimator.

    Parameters
    ----------
    model : classifier or regressor
        It is not changed.
    X, y : array-like of shape (n_rows, ...) and (n_rows,)
        Rows to fit it to.
    seed : int, default=None
        Value of its ``random_state``, or seed of the global generators if it has none. None leaves
        both as they are.

    Returns
    -------
    estimator
        The clone.
    """
    model = clone(model)
    generators = nullcontext()
    if seed is not None:
        names = [n for n in model.get_params() if n.split("__")[-1] == "random_state"]
        model.set_params(**dict.fromkeys(names, seed))
        if not names:  # networks of skorch draw from the global generators
            generators = restored_generators(seed=seed)
    with generators:
        return model.fit(X, y)


def _fit_clone(model, X, y, X_eval, mask, seed, number, read):
    """Return what a clone that is fitted to the rows of a mask says of the evaluation rows."""
    X, X_eval = (rows.open() if isinstance(rows, FileArray) else rows for rows in (X, X_eval))
    X_eval = copy.deepcopy(X_eval)  # a model may write to its input
    rows = np.flatnonzero(mask)
    generators = nullcontext()
    if seed is not None:  # predictions may draw, too: skorch makes a DataLoader
        generators = restored_generators()
    with generators:
        try:
            model = fitted_clone(model, take_rows(X, rows), y[rows], seed)
        except Exception as error:
            error.add_note(f"While fitting copy {number}.")
            if isinstance(X, Mapping) and not issparse(X):
                error.add_note(
                    f"X is a mapping of inputs, and {type(model).__name__} must take one, as the "
                    "networks of skorch do whose entries are arrays or tensors."
                )
            raise
        return read(model, X_eval)


def is_estimator(model):
    """Whether a model is an instance with scikit-learn's interface, and no network."""
    is_instance = not isinstance(model, type | nn.Module)
    return is_instance and hasattr(model, "fit") and hasattr(model, "get_params")


def estimator_copies(model):
    """Return the class whose instances train clones of an estimator.

    Raises
    ------
    TypeError
        If clones of it cannot be fitted, or do not give logits or numbers.
    """
    if isinstance(model, FrozenEstimator):
        raise TypeError(
            "model must be an estimator that can be trained again; got a FrozenEstimator. Pass "
            "the estimator that it holds"
        )
    if hasattr(model, "attribute"):
        raise TypeError(
            "model must be what is trained again, but it is an attributor, "
            f"{type(model).__name__}. Pass the estimator that it explains"
        )
    if is_regressor(model):
        return RegressorCopies
    gives_logits = hasattr(model, "decision_function") or hasattr(model, "predict_proba")
    if not is_classifier(model) or not gives_logits:
        raise TypeError(
            "model must be a classifier with decision_function or predict_proba, a regressor, a "
            f"torch.nn.Module or a function that makes one, got {type(model).__name__}"
        )
    return ClassifierCopies
