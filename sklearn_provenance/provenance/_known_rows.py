"""The training rows of a provenance estimator, as its user sees them."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._utils.copies import first_equal
from .._utils.hashing import row_digests
from .._utils.training import TrainingData
from .._utils.types import Rows
from ._input import read_rows


class KnownRowsMixin:
    """Methods of estimators about the rows that they were trained on.

    A subclass has ``_index_network``, the part of its network with the index branch.
    """

    @property
    def training_(self) -> TrainingData:
        """The training rows, their labels and identifiers."""
        check_is_fitted(self)
        shape = self._user_shape
        if shape is None:
            shape = (self.n_features_in_,)
        rows = self._with_names(self._as_given(self._fit_X))
        return TrainingData(rows, self._given_targets, self._sample_id, shape)

    @property
    def candidates_(self) -> str:
        """Which rows may be named: "all", or "same_class", those of the query's predicted class."""
        check_is_fitted(self)
        if self._index_network.index_per_class and self._routing == "hard":
            return "same_class"
        return "all"

    def find_training_rows(self, X: Rows) -> np.ndarray:
        """Find the training row that each row equals.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        indices : ndarray of shape (n,), int64
            The first training row with exactly the same values; -1 where there is none.
        """
        rows = self._rows(X)
        n_train = len(self._fit_X)
        digests = np.concatenate([row_digests(self._fit_X), row_digests(rows)])
        first = first_equal(digests)[n_train:]
        return np.where(first < n_train, first, -1)

    def _as_given(self, rows):
        """Return flat rows in the shape of those that fit was given."""
        if self._fit_flat:
            return rows
        return rows.reshape(-1, *self._user_shape)

    def _with_names(self, rows):
        """Return rows as a data frame where fit was given one, so that methods know the columns."""
        names = getattr(self, "feature_names_in_", None)
        if names is None:
            return rows
        try:
            import pandas as pd
        except ImportError:  # fit was given a frame of another package
            return rows
        return pd.DataFrame(rows, columns=names, copy=False)

    def _rows(self, X):
        """Return checked, flat rows."""
        check_is_fitted(self)
        return read_rows(self, X)

    def _queries(self, X):
        """Return flat rows, and the training row that each of them is; None unless X is None."""
        if X is None:
            check_is_fitted(self)
            return self._fit_X, np.arange(len(self._fit_X))
        return self._rows(X), None
