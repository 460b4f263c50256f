"""Forests: the exact weight of each training row in a prediction."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from sklearn.utils.validation import check_is_fitted

from ..._utils.arguments import store_arguments
from ..._utils.budget import budgeted
from ..._utils.kept import MEMORY_LIMIT
from ..._utils.rows import check_rows
from ..._utils.types import Rows
from ..features._forest import ForestFeatures, check_forest
from ..rules._forest import ForestRule
from ._base import base_constraints
from ._docs import documented
from ._pointwise import PointwiseAttributor
from ._weighted import WeightedFit, check_row_numbers


@documented
class ForestAttributor(WeightedFit, PointwiseAttributor):
    """Decompose the predictions of a forest into weights of its training rows, exactly.

    The value of a leaf is the weighted mean of the targets of its training rows, and a forest
    predicts the mean over T trees of the value of the query's leaf. So every prediction is
    ``Σ_i w_i(x) y_i``, with

    ``w_i(x) = (1 / T) Σ_t b_ti [i in leaf_t(x)] / Σ_j b_tj [j in leaf_t(x)]``,

    where ``b_ti`` is how often row i is in the bootstrap sample of tree t, times its weights. The
    samples are drawn again from the seeds that the trees keep. Weights are not negative and add up
    to one. Those of the rows of a class add up to its probability; those of a regressor, times
    targets, to the prediction. The score of a row is its weight.

    Parameters
    ----------
    estimator : estimator
        RandomForestClassifier, RandomForestRegressor, ExtraTrees*, DecisionTree* or ExtraTree* of
        scikit-learn, or a Pipeline, search or FrozenEstimator around one. Fitted, X and y must be
        the rows that it was fitted on, which is checked.
    {candidates}
        With "all", the weights of a query's rows add up to one whatever their classes.
    {prefit} {memory} {memory_limit} {verbose}

    Attributes
    ----------
    {estimator_} {classes_} {candidates_}
    {n_features_in_} {feature_names_in_}

    See Also
    --------
    BoostInAttributor : Influence of rows on the predictions of gradient boosting.
    InfoGainAttributor : Rows in the same leaves that together tell the most.

    Notes
    -----
    ``explain()`` without X explains each training row by the trees that it is out of the bag of,
    whose mean is the forest's ``oob_prediction_`` or ``oob_decision_function_``. Where trees have
    no bags (``bootstrap=False``) its share in a leaf goes to the other rows of the leaf; leaves
    that it has to itself do not vote. Rows without weight are never named.

    With the criteria "absolute_error" (medians) and with monotonic constraints (clipped values)
    predictions are no weighted sums of targets, and are refused.

    References
    ----------
    Lin, Jeon (2006). Random forests and adaptive nearest neighbors, JASA 101(474), section 2.

    Meinshausen (2006). Quantile regression forests, JMLR 7, Eq. 4 and 5.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> from sklearn_provenance.attribution import ForestAttributor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> forest = RandomForestRegressor(50, random_state=0).fit(X, y)
    >>> attributor = ForestAttributor(forest).fit(X, y)
    >>> weights = attributor.weights(X[:3])  # sparse
    >>> bool(np.allclose(weights @ y, forest.predict(X[:3])))
    True
    >>> int(attributor.explain(X[:1], k=3).indices[0, 0])  # the row itself
    0
    """

    _parameter_constraints: dict = base_constraints(
        "estimator", "candidates", "prefit", "memory", "memory_limit", "verbose"
    )

    def __init__(
        self,
        estimator: Any,
        *,
        candidates: str = "auto",
        prefit: bool | str = "auto",
        memory: Any = None,
        memory_limit: float = MEMORY_LIMIT,
        verbose: bool = False,
    ):
        store_arguments(locals())

    def _make_features(self, X, y):
        model = self._fitted_model()
        check_forest(model)
        inputs = model.inputs(X)
        return ForestFeatures(model, inputs, y, self._sample_weight), inputs

    def _make_rule(self):
        return ForestRule(self._features.shares, self._features.bootstrap)

    def weights(self, X: Rows | None = None) -> csr_matrix:
        """Compute the weights of all training rows in predictions, as a sparse matrix.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...), default=None
            Queries. None takes each training row, by the trees that it is out of the bag of.

        Returns
        -------
        weights : csr matrix of shape (n_queries, n_train)
            ``weights @ y`` is what a regressor predicts, and ``weights @ (y[:, None] == classes_)``
            what ``predict_proba`` of a classifier gives.
        """
        check_is_fitted(self)
        if X is not None:
            return self._rule.weights(self._queries(check_rows(self, X)))
        self._check_unchanged()
        queries = self._rows.as_queries()
        return self._rule.weights(queries, own=np.arange(len(queries)))

    @budgeted
    def predict_without(self, X: Rows, rows: ArrayLike) -> NDArray[np.float64]:
        """Predict what the trees would say without some training rows, their structure held fixed.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Queries.
        rows : array-like of int of shape (n_rows,)
            Rows of the X given to fit, which are taken out of all leaves.

        Returns
        -------
        outputs : ndarray of shape (n_queries,) or (n_queries, n_classes)
            Means of the leaves' other rows: predictions of a regressor, probabilities of a
            classifier. Leaves without other rows do not vote; nan where none votes.

        Raises
        ------
        ValueError
            If rows holds no numbers of training rows.
        """
        check_is_fitted(self)
        rows = check_row_numbers(rows, len(self.training_.y))
        queries = self._queries(check_rows(self, X))
        targets = self._features.targets(self.training_.y)
        outputs = self._rule.outputs_without(queries, rows, targets)
        return outputs[:, 0] if self.classes_ is None else outputs
