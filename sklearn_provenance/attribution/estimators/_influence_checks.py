"""What InfluenceAttributor checks of its arguments, and warns of."""

import warnings

import numpy as np


def check_removed(rows, n_train, n_queries):
    """Return row numbers to remove, (n_removed,) or (n_queries, n_removed) with -1 for none."""
    rows = np.asarray(rows)
    if not rows.size:
        rows = rows.astype(np.int64)
    if rows.dtype.kind not in "iu" or rows.ndim not in (1, 2):
        raise ValueError(
            "rows must be integers of shape (n_removed,) or (n_queries, n_removed), got "
            f"{rows.dtype} of shape {rows.shape}"
        )
    if rows.ndim == 2 and len(rows) != n_queries:
        raise ValueError(
            f"rows of two axes must have a line for each query, got {len(rows)} lines for "
            f"{n_queries} queries"
        )
    least = 0
    if rows.ndim == 2:  # lines of several queries, which -1 pads
        least = -1
    if rows.size and not (rows.min() >= least and rows.max() < n_train):
        raise ValueError(
            f"rows must be between 0 and {n_train - 1}, the numbers of training rows; got "
            f"{rows.min()} to {rows.max()}"
        )
    return rows.astype(np.int64)


def check_no_labels(y):
    """Refuse labels where training rows are explained."""
    if y is not None:
        raise ValueError(
            "y was given without X: the training rows are explained at their own labels"
        )


def check_classes_left(classes, y, rows):
    """Refuse to remove all rows of a class, without which another model would be trained."""
    gone = np.setdiff1d(classes, np.delete(y, np.unique(rows))).tolist()
    if gone:
        raise ValueError(
            f"every class must keep a row, but rows holds all rows of class {gone[0]!r}"
        )


def warn_of_nan(drops, labels=None):
    """Warn of the rows that have no score, and say why.

    Parameters
    ----------
    drops : ndarray of shape (n_queries, n_train)
        Scores.
    labels : ndarray of shape (n_train,), default=None
        Labels of training rows; None for numbers.
    """
    rows = np.flatnonzero(np.isnan(drops).any(0))
    if not len(rows):
        return
    reason = "Such a row alone determines a parameter, or is the last of its class"
    if labels is not None:
        _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        last = rows[counts[classes[rows]] == 1]
        if len(last):
            reason = f"{_listed(last)} of its class, which the model would not know then"
        if 0 < len(last) < len(rows):
            reason += "; others alone determine a parameter, or are the last with a weight"
    warnings.warn(
        f"the objective has no unique minimum without one of {len(rows)} rows, row {rows[0]} "
        f"among them; their scores are nan. {reason}",
        UserWarning,
        stacklevel=3,
    )


def _listed(last):
    """Say that rows are the last ones, naming ten of them."""
    if len(last) == 1:
        return f"Row {last[0]} is the last"
    named = ", ".join(map(str, last[:10]))
    if len(last) > 10:
        named += f" and {len(last) - 10} more"
    return f"Each of the rows {named} is the last"
