"""Softmax regression on fixed features: gradients and Hessian of what the last layer computes.

Outputs of the layer are o = W z, where z are the features with a 1 for the bias. Logits are M o,
where M is the identity, or (-1/2, 1/2)^T if one output decides between two classes; p is their
softmax.
Shapes in comments: B rows, C classes, O outputs, F features.
"""

import torch

# Rows whose Hessians in the outputs are held at a time.
_BLOCK = 4096


def one_minus_p(logits):
    """Compute 1 - p_c (B, C) as the sum of the others: exact however near p_c is to 1."""
    p = logits.softmax(1)
    return p @ (1 - torch.eye(p.shape[1], dtype=p.dtype, device=p.device))


def margin_gradient(logits, labels):
    """Compute the gradient of log(p_y / (1 - p_y)) in logits (B, C): e_y - softmax of others."""
    index = labels[:, None]
    others = logits.scatter(1, index, -torch.inf).softmax(1)
    return (-others).scatter(1, index, 1.0)


def likelihood_gradient(logits, labels):
    """Compute the gradient of log p_y in the logits (B, C): e_y - p, exact for p_y near 1."""
    return one_minus_p(logits).gather(1, labels[:, None]) * margin_gradient(logits, labels)


def rest_of_curvature(logits, labels, signs):
    """Compute directions v (B, C) whose v v^T is on average what curvature the margin leaves out.

    The Hessian of -log p_y in the logits, diag(p) - p p^T, is the sum of p_y (1 - p_y) g g^T, with
    the gradient g of the margin, and of (1 - p_y) (diag(q) - q q^T), where q are the probabilities
    of the others once y is excluded. The latter is E[v v^T] for random signs s, with

        v_c = (1 - p_y)^1/2 (s_c q_c^1/2 - q_c Σ_d s_d q_d^1/2),   v_y = 0.

    Parameters
    ----------
    logits : Tensor of shape (B, C)
        Logits.
    labels : Tensor of shape (B,)
        Labels y.
    signs : Tensor of shape (B, C)
        1 or -1; those of the labels do not matter.
    """
    index = labels[:, None]
    others = logits.scatter(1, index, -torch.inf).softmax(1)  # q, (B, C)
    parts = signs * others.sqrt()
    directions = parts - others * parts.sum(1, keepdim=True)
    return one_minus_p(logits).gather(1, index).sqrt() * directions


def curvature(logits, n_outputs):
    """Compute the Hessian of -log p_y in the outputs (B, O, O), M^T (diag(p) - p p^T) M for any y.

    With one output it is p_0 p_1, which is also the first entry of diag(p) - p p^T.
    """
    p = logits.softmax(1)[:, :n_outputs]
    matrix = -p[:, :, None] * p[:, None, :]
    matrix.diagonal(dim1=1, dim2=2).copy_(p * one_minus_p(logits)[:, :n_outputs])
    return matrix


def hessian(logits, features, n_outputs, total=None):
    """Compute the Hessian of the sum of -log p_y in W (O·F, O·F), W flattened row by row.

    The outputs are linear in W, so it equals the Gauss-Newton matrix Σ_x A_x ⊗ z_x z_x^T. It is
    added to ``total``, the Hessian of other rows, if that is given.
    """
    size = features.shape[1]
    if total is None:
        total = features.new_zeros(n_outputs * size, n_outputs * size)
    total = total.view(n_outputs, size, n_outputs, size)
    for part, z in zip(logits.split(_BLOCK), features.split(_BLOCK), strict=True):
        weights = curvature(part, n_outputs)
        for i in range(n_outputs):
            for j in range(i + 1):
                block = z.mT @ (weights[:, i, j, None] * z)
                total[i, :, j] += block
                if i != j:
                    total[j, :, i] += block  # symmetric itself
    return total.reshape(n_outputs * size, -1)


def measurement_gradient(logits, labels, measurement):
    """Compute the gradient of a measurement in the logits (B, C).

    Parameters
    ----------
    logits : Tensor of shape (B, C)
        Logits.
    labels : Tensor of shape (B,)
        Label that each row is measured at.
    measurement : {"label_logit", "margin", "log_probability"} or callable
        The scalar.

    Returns
    -------
    Tensor of shape (B, C)
        Gradients.
    """
    if measurement == "label_logit":
        return torch.zeros_like(logits).scatter(1, labels[:, None], 1.0)
    if measurement == "margin":
        return margin_gradient(logits, labels)
    if measurement == "log_probability":
        return likelihood_gradient(logits, labels)
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        return torch.autograd.grad(measurement(leaf, labels).sum(), leaf)[0]
