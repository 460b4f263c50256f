"""What the engine trains: copies of a network, or clones of a classifier."""

import copy
import warnings

import joblib
import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.utils import _safe_indexing
from torch import nn

from .._utils.arguments import check_labels
from .._utils.hashing import fingerprint
from ..tangent._batches import as_batch
from ._networks import as_targets
from ._schedule import Recipe, form_groups
from ._stacked import Network


class NetworkCopies:
    """Copies of a network.

    ``groups(pending, tick)`` trains copies group by group; ``classes`` are their columns, ``route``
    says how they are trained and ``digests`` tells them from others.
    """

    def __init__(
        self,
        model,
        X,
        y,
        X_eval,
        masks,
        seeds,
        recipe=None,
        forward=None,
        group_size="auto",
        device="auto",
        n_jobs=None,
    ):
        if n_jobs is not None:
            raise ValueError("n_jobs is for scikit-learn classifiers; networks take group_size.")
        if not isinstance(model, nn.Module) and not callable(model):
            raise TypeError(
                "model must be a torch.nn.Module, a function without arguments that makes one, or "
                f"a scikit-learn classifier, got {type(model)}."
            )
        self.recipe = Recipe() if recipe is None else recipe
        self.masks = masks
        self.seeds = [0] * len(masks) if seeds is None else seeds
        self.forward = forward
        self.network = Network(model, forward, device, self.seeds[0])
        self.x, self.x_eval = (
            _as_batch(rows, name, self.network) for rows, name in ((X, "X"), (X_eval, "X_eval"))
        )
        n_classes = self.network.n_classes(X=self.x, X_eval=self.x_eval)
        self.classes = np.arange(n_classes)
        self.y = as_targets(y, self.network, n_classes, self.recipe.loss is None)
        self.size, self.route = self._grouping(group_size)

    def _grouping(self, group_size):
        if group_size == 1 or (group_size == "auto" and len(self.masks) == 1):
            return 1, "one by one"
        obstacle = self.network.obstacle(self.x)
        if obstacle is not None:
            if group_size != "auto":
                raise ValueError(
                    f"Copies of this network cannot be stacked: {obstacle}. "
                    'Use group_size=1 or group_size="auto".'
                )
            return 1, f"one by one ({obstacle})"
        if group_size == "auto":
            n_copies = len(self.masks)
            group_size = self.network.group_size(self.x, self.y, self.recipe, n_copies)
        return int(group_size), f"stacked by {group_size}" if group_size > 1 else "one by one"

    def digests(self):
        return {
            "network": fingerprint(*self.network.signature(), self.forward),
            "recipe": fingerprint(vars(self.recipe)),
        }

    def groups(self, pending, tick):
        for group, n_steps in form_groups(self.masks, self.seeds, pending, self.size, self.recipe):
            plan = (self.masks[group], [self.seeds[copy] for copy in group], n_steps)
            yield group, self.network.train(self.x, self.y, self.x_eval, *plan, self.recipe, tick)


class ClassifierCopies:
    """Clones of a scikit-learn classifier, fitted in processes; as :class:`NetworkCopies`."""

    def __init__(self, model, X, y, X_eval, masks, seeds, n_jobs=None, **options):
        check_retrainable(model)
        given = [name for name, value in options.items() if value not in (None, "auto")]
        if given:
            raise ValueError(
                f"{', '.join(given)} concern networks; {type(model).__name__} is fitted as its own "
                "parameters say, in n_jobs processes."
            )
        self.model = model
        self.X = X
        self.y = check_labels(y, "y", masks.shape[1])
        self.X_eval = X_eval
        self.masks = masks
        self.seeds = seeds
        self.n_jobs = n_jobs
        self.classes = np.unique(self.y)
        self.route = "scikit-learn clones"

    def digests(self):
        return {"estimator": fingerprint(self.model)}

    def groups(self, pending, tick):
        tasks = (
            joblib.delayed(_fit_clone)(
                self.model,
                self.X,
                self.y,
                self.X_eval,
                self.masks[copy],
                None if self.seeds is None else self.seeds[copy],
                self.classes,
                copy,
            )
            for copy in pending
        )
        results = joblib.Parallel(self.n_jobs, return_as="generator")(tasks)
        try:
            for copy, logits in zip(pending, results, strict=True):
                tick(1)
                yield np.array([copy]), logits[None]
        finally:
            with warnings.catch_warnings():  # that a caller stopped early is no news to it
                warnings.simplefilter("ignore", UserWarning)
                results.close()


def _fit_clone(model, X, y, X_eval, mask, seed, classes, number):
    """Logits (n_eval, n_classes) of a clone fitted to the rows of a mask."""
    model = clone(model)
    X_eval = copy.deepcopy(X_eval)  # a model may write to its input
    if seed is not None:
        names = [n for n in model.get_params() if n.split("__")[-1] == "random_state"]
        model.set_params(**dict.fromkeys(names, seed))
    rows = np.flatnonzero(mask)
    try:
        model.fit(_safe_indexing(X, rows), y[rows])
    except Exception as error:
        error.add_note(f"While fitting copy {number}.")
        raise
    if hasattr(model, "decision_function"):
        values = np.asarray(model.decision_function(X_eval), dtype=np.float64)
        if values.ndim == 1:
            values = np.stack([-values / 2, values / 2], 1)
    else:
        with np.errstate(divide="ignore"):
            values = np.log(np.asarray(model.predict_proba(X_eval), dtype=np.float64))
    if values.shape[1] != len(model.classes_):
        raise ValueError(
            f"The decision function of {type(model).__name__} has {values.shape[1]} columns for "
            f"{len(model.classes_)} classes: it must have one for each class."
        )
    if np.isnan(values).any() or (values == np.inf).any():
        return np.full((len(values), len(classes)), np.nan)
    logits = np.full((len(values), len(classes)), -np.inf)
    logits[:, np.searchsorted(classes, model.classes_)] = values
    return logits


def is_estimator(model):
    """Whether a model is an instance with scikit-learn's interface, and no network."""
    is_instance = not isinstance(model, type | nn.Module)
    return is_instance and hasattr(model, "fit") and hasattr(model, "get_params")


def check_retrainable(model):
    """Raise unless clones of a scikit-learn estimator can be fitted and give logits."""
    if isinstance(model, FrozenEstimator):
        raise TypeError(
            "A FrozenEstimator cannot be trained again: give the estimator that it holds."
        )
    gives_logits = hasattr(model, "decision_function") or hasattr(model, "predict_proba")
    if not is_classifier(model) or not gives_logits:
        raise TypeError(
            "model must be a classifier with decision_function or predict_proba, a "
            "torch.nn.Module or a function that makes one, got "
            f"{type(model).__name__}"
            + (": give the classifier that it explains." if hasattr(model, "attribute") else ".")
        )


def _as_batch(X, name, network):
    """Rows on the network's device; errors name the argument."""
    sparse = issparse(X)
    if isinstance(X, torch.Tensor):
        sparse = X.layout != torch.strided
        if X.is_meta or X.is_complex():
            raise ValueError(
                f"{name} must hold real values, got a tensor of {X.dtype} on {X.device}."
            )
    if sparse:
        dense = "to_dense" if isinstance(X, torch.Tensor) else "toarray"
        raise ValueError(f"{name} is sparse; a network takes dense rows. Pass {name}.{dense}().")
    try:
        return as_batch(X, network)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be used: {error}") from error
