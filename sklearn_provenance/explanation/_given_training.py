"""Training rows that are given beside an estimator that keeps its own."""

import numpy as np
from scipy.sparse import issparse

from .._utils.numeric import as_ndarray
from .._utils.rows import n_rows, take_rows
from ._rows import dense


def with_training(explanation, X, training, name):
    """Return an explanation with the names of training rows, which must be those that it names.

    Parameters
    ----------
    explanation : Explanation
        Made of the rows that an estimator keeps.
    X : array-like
        The queries, as they were given.
    training : tuple
        X_train, y_train, and sample_id maybe.
    name : str
        Name of the estimator's class.

    Returns
    -------
    Explanation
        With ``sample_id``, if there is one.

    Raises
    ------
    ValueError
        If their number differs, or the rows or labels of those that are named.
    """
    X_train, y_train, *sample_id = training
    known = explanation.training_data
    if known is not None and n_rows(X_train) != known.shape[0]:
        raise ValueError(
            f"training must be the {known.shape[0]} rows that {name} was fitted on, or None, "
            f"because it keeps them; got {n_rows(X_train)}"
        )
    named = np.unique(explanation.indices[explanation.indices >= 0])
    labels = explanation.exemplar_labels
    if labels is not None:
        at = explanation.indices >= 0
        given = as_ndarray(y_train)[explanation.indices[at]]
        _require(_equal(given, labels[at]), "labels", name)
    # Beside queries in other units, such as those behind a scaler, rows are in them, too.
    if known is not None and _equal(_values(X), _values(explanation.queries)):
        given = _values(take_rows(X_train, named))
        _require(_equal(given, _values(take_rows(known, named))), "rows", name)
    if sample_id:
        ids = np.asarray(sample_id[0])
        n = n_rows(X_train)
        if ids.shape != (n,):
            raise ValueError(
                f"sample_id must have one entry per row, shape ({n},); got {ids.shape}"
            )
        return explanation._replace(sample_id=ids[explanation.indices])
    return explanation


def _require(holds, what, name):
    if not holds:
        raise ValueError(
            f"training must be the rows that {name} was fitted on, in their order, or None, "
            f"because it keeps them; got other {what} for some that are named"
        )


def _values(rows):
    """Return rows as an array; None where there are none, or they are no table."""
    if rows is None:
        return None
    if issparse(rows):
        return rows.toarray()
    try:
        return np.asarray(as_ndarray(dense(rows)))
    except (TypeError, ValueError):
        return None


def _equal(a, b):
    """Whether arrays are equal, but for the digits that single precision drops."""
    if a is None or b is None or a.size != b.size:
        return False
    b = b.reshape(a.shape)
    if a.dtype.kind in "fiub" and b.dtype.kind in "fiub":
        a, b = a.astype(np.float64), b.astype(np.float64)
        sizes = np.abs(a).max(0, initial=0)  # of each column
        return np.allclose(a, b, rtol=1e-4, atol=1e-5 * sizes, equal_nan=True)
    return bool((a == b).all())
