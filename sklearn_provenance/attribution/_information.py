"""Attribution in nats: InfoGain and InfoLoss."""

from sklearn.utils._param_validation import StrOptions

from ..information import (
    pointwise_information_gain,
    pointwise_information_loss,
    pointwise_information_loss_features,
)
from ._base import BaseAttributor
from ._gaussian_process import InformationAttributor


class InfoGainAttributor(InformationAttributor):
    """Which training rows, taken alone, tell the most about a prediction, in nats.

    The network is linearised in its weights, which makes it a Gaussian process with the tangent
    kernel. Rows are picked greedily so that the subset S alone lowers the variance of the query's
    output the most; the score of a row is what it adds to I_IG(S; x_*) after the rows before it,
    so that the scores of a query add up to the information of the subset.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module
        The classifier to explain: a ProvenanceClassifier, a skorch NeuralNetClassifier, a bare
        module that maps a batch to logits, a scikit-learn linear classifier or MLPClassifier, or
        a Pipeline or FrozenEstimator around one of these. With ``features`` of your own, any
        classifier. A module is always taken as fitted, and counts its classes from 0.
    noise_variance : float or "scale", default="scale"
        Noise variance σ², in units of the kernel. "scale" takes the mean kernel diagonal of the
        training rows; far from that scale every rule is poor.
    solver : {"exact", "linear_response"}, default="exact"
        Picks the largest gain, c² / (σ² + v), or by the cheaper c², which is near it when σ² is
        large. Scores are exact either way.
    candidates : {"same_class", "all"}, default="same_class"
        Rows that may be named for a query: those of its class, or all.
    measurement : {"label_logit", "margin"}, default="label_logit"
        Scalar output whose gradient is the tangent feature: the logit of the query's label, for
        training rows too, or the log odds of each row's own label.
    features : {"auto", "exact"}, TangentFeatures, transformer or callable, default="auto"
        Where features φ come from. "auto" and "exact" compute exact tangent kernels from layer
        factors. A TangentFeatures without a module sketches them. A transformer (fitted here
        unless it is fitted), or a callable of X, gives rows φ of your own, the same whatever the
        label.
    ntk_parameterization : bool or float, default=False
        Differentiate by Ω where a weight is W = (s / √fan_in) Ω; True is s = 1.
    prefit : {"auto"} or bool, default="auto"
        Whether the estimator is fitted. "auto" uses a fitted one as it stands, and clones and
        fits another. False always fits a clone. Modules and FrozenEstimators stay as they are.
    memory : str or joblib.Memory, default=None
        Folder in which tangent kernels and features are kept, so that a grid over
        ``noise_variance`` computes them once per fold. They are found again by the weights, the
        rows and their labels; InfoLoss keeps an (n_train, n_train) kernel per class.
    batch_size : int or "auto", default="auto"
        Rows per pass through the network.
    verbose : int, default=0
        Whether to show progress.

    Attributes
    ----------
    estimator_ : estimator or torch.nn.Module
        The model in use.
    classes_ : ndarray of shape (n_classes,)
        Its class labels, in the order of the logits.
    noise_variance_ : float
        σ² in use.
    features_ : object or None
        The fitted ``features``, if they are not exact.
    n_features_in_ : int
        Second dimension of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, if ``X`` was a data frame with string names.

    See Also
    --------
    InfoLossAttributor : What is lost when rows are withheld from all.

    Notes
    -----
    A binary model with one output z is given the logits (-z/2, z/2), whose softmax is the model's
    probability. A skorch network trained with NLLLoss ends in a softmax; the logarithm of its
    output takes the place of logits.

    Greedy selection maximises each pick. The information is not submodular: a row that tells
    nothing alone can tell much after another.

    References
    ----------
    [IT] Bayesian information-theoretic training data attribution, Eqs. 6, 8 and 15.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.attribution import InfoGainAttributor
    >>> X, y = load_iris(return_X_y=True)
    >>> attributor = InfoGainAttributor(LogisticRegression(max_iter=1000)).fit(X, y)
    >>> indices, nats = attributor.explain(X[:1], k=3)
    >>> indices.shape, bool((nats > 0).all())
    ((1, 3), True)
    """

    _method = "InfoGain"
    _score_name = "information gain (nats)"

    _parameter_constraints: dict = {
        **BaseAttributor._parameter_constraints,
        "solver": [StrOptions({"exact", "linear_response"})],
    }

    def __init__(
        self,
        estimator,
        *,
        noise_variance="scale",
        solver="exact",
        candidates="same_class",
        measurement="label_logit",
        features="auto",
        ntk_parameterization=False,
        prefit="auto",
        memory=None,
        batch_size="auto",
        verbose=0,
    ):
        super().__init__(
            estimator,
            noise_variance=noise_variance,
            candidates=candidates,
            measurement=measurement,
            features=features,
            ntk_parameterization=ntk_parameterization,
            prefit=prefit,
            memory=memory,
            batch_size=batch_size,
            verbose=verbose,
        )
        self.solver = solver

    @property
    def _rule(self):
        return "info_gain" if self.solver == "exact" else "linear_response"

    def _pointwise(self, group):
        source, train, queries = self._link.source, group.train, group.queries
        if source.explicit:
            phi, phi_queries = self._features(train, queries)
            norms = (phi.square().sum(1), phi_queries.square().sum(1))
            cross = phi_queries @ phi.T
        else:
            norms = (source.diagonal(train), source.diagonal(queries))
            cross = source.kernel(queries, train)
        return pointwise_information_gain(norms[0], cross, norms[1], self.noise_variance_)


