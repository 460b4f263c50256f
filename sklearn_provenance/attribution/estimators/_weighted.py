"""What attributors of trees share: the sample weights that the estimator was fitted with."""

import copy
from typing import Self

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import _check_sample_weight

from ..._utils.arguments import check_readable
from ..._utils.fitted import is_fitted
from ..._utils.rows import n_rows, own
from ..._utils.types import Rows, Targets
from ._base import BaseAttributor


class WeightedFit:
    """``fit`` with weights of the rows, to be inherited before :class:`BaseAttributor`."""

    def fit(
        self,
        X: Rows,
        y: Targets,
        sample_id: Targets | None = None,
        sample_weight: Targets | None = None,
    ) -> Self:
        """Find what each training row did in the leaves, and fit the estimator if it is not fitted.

        Parameters
        ----------
        X : array-like of shape (n_train, ...)
            Rows as the estimator takes them.
        y : array-like of shape (n_train,)
            Their labels or targets.
        sample_id : array-like of shape (n_train,), default=None
            Your own identifiers of the rows. None takes the index of a data frame, unless it just
            counts the rows.
        sample_weight : array-like of shape (n_train,), default=None
            Weights that the estimator was fitted with, or is to be fitted with. Forests of
            scikit-learn 1.9 keep theirs.

        Returns
        -------
        self : object
            The fitted attributor.

        Raises
        ------
        TypeError
            If the estimator has no trees that are understood, or several targets.
        ValueError
            If its leaves do not hold what these rows and weights make them hold.
        sklearn.exceptions.NotFittedError
            With ``prefit=True`` or a FrozenEstimator, if the estimator is not fitted.
        """
        fresh = copy.copy(self)  # a fit that fails changes nothing
        check_readable(sample_weight, "sample_weight")
        fresh._sample_weight = own(sample_weight)
        BaseAttributor.fit(fresh, X, y, sample_id)
        self.__dict__ = fresh.__dict__
        return self

    def _resolve(self, estimator, X, y):
        if self._sample_weight is not None:
            rows = np.empty((n_rows(X), 1))
            self._sample_weight = _check_sample_weight(self._sample_weight, rows, dtype=np.float64)
            if self.prefit is False or (self.prefit == "auto" and not is_fitted(estimator)):
                return clone(estimator).fit(X, y, sample_weight=self._sample_weight)
        return super()._resolve(estimator, X, y)


def check_row_numbers(rows, n_train):
    """Raise unless rows are numbers of training rows; return them as integers (n_rows,)."""
    check_readable(rows, "rows")
    rows = np.asarray(rows)
    if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
        raise ValueError(f"rows must be a list of row numbers; got {rows!r}")
    if len(rows) and (rows.min() < 0 or rows.max() >= n_train):
        raise ValueError(
            f"rows must be between 0 and {n_train - 1}, the numbers of training rows; got "
            f"{rows.min()} to {rows.max()}"
        )
    return rows.astype(np.intp)
