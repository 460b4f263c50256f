"""Outlier detection by a provenance network, with scikit-learn's interface."""

from copy import copy
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin, _fit_context
from sklearn.frozen import FrozenEstimator
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from .._utils.arguments import check_readable, real, whole
from .._utils.fitted import is_fitted, resolve
from .._utils.restored import restored_on_error
from .._utils.types import Rows, Targets
from ._debugging import SCORE_NAMES, anomaly_scores, feature_neighbors
from ._shared import open_classifier


class ProvenanceOutlierDetector(OutlierMixin, BaseEstimator):
    """Detect outliers by the index branch of a provenance network.

    A row is scored by the training rows that the network names for it, or that are near to it in
    the features of the index branch. A row that the network was trained on is scored by the
    *other* training rows: with itself among them, it would look more normal than any new row. So
    ``fit_predict(X, y)`` finds outliers among training rows, ``predict`` among new ones, and both
    compare with the same ``offset_``.

    Parameters
    ----------
    estimator : ProvenanceClassifier
        Network to read, or a Pipeline or search around one.
    method : {"distance", "disagreement", "entropy", "low_entropy", "confidence"}, \
default="distance"
        What makes a row an outlier:

        - "distance": mean Euclidean distance to the k nearest training rows in the features of the
          index branch;
        - "disagreement": share of the k exemplars whose label differs from the row's, weighted by
          score. The label is the given one for training rows, the predicted one for others;
        - "entropy": entropy of the index probabilities, high where no training row in particular
          is named;
        - "low_entropy": the opposite, high where few training rows are named;
        - "confidence": -log of the largest index probability.
    k : int, default=10
        Neighbours or exemplars of each row.
    contamination : float in (0, 0.5], default=0.1
        Share of the rows given to fit that are outliers.
    prefit : {"auto", True, False}, default="auto"
        Whether the estimator is fitted. "auto" uses a fitted one as it stands, and fits a clone of
        one that is not.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator in use.
    offset_ : float
        Rows whose ``score_samples`` are below it are outliers. Rows with exactly this score count
        as inliers; with "disagreement" there are many.
    n_features_in_ : int
        Second dimension of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, if ``X`` was a data frame with string names.

    See Also
    --------
    anomaly_ranking : Ranks the training rows inside each class.
    sklearn.neighbors.LocalOutlierFactor : Outliers by distances of the rows themselves.

    Notes
    -----
    Unlike most outlier detectors it takes labels, because the network is trained with them. A
    fitted estimator needs no labels: then ``fit`` only sets ``offset_``, from rows that the
    estimator need not have seen.

    A row counts as a training row if its values are exactly those of one.

    The estimator is read with the ``routing`` that it had in ``fit``. Another one takes effect with
    the next ``fit``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_provenance import ProvenanceClassifier
    >>> from sklearn_provenance.datasets import load_digits
    >>> from sklearn_provenance.inspection import ProvenanceOutlierDetector
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = ProvenanceClassifier(backbone="mlp", width="small", max_epochs=15, random_state=0)
    >>> detector = ProvenanceOutlierDetector(clf, contamination=0.05).fit(X[:500], y[:500])
    >>> upright, turned = X[500:700], np.rot90(X[500:700], axes=(1, 2))
    >>> bool((detector.predict(turned) == -1).mean() > 0.9)
    True
    >>> bool((detector.predict(upright) == -1).mean() < 0.1)
    True
    """

    _parameter_constraints: dict = {
        "estimator": "no_validation",  # resolving it says more than a type would
        "method": [StrOptions(set(SCORE_NAMES))],
        "k": [whole()],
        "contamination": [real(0, 0.5, "right")],
        "prefit": [StrOptions({"auto"}), "boolean"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        method: str = "distance",
        k: int = 10,
        contamination: float = 0.1,
        prefit: Literal["auto"] | bool = "auto",
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.k = k
        self.contamination = contamination
        self.prefit = prefit

    # The estimator is an estimator of its own, whose parameters are validated when it is fitted.
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Rows, y: Targets = None) -> Self:
        """Fit the estimator if it is not fitted, and set the offset.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the estimator takes them.
        y : array-like of shape (n,), default=None
            Their labels. A fitted estimator needs none.

        Returns
        -------
        self : ProvenanceOutlierDetector
            The fitted detector.

        Raises
        ------
        TypeError
            If there is no ProvenanceClassifier in the estimator.
        ValueError
            If the estimator needs y and gets none, y differs from the labels that the estimator
            was fitted with, or the method cannot serve the estimator.
        """
        with restored_on_error(self):
            return self._fit(X, y)

    def _fit(self, X, y):
        """Fit, and maybe fail half-way."""
        X = self._check_X(X, reset=True)
        if y is None and self._needs_labels():
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: its "
                "estimator is trained with labels. Pass y, or a fitted estimator"
            )
        self.estimator_ = resolve(self.estimator, self.prefit, X, y)
        classifier, X = open_classifier(self.estimator_, X, "estimator")
        self._routing = classifier.routing
        training = classifier.training_
        self._first = classifier.find_training_rows(training.X)
        same_rows = np.array_equal(classifier.find_training_rows(X), self._first)
        if same_rows and y is not None and not np.array_equal(column_or_1d(y), training.y):
            raise ValueError(
                "y must be the labels with which the estimator was fitted to these rows, got "
                "others. Pass the same labels, or fit the estimator again with prefit=False"
            )
        self._neighbors = None
        if self.method == "distance":
            self._neighbors = feature_neighbors(classifier, self.k)
        self._known_scores = -self._anomaly(classifier)
        self._fit_scores = self._scores(classifier, X)
        self.offset_ = float(np.percentile(self._fit_scores, 100 * self.contamination))
        return self

    def fit_predict(self, X: Rows, y: Targets = None) -> NDArray[np.int64]:
        """Fit, and find the outliers among the rows given.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the estimator takes them.
        y : array-like of shape (n,), default=None
            Their labels. A fitted estimator needs none.

        Returns
        -------
        outlier : ndarray of shape (n,)
            -1 for outliers, 1 for the others.
        """
        self.fit(X, y)
        return _signs(self._fit_scores - self.offset_)

    def score_samples(self, X: Rows) -> NDArray[np.float64]:
        """Score rows, lower where they are more anomalous.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the estimator takes them.

        Returns
        -------
        scores : ndarray of shape (n,)
            Negative values of what ``method`` measures.
        """
        check_is_fitted(self)
        classifier, X = open_classifier(self.estimator_, self._check_X(X))
        if classifier.routing != self._routing:  # training rows keep the scores of fit
            classifier = copy(classifier).set_params(routing=self._routing)
        return self._scores(classifier, X)

    def decision_function(self, X: Rows) -> NDArray[np.float64]:
        """Score rows, below 0 where they are outliers.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the estimator takes them.

        Returns
        -------
        scores : ndarray of shape (n,)
            ``score_samples(X) - offset_``.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Rows) -> NDArray[np.int64]:
        """Tell outliers from others.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the estimator takes them.

        Returns
        -------
        outlier : ndarray of shape (n,)
            -1 for outliers, 1 for the others.
        """
        return _signs(self.decision_function(X))

    def _needs_labels(self):
        """Return whether fit trains the estimator."""
        if self.prefit is True or isinstance(self.estimator, FrozenEstimator):
            return False
        return self.prefit is False or not is_fitted(self.estimator)

    def _check_X(self, X, reset=False):
        """Return X as an object with a shape; the estimator checks its values."""
        check_readable(X, "X")
        if not hasattr(X, "ndim"):
            X = np.asarray(X)
        if X.ndim < 2:
            raise ValueError(
                f"X must have two dimensions or more, got an array of shape {X.shape}. Reshape "
                "your data with X.reshape(1, -1) if it is one row"
            )
        validate_data(self, X, skip_check_array=True, reset=reset)
        return X

    def _anomaly(self, classifier, X=None):
        """Score rows, higher where they are more anomalous."""
        return anomaly_scores(
            classifier, X, method=self.method, k=self.k, neighbors=self._neighbors
        )

    def _scores(self, classifier, X):
        """Score training rows by the other training rows, and new rows by all of them."""
        numbers = classifier.find_training_rows(X)  # of equal training rows the first
        if np.array_equal(numbers, self._first):  # equal rows may have different labels
            return self._known_scores.copy()
        scores = self._known_scores[numbers]
        new = np.flatnonzero(numbers < 0)
        if len(new):
            scores[new] = -self._anomaly(classifier, _safe_indexing(X, new))
        return scores

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = True  # as a ProvenanceClassifier takes
        return tags


def _signs(decision):
    """Turn decisions into -1 for outliers and 1 for inliers."""
    return np.where(decision < 0, -1, 1)