class InfoLossAttributor(InformationAttributor):
    """Which training rows would be missed most if a prediction had to do without them, in nats.

    As :class:`InfoGainAttributor`, but information is counted as what is lost when a subset is
    withheld from all training rows, I_IL(S; x_*): rows that others can stand in for score low.
    All rows given to fit are conditioned on, also where only rows of the query's class may be
    named, which takes the kernel of all rows for every class that is explained.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module
        The classifier to explain: a ProvenanceClassifier, a skorch NeuralNetClassifier, a bare
        module that maps a batch to logits, a scikit-learn linear classifier or MLPClassifier, or
        a Pipeline or FrozenEstimator around one of these. With ``features`` of your own, any
        classifier. A module is always taken as fitted, and counts its classes from 0.
    noise_variance : float or "scale", default="scale"
        Noise variance σ², in units of the kernel. "scale" takes the mean kernel diagonal of the
        training rows; far from that scale every rule is poor.
    candidates : {"same_class", "all"}, default="same_class"
        Rows that may be named for a query: those of its class, or all.
    measurement : {"label_logit", "margin"}, default="label_logit"
        Scalar output whose gradient is the tangent feature: the logit of the query's label, for
        training rows too, or the log odds of each row's own label.
    features : {"auto", "exact"}, TangentFeatures, transformer or callable, default="auto"
        Where features φ come from. "auto" and "exact" compute exact tangent kernels from layer
        factors. A TangentFeatures without a module sketches them. A transformer (fitted here
        unless it is fitted), or a callable of X, gives rows φ of your own, the same whatever the
        label.
    ntk_parameterization : bool or float, default=False
        Differentiate by Ω where a weight is W = (s / √fan_in) Ω; True is s = 1.
    prefit : {"auto"} or bool, default="auto"
        Whether the estimator is fitted. "auto" uses a fitted one as it stands, and clones and
        fits another. False always fits a clone. Modules and FrozenEstimators stay as they are.
    memory : str or joblib.Memory, default=None
        Folder in which tangent kernels and features are kept, so that a grid over
        ``noise_variance`` computes them once per fold. They are found again by the weights, the
        rows and their labels; InfoLoss keeps an (n_train, n_train) kernel per class.
    batch_size : int or "auto", default="auto"
        Rows per pass through the network.
    verbose : int, default=0
        Whether to show progress.

    Attributes
    ----------
    estimator_ : estimator or torch.nn.Module
        The model in use.
    classes_ : ndarray of shape (n_classes,)
        Its class labels, in the order of the logits.
    noise_variance_ : float
        σ² in use.
    features_ : object or None
        The fitted ``features``, if they are not exact.
    n_features_in_ : int
        Second dimension of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, if ``X`` was a data frame with string names.

    See Also
    --------
    InfoGainAttributor : What rows tell by themselves; cheaper.

    Notes
    -----
    A binary model with one output z is given the logits (-z/2, z/2), whose softmax is the model's
    probability. A skorch network trained with NLLLoss ends in a softmax; the logarithm of its
    output takes the place of logits.

    References
    ----------
    [IT] Bayesian information-theoretic training data attribution, Eqs. 4 and 62.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.attribution import InfoLossAttributor
    >>> X, y = load_iris(return_X_y=True)
    >>> attributor = InfoLossAttributor(LogisticRegression(max_iter=1000)).fit(X, y)
    >>> attributor.explain(X[:2], k=3).indices.shape
    (2, 3)
    """

    _method = "InfoLoss"
    _score_name = "information loss (nats)"
    _needs_all_rows = True

    @property
    def _rule(self):
        return "info_loss"

    def _pointwise(self, group):
        if self._features_pay(len(group.rows)):
            phi, queries = self._features(group.train, group.queries)
            return pointwise_information_loss_features(phi, queries, self.noise_variance_)
        kernels = self._kernels(group.train, group.queries)
        return pointwise_information_loss(*kernels, self.noise_variance_)
