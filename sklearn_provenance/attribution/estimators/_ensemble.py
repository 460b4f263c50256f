"""Ensembles: what their parts say of the training rows, put together as the parts are."""

import warnings
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.utils._param_validation import StrOptions

from ..._utils.arguments import store_arguments
from ..._utils.budget import budgeted
from ..._utils.fitted import predicts_numbers
from ..._utils.kept import MEMORY_LIMIT
from ..._utils.numeric import as_ndarray
from ..._utils.rows import check_rows
from ..._utils.types import Rows, Targets
from ..features._queries import QueryRows
from ..models import FittedModel
from ..rules._ensemble import EnsembleRemovalRule, EnsembleWeightRule
from ._base import BaseAttributor
from ._decomposition import Decomposition
from ._docs import documented
from ._pointwise import PointwiseAttributor


@documented
class EnsembleAttributor(PointwiseAttributor, auto_wrap_output_keys=None):
    """Attribute what an ensemble says to training rows, through its parts.

    There are two ways. Where the ensemble is a mean of parts whose predictions are weighted sums
    over their training rows (forests, trees, neighbors), its own predictions are weighted sums
    too, and the score of a row is its weight: the mean of its weights in the parts. Weights times
    targets add up to the prediction.

    Otherwise the score of a row is how far what the ensemble says falls without the row: every
    part is solved without it, and the answers are combined as the ensemble combines them. For a
    mean of parts that is the mean of the falls of the parts. Linear and logistic models and all
    others of :class:`InfluenceAttributor` are trained again without the row; forests and trees keep
    their structure, and their leaves lose the row.

    Parameters
    ----------
    estimator : estimator
        VotingClassifier (soft), VotingRegressor, BaggingClassifier, BaggingRegressor,
        StackingClassifier, StackingRegressor, CalibratedClassifierCV, OneVsRestClassifier,
        OneVsOneClassifier, TransformedTargetRegressor, FixedThresholdClassifier,
        TunedThresholdClassifierCV, SelfTrainingClassifier, RANSACRegressor, KNeighbors* or
        RadiusNeighbors*, or a Pipeline, search or FrozenEstimator around one, of forests, trees,
        neighbors, estimators that :class:`InfluenceAttributor` takes, and such ensembles. Fitted, X
        and y must be the rows that it was fitted on, without sample weights.
    kind : {"auto", "weights", "removal"}, default="auto"
        What a score is: the weight of the row, or the fall without it. "auto" takes weights where
        there are any.
    {candidates} {prefit} {memory} {memory_limit} {verbose}

    Attributes
    ----------
    {estimator_} {classes_} {candidates_} {training_}
    kind_ : {"weights", "removal"}
        ``kind`` in use.
    assumptions_ : tuple of str
        What is held fixed though training again without a row might change it, such as the
        calibrators of CalibratedClassifierCV.
    {n_features_in_} {feature_names_in_}

    See Also
    --------
    ForestAttributor : Weights of rows in a forest alone.
    InfluenceAttributor : Predictions of one model without rows.

    Notes
    -----
    What falls is the probability of the query's label; the prediction of a regressor; and the lead
    of the label's decision value where there are no probabilities. Probabilities are averaged by
    ensembles, log odds are not, so that falls of the parts add up.

    - *Voting* averages its parts by their ``weights``. Hard votes are refused: a vote does not
      change by degrees with a row.
    - *Bagging*: each part has seen its own sample of rows and columns. Without a row, a part
      that has drawn it is trained on the rest of its sample; no other rows are drawn in its place.
      A row that is the last of its class in a sample has a score of nan: without it that part would
      be a model of fewer classes, which is no step away from the one that is there.
      ``explain()`` without X takes, for weights, the parts that have not drawn the row.
    - *Stacking*: the final estimator is explained in the predictions that it takes, which are held
      fixed. Those of the training rows are made again by cross-validation, as ``fit`` made them.
    - *CalibratedClassifierCV*: calibrators are held fixed, and folds are drawn again.
    - *One against one*: decision values change by votes and confidences of all pairs of classes.
    - *TransformedTargetRegressor*: the fall is in the units of y.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.ensemble import RandomForestRegressor, VotingRegressor
    >>> from sklearn.linear_model import LinearRegression, Ridge
    >>> from sklearn.neighbors import KNeighborsRegressor
    >>> from sklearn_provenance.attribution import EnsembleAttributor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> forest = RandomForestRegressor(20, random_state=0)
    >>> vote = VotingRegressor([("forest", forest), ("near", KNeighborsRegressor())]).fit(X, y)
    >>> weights = EnsembleAttributor(vote).fit(X, y).attribute(X[:3])
    >>> bool(np.allclose(weights @ y, vote.predict(X[:3])))
    True
    >>> vote = VotingRegressor([("ridge", Ridge()), ("least", LinearRegression())]).fit(X, y)
    >>> falls = EnsembleAttributor(vote).fit(X, y).attribute(X[:3])
    >>> without = VotingRegressor(vote.estimators).fit(X[1:], y[1:])
    >>> bool(np.allclose(falls[:, 0], vote.predict(X[:3]) - without.predict(X[:3])))
    True
    """

    _parameter_constraints: dict = {
        name: BaseAttributor._parameter_constraints[name]
        for name in ("estimator", "candidates", "prefit", "memory", "memory_limit", "verbose")
    } | {"kind": [StrOptions({"auto", "weights", "removal"})]}

    def __init__(
        self,
        estimator: Any,
        *,
        kind: str = "auto",
        candidates: str = "auto",
        prefit: bool | str = "auto",
        memory: Any = None,
        memory_limit: float = MEMORY_LIMIT,
        verbose: bool = False,
    ):
        store_arguments(locals())

    def _make_features(self, X, y):
        estimator = self.estimator_
        taken_apart = self._decomposition = Decomposition(estimator, X, y)
        self.kind_ = self._kind_of(taken_apart)
        self.assumptions_ = taken_apart.assumptions
        classes = None if predicts_numbers(estimator) else as_ndarray(estimator.classes_)
        return QueryRows(FittedModel(estimator, classes=classes)), X

    def _kind_of(self, taken_apart):
        """Return what scores are, where the parts know that."""
        name = type(self.estimator_).__name__
        if self.kind == "weights" and not taken_apart.has_weights:
            raise ValueError(
                f'kind="weights" needs a mean of forests, trees or neighbors, and {name} is none; '
                'pass kind="removal"'
            )
        if self.kind != "removal" and taken_apart.has_weights:
            return "weights"
        if not taken_apart.has_removals:
            raise TypeError(
                f"all parts of {name} must have weights of their training rows, or all be known "
                "without a row; neighbors are not known without a row, and linear models have no "
                "such weights. Explain the parts by themselves"
            )
        return "removal"

    def _make_rule(self):
        if self.kind_ == "weights":
            return EnsembleWeightRule(self._decomposition)
        return EnsembleRemovalRule(self._decomposition, self.memory_limit)

    @budgeted
    def attribute(self, X: Rows, y: Targets | None = None) -> NDArray[np.float64]:
        """Score every training row alone.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Queries.
        y : array-like of shape (n_queries,), default=None
            Labels to explain; None explains the predicted ones.

        Returns
        -------
        scores : ndarray of shape (n_queries, n_train)
            Weights or falls; nan where a row is no candidate of a query, or a part has no answer
            without it. A warning tells how many rows of the second kind there are.
        """
        scores = super().attribute(X, y)
        if self.kind_ == "removal":
            self._warn_of_no_answer(scores, X, y)
        return scores

    def _warn_of_no_answer(self, scores, X, y):
        """Warn of candidates without which a part has no answer."""
        unknown = np.isnan(scores)
        if unknown.any() and self.candidates_ == "same_class":
            labels = self.predict(X)
            if y is not None:
                labels = as_ndarray(y)
            unknown &= labels[:, None] == as_ndarray(self.training_.y)
        rows = np.flatnonzero(unknown.any(0))
        if len(rows):
            warnings.warn(
                f"a part of {type(self.estimator_).__name__} has no answer without one of "
                f"{len(rows)} rows, row {rows[0]} among them; their scores are nan. Such a row is "
                "the last of its class among those that the part has seen, alone determines a "
                "parameter, or is alone in its leaves",
                UserWarning,
                stacklevel=3,
            )

    def weights(self, X: Rows) -> csr_matrix:
        """Compute the weights of all training rows in predictions, as a sparse matrix.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Queries.

        Returns
        -------
        weights : csr matrix of shape (n_queries, n_train)
            ``weights @ y`` is what a regressor predicts, and ``weights @ (y[:, None] == classes_)``
            the probabilities of a classifier.

        Raises
        ------
        AttributeError
            With ``kind_="removal"``.
        """
        self._check_fitted()
        if self.kind_ != "weights":
            raise AttributeError(
                f"the predictions of {type(self.estimator_).__name__} are no weighted sums over "
                "training rows that are known"
            )
        return self._decomposition.weights(check_rows(self, X))

    def outputs_without_each(self, X: Rows) -> NDArray[np.float64]:
        """Predict what the ensemble would say without each training row alone.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Queries.

        Returns
        -------
        outputs : ndarray of shape (n_train, n_queries, n_outputs)
            Probabilities, decision values or the prediction of a regressor; nan where there is
            none.

        Raises
        ------
        AttributeError
            If a part is not known without a row.
        """
        self._check_fitted()
        if not self._decomposition.has_removals:
            raise AttributeError(
                f"{type(self.estimator_).__name__} has a part that is not known without a row"
            )
        return np.asarray(self._decomposition.outputs_without(check_rows(self, X)))

    def _no_features(self) -> NoReturn:
        """Refuse to transform: no features are compared."""
        raise AttributeError("EnsembleAttributor compares no features, so it has no transform")

    transform = fit_transform = get_feature_names_out = property(_no_features)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags = None
        return tags
