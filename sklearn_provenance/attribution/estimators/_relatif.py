"""RelatIF: influence relative to what a row does to all predictions."""

from ..rules._relatif import RelatIFRule
from ._docs import documented
from ._gaussian import GaussianAttributor
from ._pointwise import PointwiseSelection


@documented
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
    {estimators} {trees}
    {noise_variance}
        It damps the Hessian.
    {candidates} {measurement} {features} {ntk_parameterization} {parameters} {forward}
    {prefit} {memory}
        That is tangent kernels and features, so that a grid over ``noise_variance`` computes
        them once per fold.
    {memory_limit}
        Explicit features that are larger are read in blocks. A larger kernel of the rows, or a
        larger posterior, raises a MemoryError.
    {batch_size} {verbose}

    Attributes
    ----------
    {estimator_} {training_} {classes_} {candidates_} {noise_variance_} {noise_scale_} {features_}
    {coverage_} {n_features_in_} {feature_names_in_}

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

    [IT] A Bayesian information-theoretic approach to data attribution, appendix D, Eq. 86.

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

    _averages_models = True
    _rule_needs_all_rows = RelatIFRule.needs_all_rows

    def _check_rule_fits(self, inputs):
        components = self._features.components(inputs)
        RelatIFRule(None, self.memory_limit).check(len(self.training_.y), *components)

    def _make_rule(self):
        return RelatIFRule(
            self._choose_noise_variance(self._rule_needs_all_rows), self.memory_limit
        )
