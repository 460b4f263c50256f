"""Influence through the last layer, and representer values."""

import torch

from ...information._softmax import curvature, hessian, likelihood_gradient, margin_gradient
from ._base import Rule

# Weights of a last layer whose Hessian is formed (2 GB).
HESSIAN_LIMIT = 2**14


class LastLayerRule(Rule):
    """Base of the two rules: points are penultimate features, the head is softmax regression.

    Parameters
    ----------
    head : Head
        The last layer.
    """

    name = "LastLayer"
    needs_all_rows = True

    def __init__(self, head):
        self.head = head

    def _fit(self):
        points = self.points
        gradient = likelihood_gradient(self.head.logits(points), points.labels)
        self.gradients = gradient @ self.head.mixing  # (n_train, O)

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
        gradient = self.points.combine(self.gradients)  # (O, F): the sum of α z^T is a multiple
        weight = self.head.weight[:, : gradient.shape[1]]
        if len(weight) > 1:
            weight = weight - weight.mean(0)  # what softmax does not see
        self.scale = ((gradient * weight).sum() / gradient.square().sum()).item()
        self.residual = ((weight - self.scale * gradient).norm() / weight.norm()).item()

    def scores(self, queries, rows=None, own=None):
        """Representer values of rows."""
        points, gradients = self._of(rows)
        alpha = gradients @ self.head.mixing[queries.labels].mT  # (n_rows, n_queries)
        return alpha.mT * queries.inner(points)


class InfluenceRule(LastLayerRule):
    """Score rows by ∇m(x_*)^T (H + λ I)^-1 ∇log p(y_i | x_i) in the weights of the last layer.

    Parameters
    ----------
    head : Head
        The last layer.
    damping : float
        λ in units of the Hessian's mean diagonal.
    """

    unit = "last-layer influence (nats)"

    def __init__(self, head, damping):
        super().__init__(head)
        self.damping = damping

    def _fit(self):
        size = self.head.weight.numel()
        if size > HESSIAN_LIMIT:
            raise ValueError(
                f"the last layer has {size} weights, and its Hessian is formed for at most "
                f'{HESSIAN_LIMIT}; kind="representer" needs none'
            )
        super()._fit()
        features = self.head.with_bias(self.points.matrix())
        matrix = hessian(self.head.logits(self.points), features, self.head.n_outputs)
        self.damping_in_use = self.damping * matrix.diagonal().mean().item()
        if not self.damping_in_use > 0:
            raise ValueError(
                "the Hessian of the last layer is zero: its features are, or the model is certain "
                "of every training row"
            )
        matrix.diagonal().add_(self.damping_in_use)
        self.factor, failed = torch.linalg.cholesky_ex(matrix)
        if failed:
            raise ValueError(
                f"the Hessian of the last layer is singular with damping={self.damping}; give more"
            )

    def scores(self, queries, rows=None, own=None):
        """Influence of rows."""
        head, (points, gradients) = self.head, self._of(rows)
        logits = head.logits(queries)
        phi, features = (head.with_bias(p.matrix()) for p in (queries, points))
        outer = margin_gradient(logits, queries.labels) @ head.mixing  # (n_queries, O)
        if own is not None:
            outer = self._without_own(outer, logits, phi)
        directions = (outer[:, :, None] * phi[:, None]).flatten(1)  # (n_queries, O·F)
        solved = torch.cholesky_solve(directions.mT, self.factor).mT
        scores = phi.new_zeros(len(phi), len(features))
        for part, gradient in zip(solved.chunk(head.n_outputs, 1), gradients.mT, strict=True):
            scores += (part @ features.mT) * gradient
        return scores

    def _without_own(self, outer, logits, features):
        """Gradients g' with H^-1 (g' ⊗ z) = (H - A ⊗ z z^T)^-1 (g ⊗ z): g' = (I - A B)^-1 g.

        B = (I ⊗ z)^T H^-1 (I ⊗ z).
        """
        n_outputs, size = self.head.n_outputs, features.shape[1]
        inverse = torch.cholesky_inverse(self.factor).view(n_outputs, size, n_outputs, size)
        own = features.new_empty(len(features), n_outputs, n_outputs)
        for i in range(n_outputs):
            for j in range(n_outputs):
                own[:, i, j] = ((features @ inverse[i, :, j]) * features).sum(1)
        left = torch.eye(n_outputs, dtype=own.dtype) - curvature(logits, n_outputs) @ own
        return torch.linalg.solve(left, outer)
