"""What the engine trains: copies of a network, or clones of a classifier."""

import warnings
from numbers import Integral

import joblib
import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils import _safe_indexing
from torch import nn

from .._utils.hashing import fingerprint
from ..tangent._batches import as_batch
from ._retraining_schedule import Recipe, form_groups
from ._stacked import Network, as_targets


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
        whole = isinstance(group_size, Integral) and not isinstance(group_size, bool)
        if group_size != "auto" and (not whole or group_size < 1):
            raise ValueError(
                f'group_size must be a positive integer or "auto", got {group_size!r}.'
            )
        self.recipe = Recipe() if recipe is None else recipe
        if not isinstance(self.recipe, Recipe):
            raise TypeError(f"recipe must be a Recipe, got {type(recipe)}.")
        self.masks = masks
        self.seeds = [0] * len(masks) if seeds is None else seeds
        self.forward = forward
        self.network = Network(model, forward, device, self.seeds[0])
        self.x, self.x_eval = as_batch(X, self.network), as_batch(X_eval, self.network)
        n_classes = self.network.n_classes(self.x, self.x_eval)
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
        if not is_classifier(model):
            raise TypeError(f"{type(model).__name__} is not a classifier.")
        given = [name for name, value in options.items() if value not in (None, "auto")]
        if given:
            raise ValueError(
                f"{', '.join(given)} concern networks; {type(model).__name__} is fitted as its own "
                "parameters say, in n_jobs processes."
            )
        self.model, self.X, self.y, self.X_eval = model, X, np.asarray(y), X_eval
        self.masks, self.seeds, self.n_jobs = masks, seeds, n_jobs
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


def _fit_clone(model, X, y, X_eval, mask, seed, classes, copy):
    """Logits (n_eval, n_classes) of a clone fitted to the rows of a mask."""
    model = clone(model)
    if seed is not None:
        names = [n for n in model.get_params() if n.split("__")[-1] == "random_state"]
        model.set_params(**dict.fromkeys(names, seed))
    rows = np.flatnonzero(mask)
    try:
        model.fit(_safe_indexing(X, rows), y[rows])
    except Exception as error:
        error.add_note(f"While fitting copy {copy}.")
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
    logits = np.full((len(values), len(classes)), -np.inf)
    logits[:, np.searchsorted(classes, model.classes_)] = values
    return logits


def is_estimator(model):
    """Whether a model is an instance with scikit-learn's interface, and no network."""
    is_instance = not isinstance(model, type | nn.Module)
    return is_instance and hasattr(model, "fit") and hasattr(model, "get_params")
