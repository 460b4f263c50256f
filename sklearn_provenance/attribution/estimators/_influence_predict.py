"""What the estimator of an InfluenceAttributor predicts, with all rows and without some."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from ..._utils.budget import budgeted
from ..._utils.rows import check_rows, n_rows
from ..._utils.types import Rows, Targets
from ...information._hessians import NoMinimumError
from ._influence_checks import check_classes_left, check_removed
from ._predict import score_of_predictions


class InfluencePredictMixin:
    """Predictions and their score; a subclass has ``estimator_`` and ``_minima``."""

    def predict(self, X: Rows) -> NDArray[Any]:
        """Predict with the model in use.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Rows as the estimator takes them.

        Returns
        -------
        y : ndarray of shape (n_queries,)
            ``estimator_.predict(X)``.
        """
        check_is_fitted(self)
        if self._network is not None:
            return self._network.predict(X)
        return np.asarray(self.estimator_.predict(check_rows(self, X)))

    def score(self, X: Rows, y: Targets, sample_weight: Targets = None) -> float:
        """Return the accuracy of the model in use, or its R² if it is a regressor.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the estimator takes them.
        y : array-like of shape (n,)
            Their labels or targets.
        sample_weight : array-like of shape (n,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            It says nothing of the attribution.
        """
        classes = getattr(self, "classes_", None)
        return score_of_predictions(self.predict(X), y, sample_weight, classes)

    @budgeted
    def predict_without(self, X: Rows, rows: ArrayLike) -> NDArray[np.float64]:
        """Predict what the estimator would return if it were trained without rows.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Queries.
        rows : array-like of int of shape (n_removed,) or (n_queries, n_removed)
            Rows of the X given to ``fit`` that are removed together; with two axes, for each
            query its own, -1 for none.

        Returns
        -------
        outputs : ndarray of shape (n_queries, n_classes) or (n_queries,)
            Probabilities of a classifier that has them, otherwise its decision function; of a
            regressor its predictions.

        Raises
        ------
        ValueError
            If rows are not numbers of training rows, or the problem without them has no unique
            minimum, for instance because a class has no rows left.
        """
        check_is_fitted(self)
        if self._network is not None:
            return self._network.predict_without(X, rows)
        X = check_rows(self, X)
        designs = self._minima.designs(X)
        removed = check_removed(rows, self._minima.n_rows, n_rows(X))
        if removed.ndim == 1:
            return self._answer_without(removed, designs)
        answers = []
        for number, row_numbers in enumerate(removed):
            query = [design[number : number + 1] for design in designs]
            answers.append(self._answer_without(row_numbers[row_numbers >= 0], query))
        return np.concatenate(answers)

    def _answer_without(self, rows, designs):
        """Predict for rows of each part's problem without some training rows."""
        minima = self._minima
        if len(rows):
            if hasattr(self, "classes_"):
                check_classes_left(self.classes_, self.training_.y, rows)
            try:
                minima = minima.without(rows)
            except NoMinimumError as error:
                raise ValueError(
                    f"the objective must have exactly one minimum without these {len(rows)} rows: "
                    f"{error}"
                ) from error
        return minima.objective.response.answer(minima.outputs(designs))
