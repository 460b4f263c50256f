"""What the protocols share: attributors by name, and the rows that they name."""

from collections.abc import Mapping
from inspect import signature
from warnings import catch_warnings, filterwarnings

import numpy as np
from sklearn.utils.validation import _num_samples

from .._utils.arguments import check_labels
from .._utils.fitted import check_fitted


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


def check_queries(X_queries, y_queries):
    """Labels of queries as an array."""
    return check_labels(y_queries, "y_queries", _num_samples(X_queries), "X_queries")


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
