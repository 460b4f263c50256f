"""What an estimator minimises, and how a family of estimators says so."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted, validate_data

from ..._utils.containers import inside, steps_before
from ..._utils.families import import_family
from ..._utils.labels import positions
from ..._utils.numeric import as_ndarray
from ..._utils.rows import as_given
from ...information._convex_problem import ConvexProblem
from ._responses import Response

SUPPORTED = (
    "an estimator that minimises a smooth convex objective: LogisticRegression(CV), "
    "RidgeClassifier(CV), LinearSVC, SGDClassifier, OneVsRestClassifier around one of these, "
    "LinearRegression, Ridge(CV), Lasso(CV), ElasticNet(CV), LinearSVR, SGDRegressor, "
    "PoissonRegressor, GammaRegressor, TweedieRegressor, KernelRidge, GaussianProcessRegressor or "
    "GaussianProcessClassifier; a network: a torch.nn.Module that maps a batch to logits, a "
    "ProvenanceClassifier or ProvenanceRegressor, a network of skorch, MLPClassifier or "
    "MLPRegressor, or a list of such classifiers; "
    "or a Pipeline, search or FrozenEstimator around one of these"
)


class NoObjectiveError(TypeError):
    """Nothing is known of what the estimator minimises."""


@dataclass(frozen=True, eq=False)
class Part:
    """One convex problem, and how rows of the estimator become its rows."""

    problem: ConvexProblem
    design: object  # rows(X) -> (n, d)
    theta: np.ndarray  # (K, d) parameters of the fitted estimator
    unit: float = 1.0  # what multiplies the log likelihood beside weights of rows, such as C


@dataclass(frozen=True, eq=False)
class Objective:
    """What a fitted estimator minimised over its training rows.

    Parameters
    ----------
    parts : tuple of Part
        Problems that were minimised each by itself: one, or one for each class.
    response : Response
        What the outputs of all parts, side by side, say.
    prepare : callable
        ``prepare(X)`` gives the numbers that designs take, from rows as users give them.
    classes : ndarray of shape (n_classes,), default=None
        Labels; None for a regressor.
    assumptions : tuple of str, default=()
        What is held fixed though fitting again might change it.
    """

    parts: tuple
    response: Response
    prepare: Callable
    classes: np.ndarray | None = None
    assumptions: tuple = ()


# Files that register estimators, by the part of scikit-learn that defines these or their bases.
_FAMILIES = {
    "sklearn.gaussian_process": ("_kernel",),
    "sklearn.kernel_ridge": ("_kernel",),
    "sklearn.linear_model": ("_glm", "_logistic", "_sgd", "_squared"),
    "sklearn.multiclass": ("_one_vs_rest",),
    "sklearn.svm": ("_svm",),
}


@singledispatch
def objective(estimator, X, y, sample_weight=None):
    """State what a fitted estimator minimised over training rows, by its type.

    ``objective.register(cls)`` adds a family of estimators.

    Parameters
    ----------
    estimator : estimator
        Fitted. It is not changed.
    X : array-like of shape (n, ...)
        The rows that it was fitted on.
    y : ndarray of shape (n,)
        Their targets.
    sample_weight : ndarray of shape (n,), default=None
        The weights that were given to its ``fit``.

    Returns
    -------
    Objective
        The objective.

    Raises
    ------
    TypeError
        If no smooth convex objective of the estimator is known.
    ValueError
        If the parameters of the estimator make its objective one that is not smooth.
    """
    if import_family(objective, estimator, _FAMILIES, __package__):
        return objective(estimator, X, y, sample_weight)
    found = inside(estimator)
    if found is not None:  # by a search: other containers are registered
        stated = objective(found, X, y, sample_weight)
        return assuming(stated, "the parameters that the search chose are held fixed")
    raise NoObjectiveError(f"estimator must be {SUPPORTED}; got {type(estimator).__name__}")


def assuming(stated, *assumptions):
    """Return an objective, or an ensemble, with further assumptions."""
    return replace(stated, assumptions=(*stated.assumptions, *assumptions))


@dataclass(frozen=True)
class Validated:
    """Rows in double precision as an estimator takes them; sparse ones stay sparse."""

    estimator: object

    def __call__(self, X):
        X = as_given(X)
        if isinstance(X, torch.Tensor):
            X = as_ndarray(X)
        return validate_data(self.estimator, X, reset=False, dtype=np.float64, accept_sparse="csr")


@dataclass(frozen=True)
class Transformed:
    """Rows that go through the steps of a pipeline first."""

    steps: tuple
    prepare: Callable | None = None  # what the last step does with them

    @classmethod
    def by(cls, pipeline):
        """Take the steps before the last, none of which may choose rows."""
        steps = steps_before(pipeline)
        for step in steps:
            if hasattr(step, "fit_resample"):
                raise TypeError(
                    f"{type(step).__name__} chooses or makes the rows that the last step is fitted "
                    "on, which are not those of X. Resample first, and give the rows that remain"
                )
        return cls(steps)

    def __call__(self, X):
        return self.prepare(self.transform(X))

    def transform(self, X):
        """Return rows as the last step takes them."""
        X = as_given(X)
        for step in self.steps:
            X = step.transform(X)
        return X


@objective.register(Pipeline)
def _(estimator, X, y, sample_weight=None):
    check_is_fitted(estimator)
    through = Transformed.by(estimator)
    inner = objective(inside(estimator), through.transform(X), y, sample_weight)
    stated = replace(inner, prepare=replace(through, prepare=inner.prepare))
    if through.steps:
        return assuming(stated, "the steps before the last are held fixed")
    return stated


@objective.register(FrozenEstimator)
def _(estimator, X, y, sample_weight=None):
    return objective(inside(estimator), X, y, sample_weight)


def row_weights(sample_weight, n_rows):
    """Return sample weights (n_rows,), 1 where there are none."""
    if sample_weight is None:
        return np.ones(n_rows)
    return np.asarray(sample_weight, dtype=np.float64)


def label_positions(estimator, y):
    """Find positions (n,) of labels among an estimator's classes, all of which must have rows."""
    labels = positions(np.asarray(estimator.classes_), y, "y")
    missing = np.flatnonzero(np.bincount(labels, minlength=len(estimator.classes_)) == 0)
    if len(missing):
        raise ValueError(
            "X and y must be the rows that the estimator was fitted on, but no row has the label "
            f"{estimator.classes_[missing[0]]!r}, which it knows"
        )
    return labels
