"""RelatIF: influence relative to what a row does to all predictions."""

from ..rules import RelatIFRule
from ._gaussian import GaussianAttributor
from ._pointwise import PointwiseSelection


class RelatIFAttributor(PointwiseSelection, GaussianAttributor):
    """Name the training rows whose influence is most specific to a prediction (RelatIF).

    RelatIF divides the influence of a row by what the row does to all predictions, so that
    outliers do not explain everything. With the Gauss-Newton Hessian of the network and up to the
    signs of residuals that is a posterior correlation: with v_{x*}^D the covariance of the outputs
    of row and query given all rows D, the score is v_{x*}^D / sqrt(v_x^D v_*^D), a cosine between
    -1 and 1 with no unit. It is positive where the outputs of row and query move together when the
    weights move in directions that the rows leave open, and does not depend on the row's label.
    The rows of the largest cosines are named.

    All rows given to fit are conditioned on, also where only rows of the query's class may be
    named. ``score`` is the log predictive density of the Gaussian process, as for
    :class:`InfoLossAttributor`, for choosing ``noise_variance``.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module
        The classifier to explain: a ProvenanceClassifier, a skorch NeuralNetClassifier, a bare
        module that maps a batch to logits, a scikit-learn linear classifier or MLPClassifier, or
        a Pipeline, search or FrozenEstimator around one of these. Any classifier, with features
        that you give. A module is always taken as fitted, and counts its classes from 0.
    noise_variance : float or str, default="scale"
        Noise variance σ², in units of the kernel; it damps the Hessian. "scale" takes ten
        times the mean kernel diagonal of the training rows, "3*diagonal" three times it.
    candidates : {"auto", "same_class", "all"}, default="auto"
        Rows that may be named for a query: those of its class, or all. "auto" is those of its
        class where there are classes.
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
    forward : callable, default=None
        ``forward(module, x)`` gives the logits of a module whose outputs are something else; None
        reads them from what the module returns.
    prefit : {"auto"} or bool, default="auto"
        Whether the estimator is fitted. "auto" uses a fitted one as it stands, and clones and
        fits another. False always fits a clone. Modules and FrozenEstimators stay as they are.
    memory : str or joblib.Memory, default=None
        Folder in which tangent kernels and features are kept, so that a grid over
        ``noise_variance`` computes them once per fold.
    memory_limit : float, default=2e9
        Bytes that kernels and features kept between calls may take. What cannot fit is refused
        before it starts.
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
    InfoLossAttributor : The same posterior, unsigned, in nats and greedy.

    Notes
    -----
    Of a row of another class than the query's, which ``candidates="all"`` allows, RelatIF with
    labels would flip the sign: training lowers the query's logit there.

    References
    ----------
    Barshan, Brunet, Dziugaite (2020). RelatIF: identifying explanatory training samples via
    relative influence, AISTATS.

    [IT] Bayesian information-theoretic training data attribution, appendix D, Eq. 86.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.attribution import RelatIFAttributor
    >>> X, y = load_iris(return_X_y=True)
    >>> attributor = RelatIFAttributor(LogisticRegression(max_iter=1000)).fit(X, y)
    >>> indices, cosines = attributor.explain(X[:2], k=3)
    >>> indices[:, 0], bool((cosines <= 1).all())  # training rows are most like themselves
    (array([0, 1]), True)
    """

    def _make_rule(self):
        return RelatIFRule(self._scale(), self.memory_limit)
