"""What an ensemble is made of: fitted parts, the rows that each has seen, and a way to combine.

Shapes in comments: n training rows, K outputs of a part.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from ..._utils.containers import inside
from ..._utils.families import import_family
from ..._utils.labels import positions
from ..objectives import Response
from ..objectives._base import Transformed, assuming

SUPPORTED = (
    "VotingClassifier with voting='soft', VotingRegressor, BaggingClassifier, BaggingRegressor, "
    "StackingClassifier, StackingRegressor, CalibratedClassifierCV, OneVsRestClassifier, "
    "OneVsOneClassifier, TransformedTargetRegressor, FixedThresholdClassifier, "
    "TunedThresholdClassifierCV, SelfTrainingClassifier, RANSACRegressor, neighbors, or a "
    "Pipeline, search or FrozenEstimator around one of these"
)


@dataclass(frozen=True, eq=False)
class Part:
    """A fitted model inside of an ensemble.

    Parameters
    ----------
    estimator : estimator
        Fitted. It is not changed.
    targets : ndarray of shape (n,)
        What it was fitted to, for every training row of the ensemble.
    method : {"predict", "predict_proba", "decision_function"}, default="predict"
        Whose outputs are combined.
    weights : ndarray of shape (n,), default=None
        How often each training row was in its sample; 0 for rows that it has not seen. None stands
        for once each.
    drawn : ndarray of shape (m,), default=None
        The rows of its sample in the order in which it was fitted on them, where it was given these
        rows alone. None where it was given all rows with their weights, or those with weight once.
    by_weight : bool, default=False
        Whether it was given all rows, with a weight of 0 for those that it has not seen.
    columns : ndarray, default=None
        Columns of X that it takes; None for all.
    rows : array-like of shape (n, ...), default=None
        Training rows as it was fitted on them, where they were made otherwise than queries are.
    """

    estimator: Any
    targets: np.ndarray
    method: str = "predict"
    weights: np.ndarray | None = None
    drawn: np.ndarray | None = None
    by_weight: bool = False
    columns: np.ndarray | None = None
    rows: Any = None

    def take_columns(self, X):
        """Return the columns of X that the part takes."""
        return X if self.columns is None else X[:, self.columns]


def same_rows(X):
    """Return rows as they are."""
    return X


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A fitted ensemble.

    Parameters
    ----------
    parts : tuple of Part
        Its parts.
    combine : callable
        ``combine(outputs)`` gives what the ensemble says from a list with the outputs (..., K) of
        each part. A :class:`~sklearn_provenance.attribution.ensembles._mean.Mean` averages.
    response : Response
        What of the combined outputs is explained.
    classes : ndarray of shape (n_classes,), default=None
        Labels; None for a regressor.
    prepare : callable, default=same_rows
        ``prepare(X)`` gives rows as the parts take them.
    assumptions : tuple of str, default=()
        What is held fixed though fitting again might change it.
    out_of_bag : bool, default=False
        Whether training rows are explained by the parts that have not seen them.
    """

    parts: tuple
    combine: Callable
    response: Response
    classes: np.ndarray | None = None
    prepare: Callable = same_rows
    assumptions: tuple = ()
    out_of_bag: bool = False


class Probability(Response):
    """Probabilities of classes."""

    score_name = "drop of the probability"

    def margin(self, outputs, label):
        """Compute the probability (...) of a label."""
        return outputs[..., label]


class Output(Response):
    """One output, in the units of y."""

    score_name = "drop of the prediction (units of y)"

    def margin(self, outputs, label):
        """Return the output (...)."""
        return outputs[..., 0]


# Files that register estimators, by the part of scikit-learn that defines these or their bases.
_FAMILIES = {
    "sklearn.calibration": ("_wrappers",),
    "sklearn.compose": ("_wrappers",),
    "sklearn.ensemble": ("_averages", "_stacking"),
    "sklearn.linear_model": ("_wrappers",),
    "sklearn.model_selection": ("_wrappers",),
    "sklearn.multiclass": ("_classes",),
    "sklearn.neighbors": ("_neighbors",),
    "sklearn.semi_supervised": ("_wrappers",),
    "sklearn_provenance.attribution": ("_neighbors",),  # one output of several
}


class UnknownEnsembleError(TypeError):
    """An estimator is no ensemble that is known."""


@singledispatch
def ensemble(estimator, X, y):
    """Take a fitted ensemble apart, by its type.

    ``ensemble.register(cls)`` adds a kind of ensembles.

    Parameters
    ----------
    estimator : estimator
        Fitted. It is not changed.
    X : array-like of shape (n, ...)
        The rows that it was fitted on.
    y : ndarray of shape (n,)
        Their targets.

    Returns
    -------
    Ensemble
        Its parts.

    Raises
    ------
    UnknownEnsembleError
        If the estimator is no ensemble that is known.
    TypeError
        If it was fitted on several targets.
    ValueError
        If it combines its parts in a way that no single row changes.
    """
    if import_family(ensemble, estimator, _FAMILIES, __package__):
        return ensemble(estimator, X, y)
    found = inside(estimator)
    if found is not None:  # by a search: other containers are registered
        return assuming(ensemble(found, X, y), "the parameters that the search chose")
    raise UnknownEnsembleError(f"estimator must be {SUPPORTED}; got {type(estimator).__name__}")


@ensemble.register(Pipeline)
def _(estimator, X, y):
    through = Transformed.by(estimator)
    inner = ensemble(inside(estimator), through.transform(X), y)
    if not through.steps:
        return inner
    known = replace(inner, prepare=replace(through, prepare=inner.prepare))
    return assuming(known, "the steps before the last")


@ensemble.register(FrozenEstimator)
def _(estimator, X, y):
    return ensemble(inside(estimator), X, y)


def class_positions(estimator, y):
    """Return classes of a fitted classifier, and the positions (n,) of labels among them."""
    classes = np.asarray(estimator.classes_)
    return classes, positions(classes, y, "y")
