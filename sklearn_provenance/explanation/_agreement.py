"""How far several methods name the same rows for a query."""

import numpy as np
from numpy.typing import NDArray


def best_rows(explanation):
    """Return the best exemplar of each query, -1 where there is none."""
    if explanation.k == 0:
        return np.full(explanation.n_queries, -1)
    return explanation.indices[:, 0]


def overlaps(named: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Compute the share of rows that methods have in common, for each query.

    Parameters
    ----------
    named : list of ndarray of shape (n_queries, k)
        Rows that each method names, -1 where it names none.

    Returns
    -------
    ndarray of shape (n_methods, n_methods, n_queries)
        nan where one of the two names none.
    """
    shares = np.full((len(named), len(named), len(named[0])), np.nan)
    for one, rows in enumerate(named):
        for other, other_rows in enumerate(named):
            # A row occurs once among the exemplars of a query, so equal pairs are common rows.
            equal = (rows[:, :, None] == other_rows[:, None]) & (rows >= 0)[:, :, None]
            n_common = equal.sum(axis=(1, 2))
            n_rows = (rows >= 0).sum(axis=1)
            n_other = (other_rows >= 0).sum(axis=1)
            is_known = (n_rows > 0) & (n_other > 0)
            most = np.maximum(n_rows, n_other)
            shares[one, other, is_known] = n_common[is_known] / most[is_known]
    return shares
