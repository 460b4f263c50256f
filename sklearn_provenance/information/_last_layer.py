"""The last layer as softmax regression: representer values and influence of its rows.

Outputs are o = W z + b with features z, and logits are M o. M is the identity, or (-1/2, 1/2)^T if
one output decides between two classes. Shapes in comments: n rows, O outputs, F features.
"""

import torch

from ._softmax import curvature, hessian, likelihood_gradient, margin_gradient


class Head:
    """A last layer.

    Parameters
    ----------
    weight : Tensor of shape (n_outputs, n_features)
        W, in double precision.
    bias : Tensor of shape (n_outputs,), default=None
        b.
    one_output : bool, default=False
        Whether a single output z stands for the logits (-z/2, z/2).

    Attributes
    ----------
    mixing : Tensor of shape (n_classes, n_outputs)
        M.
    """

    def __init__(self, weight, bias=None, one_output=False):
        self.weight = weight
        self.bias = bias
        self.mixing = torch.eye(len(weight), dtype=torch.float64)
        if one_output:
            self.mixing = torch.tensor([[-0.5], [0.5]], dtype=torch.float64)

    @property
    def n_weights(self):
        """Numbers in W and b."""
        if self.bias is None:
            return self.weight.numel()
        return self.weight.numel() + len(self.bias)

    def logits(self, products):
        """Compute logits (n, n_classes) from the products W z (n, O)."""
        if self.bias is not None:
            products = products + self.bias
        return products @ self.mixing.mT

    def with_bias(self, features):
        """Append the 1 that the bias multiplies to features, if there is a bias."""
        if self.bias is None:
            return features
        return torch.cat([features, torch.ones_like(features[:, :1])], 1)

    def columns(self, labels):
        """Take the rows (n, O) of M at labels (n,)."""
        return self.mixing[labels]

    def likelihood_gradient(self, logits, labels):
        """Compute the gradient of log p_y in the outputs (n, O)."""
        return likelihood_gradient(logits, labels) @ self.mixing

    def margin_gradient(self, logits, labels):
        """Compute the gradient of the log odds of y in the outputs (n, O)."""
        return margin_gradient(logits, labels) @ self.mixing

    def curvature(self, logits):
        """Compute the Hessian of -log p_y in the outputs (n, O, O)."""
        return curvature(logits, len(self.weight))

    def hessian(self, logits, features, total=None):
        """Add the Hessian of the sum of -log p_y in the weights (O·F, O·F) to a total."""
        return hessian(logits, features, len(self.weight), total)


class SquaredHead(Head):
    """A last layer with one output, whose targets y are numbers: log p = -(y - o)² / 2."""

    def columns(self, labels):
        """Take the output itself, whatever the targets (n,)."""
        return self.mixing.expand(len(labels), -1)

    def likelihood_gradient(self, logits, labels):
        """Compute residuals y - o (n, 1)."""
        return labels.to(logits)[:, None] - logits

    def margin_gradient(self, logits, labels):
        """Compute the gradient of the output in itself, which is 1."""
        return torch.ones_like(logits)

    def curvature(self, logits):
        """Compute the Hessian of the loss in the output (n, 1, 1), which is 1."""
        return torch.ones_like(logits)[:, :, None]

    def hessian(self, logits, features, total=None):
        """Add the sum of z z^T (F, F) to a total."""
        moment = features.mT @ features
        return moment if total is None else total.add_(moment)


def representer_scale(weight, gradient):
    """Find the multiple of Σ_i α_i z_i^T that is nearest to W.

    Parameters
    ----------
    weight, gradient : Tensor of shape (O, F)
        W and the sum.

    Returns
    -------
    scale : float
        The factor, 1 / (λ n) where W minimises the loss with the penalty λ |W|² / 2.
    residual : float
        Norm of the difference, relative to W.
    """
    if len(weight) > 1:
        weight = weight - weight.mean(0)  # the softmax does not depend on the mean
    scale = ((gradient * weight).sum() / gradient.square().sum()).item()
    return scale, ((weight - scale * gradient).norm() / weight.norm()).item()


def damped_hessian(head, logits, blocks, damping):
    """Compute the Cholesky factor (O·F, O·F) of H + δ I, and δ.

    δ is damping times the mean of H's diagonal. The features of the rows (n, F) come in ``blocks``
    of some rows. The factor is None if δ is not positive, or the matrix not positive definite.
    """
    matrix = None
    start = 0
    for features in blocks:
        part = logits[start : start + len(features)]
        matrix = head.hessian(part, features, matrix)
        start += len(features)
    delta = damping * matrix.diagonal().mean().item()
    if not delta > 0:
        return None, delta
    matrix.diagonal().add_(delta)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if failed:
        return None, delta
    return factor, delta


def influence(factor, query_gradients, query_features, gradients, blocks):
    """Compute (g_* ⊗ z_*)^T H^-1 (g_i ⊗ z_i) for every query and row (n_queries, n).

    Parameters
    ----------
    factor : Tensor of shape (O·F, O·F)
        Cholesky factor of :func:`damped_hessian`.
    query_gradients, gradients : Tensor of shape (n_queries, O) and (n, O)
        Gradients g in the outputs.
    query_features : Tensor of shape (n_queries, F)
        Features z of the queries.
    blocks : iterable of Tensor of shape (n_rows, F)
        Features z of the n rows, some rows at a time.
    """
    directions = (query_gradients[:, :, None] * query_features[:, None]).flatten(1)
    solved = torch.cholesky_solve(directions.mT, factor).mT  # (n_queries, O·F)
    scores = solved.new_zeros(len(solved), len(gradients))
    n_outputs, start = gradients.shape[1], 0
    for features in blocks:
        rows = slice(start, start + len(features))
        for part, gradient in zip(solved.chunk(n_outputs, 1), gradients[rows].mT, strict=True):
            scores[:, rows] += (part @ features.mT) * gradient
        start = rows.stop
    return scores


def weight_changes(factor, gradients, features):
    """Compute H^-1 (g_i ⊗ z_i) of rows, (n, O, F): how each moves the weights.

    Parameters
    ----------
    factor : Tensor of shape (O·F, O·F)
        Of :func:`damped_hessian`.
    gradients : Tensor of shape (n, O)
        g, in the outputs.
    features : Tensor of shape (n, F)
        z.
    """
    directions = gradients[:, :, None] * features[:, None]  # (n, O, F)
    solved = torch.cholesky_solve(directions.flatten(1).mT, factor).mT
    return solved.reshape(directions.shape)


def gradients_without_own(factor, gradients, curvatures, features):
    """Compute gradients g' (n, O) with H^-1 (g' ⊗ z) = (H - A ⊗ z z^T)^-1 (g ⊗ z).

    A is the curvature of the row itself: g' = (I - A B)^-1 g with B = (I ⊗ z)^T H^-1 (I ⊗ z).
    """
    n_outputs = gradients.shape[1]
    size = features.shape[1]
    inverse = torch.cholesky_inverse(factor).view(n_outputs, size, n_outputs, size)
    own = features.new_empty(len(features), n_outputs, n_outputs)
    for i in range(n_outputs):
        for j in range(n_outputs):
            own[:, i, j] = ((features @ inverse[i, :, j]) * features).sum(1)
    left = torch.eye(n_outputs, dtype=own.dtype) - curvatures @ own
    return torch.linalg.solve(left, gradients)
