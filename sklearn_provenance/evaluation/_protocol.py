"""What the protocols share: attributors by name, and the rows that they name."""

from collections.abc import Mapping
from inspect import signature
from warnings import catch_warnings, filterwarnings

import numpy as np

from .._utils.arguments import check_labels
from .._utils.fitted import check_fitted
from .._utils.rows import n_rows
from .._utils.training import TrainingData
from ..attribution._training_rows import check_same_rows
from ..retraining._estimators import (
    RegressorCopies,
    check_targets,
    estimator_copies,
    is_estimator,
)


def as_attributors(attributors, method):
    """Return attributors by name.

    Parameters
    ----------
    attributors : attributor or mapping of str to attributor
        Fitted.
    method : {"explain", "attribute"}
        What the protocol calls.

    Returns
    -------
    dict of str to attributor
        One that came alone goes by the name of its method.

    Raises
    ------
    TypeError
        If one of them lacks the method.
    ValueError
        If there is none.
    sklearn.exceptions.NotFittedError
        If one of them is not fitted.
    """
    if not isinstance(attributors, Mapping):
        name = getattr(attributors, "method_", "") or type(attributors).__name__
        attributors = {name: attributors}
    if not attributors:
        raise ValueError("attributors must hold one or more attributors, got none")
    for name, attributor in attributors.items():
        if isinstance(attributor, type) or not hasattr(attributor, method):
            raise TypeError(
                f"attributors must be fitted attributors with a method {method}, got "
                f"{attributor!r} as {name!r}"
            )
        check_fitted(attributor)
    return {str(name): attributor for name, attributor in attributors.items()}


def check_queries(X_queries, y_queries, are_numbers=False):
    """Return labels of queries as an array; targets of a regressor's, which may be None."""
    n_queries = n_rows(X_queries)
    if not are_numbers:
        return check_labels(y_queries, "y_queries", n_queries, "X_queries")
    if y_queries is None:
        return None
    return check_targets(y_queries, n_queries, "y_queries", "X_queries")


def picked_rows(name, attributor, X, y, k):
    """Return rows that an attributor names, best first.

    Parameters
    ----------
    name : str
        What to call it in errors.
    attributor : attributor
        Its ``explain`` takes labels, or explains the labels that it predicts.
    X, y : array-like of shape (n_queries, ...) and (n_queries,)
        Queries and the labels to explain, which may be None.
    k : int
        Rows for each query.

    Returns
    -------
    ndarray of shape (n_queries, k), int64
        Distinct rows.

    Raises
    ------
    ValueError
        If a query has fewer candidates than k.
    """
    labels = {}
    if "y" in signature(attributor.explain).parameters:
        labels["y"] = y
    with catch_warnings():
        filterwarnings("ignore", ".*candidates", UserWarning)  # an error below
        picks = np.asarray(attributor.explain(X, k=k, **labels).indices)
    short = np.flatnonzero((picks < 0).any(1))
    if len(short):
        n_found = int((picks[short[0]] >= 0).sum())
        raise ValueError(
            f"{name!r} must name {k} rows for each query; it names {n_found} for one, and too few "
            f'for {len(short)} of {len(picks)} queries. Ask for smaller sizes, or candidates="all"'
        )
    return picks


def is_regression(model, recipe):
    """Whether what is trained again predicts numbers.

    Parameters
    ----------
    model : torch.nn.Module, callable, classifier or regressor
        As :func:`~sklearn_provenance.retraining.retrain` takes it.
    recipe : Recipe or None
        How a network is trained.

    Returns
    -------
    bool
        True for a regressor, and for a network with a loss of numbers.

    Raises
    ------
    TypeError
        If an estimator cannot be trained again.
    """
    if is_estimator(model):
        return estimator_copies(model) is RegressorCopies
    return recipe is not None and recipe.predicts_numbers


def check_task(attributors, are_numbers):
    """Raise unless attributors explain what is trained again: classes or numbers.

    Parameters
    ----------
    attributors : dict of str to attributor
        Those without ``training_`` do not tell, and may explain either.
    are_numbers : bool
        Whether what is trained again predicts numbers.
    """
    for name, attributor in attributors.items():
        explained = explains_numbers(attributor)
        if explained is None or explained == are_numbers:
            continue
        kinds = ("classes", "numbers")
        raise ValueError(
            f"attributors must explain {kinds[are_numbers]}, which model predicts, but {name!r} "
            f"explains {kinds[explained]}. Pass attributors and a model of one task; a network "
            'predicts numbers if recipe has a loss of numbers, such as "squared_error"'
        )


def explains_numbers(attributor):
    """Whether an attributor explains numbers; None if nothing says so."""
    if not isinstance(getattr(attributor, "training_", None), TrainingData):
        return None
    return getattr(attributor, "classes_", None) is None


def check_direction(attributors, direction):
    """Raise where an attributor looks for rows that move outputs another way."""
    for name, attributor in attributors.items():
        theirs = getattr(attributor, "direction", direction)
        if direction != "any" and theirs != direction:
            raise ValueError(
                f'direction must be that of the attributors, or "any", got {direction!r}; '
                f"{name!r} has direction={theirs!r}"
            )


def check_training_rows(attributors, X, y, are_numbers):
    """Return labels or targets of the training rows, and ``y`` as a model of the task takes it.

    Returns
    -------
    labels : ndarray of shape (n_rows,)
        One for each row.
    y : array-like of shape (n_rows,) or (n_rows, 1)
        What ``retrain`` gets: networks of skorch take targets as a column.
    """
    if not are_numbers:
        labels = check_same_rows(attributors, X, y)
        return labels, labels
    check_targets(y, n_rows(X))
    return check_same_rows(attributors, X, y), y
