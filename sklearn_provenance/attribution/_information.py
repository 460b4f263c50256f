"""Attribution in nats: InfoGain and InfoLoss."""

import numbers

import torch
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from ..information import (
    greedy,
    linear_response_by_search,
    pointwise_information_gain,
    pointwise_information_loss,
    pointwise_information_loss_features,
    select_in_pools,
)
from ..retrieval import make_index
from ._gaussian_process import InformationAttributor
from ._sources import Points


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
        a Pipeline, search or FrozenEstimator around one of these. With ``features`` of your own,
        any classifier. A module is always taken as fitted, and counts its classes from 0.
    noise_variance : float or str, default="scale"
        Noise variance σ², in units of the kernel. "scale" takes ten times the mean kernel
        diagonal of the training rows, "3*diagonal" three times it; far from that scale every rule
        is poor.
    solver : {"exact", "linear_response"}, default="exact"
        Picks the largest gain, c² / (σ² + v), or by the cheaper c², which is near it when σ² is
        large. Scores are exact either way.
    pool_size : int, default=None
        Picks among this many rows with the largest ``|k(x, x_*)|`` only, re-ranked by the
        solver's rule: an approximation, near for few picks and a large noise variance (200 rows
        keep .999 of the nats of 10 picks at "scale", see the benchmarks). None visits all.
    index : {"exact", "faiss"} or object, default=None
        Where rows of largest absolute inner product are searched: ``"exact"`` scans the features in
        chunks, ``"faiss"`` needs the extra of that name, and an object has ``build(rows)`` and
        ``search(queries, k)``. With ``pool_size`` one search finds the pool; without, linear
        response searches once per pick. It searches explicit features: ``features="auto"`` is
        ``TangentFeatures()`` here. None visits every row.
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
        Folder in which fitted clones, tangent kernels and features are kept, so that a grid over
        ``noise_variance`` fits and computes them once per fold. Kernels are found again by the
        weights, the rows and their labels; InfoLoss keeps an (n_train, n_train) one per class.
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
        **InformationAttributor._parameter_constraints,
        "solver": [StrOptions({"exact", "linear_response"})],
        "pool_size": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "index": [StrOptions({"exact", "faiss"}), HasMethods(["build", "search"]), None],
    }

    def __init__(
        self,
        estimator,
        *,
        noise_variance="scale",
        solver="exact",
        pool_size=None,
        index=None,
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
        self.pool_size = pool_size
        self.index = index

    @property
    def _rule(self):
        return "info_gain" if self.solver == "exact" else "linear_response"

    def _check_combination(self):
        super()._check_combination()
        self._searches = {}
        if self.index is None:
            return
        if self.solver == "exact" and self.pool_size is None:
            raise ValueError(
                "index finds rows by their inner product, which is what linear response ranks by: "
                'pass solver="linear_response", or a pool_size to re-rank by the exact rule'
            )
        if isinstance(self.features, str) and self.features == "exact":
            raise ValueError(
                'index searches explicit features, and features="exact" has none: pass '
                "features=TangentFeatures(...)"
            )

    def __getstate__(self):
        # Built again where they are needed.
        return super().__getstate__() | ({"_searches": {}} if hasattr(self, "_searches") else {})

    def _pick(self, group, k):
        if self.pool_size is None and self.index is None:
            return super()._pick(group, k)
        if self.pool_size is not None and k > self.pool_size:
            raise ValueError(f"k={k} rows cannot come from pools of pool_size={self.pool_size}")
        if not self._link.source.explicit:
            return self._pick_in_kernel_pools(group, k)
        queries = self._link.source.features(group.queries).cpu()
        rows, index = self._search(group)
        settings = self.noise_variance_, k
        if self.pool_size is None:
            return linear_response_by_search(index.search, rows, queries, *settings, group.own)
        size = self.pool_size + (group.own is not None)  # a search may find the query itself
        pools, _ = index.search(queries.numpy(), min(size, len(rows)))
        pools = torch.as_tensor(pools)
        if group.own is not None:
            found = pools == group.own[:, None]
            found[:, self.pool_size :] |= ~found.any(1, keepdim=True)
            pools = pools.masked_fill(found, -1)
        return select_in_pools(rows, queries, *settings, pools, self._rule)

    def _search(self, group):
        """Rows φ of a group as they are stored, and an index of them, built once."""
        if group.key not in self._searches:
            rows = self._link.source.rows(group.train)
            self._searches[group.key] = rows, make_index(self.index or "exact").build(rows)
        return self._searches[group.key]

    def _pick_in_kernel_pools(self, group, k):
        """As with an index, the largest |k(x, x_*)| taken from the exact kernel."""
        source = self._link.source
        cross = source.kernel(group.queries, group.train)  # (n_queries, n_rows)
        size = cross.abs()
        if group.own is not None:
            size.scatter_(1, group.own[:, None].to(size.device), -torch.inf)
        pools = size.topk(min(self.pool_size, size.shape[1])).indices
        rows, places = pools.unique(return_inverse=True)
        allowed = torch.zeros(len(cross), len(rows), dtype=torch.bool, device=cross.device)
        allowed.scatter_(1, places, True)
        kept = rows.cpu().numpy()
        kernel = source.kernel(Points(group.train.inputs[kept], group.train.labels[kept]))
        variance = source.diagonal(group.queries)
        if group.own is not None:  # the last of a pool that takes in all rows
            allowed &= rows != group.own[:, None].to(rows.device)
        system = kernel, cross[:, rows], variance
        picks, nats = greedy(*system, self.noise_variance_, k, self._rule, allowed)
        return torch.where(picks >= 0, rows[picks], -1), nats

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
        a Pipeline, search or FrozenEstimator around one of these. With ``features`` of your own,
        any classifier. A module is always taken as fitted, and counts its classes from 0.
    noise_variance : float or str, default="scale"
        Noise variance σ², in units of the kernel. "scale" takes ten times the mean kernel
        diagonal of the training rows, "3*diagonal" three times it; far from that scale every rule
        is poor.
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
        Folder in which fitted clones, tangent kernels and features are kept, so that a grid over
        ``noise_variance`` fits and computes them once per fold. Kernels are found again by the
        weights, the rows and their labels; InfoLoss keeps an (n_train, n_train) one per class.
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

    _method = "InfoLoss"
    _score_name = "information loss (nats)"
    _needs_all_rows = True

    @property
    def _rule(self):
        return "info_loss"

    def _pointwise(self, group):
        if self._features_pay(len(group.rows)):
            system, nats = (
                self._features(group.train, group.queries),
                pointwise_information_loss_features,
            )
        else:
            system, nats = self._kernels(group.train, group.queries), pointwise_information_loss
        return group.scored_alone(lambda rows: nats(*system, self.noise_variance_, rows))
