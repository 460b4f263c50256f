"""TRAK: influence in a linear model on sketched tangent features."""

import inspect
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions

from ..._utils.arguments import real, store_arguments, whole
from ..._utils.kept import MEMORY_LIMIT, check_fits
from ..._utils.rows import n_rows
from ..._utils.types import RandomState
from ...tangent import TangentFeatures
from ...tangent._sketch import SKETCHES
from ..features import make_features
from ..features._joined import JoinedFeatures
from ..rules._trak import TRAKRule
from ._base import PARAMETERS, BaseAttributor
from ._docs import documented
from ._pointwise import PointwiseAttributor


@documented
class TRAKAttributor(PointwiseAttributor):
    """Name the training rows that a linearised model owes a prediction to (TRAK).

    The network is replaced by logistic regression on its sketched tangent features φ, the gradient
    of each row's log odds log(p / (1 - p)) at its own label. The score of a training row i is
    φ_*^T (Φ^T Φ + λ I)^-1 φ_i (1 - p_i): positive where training on the row raises the log odds of
    the query's label. Scores rank rows. Their scale is arbitrary, for TRAK leaves out the weights
    p (1 - p) of logistic regression's Hessian.

    Parameters
    ----------
    estimator : estimator, torch.nn.Module or list of these
        {supported}
        A list holds models of the same classes, trained from several seeds or on several subsets
        of the rows; scores are averaged over them, which usually makes them better.
    n_components : int or "exact", default=512
        Size of the sketch. ``"exact"`` takes the whole Jacobian, for small networks.
    ridge : float or "auto", default="auto"
        λ, in units of Φ^T Φ. "auto" takes the mean eigenvalue of each model's Φ^T Φ. It matters:
        with a small λ, directions that hold little but noise of the sketch dominate the score.
    sketch : {"tensor", "sjlt", "rademacher"}, default="tensor"
        How gradients are sketched, see :class:`~sklearn_provenance.TangentFeatures`.
    features : TangentFeatures, default=None
        Takes the place of ``n_components``, ``sketch`` and ``random_state``, for its other
        parameters. It must be without a module.
    {parameters}
    random_state : int, RandomState instance or None, default=0
        Seed of the sketch. Several models have independent sketches, as in the paper; with an int
        the first is that of ``TangentFeatures(random_state=random_state)``.
    {candidates}
        All rows given to fit are among Φ in any case.
    {forward} {prefit} {memory}
        That is sketches, so that a loop over ``ridge`` computes them once.
    {memory_limit} {batch_size} {verbose}

    Attributes
    ----------
    estimator_ : estimator, torch.nn.Module or list of these
        The model or models in use. A list predicts the class of the largest mean probability.
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the order of the logits.
    {training_} {candidates_}
    ridge_ : ndarray of shape (n_models,)
        λ in use.
    features_ : list of TangentFeatures
        The fitted sketch of each model.
    {n_features_in_} {feature_names_in_}

    See Also
    --------
    LastLayerAttributor : Influence with the exact Hessian of the last layer.

    Notes
    -----
    Of a regressor that is a network, the output is explained, in the units of y: the residual
    y_i - o_i takes the place of 1 - p_i, and the squared error that of the log probability.

    With M models scores are mean_m(φ_*^T (Φ^T Φ + λ I)^-1 φ_i) · mean_m(1 - p_i), the two means
    taken separately, as in the paper's algorithm. The traker package does the same, but divides
    each model's inverse by the mean size of its entries, which weighs several models differently;
    with one model its scores are these times a positive constant.

    Of language models, ``forward=log_odds`` of :mod:`sklearn_provenance.text`, φ is the gradient of
    the sum of log odds of a row's marked tokens. The gradient of its log probability takes the
    place of φ_i (1 - p_i), to which it is equal for one token.

    1 - p is computed from logits, so that rows of which the model is certain keep their digits
    and their score.

    With ``explain(X=None)`` Φ^T Φ is that of the other rows, λ stays as it is.

    References
    ----------
    Park, Georgiev, Ilyas, Leclerc, Madry (2023). TRAK: Attributing model behavior at scale, ICML,
    section 3 and algorithm 1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sklearn_provenance.attribution import TRAKAttributor
    >>> X, y = load_iris(return_X_y=True)
    >>> models = [MLPClassifier((16,), max_iter=1500, random_state=seed) for seed in range(3)]
    >>> attributor = TRAKAttributor(models, n_components=64).fit(X, y)
    >>> attributor.explain(X[:2], k=3).indices.shape
    (2, 3)
    """

    _parameter_constraints: dict = {
        **BaseAttributor._parameter_constraints,
        "n_components": [
            whole(),
            StrOptions({"exact"}),
        ],
        "ridge": [real(closed="neither"), StrOptions({"auto"})],
        "sketch": [StrOptions(set(SKETCHES))],
        "features": [TangentFeatures, None],
        "parameters": PARAMETERS,
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        n_components: int | str = 512,
        ridge: float | str = "auto",
        sketch: str = "tensor",
        features: TangentFeatures | None = None,
        parameters: str | type | Sequence[str | type] = "auto",
        random_state: RandomState = 0,
        candidates: str = "auto",
        forward: Callable | None = None,
        prefit: bool | str = "auto",
        memory: Any = None,
        memory_limit: float = MEMORY_LIMIT,
        batch_size: int | str = "auto",
        verbose: bool = False,
    ):
        store_arguments(locals())

    _joins_models = True

    def _check_parameters(self):
        if isinstance(self.estimator, list | tuple) and not self.estimator:
            raise ValueError("estimator must hold one or more models; got an empty list")
        own = inspect.signature(type(self)).parameters
        for name in ("n_components", "sketch", "random_state"):
            value = getattr(self, name)
            if self.features is not None and value != own[name].default:
                raise ValueError(
                    f"{name} must be left at its default where features is given, which has a "
                    f"parameter {name} too; got {value!r}"
                )

    def _make_features(self, X, y):
        several = isinstance(self.estimator_, list)
        models = self.estimator_ if several else [self.estimator_]
        template = self.features
        if template is None:
            template = TangentFeatures(
                n_components=self.n_components,
                sketch=self.sketch,
                random_state=self.random_state,
            )
        features = []
        inputs = []
        for model, seed in zip(models, draw_seeds(template.random_state, len(models)), strict=True):
            sketch = TangentFeatures(**template.get_params(deep=False) | {"random_state": seed})
            fitted = self._fitted_model(model)
            measured = {} if fitted.network is not None else {"measurement": "margin"}
            settings = self._settings(**measured, parameters=self.parameters)
            sketch, rows = make_features(fitted, sketch, X, y, settings)
            features.append(sketch)
            inputs.append(rows)
        self.features_ = [sketch.fitted for sketch in features]
        return JoinedFeatures.of(features), inputs

    def _check_memory(self, inputs):
        n = n_rows(self.training_.X)
        n_components = self._features.n_features_out(inputs)
        # Φ^T Φ of each model is factorised and kept, one more is there while it is computed.
        largest = max(part.n_features_out(None) for part in self._features.features)
        n_matrices = len(self._features.features) + 1
        needed = self._features.n_bytes(inputs)
        if self._features.model.likelihood is not None:
            needed *= 2  # rows are measured by their log probability, too
        needed += 8 * n_matrices * largest**2
        what = f"sketches of {n} rows to {n_components} components, and their Φ^T Φ, take"
        advice = "pass a smaller n_components, or features=TangentFeatures(store=...)"
        check_fits(needed, what, self.memory_limit, advice)

    def _make_rule(self):
        losses = None
        if self._features.model.likelihood is not None:
            losses = self._rows.likelihoods().parts
        return TRAKRule(self.ridge, self._residual(), losses)

    def _fit(self, X, y, sample_id):
        super()._fit(X, y, sample_id)
        self.ridge_ = self._rule_at(None, everything=True).ridges


def draw_seeds(random_state, n):
    """Draw seeds of n sketches; an int is itself the first."""
    drawn = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=n).tolist()
    if isinstance(random_state, numbers.Integral):
        drawn[0] = int(random_state)
    return drawn
