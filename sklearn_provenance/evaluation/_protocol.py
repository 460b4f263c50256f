"""What the protocols share: attributors by name, their picks, means over queries, tables."""

from collections.abc import Mapping
from inspect import signature
from numbers import Integral
from warnings import catch_warnings, filterwarnings

import numpy as np
from sklearn.utils.validation import _num_samples, check_is_fitted

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
        raise ValueError("No attributor was given.")
    for name, attributor in attributors.items():
        if isinstance(attributor, type) or not hasattr(attributor, method):
            raise TypeError(
                f"{name!r} must be a fitted attributor with a method {method}, got {attributor!r}."
            )
        if hasattr(attributor, "fit"):
            check_is_fitted(attributor)
    return {str(name): attributor for name, attributor in attributors.items()}


def check_rows(attributors, X, y):
    """Labels of the rows as an array; raise unless attributors were fitted on these rows."""
    y = np.asarray(y)
    if y.shape != (_num_samples(X),):
        raise ValueError(f"X has {_num_samples(X)} rows, but y has shape {y.shape}.")
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
    n_queries, y_queries = _num_samples(X_queries), np.asarray(y_queries)
    if y_queries.shape != (n_queries,) or not n_queries:
        raise ValueError(
            f"X_queries has {n_queries} rows and y_queries shape {y_queries.shape}: give each "
            "query its true label, and at least one query."
        )
    return y_queries


def check_sizes(sizes, n_rows):
    """Sizes of subsets as an ascending array."""
    sizes = np.atleast_1d(sizes)
    whole = sizes.ndim == 1 and sizes.dtype.kind in "iu" and len(sizes) > 0
    if not whole or sizes[0] < 1 or (np.diff(sizes) <= 0).any() or sizes[-1] >= n_rows:
        raise ValueError(
            f"sizes must be whole numbers that increase, from 1 to {n_rows - 1} (there are "
            f"{n_rows} rows); got {sizes.tolist()}."
        )
    return sizes.astype(np.int64)


def as_seeds(seeds):
    """Seeds of repetitions as a tuple; None is one repetition without a seed."""
    if seeds is None or isinstance(seeds, Integral):
        return (seeds,)
    seeds = tuple(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be an integer or several different ones, got {seeds}.")
    return seeds


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
