"""Influence: what a prediction would be without rows, by the estimator's own objective."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import ClassifierTags, RegressorTags, get_tags
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted

from ..._utils.arguments import real, store_arguments, whole
from ..._utils.budget import budgeted
from ..._utils.cluster import check_use, using
from ..._utils.fitted import predicts_numbers
from ..._utils.kept import MEMORY_LIMIT
from ..._utils.types import Rows, Targets
from ...explanation import Explanation
from ...explanation._instead import Instead
from ...tangent import TangentFeatures
from ...tangent._outputs import ALL_MEASUREMENTS
from ._influence_convex import ConvexInfluenceMixin
from ._influence_diagnostics import DiagnosticsMixin
from ._influence_fit import SHARED, InfluenceFitMixin
from ._influence_flips import FlippingMixin
from ._influence_predict import InfluencePredictMixin


class InfluenceAttributor(
    InfluenceFitMixin,
    InfluencePredictMixin,
    ConvexInfluenceMixin,
    FlippingMixin,
    DiagnosticsMixin,
    BaseEstimator,
):
    """Predict what a model would say if it were trained without rows.

    A score is by how much the margin of a query's label would fall if a training row were removed
    and the estimator trained again; positive scores are those of rows that speak for the
    prediction. The estimator's own loss, penalty, intercept, class weights and sample weights are
    taken into account, so that scores agree with training again in rank and in size. Networks have
    no such minimum; their scores are those of ridge regression on their gradients.

    Parameters
    ----------
    estimator : estimator, torch.nn.Module or list of these
        An estimator that minimises a smooth convex objective: LogisticRegression(CV),
        RidgeClassifier(CV), LinearSVC, SGDClassifier, OneVsRestClassifier around one of these,
        LinearRegression, Ridge(CV), LinearSVR, SGDRegressor, PoissonRegressor, GammaRegressor,
        TweedieRegressor, KernelRidge, GaussianProcessRegressor, GaussianProcessClassifier (its
        latent function); ElasticNet(CV), Lasso(CV) and logistic regression with an L1 penalty on
        their active set. Or a network: a torch.nn.Module that returns logits, a
        ProvenanceClassifier or ProvenanceRegressor, a network of skorch, MLPClassifier or
        MLPRegressor. Or a Pipeline, search or FrozenEstimator around one of these. A list of
        networks for the same classes, or of regressors that are networks, trained from several
        seeds, has its drops averaged. The estimator must have been fitted on the rows given to
        :meth:`fit`.
    direction : {"down", "up", "any"}, default="down"
        What :meth:`explain` looks for: rows whose joint removal lowers the margin (for a
        regressor: the prediction) most, raises it most, or the one of both that moves it
        farther.
    candidates : {"all", "same_class", "auto"}, default="auto"
        Rows that may be named for a query: all, or those of its class. "auto" is "all" where the
        estimator minimises a convex objective, and "same_class" of classifiers that are networks.
        :meth:`attribute` scores candidates only.
    selection : {"greedy", "additive"}, default="greedy"
        How :meth:`explain` picks rows: one after the other, each given those before it, or by
        their scores alone.
    n_steps : int or "auto", default="auto"
        Newton steps from the minimum with all rows to that without one. "auto" takes one where
        that is exact, or where two would take more than some seconds; otherwise two, and as many
        as it needs for rows where two are not enough. With more than 4096 sparse rows and
        parameters it is always one. Networks
        take "auto" only.
    ridge : float, default=1.0
        λ of a network's system, in units of the mean squared norm of its features (with
        ``curvature="row"`` of each row's features times its weight, with "softmax" those of its
        other classes added). Other estimators have a
        penalty of their own.
    curvature : {"mean", "row", "softmax"}, default="mean"
        How firmly rows hold what a classifier that is a network predicts. "mean" and "row": along
        their margins, with the mean of the weights p (1 - p) for all, or each row's own. "softmax":
        with each row's own, and along the other classes, too, which is all of the Gauss-Newton
        matrix. That predicts best how far different queries fall, and what single rows do, at
        twice the cost; see the user guide.
    measurement : {"margin", "label_logit", "log_probability"} or callable, default="margin"
        What :meth:`attribute` and :meth:`explain` say the fall of, for a classifier that is a
        network: the log odds log(p / (1 - p)) of the query's label, its logit, log p, or what a
        callable ``(logits, label) -> (B,)`` makes of logits and positions of labels. It is that of
        queries alone. Rows are measured by the margin in any case, of which their loss is a
        function, and so are predictions without rows, flipping sets and ``self_influence_``.
    features : {"auto", "exact"} or TangentFeatures, default="auto"
        Gradients of a network. "exact" takes those of all parameters. "auto" does so where there
        are 8192 rows (with ``curvature="softmax"`` 4096) or 1024 parameters at most, and otherwise
        sketches them to 4096 components.
    forward : callable, default=None
        ``forward(module, x)`` gives the logits of a module whose outputs are something else.
    prefit : {"auto"} or bool, default="auto"
        Whether the estimator is fitted. "auto" uses a fitted one as it stands, and clones and
        fits another. False always fits a clone. Modules and FrozenEstimators stay as they are.
    memory : str or joblib.Memory, default=None
        Folder in which fitted clones and gradients of networks are kept.
    memory_limit : float, default=2e9
        Bytes that the parameters without each row, or features and kernels of a network, may take
        between calls. What does not fit is computed again. A kernel that does not fit is refused;
        explicit features that do not fit are read in blocks, once for each pick, beside matrices
        of the number of features. Hessians of linear models, and the matrices of kernels, are
        refused by :meth:`fit` where they do not fit. Sparse rows are solved by conjugate gradients
        then, with leverages that are estimated to about 12 %.
    batch_size : int or "auto", default="auto"
        Rows per pass through a network.
    verbose : bool, default=False
        Whether to show progress.

    Attributes
    ----------
    estimator_ : estimator
        The model in use.
    classes_ : ndarray of shape (n_classes,)
        Its class labels; only if it is a classifier.
    training_ : TrainingData
        Copies of the rows, targets and identifiers given to ``fit``.
    candidates_ : {"all", "same_class"}
        ``candidates`` in use.
    n_steps_ : int
        Newton steps in use. This and the next three are there unless the estimator is a network.
    gradient_norm_ : float
        Norm of the gradient of the objective, summed over rows, at the estimator's parameters.
    distance_ : float
        Root mean square difference between the estimator's outputs and those at the minimum of
        its objective, relative to their spread over the training rows. Influence is that of the
        minimum.
    assumptions_ : tuple of str
        What is held fixed though training again might change it, such as the steps of a pipeline
        before the last.
    ridge_ : ndarray of shape (n_models,)
        λ of each network, in units of its features.
    features_ : TangentFeatures, list of these or None
        The fitted sketch of a network, if it has one.
    coverage_ : Coverage
        Which parameters of a network have gradients, and how they are computed.
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
    and averages that change with the rows, is in ``information/_convex_problem.py`` and
    ``_newton.py``. For squared losses it is exact. Without a set of rows, Newton steps are taken
    until they arrive, so that :meth:`predict_without` agrees with training again to rounding.

    A network is taken as linear in its parameters around those that it has, with the gradients φ
    of each row's margin (of a regressor: of its output). Without the rows S the margin of a query
    falls by

        u_S^T (I - M_SS)^-1 r_S,   u = Φ H^-1 φ_*,   M = Φ H^-1 Φ^T,   H = Φ^T Φ + λ I

    with φ_* the gradient of the query's ``measurement``, and
    the working residuals r = (1 - p) / w of a classifier, where w is the mean of p (1 - p)
    over the rows, which gives drops the size of those that training again has, and r = y - f of a
    regressor. With ``curvature="row"`` each row has its own w, and φ and r are multiplied by √w in
    u, M, H and the sum. With "softmax" H has in addition (1 - p) J^T (diag(q) - q q^T) J of each
    row, where J are the gradients of its logits and q the probabilities of the classes beside
    its label, which sum to 1: together with w φ φ^T that is the Gauss-Newton matrix of its
    cross-entropy. One gradient for each row, along a random direction that has this covariance,
    stands for it, and stays in H when the row goes. All of that is one step, so that
    :meth:`predict_without` is a prediction, too.

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

    Park, Georgiev, Ilyas, Leclerc, Madry (2023). TRAK: Attributing model behavior at scale, ICML.

    Hu, Hu, Zhao, Ma (2024). Most influential subset selection: Challenges, promises, and beyond,
    NeurIPS, arXiv:2409.18153.

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
        "selection": [StrOptions({"greedy", "additive"})],
        "n_steps": [whole(), StrOptions({"auto"})],
        "ridge": [real(closed="neither")],
        "curvature": [StrOptions({"mean", "row", "softmax"})],
        "measurement": [StrOptions(set(ALL_MEASUREMENTS)), callable],
        "features": [StrOptions({"auto", "exact"}), TangentFeatures],
        "forward": [callable, None],
        "prefit": [StrOptions({"auto"}), "boolean"],
        "memory": [str, HasMethods("cache"), None],
        "memory_limit": [real(closed="neither")],
        "batch_size": [whole(), StrOptions({"auto"})],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        direction: str = "down",
        candidates: str = "auto",
        selection: str = "greedy",
        n_steps: int | str = "auto",
        ridge: float = 1.0,
        curvature: str = "mean",
        measurement: str | Callable = "margin",
        features: Any = "auto",
        forward: Callable | None = None,
        prefit: bool | str = "auto",
        memory: Any = None,
        memory_limit: float = MEMORY_LIMIT,
        batch_size: int | str = "auto",
        verbose: bool = False,
    ):
        store_arguments(locals())

    @budgeted
    def attribute(self, X: Rows, y: Targets = None, *, client: Any = None) -> NDArray[np.float64]:
        """Predict the fall of each query's margin without each training row alone.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Queries.
        y : array-like of shape (n_queries,), default=None
            Labels whose margins are meant; None takes the predicted ones. A regressor's
            prediction does not depend on it.
        client : dask.distributed.Client or str, default=None
            Client of a Dask cluster, or address of its scheduler, whose workers hold explicit
            features of a network's rows; see :ref:`workers`.

        Returns
        -------
        drops : ndarray of shape (n_queries, n_train)
            Positive where the row speaks for the prediction; nan where a row is no candidate of a
            query, or where the problem without the row has no unique minimum.

        Raises
        ------
        ValueError
            If y holds a label that the model does not know, or a client is given and cannot be
            used.
        """
        check_is_fitted(self)
        self._check_use(client)
        if self._network is None:
            return self._attribute_convex(X, y)
        with using(client):
            return self._network.attribute(X, y)

    @budgeted
    def explain(
        self,
        X: Rows = None,
        y: Targets = None,
        k: int = 5,
        *,
        show: Rows | None = None,
        show_queries: Rows | None = None,
        client: Any = None,
    ) -> Explanation:
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
        show, show_queries : array-like, default=None
            What the explanation shows in place of the training rows and the queries, such as
            their texts.
        client : dask.distributed.Client or str, default=None
            Client of a Dask cluster, or address of its scheduler, whose workers hold explicit
            features of a network's rows, and share the rounds; see :ref:`workers`.

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
            not know, y is given without X, ``show`` or ``show_queries`` has another number of rows
            or lacks some, or a client is given and cannot be used.
        TypeError
            If ``show`` or ``show_queries`` holds no rows, such as a single text.
        """
        check_is_fitted(self)
        self._check_use(client)
        instead = Instead.of(X, show, show_queries, len(self.training_.y))
        if self._network is None:
            explanation = self._explain_convex(X, y, k)
        else:
            with using(client):
                explanation = self._network.explain(X, y, k)
        return instead.applied_to(explanation)

    def _check_use(self, client):
        """Refuse a client whose workers have nothing to share."""
        can_share = self._network is not None and self._network.has_explicit_features()
        check_use(client, can_share, SHARED)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if predicts_numbers(self.estimator):
            tags.estimator_type = "regressor"
            tags.regressor_tags = RegressorTags()
        else:
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags()
        tags.target_tags.required = True
        if isinstance(self.estimator, BaseEstimator):
            tags.input_tags.sparse = get_tags(self.estimator).input_tags.sparse
        return tags
