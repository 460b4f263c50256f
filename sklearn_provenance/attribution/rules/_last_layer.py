"""Influence through the last layer, and representer values."""

from ...information._last_layer import (
    damped_hessian,
    gradients_without_own,
    influence,
    representer_scale,
)
from ...information._softmax import likelihood_gradient, margin_gradient
from ._base import Rule

# Weights of a last layer whose Hessian is formed (2 GB).
HESSIAN_LIMIT = 2**14


class LastLayerRule(Rule):
    """Base of the two rules: points are penultimate features, ``head`` is the last layer."""

    name = "LastLayer"
    needs_all_rows = True

    def __init__(self, head):
        self.head = head

    def _fit(self):
        gradient = likelihood_gradient(self._logits(self.points), self.points.labels)
        self.gradients = gradient @ self.head.mixing  # (n_train, O)

    def _logits(self, points):
        # In double precision whatever the network's.
        return self.head.logits(points.times(self.head.weight))

    def _of(self, rows):
        """Points and gradients of rows."""
        if rows is None:
            return self.points, self.gradients
        return self.points.take(rows), self.gradients[rows]


class RepresenterRule(LastLayerRule):
    """Score rows by the share α_i <z_i, z> of the query's logit that they hold."""

    unit = "representer value (logits times λ n)"

    def _fit(self):
        super()._fit()
        gradient = self.points.combine(self.gradients)  # (O, F): the sum of α z^T
        self.scale, self.residual = representer_scale(self.head.weight, gradient)

    def scores(self, queries, rows=None, own=None):
        """Representer values of rows."""
        points, gradients = self._of(rows)
        alpha = gradients @ self.head.mixing[queries.labels].mT  # (n_rows, n_queries)
        return alpha.mT * queries.inner(points)


class InfluenceRule(LastLayerRule):
    """Score rows by ∇m(x_*)^T (H + λ I)^-1 ∇log p(y_i | x_i) in the weights of the last layer.

    ``damping`` is λ in units of the Hessian's mean diagonal.
    """

    unit = "last-layer influence (nats)"

    def __init__(self, head, damping):
        super().__init__(head)
        self.damping = damping

    def _fit(self):
        size = self.head.n_weights
        if size > HESSIAN_LIMIT:
            raise ValueError(
                f"the last layer has {size} weights, and its Hessian is formed for at most "
                f'{HESSIAN_LIMIT}; kind="representer" needs none'
            )
        super()._fit()
        logits, features = self._logits(self.points), self.head.with_bias(self.points.matrix())
        n_outputs = len(self.head.weight)
        self.factor, self.damping_in_use = damped_hessian(logits, features, n_outputs, self.damping)
        if not self.damping_in_use > 0:
            raise ValueError(
                "the Hessian of the last layer is zero: its features are, or the model is certain "
                "of every training row"
            )
        if self.factor is None:
            raise ValueError(
                f"the Hessian of the last layer is singular with damping={self.damping}; give more"
            )

    def scores(self, queries, rows=None, own=None):
        """Influence of rows."""
        points, gradients = self._of(rows)
        logits = self._logits(queries)
        phi, features = (self.head.with_bias(p.matrix()) for p in (queries, points))
        outer = margin_gradient(logits, queries.labels) @ self.head.mixing  # (n_queries, O)
        if own is not None:
            outer = gradients_without_own(self.factor, outer, logits, phi)
        return influence(self.factor, outer, phi, gradients, features)
