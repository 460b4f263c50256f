"""What the protocols share: attributors by name, their picks, means over queries, tables."""

from collections.abc import Mapping
from inspect import signature
from warnings import catch_warnings, filterwarnings

import numpy as np
from sklearn.utils.validation import _num_samples, check_is_fitted

from .._utils.arguments import check_labels, whole
from ..attribution.estimators._base import BaseAttributor


def as_attributors(attributors, method):
    """Attributors by name.

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


def check_fitted(estimator):
    """Raise if an estimator of scikit-learn's kind is not fitted; others do not tell."""
    if hasattr(estimator, "fit") and hasattr(estimator, "__sklearn_tags__"):
        check_is_fitted(estimator)


def check_rows(attributors, X, y):
    """Labels of the rows as an array; raise unless attributors were fitted on these rows."""
    y = check_labels(y, "y", _num_samples(X))
    for name, attributor in attributors.items():
        if not isinstance(attributor, BaseAttributor):
            continue  # nothing says what it was fitted on
        theirs = fitted_rows(attributor)[1]
        if not np.array_equal(theirs, y):
            raise ValueError(
                f"{name!r} was fitted on {len(theirs)} rows that are not those of X and y "
                f"({len(y)} rows): give the X and y that were given to its fit."
            )
    return y


def fitted_rows(attributor):
    """The X and y that an attributor was fitted on."""
    return attributor.training_.X, attributor.training_.y


def check_queries(X_queries, y_queries):
    """Labels of queries as an array."""
    return check_labels(y_queries, "y_queries", _num_samples(X_queries), "X_queries")


def check_sizes(sizes, n_rows):
    """Sizes of subsets as an ascending array."""
    sizes = np.atleast_1d(sizes)
    are_whole = sizes.ndim == 1 and sizes.dtype.kind in "iu" and len(sizes) > 0
    if not are_whole or sizes[0] < 1 or (np.diff(sizes) <= 0).any() or sizes[-1] >= n_rows:
        raise ValueError(
            f"sizes must be whole numbers that increase, from 1 to {n_rows - 1} (there are "
            f"{n_rows} rows); got {sizes.tolist()}."
        )
    return sizes.astype(np.int64)


def as_seeds(seeds):
    """Seeds of repetitions as a tuple; None is one repetition without a seed."""
    given = (seeds,) if seeds is None or np.ndim(seeds) == 0 else tuple(seeds)
    whole_numbers = all(seed is None or whole(0).is_satisfied_by(seed) for seed in given)
    if not given or not whole_numbers or len(set(given)) < len(given) or (None in given[1:]):
        raise ValueError(
            f"seeds must be an integer of at least 0, several different ones or None, got {seeds!r}"
        )
    return given


def picked_rows(name, attributor, X, y, k):
    """Rows that an attributor names, best first.

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
    labels = {"y": y} if "y" in signature(attributor.explain).parameters else {}
    with catch_warnings():
        filterwarnings("ignore", ".*candidates", UserWarning)  # an error below
        picks = np.asarray(attributor.explain(X, k=k, **labels).indices)
    short = np.flatnonzero((picks < 0).any(1))
    if len(short):
        n_found = int((picks[short[0]] >= 0).sum())
        raise ValueError(
            f"{name!r} names {n_found} rows for a query where {k} are to be removed, and too few "
            f'for {len(short)} of {len(picks)} queries. Ask for smaller sizes, or candidates="all".'
        )
    return picks


def standard_error(values, axis):
    """Standard error of the mean; nan where there are fewer than two values, nan are left out."""
    n = np.isfinite(values).sum(axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = np.square(values - np.expand_dims(nan_mean(values, axis), axis))
        variance = np.where(np.isnan(values), 0.0, squares).sum(axis) / (n - 1)
        return np.where(n > 1, np.sqrt(variance / n), np.nan)


def nan_mean(values, axis):
    """Mean of what is not nan; nan where nothing is."""
    given = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(given, values, 0.0).sum(axis) / given.sum(axis)


def frame(columns, what):
    """A data frame of columns, or an error that says how to get pandas."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(f"{what} needs pandas: pip install sklearn-provenance[frame]") from error
    return pd.DataFrame(columns)


def long_columns(axes, **values):
    """Columns with a line for each entry of arrays.

    Parameters
    ----------
    axes : dict of str to array-like
        Name and entries of each axis of the arrays.
    **values : ndarray
        Arrays of one shape, by the name of their column.

    Returns
    -------
    dict of str to ndarray
        Columns; the last axis varies fastest.
    """
    places = np.indices([len(entries) for entries in axes.values()]).reshape(len(axes), -1)
    columns = {
        name: np.asarray(entries)[place]
        for (name, entries), place in zip(axes.items(), places, strict=True)
    }
    return columns | {name: value.ravel() for name, value in values.items()}
