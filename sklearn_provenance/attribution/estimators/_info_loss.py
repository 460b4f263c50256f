"""InfoLoss: which training rows a prediction would miss most."""

from ..rules import LossRule
from ._gaussian import GaussianAttributor


class InfoLossAttributor(GaussianAttributor):
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
        a Pipeline, search or FrozenEstimator around one of these. Any classifier, with features
        that you give. A module is always taken as fitted, and counts its classes from 0.
    noise_variance : float or str, default="scale"
        Noise variance σ², in units of the kernel. "scale" takes ten times the mean kernel
        diagonal of the training rows, "3*diagonal" three times it; far from that scale every rule
        is poor.
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
        Folder in which fitted clones, tangent kernels and features are kept, so that a grid over
        ``noise_variance`` fits and computes them once per fold. Kernels are found again by the
        weights, the rows and their labels; InfoLoss keeps an (n_train, n_train) one per class.
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
    coverage_ : Coverage or None
        Which of the model's parameters have tangent features, how they are computed and the share
        of each way; None with features of your own.
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

    def _make_rule(self):
        return LossRule(self._scale(), self.memory_limit)
