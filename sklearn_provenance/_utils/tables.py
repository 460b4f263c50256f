"""Tables of results: columns, data frames, means with standard errors."""

import numpy as np


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


def nan_mean(values, axis):
    """Mean of what is not nan; nan where nothing is."""
    given = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(given, values, 0.0).sum(axis) / given.sum(axis)


def standard_error(values, axis):
    """Standard error of the mean; nan where there are fewer than two values, nan are left out."""
    n = np.isfinite(values).sum(axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = np.square(values - np.expand_dims(nan_mean(values, axis), axis))
        variance = np.where(np.isnan(values), 0.0, squares).sum(axis) / (n - 1)
        return np.where(n > 1, np.sqrt(variance / n), np.nan)
