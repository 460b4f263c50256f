"""BoostIn: influence of training rows on the predictions of gradient boosting."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted, column_or_1d
from tqdm.auto import tqdm

from ..._utils.arguments import store_arguments
from ..._utils.kept import MEMORY_LIMIT
from ..._utils.labels import positions
from ..._utils.rows import as_given, check_rows
from ..._utils.types import Rows, Targets
from ..features._boosting import BoostInFeatures, check_boosting
from ..features._rows import predicted
from ..rules._products import DotRule
from ._base import base_constraints
from ._docs import documented
from ._pointwise import PointwiseAttributor
from ._weighted import WeightedFit, check_row_numbers


class BoostInRule(DotRule):
    """Sum what a row did in the leaves that it shares with a query."""

    name = "BoostIn"

    def __init__(self, unit):
        self.unit = unit

    def settled(self, scores, rows=None):
        """Leave scores as they are: copies of a row may have other weights, or be held out."""
        return scores


@documented
class BoostInAttributor(WeightedFit, PointwiseAttributor):
    """Score training rows by their influence on a prediction of gradient boosting (BoostIn).

    In every round t a leaf of boosting takes a Newton step, ``a = -η Σ g_i / (Σ h_i + λ)``, with g
    and h the first two derivatives of the loss at its training rows. Without row i, to first order
    and with the structure of the trees and the other rows' gradients held fixed, the step changes
    by ``(η g_i + h_i a) / (Σ h_j + λ)``. The score is what these changes add up to for the query,

    ``Σ_t [i and x in the same leaf of t] s_t(x) (-(η g_ti + h_ti a_t)) / (Σ_j h_tj + λ)``,

    where ``s_t`` is minus the derivative of the query's loss at its outputs before round t, as in
    BoostIn, or the derivative of its output. Positive scores speak for the prediction: without the
    row, the loss would be higher, or the output lower.

    Parameters
    ----------
    estimator : estimator
        GradientBoosting* or HistGradientBoosting* of scikit-learn, XGBClassifier or XGBRegressor
        (extra ``xgboost``), LGBMClassifier or LGBMRegressor (extra ``lightgbm``), or a Pipeline,
        search or FrozenEstimator around one. Fitted, X and y must be the rows that it was fitted
        on: the steps of all leaves are taken again and compared.
    measurement : {"auto", "loss", "output"}, default="auto"
        What is explained about a query: its loss at its label, or the log odds of its label (of a
        regressor its output, before the inverse link). "auto" is the loss for classifiers and the
        output for regressors. The loss of a regressor needs y.
    {candidates} {prefit} {memory} {memory_limit} {verbose}

    Attributes
    ----------
    {estimator_} {training_} {classes_} {candidates_}
    {n_features_in_} {feature_names_in_}

    See Also
    --------
    ForestAttributor : The exact weights of training rows in a forest.
    InfoGainAttributor : Rows in the same leaves that together tell the most.

    Notes
    -----
    Losses whose steps are known: log loss, squared error, exponential (GradientBoosting), Poisson
    and gamma (HistGradientBoosting), with weights of rows and classes. Rows that early stopping
    holds out score zero. Boosting on some of the rows in each round (``subsample``), monotonic
    constraints and L1 penalties are refused.

    The structure of the trees is held fixed, and so are the outputs that boosting starts from.
    ``leaf_refit`` gives the exact change under that assumption, a row at a time.

    References
    ----------
    Brophy, Hammoudeh, Lowd (2023). Adapting and evaluating influence-estimation methods for
    gradient-boosted decision trees, JMLR 24(154), sections 4.2 (LeafRefit) and 4.4 (BoostIn).

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> from sklearn_provenance.attribution import BoostInAttributor
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = HistGradientBoostingClassifier(max_iter=20).fit(X[:400], y[:400])
    >>> attributor = BoostInAttributor(model, candidates="all").fit(X[:400], y[:400])
    >>> influence = attributor.attribute(X[400:403])
    >>> influence.shape, bool((influence.max(axis=1) > 0).all())
    ((3, 400), True)
    """

    _parameter_constraints: dict = {
        **base_constraints(
            "estimator", "candidates", "prefit", "memory", "memory_limit", "verbose"
        ),
        "measurement": [StrOptions({"auto", "loss", "output"})],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        measurement: str | Callable = "auto",
        candidates: str = "auto",
        prefit: bool | str = "auto",
        memory: Any = None,
        memory_limit: float = MEMORY_LIMIT,
        verbose: bool = False,
    ):
        store_arguments(locals())

    def _make_features(self, X, y):
        model = self._fitted_model()
        check_boosting(model)
        self.measurement_ = self.measurement
        if self.measurement == "auto":
            self.measurement_ = "output" if model.classes is None else "loss"
        if model.classes is None:
            labels = np.asarray(y, dtype=np.float64)
        else:
            labels = positions(model.classes, y, "y")
        inputs = model.inputs(X)
        features = BoostInFeatures(model, inputs, y, labels, self._sample_weight, self.measurement_)
        return features, inputs

    def _make_rule(self):
        if self._of_loss:
            name = "rise of the loss (first order)"
        elif self.classes_ is None:
            name = "drop of the output (first order)"
        else:
            name = "drop of the log odds (first order)"
        return BoostInRule(name)

    @property
    def _of_loss(self):
        return self.measurement_ == "loss"

    def leaf_refit(
        self, X: Rows, y: Targets | None = None, rows: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Compute what each training row alone changes, leaves refitted, structure held fixed.

        All leaves take their steps again without the row, round after round, at the outputs that
        the remaining rows then have (LeafRefit).

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Queries.
        y : array-like of shape (n_queries,), default=None
            Labels or targets to explain; None explains the predicted ones.
        rows : array-like of int of shape (n_rows,), default=None
            Rows of the X given to fit; None takes all. Each costs a pass over all training rows and
            trees.

        Returns
        -------
        scores : ndarray of shape (n_queries, n_rows)
            How much the loss rises, or the output drops, without the row.

        Raises
        ------
        ValueError
            If rows holds no numbers of training rows.
        """
        check_is_fitted(self)
        features = self._features
        training = self._rows
        if rows is None:
            rows = np.arange(len(training))
        removed = check_row_numbers(rows, len(training))
        X = check_rows(self, X)
        labels = self._labels(X, y)
        leaves = features.inputs(X)
        before = features.measured(features.final_outputs(leaves), labels)  # (n_queries,)
        scores = np.empty((len(leaves), len(removed)))
        for place, row in enumerate(tqdm(removed, desc="rows", disable=not self.verbose)):
            values = features.refitted(training.inputs, training.labels, [row])
            after = features.measured(features.final_outputs(leaves, values), labels)
            scores[:, place] = before - after
        return scores

    def predict_without(self, X: Rows, rows: ArrayLike) -> NDArray[np.float64]:
        """Predict outputs without some training rows, leaves refitted, structure held fixed.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Queries.
        rows : array-like of int of shape (n_rows,)
            Rows of the X given to fit that are removed together.

        Returns
        -------
        outputs : ndarray of shape (n_queries,) or (n_queries, n_classes)
            Outputs before the inverse link, as ``decision_function`` gives them.

        Raises
        ------
        ValueError
            If rows holds no numbers of training rows.
        """
        check_is_fitted(self)
        features = self._features
        training = self._rows
        removed = check_row_numbers(rows, len(training))
        leaves = features.inputs(check_rows(self, X))
        values = None  # those of the model
        if len(removed):
            values = features.refitted(training.inputs, training.labels, removed)
        outputs = features.final_outputs(leaves, values)  # (n_queries, O)
        if outputs.shape[1] == 1:
            return outputs[:, 0]
        return outputs

    def _labels(self, X, y):
        """Find the labels or targets (n_queries,) that queries are measured at."""
        if y is not None:
            return self._measured_at(column_or_1d(as_given(y, "y")))
        if self._of_loss and self.classes_ is None:
            raise ValueError("y must be given where the loss of a regressor is explained; got None")
        return predicted(self._features.model, X)
