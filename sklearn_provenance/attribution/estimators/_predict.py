"""What an attributor predicts, transforms to and says of itself, as its model would."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import ClassifierTags, RegressorTags, get_tags

from ..._utils.arguments import check_readable
from ..._utils.budget import budgeted
from ..._utils.fitted import predicts_numbers
from ..._utils.numeric import as_ndarray
from ..._utils.rows import check_rows
from ..._utils.types import Rows


def score_of_predictions(predictions, y, sample_weight, classes):
    """Measure the accuracy of predictions; without classes, R²."""
    from sklearn.metrics import accuracy_score, r2_score

    check_readable(y, "y")
    check_readable(sample_weight, "sample_weight")
    y = as_ndarray(y)
    if sample_weight is not None:
        sample_weight = as_ndarray(sample_weight)
    if classes is None:
        return r2_score(y, predictions, sample_weight=sample_weight)
    return accuracy_score(y, predictions, sample_weight=sample_weight)


class PredictMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Predictions of the model in use, features of rows, and tags."""

    def predict(self, X: Rows) -> NDArray[Any]:
        """Predict classes, or numbers, with the model in use.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Rows as the estimator takes them.

        Returns
        -------
        y : ndarray of shape (n_queries,)
            ``estimator_.predict(X)``; for a bare module the class of the largest logit, for a list
            of models that of the largest mean probability.

        Raises
        ------
        ValueError
            If the estimator is a language model.
        """
        self._check_fitted()
        if self._features.model.likelihood is not None:
            raise ValueError(
                "predict needs classes, but the rows of a language model are measured as a whole. "
                "Ask the model itself for its next token"
            )
        return self._features.predict(check_rows(self, X))

    @budgeted
    def transform(self, X: Rows) -> NDArray[np.floating]:
        """Compute the features that rows are compared by, at the predicted label.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Rows as the estimator takes them.

        Returns
        -------
        features : ndarray of shape (n_queries, n_components)
            One row per query.

        Raises
        ------
        ValueError
            If there would be too many columns, or the method compares no features.
        """
        self._check_fitted()
        return self._transform(check_rows(self, X))

    def _transform(self, X):
        return self._features.transform(X)

    @property
    def _n_features_out(self):
        """Columns of `transform`, which ``get_feature_names_out`` names."""
        return self._features.n_features_out(self._rows.inputs)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if predicts_numbers(self.estimator):
            tags.estimator_type = "regressor"
            # Its score may be a density, which has no lower bound.
            tags.regressor_tags = RegressorTags(poor_score=True)
        else:
            # It predicts classes, and cross-validation must keep all of them in every fold.
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags()
        tags.target_tags.required = True
        if isinstance(self.estimator, BaseEstimator):
            taken = get_tags(self.estimator).input_tags
            tags.input_tags.sparse = taken.sparse
            tags.input_tags.allow_nan = taken.allow_nan
        else:
            tags.input_tags.sparse = True  # a module takes dense rows, converted batch by batch
            tags.input_tags.allow_nan = False
        return tags
