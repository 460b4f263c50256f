"""Influence: what a prediction would be without rows, by the estimator's own objective."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import (
    ClassifierTags,
    RegressorTags,
    check_consistent_length,
    get_tags,
)
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted, column_or_1d
from tqdm.auto import tqdm

from ..._utils.arguments import labels_and_k, real, whole
from ..._utils.feature_names import column_names
from ..._utils.fitted import predicts_numbers
from ..._utils.kept import MEMORY_LIMIT
from ..._utils.labels import positions
from ..._utils.rows import check_rows, n_rows, shown
from ...explanation import Explanation
from ..objectives._column_parts import ColumnParts
from ..objectives._minima import dense_row, pick_jointly
from ._influence_checks import warn_of_nan
from ._influence_diagnostics import DiagnosticsMixin
from ._influence_fit import InfluenceFitMixin
from ._influence_predict import InfluencePredictMixin
from ._padding import warn_of_padding


class InfluenceAttributor(
    InfluenceFitMixin, InfluencePredictMixin, DiagnosticsMixin, BaseEstimator
):
    """Predict what a model would say if it were trained without rows.

    A score is by how much the margin of a query's label would fall if a training row were removed
    and the estimator trained again; positive scores are those of rows that speak for the
    prediction. The estimator's own loss, penalty, intercept, class weights and sample weights are
    taken into account, so that scores agree with training again in rank and in size.

    Parameters
    ----------
    estimator : estimator
        An estimator that minimises a smooth convex objective: LogisticRegression(CV),
        RidgeClassifier(CV), LinearSVC, SGDClassifier, OneVsRestClassifier around one of these,
        LinearRegression, Ridge(CV), LinearSVR, SGDRegressor, PoissonRegressor, GammaRegressor,
        TweedieRegressor, KernelRidge, GaussianProcessRegressor, GaussianProcessClassifier (its
        latent function); ElasticNet(CV), Lasso(CV) and logistic regression with an L1 penalty on
        their active set; or a Pipeline, search or FrozenEstimator around one of these. It must
        have been fitted on the rows given to :meth:`fit`.
    direction : {"down", "up", "any"}, default="down"
        What :meth:`explain` looks for: rows whose joint removal lowers the margin (for a
        regressor: the prediction) most, raises it most, or the one of both that moves it
        farther.
    candidates : {"all", "same_class", "auto"}, default="all"
        Rows that may be named for a query: all, or those of its class. Rows of other classes
        have influence too, so "auto" is "all". :meth:`attribute` scores candidates only.
    n_steps : int or "auto", default="auto"
        Newton steps from the minimum with all rows to that without one. "auto" takes one where
        that is exact, or where two would take more than some seconds; otherwise two, and as many
        as it needs for rows where two are not enough. With more than 4096 sparse rows and
        parameters it is always one.
    prefit : {"auto"} or bool, default="auto"
        Whether the estimator is fitted. "auto" uses a fitted one as it stands, and clones and
        fits another. False always fits a clone. A FrozenEstimator stays as it is.
    memory_limit : float, default=2e9
        Bytes that the parameters without each row may take between calls. What does not fit is
        computed again.
    verbose : int, default=0
        Whether to show progress.

    Attributes
    ----------
    estimator_ : estimator
        The model in use.
    classes_ : ndarray of shape (n_classes,)
        Its class labels; only if it is a classifier.
    training_ : TrainingData
        The rows, targets and identifiers given to ``fit``.
    n_steps_ : int
        Newton steps in use.
    gradient_norm_ : float
        Norm of the gradient of the objective, summed over rows, at the estimator's parameters.
    distance_ : float
        Root mean square difference between the estimator's outputs and those at the minimum of
        its objective, relative to their spread over the training rows. Influence is that of the
        minimum.
    assumptions_ : tuple of str
        What is held fixed though training again might change it, such as the steps of a pipeline
        before the last.
    leverage_ : ndarray of shape (n_train,)
        Diagonal of the hat matrix. This and the next four are there for generalised linear models
        with one output, penalised or not, and computed when they are asked for.
    cooks_distance_ : ndarray of shape (n_train,)
        Cook's distances.
    studentized_residuals_ : ndarray of shape (n_train,)
        Internally studentized Pearson residuals.
    externally_studentized_residuals_ : ndarray of shape (n_train,)
        Those with a dispersion that is estimated without the row, for squared losses.
    dfbetas_ : ndarray of shape (n_train, n_features + 1)
        Changes of coefficients and intercept (last) without each row, in standard errors.
    self_influence_ : ndarray of shape (n_train,)
        Fall of each training row's own margin without the row.
    n_features_in_ : int
        Second dimension of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, if ``X`` was a data frame with string names.

    See Also
    --------
    LastLayerAttributor : Influence through the last layer of any classifier, with damping.
    EKFACAttributor : Influence through all layers of a network.

    Notes
    -----
    The margin is log p / (1 - p) of the query's label, the decision value where a classifier has
    no probabilities (for several classes: its lead over the largest other one), and the prediction
    of a regressor in the units of y.

    With the minimum θ of the objective F and the row i, the parameters without the row are
    those after Newton steps on F without it. The first step is in closed form,

        θ_i = θ - H^-1 φ_i r_i w_i / (1 - h_i),   h_i = w_i φ_i^T H^-1 φ_i

    with the Hessian H of F, its penalty included, the weight w_i = ℓ'' and the working residual
    r_i = -ℓ' / w_i of the row; the general form, for several outputs and for weights of classes
    and averages that change with the rows, is in ``information/_newton.py``. For squared losses
    it is exact. Without a set of rows, Newton steps are taken until they arrive, so that
    :meth:`predict_without` agrees with training again to rounding.

    What :meth:`explain` finds is a set: it removes the row whose removal moves the margin most,
    solves the problem without it, and goes on from there. Scores are marginal and add up to the
    fall of the margin when all k rows are gone.

    Of a linear model each column of the query has a part in a score: by how much its coefficient
    changes when the row goes, times the query's value. In text this is a word of the query; the
    words that it shares with the row have the largest parts, and others have some through the
    inverse Hessian. Columns of a dense table count from their means. Together with the
    intercept's, which is named "(intercept)", the parts add up to the score: where the margin is
    not linear in the outputs, changes of outputs are multiplied by the mean of its gradient on
    the way.

    References
    ----------
    Cook, Weisberg (1982). Residuals and influence in regression, chapters 3 and 5.

    Pregibon (1981). Logistic regression diagnostics, Annals of Statistics 9(4), equation 4.

    Koh, Liang (2017). Understanding black-box predictions via influence functions, ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_provenance import InfluenceAttributor
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    >>> attributor = InfluenceAttributor(model).fit(X[:400], y[:400])
    >>> drops = attributor.attribute(X[400:402])
    >>> drops.shape
    (2, 400)
    >>> exp = attributor.explain(X[400:401], k=10)
    >>> before = attributor.predict_without(X[400:401], [])
    >>> after = attributor.predict_without(X[400:401], exp.indices[0])
    >>> log_odds = np.log(np.stack([before, after]) / (1 - np.stack([before, after])))
    >>> label = attributor.predict(X[400:401])
    >>> bool(np.isclose(exp.scores.sum(), (log_odds[0] - log_odds[1])[0, label[0]]))
    True
    """

    _parameter_constraints: dict = {
        "estimator": "no_validation",  # says more about what is supported than a type would
        "direction": [StrOptions({"down", "up", "any"})],
        "candidates": [StrOptions({"all", "same_class", "auto"})],
        "n_steps": [whole(), StrOptions({"auto"})],
        "prefit": [StrOptions({"auto"}), "boolean"],
        "memory_limit": [real(closed="neither")],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator,
        *,
        direction="down",
        candidates="all",
        n_steps="auto",
        prefit="auto",
        memory_limit=MEMORY_LIMIT,
        verbose=0,
    ):
        self.estimator = estimator
        self.direction = direction
        self.candidates = candidates
        self.n_steps = n_steps
        self.prefit = prefit
        self.memory_limit = memory_limit
        self.verbose = verbose

    def attribute(self, X, y=None):
        """Predict the fall of each query's margin without each training row alone.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Queries.
        y : array-like of shape (n_queries,), default=None
            Labels whose margins are meant; None takes the predicted ones. A regressor's
            prediction does not depend on it.

        Returns
        -------
        drops : ndarray of shape (n_queries, n_train)
            Positive where the row speaks for the prediction; nan where a row is no candidate of a
            query, or where the problem without the row has no unique minimum.

        Raises
        ------
        ValueError
            If y holds a label that the model does not know.
        """
        check_is_fitted(self)
        X = check_rows(self, X)
        labels = self._labels(X, y)
        minima = self._minima
        designs = minima.designs(X)
        if minima.implicit:
            drops = minima.drops(designs, labels)
        else:
            drops = self._rows.drops(designs, labels)
        warn_of_nan(drops)
        if self.candidates == "same_class":
            drops[~self._candidates(labels)] = np.nan
        return drops

    def explain(self, X=None, y=None, k=5):
        """Name the rows whose joint removal moves each query's margin most.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...), default=None
            Queries. None explains every training row at its own label by the others.
        y : array-like of shape (n_queries,), default=None
            Labels whose margins are meant; None takes the predicted ones. A single
            integer is k: ``explain(X, 3)``.
        k : int, default=5
            Training rows per query.

        Returns
        -------
        explanation : Explanation
            Rows in the order in which they were picked. A score is the fall of the margin with
            that row, after those before it; scores add up to the fall when all k rows are gone.
            Where fewer than k rows can be removed, the rest is padded with -1 and nan, with a
            warning. Where the model is linear in columns or words that have names,
            ``contributions`` are their parts of each score (see the notes).

        Raises
        ------
        ValueError
            If k is larger than the number of training rows, y holds a label that the model does
            not know, or y is given without X.
        """
        check_is_fitted(self)
        y, k = labels_and_k(y, k, self._minima.n_rows)
        if X is None and y is not None:
            raise ValueError(
                "y was given without X: the training rows are explained at their own labels"
            )
        training, among_train = self.training_, X is None
        rows = training.X if among_train else check_rows(self, X)
        labels = self._labels(rows, training.y if among_train else y)
        minima = self._minima
        designs = minima.training_designs() if among_train else minima.designs(rows)
        allowed = self._candidates(labels, n_rows(rows))
        indices = np.full((n_rows(rows), k), -1, dtype=np.int64)
        scores = np.full(indices.shape, np.nan)
        columns = ColumnParts.of(minima.objective, rows, column_names(rows))
        parts = []
        for number in tqdm(range(len(indices)), desc="queries", disable=not self.verbose):
            if among_train:
                allowed[number, number] = False
            query = [dense_row(design, number) for design in designs]
            label = None if labels is None else labels[number]
            removal = self._pick(query, label, k, allowed[number])
            indices[number, : len(removal.rows)] = removal.rows
            scores[number, : len(removal.drops)] = removal.drops
            if columns is not None:
                parts.append(columns.of_removal(number, label, removal, k))
        warn_of_padding(indices, "rows that can be removed")
        (queries, training_data), _, row_names, names = shown(rows, training.X)
        if labels is None:
            explained = minima.objective.response.answer(minima.outputs(designs))
        else:
            explained = self.classes_[labels]
        return Explanation(
            indices,
            scores,
            sample_id=None if training.sample_id is None else training.sample_id[indices],
            exemplar_labels=training.y[indices],
            query_labels=explained,
            targets="numbers" if labels is None else "labels",
            query_id=training.sample_id if among_train else row_names,
            queries=queries,
            training_data=training_data,
            feature_names=getattr(self, "feature_names_in_", names),
            method="influence",
            score_name=minima.objective.response.score_name,
            contributions=None if columns is None else columns.contributions(parts),
        )

    def _pick(self, query, label, k, allowed):
        """Rows and the way they move the margin in the direction that was asked for."""
        if self.direction != "any":
            sign = 1 if self.direction == "down" else -1
            return pick_jointly(self._minima, query, label, k, allowed, sign)
        down, up = (pick_jointly(self._minima, query, label, k, allowed, s) for s in (1, -1))
        return down if sum(down.drops) >= -sum(up.drops) else up

    def _labels(self, X, y):
        """Positions of labels, given or predicted; None for a regressor."""
        if y is not None:
            y = column_or_1d(y)
            check_consistent_length(np.empty(n_rows(X)), y)
        if not hasattr(self, "classes_"):
            return None
        if y is None:
            y = np.asarray(self.estimator_.predict(X))
        return positions(self.classes_, y, "y")

    def _candidates(self, labels, n_queries=None):
        """Rows that may be named for each query, (n_queries, n_train)."""
        if self.candidates != "same_class":
            return np.ones((n_queries, self._minima.n_rows), dtype=bool)
        return labels[:, None] == positions(self.classes_, self.training_.y, "y")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if predicts_numbers(self.estimator):
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        else:
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        tags.target_tags.required = True
        if isinstance(self.estimator, BaseEstimator):
            tags.input_tags.sparse = get_tags(self.estimator).input_tags.sparse
        return tags
