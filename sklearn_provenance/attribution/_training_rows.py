"""Whether attributors were fitted on the rows at hand."""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import issparse

from .._utils.arguments import check_labels
from .._utils.hashing import row_digests
from .._utils.numeric import as_ndarray, as_numbers
from .._utils.rows import n_rows, take_rows
from .._utils.training import TrainingData

N_COMPARED = 256
# Share of a number that may be lost where rows were kept in another precision.
PRECISION = 1e-2


def check_same_rows(attributors, X, y):
    """Return labels of the rows as an array; raise unless attributors were fitted on these."""
    y = check_labels(y, "y", n_rows(X))
    for name, attributor in attributors.items():
        training = getattr(attributor, "training_", None)
        if not isinstance(training, TrainingData):
            continue  # nothing says what it was fitted on
        theirs = training.y
        if not _same_targets(theirs, y):
            raise ValueError(
                f"{name!r} was fitted on {len(theirs)} rows that are not those of X and y "
                f"({len(y)} rows): give the X and y that were given to its fit."
            )
        row = differing_row(X, training.X)
        if row is not None:
            raise ValueError(
                f"{name!r} was fitted on rows with the labels of y that are not those of X, for "
                f"example row {row}: give the X and y that were given to its fit, in the same "
                "order and with the same preparation."
            )
    return y


def differing_row(X, theirs):
    """Find a row that is another one in ``theirs``, among some of the rows; None if there is none.

    Rows in forms that cannot be compared, such as texts and their numbers, count as the same.
    """
    if theirs is None or theirs is X:
        return None
    n = n_rows(X)
    rows = np.unique(np.linspace(0, n - 1, N_COMPARED).astype(np.int64))
    alike = _alike(take_rows(X, rows), take_rows(theirs, rows))
    if alike is None or alike.all():
        return None
    return int(rows[~alike][0])


def _alike(one, other):
    """Compare rows (n,); None if they have no common form."""
    if _is_mapping(one) or _is_mapping(other):
        if not (_is_mapping(one) and _is_mapping(other)) or set(one) != set(other):
            return None
        parts = [_alike(one[key], other[key]) for key in one]
        return None if any(part is None for part in parts) else np.all(parts, axis=0)
    if _is_frame(one) and _is_frame(other) and list(one.columns) == list(other.columns):
        columns = range(len(one.columns))
        parts = [_alike(one.iloc[:, i], other.iloc[:, i]) for i in columns]
        parts = [part for part in parts if part is not None]
        return np.all(parts, axis=0) if parts else None
    first, second = _numbers(one), _numbers(other)
    if first is not None and second is not None:
        if first.shape != second.shape:
            return None
        if first.dtype.kind in "iub" and second.dtype.kind in "iub":
            return (first == second).all(1)
        largest = np.abs(np.nan_to_num(first)).max(initial=0.0)
        near = np.isclose(
            first, second, rtol=PRECISION, atol=PRECISION**2 * largest, equal_nan=True
        )
        return near.all(1)
    one, other = _listed(one), _listed(other)
    if type(one) is not type(other):
        return None
    return (row_digests(one) == row_digests(other)).all(1)


def _listed(rows):
    """Return a column of anything but numbers as a list."""
    if isinstance(rows, list | tuple) or len(getattr(rows, "shape", ())) == 1:
        return [row.item() if isinstance(row, np.generic) else row for row in rows]
    return rows


def _same_targets(theirs, y):
    """Return whether labels are equal, and numbers as far as the less precise type has them."""
    kinds = theirs.dtype, y.dtype
    if theirs.shape != y.shape or not all(kind.kind == "f" for kind in kinds):
        return np.array_equal(theirs, y)
    coarse = min(kinds, key=lambda kind: kind.itemsize)
    return np.array_equal(theirs.astype(coarse), y.astype(coarse))


def _is_mapping(rows):
    return isinstance(rows, Mapping) and not issparse(rows)


def _is_frame(rows):
    return hasattr(rows, "iloc") and hasattr(rows, "columns")


def _numbers(rows):
    """Return rows as an array (n, n_numbers), or None."""
    kind = getattr(rows, "dtype", None)
    if getattr(kind, "na_value", None) is not None and getattr(kind, "_is_numeric", False):
        rows = rows.to_numpy(dtype=np.float64, na_value=np.nan)  # a column of pandas
    try:
        rows = as_numbers(rows)
    except ValueError:
        return None
    rows = rows.toarray() if issparse(rows) else as_ndarray(rows)
    return rows.reshape(len(rows), -1)
