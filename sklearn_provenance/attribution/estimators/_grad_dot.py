"""Inner products of gradients: GradDot."""

from collections.abc import Callable, Sequence
from typing import Any

from sklearn.utils._param_validation import StrOptions

from ..._utils.arguments import real, store_arguments
from ..._utils.kept import MEMORY_LIMIT
from ...tangent._outputs import MEASUREMENTS
from ..features import make_features
from ..rules._products import DotRule
from ._base import PARAMETERS, BaseAttributor
from ._docs import documented
from ._pointwise import PointwiseAttributor


@documented
class GradDotAttributor(PointwiseAttributor):
    """Name the training rows on which a gradient step raises a prediction most (GradDot).

    The score of a training row i is the inner product ∇m(x_*)·∇log p(y_i | x_i) of gradients in
    all weights of the trained network, with m the measurement of the query. A small step of
    gradient descent on the row's cross-entropy alone, with learning rate η, changes m(x_*) by η
    times the score: it is positive where training on the row helps the query's label, negative
    where it harms. Scores have units of the measurement per unit of η; compare them within a
    network.

    Parameters
    ----------
    {estimators}
    {query_measurement}
    ntk_parameterization : bool or float, default=False
        Differentiate by Ω where a weight is W = (s / √fan_in) Ω; True is s = 1. Steps are then
        those of gradient descent on Ω.
    {parameters} {candidates} {forward} {prefit} {memory} {memory_limit} {batch_size} {verbose}

    Attributes
    ----------
    {estimator_} {training_} {classes_} {candidates_}
    coverage_ : Coverage
        How the gradient of each of its parameters is computed.
    {n_features_in_} {feature_names_in_}

    See Also
    --------
    EKFACAttributor : The same gradients, with the curvature of the loss between them.
    TRAKAttributor : Sketched gradients with the inverse of their second moments between them.

    Notes
    -----
    This is TracIn at the last checkpoint, with learning rate 1 and a measurement in place of the
    query's loss. ∇log p is 1 - p times the gradient of the row's own log odds, so rows of which
    the model is certain score near zero. Nothing corrects for the length of gradients: a few rows
    that the model gets wrong have large scores for many queries.

    Inner products are exact. They come from the factors of each layer's gradients, so no gradient
    is formed where that is not cheaper.

    References
    ----------
    Pruthi, Liu, Kale, Sundararajan (2020). Estimating training data influence by tracing gradient
    descent, NeurIPS, section 3.

    Charpiat, Girard, Felardos, Tarabalka (2019). Input similarity from the neural network
    perspective, NeurIPS.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sklearn_provenance.attribution import GradDotAttributor
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((16,), max_iter=1500, random_state=0)
    >>> attributor = GradDotAttributor(model).fit(X, y)
    >>> exp = attributor.explain(X[:2], k=3)
    >>> exp.exemplar_labels
    array([[0, 0, 0],
           [0, 0, 0]])
    >>> bool((exp.scores > 0).all())  # steps on these rows help
    True
    """

    _averages_models = True
    _parameter_constraints: dict = {
        **BaseAttributor._parameter_constraints,
        "measurement": [StrOptions(set(MEASUREMENTS)), callable],
        "ntk_parameterization": ["boolean", real(closed="neither")],
        "parameters": PARAMETERS,
    }

    def __init__(
        self,
        estimator: Any,
        *,
        measurement: str | Callable = "margin",
        ntk_parameterization: bool | float = False,
        parameters: str | type | Sequence[str | type] = "auto",
        candidates: str = "auto",
        forward: Callable | None = None,
        prefit: bool | str = "auto",
        memory: Any = None,
        memory_limit: float = MEMORY_LIMIT,
        batch_size: int | str = "auto",
        verbose: bool = False,
    ):
        store_arguments(locals())

    def _make_features(self, X, y):
        settings = self._settings(
            measurement=self.measurement,
            ntk_parameterization=self.ntk_parameterization,
            parameters=self.parameters,
        )
        model = self._fitted_model()
        features, inputs = make_features(model, "exact", X, y, settings, "log_probability")
        self.coverage_ = features.coverage
        return features, inputs

    def _make_rule(self):
        return DotRule()
