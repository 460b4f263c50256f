"""Influence through the last layer, and representer values."""

import numpy as np
import torch
from scipy.sparse import csr_array, issparse

from ...information._last_layer import (
    SquaredHead,
    damped_hessian,
    gradients_without_own,
    influence,
    representer_scale,
    weight_changes,
)
from ._base import Rule

# Numbers of features that are in double precision at a time: 8 MB.
_NUMBERS = 2**20
# Bytes that changes of weights may take at a time.
_BLOCK = 256_000_000


class LastLayerRule(Rule):
    """Base of the two rules: points are penultimate features, ``head`` is the last layer."""

    name = "LastLayer"
    needs_all_rows = True

    def __init__(self, head):
        self.head = head

    def _fit(self):
        logits = self._logits(self.points)
        self.gradients = self.head.likelihood_gradient(logits, self.points.labels)  # (n_train, O)

    def _logits(self, points):
        """Compute logits of points in double precision, whatever the network's."""
        return self.head.logits(points.times(self.head.weight))

    def _of(self, rows):
        """Take points and gradients of rows."""
        if rows is None:
            return self.points, self.gradients
        return self.points.take(rows), self.gradients[rows]


class RepresenterRule(LastLayerRule):
    """Score rows by the share α_i <z_i, z> of the query's logit that they hold."""

    unit = "representer value (logits times λ n)"
    is_inner_product = True

    def __init__(self, head):
        super().__init__(head)
        if isinstance(head, SquaredHead):
            self.unit = "representer value (units of y times λ n)"

    def _fit(self):
        super()._fit()
        gradient = self.points.combine(self.gradients)  # (O, F): the sum of α z^T
        self.scale, self.residual = representer_scale(self.head.weight, gradient)

    def scores(self, queries, rows=None, own=None):
        """Compute representer values of rows."""
        points, gradients = self._of(rows)
        alpha = gradients @ self.head.columns(queries.labels).mT  # (n_rows, n_queries)
        return alpha.mT * queries.inner(points)

    def pair_factors(self, queries, picks):
        """Return the α of rows at the labels of queries; see :class:`Rule`."""
        alpha = self.gradients[picks.clamp(min=0)]  # (n_queries, k, O)
        return torch.einsum("qko,qo->qk", alpha, self.head.columns(queries.labels))


class InfluenceRule(LastLayerRule):
    """Score rows by ∇m(x_*)^T (H + λ I)^-1 ∇log p(y_i | x_i) in the weights of the last layer.

    ``damping`` is λ in units of the Hessian's mean diagonal.
    """

    unit = "last-layer influence (nats)"
    has_pair_parts = True

    def __init__(self, head, damping):
        super().__init__(head)
        self.damping = damping
        if isinstance(head, SquaredHead):
            self.unit = "last-layer influence (units of y)"

    def _fit(self):
        super()._fit()
        logits, blocks = self._logits(self.points), self._blocks(self.points)
        self.factor, self.damping_in_use = damped_hessian(self.head, logits, blocks, self.damping)
        if not self.damping_in_use > 0:
            raise ValueError(
                "the Hessian of the last layer is zero: its features are, or the model is certain "
                "of every training row"
            )
        if self.factor is None:
            raise ValueError(
                "damping must be large enough to invert the Hessian of the last layer; got "
                f"{self.damping}. Give more"
            )

    def scores(self, queries, rows=None, own=None):
        """Compute the influence of rows."""
        points, gradients = self._of(rows)
        outer, phi = self._query_gradients(queries, own)
        return influence(self.factor, outer, phi, gradients, self._blocks(points))

    def _blocks(self, points):
        """Yield features with the bias's 1, in double precision, of some points at a time."""
        step = max(1, _NUMBERS // points.n_components)
        for rows in torch.arange(len(points)).split(step):
            yield self.head.with_bias(points.take(rows).matrix())  # (n_rows, F)

    def _query_gradients(self, queries, own):
        """Compute gradients (n_queries, O) of margins in the outputs, and features with a 1."""
        logits, phi = self._logits(queries), self.head.with_bias(queries.matrix())
        outer = self.head.margin_gradient(logits, queries.labels)
        if own is not None:
            curvatures = self.head.curvature(logits)
            outer = gradients_without_own(self.factor, outer, curvatures, phi)
        return outer, phi

    def pair_parts(self, queries, picks, own=None):
        """Return parts of the query's features: their values times the change of their weights."""
        outer, phi = self._query_gradients(queries, own)
        n_features = queries.x.shape[1]
        parts, intercepts = [], np.zeros(picks.shape)
        step = max(1, _BLOCK // (8 * picks.shape[1] * self.head.n_weights))
        for start in range(0, len(phi), step):
            block = slice(start, start + step)
            rows, places = picks[block].clamp(min=0).unique(return_inverse=True)
            features = self.head.with_bias(self.points.take(rows).matrix())
            changes = weight_changes(self.factor, self.gradients[rows], features)  # (n_rows, O, F)
            for number, place in enumerate(places, start):
                change = torch.einsum("o,kof->kf", outer[number], changes[place])
                values = (change * phi[number]).numpy()  # (k, F)
                intercepts[number] = values[:, n_features:].sum(1)
                values = values[:, :n_features]
                parts.append(csr_array(values) if issparse(queries.x) else values)
        return parts, intercepts
