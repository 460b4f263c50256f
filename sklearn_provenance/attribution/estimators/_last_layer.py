"""Influence through the last layer."""

from collections.abc import Callable
from typing import Any

from sklearn.utils._param_validation import StrOptions

from ..._utils.arguments import real, store_arguments
from ..._utils.kept import MEMORY_LIMIT, check_fits
from ..._utils.rows import n_rows
from ..features._penultimate import last_layer_inputs
from ..rules._last_layer import InfluenceRule, RepresenterRule
from ._base import BaseAttributor
from ._docs import documented
from ._pointwise import PointwiseAttributor


@documented
class LastLayerAttributor(PointwiseAttributor):
    """Name the training rows from which the last layer learned a prediction.

    The features z that go into the last layer are taken as given, and what is left of the model is
    softmax regression, W z + b. Positive scores are those of rows that help the prediction:
    training on them raises the query's output.

    Parameters
    ----------
    {estimators}
        A ProvenanceClassifier must have a class branch.
    kind : {"influence", "representer"}, default="influence"
        What a score is. ``"influence"`` is the fall of the query's log odds log(p / (1 - p)) if
        the row were left out of the training of the last layer, to first order, in nats.
        ``"representer"`` is the share of the query's logit that the row contributes, in logits
        times λ n (see the notes).
    damping : float, default=0.1
        What is added to the Hessian's diagonal, in units of its mean eigenvalue, because the
        Hessian of a well trained layer is near singular. Far below 0.01, directions that hold
        little but noise dominate the score. For influence only.
    {candidates} {forward} {prefit} {memory} {memory_limit} {batch_size} {verbose}

    Attributes
    ----------
    {estimator_} {training_} {classes_} {candidates_}
    damping_ : float
        What is added to the Hessian's diagonal, with ``kind="influence"``.
    scale_ : float
        With ``kind="representer"`` the factor, 1 / (λ n), that brings the sum of all rows' values
        as near to the logits as possible.
    residual_ : float
        With ``kind="representer"`` the norm of what that leaves of the weights, relative to the
        weights: 0 where they minimise the loss of the rows plus a penalty on their square. Where
        it is near 1 or ``scale_`` is negative, the values are gradient products and no shares.
    {n_features_in_} {feature_names_in_}

    See Also
    --------
    RepSimAttributor : Cosine of the same features.

    Notes
    -----
    Of a regressor that is a network, the output is explained, in the units of y: the residual
    y_i - o_i takes the place of 1 - p_i, and the squared error that of the log probability.

    Influence of the row (x_i, y_i) is ∇m(x_*)^T (H + δ I)^-1 ∇log p(y_i | x_i), with the gradients
    in the weights and bias of the last layer, m the log odds of the query's label and H the
    Hessian of the cross-entropy summed over the rows given to fit. The outputs are linear in the
    weights, so H is exact and equals its Gauss-Newton form. It takes 16 bytes times the square of
    the number of weights, which must fit ``memory_limit``: 11000 weights by default.

    The representer values are α_ic <z_i, z> for the query's class c, α_ic = y_ic - p_ic: where W
    minimises the mean cross-entropy of n rows plus ``λ |W|² / 2``, their sum over the rows divided
    by λ n is the logit without its bias. The order of rows does not depend on λ.

    How three baselines are related: a representer value is the influence with a multiple of the
    identity in place of the Hessian and the logit in place of the log odds. RepSim, which is also
    the last-layer influence of [PN] (Algorithm 1), goes on to leave out α, that is how far the
    row's label and probability are apart, and the norms of the features. Influence is large where
    the model is in doubt about a row and few rows like it are there; RepSim where a row looks
    alike.

    With ``explain(X=None)`` the Hessian is that of the other rows.

    Where the model itself is linear, each column of a query has a part in the influence of a row:
    its value, times how much the row moves the column's coefficients. In text these are words of
    the query, those that it shares with the row in front. Parts and the intercept's, which is
    named "(intercept)", add up to the score; those of a representer value add up without one.

    References
    ----------
    Koh, Liang (2017). Understanding black-box predictions via influence functions, ICML.

    Yeh, Kim, Yen, Ravikumar (2018). Representer point selection for explaining deep neural
    networks, NeurIPS, theorem 3.1.

    [PN] Provenance Networks: End-to-End Exemplar-Based Explainability, section 7.12.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.attribution import LastLayerAttributor
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000, tol=1e-8).fit(X, y)
    >>> attributor = LastLayerAttributor(model, kind="representer", candidates="all").fit(X, y)
    >>> values = attributor.attribute(X[:1])
    >>> logit = model.coef_[0] @ X[0]
    >>> bool(abs(values.sum() * attributor.scale_ - logit) < 1e-3)  # the shares add up
    True
    """

    _averages_models = True
    _instead_of_sequences = (
        "LastLayerAttributor needs one row of logits for each row, but a language model gives one "
        "for each token. EKFACAttributor and TRAKAttributor estimate influence of sequences, in "
        "the last layer alone with parameters=[...] of EKFACAttributor"
    )
    _parameter_constraints: dict = {
        **BaseAttributor._parameter_constraints,
        "kind": [StrOptions({"influence", "representer"})],
        "damping": [real(closed="neither")],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        kind: str = "influence",
        damping: float = 0.1,
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
        model = self._fitted_model()
        try:
            features, inputs = last_layer_inputs(model, X, self._settings())
        except TypeError as error:
            raise TypeError(
                f"{error}. LastLayerAttributor needs a last layer and has no such parameter; "
                "RepSimAttributor has"
            ) from error
        self._head = features.head(inputs)
        return features, inputs

    def _check_memory(self, inputs):
        n = n_rows(inputs)
        needed = self._features.n_bytes(inputs)
        what = f"the features of {n} rows take"
        advice = "pass fewer rows"
        if self.kind == "influence":
            n_weights = self._head.n_weights
            needed += 2 * 8 * n_weights**2  # the Hessian and its factor
            what = f"the features of {n} rows and the Hessian of {n_weights} weights take"
            advice = 'pass kind="representer", which needs no Hessian'
        check_fits(needed, what, self.memory_limit, advice)

    def _make_rule(self):
        if self.kind == "influence":
            return InfluenceRule(self._head, self.damping)
        return RepresenterRule(self._head)

    def _fit(self, X, y, sample_id):
        super()._fit(X, y, sample_id)
        for part, rule in self._fitted_rules():
            if self.kind == "influence":
                part.damping_ = rule.damping_in_use
            else:
                part.scale_ = rule.scale
                part.residual_ = rule.residual
        self._gather()
