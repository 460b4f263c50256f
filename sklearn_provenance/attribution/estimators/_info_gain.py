"""InfoGain: which training rows, taken alone, tell the most about a prediction."""

from collections.abc import Callable, Sequence
from typing import Any

from sklearn.utils._param_validation import HasMethods, StrOptions

from ..._utils.arguments import store_arguments, whole
from ..._utils.kept import MEMORY_LIMIT
from ...tangent import TangentFeatures
from ..rules._gain import GainRule
from ..rules._pools import PooledGainRule, SearchedGainRule
from ._docs import documented
from ._gaussian import GaussianAttributor


@documented
class InfoGainAttributor(GaussianAttributor):
    """Which training rows, taken alone, tell the most about a prediction, in nats.

    The network is linearised in its weights, which makes it a Gaussian process with the tangent
    kernel. Rows are picked greedily so that the subset S alone lowers the variance of the query's
    output the most; the score of a row is what it adds to I_IG(S; x_*) after the rows before it,
    so that the scores of a query add up to the information of the subset.

    Parameters
    ----------
    {estimator} {trees}
    {noise_variance}
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
        ``search(queries, k)``, as ``LanceIndex``. With ``pool_size`` one search finds the pool;
        without, linear response searches once per pick. It searches explicit features:
        ``features="auto"`` is ``TangentFeatures()`` here. None visits every row.
    {candidates} {measurement} {features} {ntk_parameterization} {parameters} {forward}
    {prefit} {memory}
        That is tangent kernels and features, so that a grid over ``noise_variance`` computes
        them once per fold.
    {memory_limit}
        Of a larger kernel only columns are computed, which is exact too; ``select`` raises a
        MemoryError. Explicit features that do not fit are read in blocks, once for each pick.
    {batch_size} {verbose}

    Attributes
    ----------
    {estimator_} {training_} {classes_} {candidates_} {noise_variance_} {noise_scale_} {features_}
    {coverage_} {n_features_in_} {feature_names_in_}

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
    [IT] A Bayesian information-theoretic approach to data attribution, Eqs. 6, 8 and 15.

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

    _parameter_constraints: dict = {
        **GaussianAttributor._parameter_constraints,
        "solver": [StrOptions({"exact", "linear_response"})],
        "pool_size": [whole(), None],
        "index": [StrOptions({"exact", "faiss"}), HasMethods(["build", "search"]), None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        noise_variance: float | str = "scale",
        solver: str = "exact",
        pool_size: int | None = None,
        index: Any = None,
        candidates: str = "auto",
        measurement: str | Callable = "label_logit",
        features: Any = "auto",
        ntk_parameterization: bool | float = False,
        parameters: str | type | Sequence[str | type] = "auto",
        forward: Callable | None = None,
        prefit: bool | str = "auto",
        memory: Any = None,
        memory_limit: float = MEMORY_LIMIT,
        batch_size: int | str = "auto",
        verbose: bool = False,
    ):
        store_arguments(locals())

    def _check_parameters(self):
        super()._check_parameters()
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

    def _kind(self):
        searched = self.index is not None and isinstance(self.features, str)
        return TangentFeatures() if searched else super()._kind()

    def _make_rule(self):
        noise_variance = self._choose_noise_variance(GainRule.needs_all_rows)
        settings = noise_variance, self.memory_limit, self.solver
        explicit = self.features_ is not None
        if self.index is not None or (self.pool_size is not None and explicit):
            return SearchedGainRule(*settings, self.index, self.pool_size)
        if self.pool_size is not None:
            return PooledGainRule(*settings, self.pool_size)
        return GainRule(*settings)
