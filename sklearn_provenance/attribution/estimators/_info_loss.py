"""InfoLoss: which training rows a prediction would miss most."""

from ..rules._loss import LossRule
from ._docs import documented
from ._gaussian import GaussianAttributor


@documented
class InfoLossAttributor(GaussianAttributor):
    """Which training rows would be missed most if a prediction had to do without them, in nats.

    As :class:`InfoGainAttributor`, but information is counted as what is lost when a subset is
    withheld from all training rows, I_IL(S; x_*): rows that others can stand in for score low.
    All rows given to fit are conditioned on, also where only rows of the query's class may be
    named, which takes the kernel of all rows for every class that is explained.

    Parameters
    ----------
    {estimator} {trees}
    {noise_variance} {candidates} {measurement} {features} {ntk_parameterization} {forward}
    {prefit} {memory}
        That is features and tangent kernels, one of (n_train, n_train) for each class, so that a
        grid over ``noise_variance`` computes them once per fold.
    {memory_limit}
        A larger kernel of the rows raises a MemoryError.
    {batch_size} {verbose}

    Attributes
    ----------
    {estimator_} {classes_} {candidates_} {noise_variance_} {features_} {coverage_}
    {n_features_in_} {feature_names_in_}

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
        return LossRule(self._scale(LossRule), self.memory_limit)
