"""Conjugate gradients for several right-hand sides at once.

Shapes in comments: m vectors, p numbers in each.
"""

import torch


def conjugate_gradients(product, precondition, vectors, n_steps):
    """Solve A x = b for several b, with a matrix that is known by its products only.

    Each step shrinks the error x - A^-1 b of every vector in the norm of A. After the first, x is
    a multiple of the preconditioned b. Vectors that are solved to working precision stay as they
    are.

    Parameters
    ----------
    product : callable
        ``product(vectors)`` multiplies A, symmetric and positive definite, by vectors (m, p).
    precondition : callable
        Multiplies something near to the inverse of A, symmetric and positive definite, by vectors.
    vectors : torch.Tensor of shape (m, p)
        The right-hand sides b.
    n_steps : int
        Most steps, with one call of ``product`` in each.

    Returns
    -------
    torch.Tensor of shape (m, p)
        x, which starts at 0.

    References
    ----------
    Hestenes, Stiefel (1952). Methods of conjugate gradients for solving linear systems, Journal of
    Research of the National Bureau of Standards 49(6).
    """
    solution = torch.zeros_like(vectors)
    residual = vectors.clone()
    target = torch.finfo(vectors.dtype).eps * _norms(vectors)
    direction = torch.zeros_like(vectors)
    before = torch.ones(len(vectors), dtype=torch.float64, device=vectors.device)
    for _ in range(n_steps):
        is_open = _norms(residual) > target
        if not is_open.any():
            break
        scaled = precondition(residual)
        inner = _inner(residual, scaled)  # (m,)
        direction *= (inner / before)[:, None].to(vectors)
        direction += scaled
        image = product(direction)
        curvature = _inner(direction, image)
        lengths = torch.where(is_open & (curvature > 0), inner / curvature, 0)[:, None].to(vectors)
        solution += lengths * direction
        residual -= lengths * image
        before = torch.where(inner > 0, inner, 1)
    return solution


def _norms(vectors):
    """Compute norms (m,) of vectors (m, p), in double precision."""
    return torch.linalg.vector_norm(vectors, dim=1, dtype=torch.float64)


def _inner(left, right):
    """Compute inner products (m,) of pairs of vectors (m, p), in double precision."""
    pairs = zip(left, right, strict=True)
    return torch.stack([torch.dot(a.double(), b.double()) for a, b in pairs])
