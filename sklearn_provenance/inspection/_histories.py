"""Histories of trainings: whose they are, and which of their entries are drawn."""

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np

from .._utils.containers import inside
from .._utils.fitted import check_fitted

# What is drawn by default, as far as all histories have it.
_DEFAULT = (
    "index_accuracy",
    "index_accuracy_among_drawn",
    "class_accuracy",
    "output_loss",
    "reconstruction_loss",
    "kl_loss",
)


def check_mapping(values, name, what):
    """Raise unless values are a mapping that is not empty."""
    if not isinstance(values, Mapping):
        raise TypeError(
            f"{name} must be a dict of {what} by the names in the legend; got a "
            f"{type(values).__name__}"
        )
    if not values:
        raise ValueError(f"{name} must hold at least one; got an empty dict")


def history_of(estimator, name):
    """Return the history of an estimator, or of the one that a container predicts by."""
    whole = estimator
    while not hasattr(type(estimator), "history_"):
        inner = inside(estimator)
        if inner is None:
            if not isinstance(whole, type):
                check_fitted(whole)
            raise TypeError(
                f"{name} must be a ProvenanceClassifier, ProvenanceRegressor or ProvenanceVAE, or "
                f"a pipeline or search that ends in one; got a {type(whole).__name__}. "
                "from_histories draws what other estimators recorded"
            )
        estimator = inner
    return estimator.history_


def check_history(history, name):
    """Raise unless a history is a list of dict with at least one epoch."""
    lines = isinstance(history, Sequence) and all(isinstance(line, Mapping) for line in history)
    if not lines:
        raise TypeError(
            f"histories[{name!r}] must be a list with one dict for each epoch, such as history_; "
            f"got a {type(history).__name__}"
        )
    if not history:
        raise ValueError(
            f"the history of {name!r} has no epochs: training was interrupted in the first. "
            "Call fit again"
        )


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def entries(history):
    """Return the names of what a history can draw, in its order."""
    found = [name for line in history for name, value in line.items() if _is_number(value)]
    return [name for name in dict.fromkeys(found) if name != "epoch"]


def recorded(history, metric):
    """Return a metric of each epoch, nan where it has none."""
    values = [line.get(metric) for line in history]
    return np.array([value if _is_number(value) else np.nan for value in values], dtype=np.float64)


def chosen_metrics(metrics, entries):
    """Return the metrics to draw, which all histories must have; ``entries`` are by history."""
    first, *others = entries.values()
    common = [name for name in first if all(name in other for other in others)]
    if metrics is None:
        metrics = [name for name in _DEFAULT if name in common]
        if not metrics:
            raise ValueError(
                f"metrics must be chosen, because the histories have none of {list(_DEFAULT)} in "
                f"common; they have {common}"
            )
        return metrics
    if isinstance(metrics, str):
        metrics = [metrics]
    if not isinstance(metrics, Sequence | np.ndarray) or len(metrics) == 0:
        raise ValueError(
            f"metrics must be the name of an entry of history_, or a list of names; got {metrics!r}"
        )
    for metric in metrics:
        lacking = [name for name, known in entries.items() if metric not in known]
        if len(lacking) == len(entries):
            known = list(dict.fromkeys(name for names in entries.values() for name in names))
            raise ValueError(f"metrics must be among {known}; got {metric!r}")
        if lacking:
            raise ValueError(
                f"metrics must be entries of all histories, but that of {lacking[0]!r} has no "
                f"{metric!r}. All have {common}"
            )
    return list(metrics)
