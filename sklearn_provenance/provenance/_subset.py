"""Choose the training rows that get an output."""

import numbers

import numpy as np

from .._utils.arguments import check_readable


def index_rows(index_subset, y, n_classes, rng):
    """Choose the rows that get an output, in increasing order.

    Parameters
    ----------
    index_subset : None, float, int or array-like
        All rows, a share or a number of them in proportion to the classes, or the rows themselves
        (their numbers or a mask).
    y : ndarray of shape (n_rows,)
        Encoded labels.
    n_classes : int
        Number of classes; each gets at least one row.
    rng : RandomState
        Source of the draw.

    Returns
    -------
    rows : ndarray of shape (n_outputs,)
        Distinct training rows.

    Raises
    ------
    ValueError
        If the rows are out of range, repeated, too many, or leave a class without a row.
    """
    n_rows = len(y)
    if index_subset is None:
        return np.arange(n_rows)
    if isinstance(index_subset, numbers.Real):
        if isinstance(index_subset, numbers.Integral):
            n_outputs = index_subset
        else:
            n_outputs = round(index_subset * n_rows)
        if not n_classes <= n_outputs <= n_rows:
            raise ValueError(
                f"index_subset must ask for between {n_classes} rows (one per class) and {n_rows} "
                f"(the training rows); index_subset={index_subset} asks for {n_outputs}"
            )
        return _stratified(n_outputs, y, n_classes, rng)
    check_readable(index_subset, "index_subset")
    rows = np.asarray(index_subset)
    if rows.dtype == bool and rows.shape == y.shape:
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise ValueError(
            f"index_subset must hold numbers of rows or be a mask of {n_rows} rows; got an array "
            f"of shape {rows.shape} and type {rows.dtype}"
        )
    unique = np.unique(rows)
    if len(unique) < len(rows) or len(rows) == 0 or unique[0] < 0 or unique[-1] >= n_rows:
        raise ValueError(
            f"index_subset must hold distinct numbers of rows in [0, {n_rows}); got {rows!r}"
        )
    missing = np.setdiff1d(np.arange(n_classes), y[unique])
    if len(missing):
        raise ValueError(
            f"index_subset must hold a row of every class; it has none of {len(missing)} of the "
            f"{n_classes} classes"
        )
    return unique


def _stratified(n_outputs, y, n_classes, rng):
    """Draw rows in proportion to the classes, at least one of each."""
    sizes = np.bincount(y, minlength=n_classes)
    # One row of each class, then the rest in proportion by largest remainder.
    share = (sizes - 1) * (n_outputs - n_classes) / max(len(y) - n_classes, 1)
    quota = np.floor(share).astype(int)
    left = n_outputs - n_classes - quota.sum()
    quota[np.argsort(quota - share, kind="stable")[:left]] += 1
    quota += 1
    chosen = [
        rng.choice(np.flatnonzero(y == c), size=quota[c], replace=False) for c in range(n_classes)
    ]
    return np.sort(np.concatenate(chosen))
