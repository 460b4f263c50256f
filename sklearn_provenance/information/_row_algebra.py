"""Products of rows, parameters and inverse Hessians that Newton steps without rows are made of.

The formulas and shapes are those of ``_newton``.
"""

import numpy as np
from scipy.sparse import issparse

from ._newton import LEVERAGE_ONE, FormedInverse


class UpdatedInverse:
    """An inverse Hessian, and what rows that have gone since have added to it."""

    def __init__(self, base, added=()):
        self.base = base
        self.added = added  # pairs of B (p, K) and G (K, K), which stand for B G B^T

    def times(self, vectors):
        """The inverse times vectors (m, p)."""
        product = self.base.times(vectors)
        for columns, middle in self.added:
            product += (vectors @ columns) @ middle @ columns.T
        return product

    def plus(self, columns, middle):
        """With another term."""
        return UpdatedInverse(self.base, (*self.added, (columns, middle)))


def parameter_scale(inverse):
    """Square roots of the diagonal (p,) of an inverse Hessian, or of what it is near to."""
    base = inverse.base if isinstance(inverse, UpdatedInverse) else inverse
    if isinstance(base, FormedInverse):
        return np.sqrt(np.diag(base.matrix))
    return 1 / np.sqrt(base.diagonal)


def relative_size(change, scale):
    """Largest change (m,) of a parameter in units of its scale; 0 if that is not asked for."""
    return np.zeros(len(change)) if scale is None else np.abs(change / scale).max(1)


def each_output(phi, n_outputs):
    """I_K ⊗ φ^T, (K, p), of a row (1, d) that may be sparse."""
    phi = phi.toarray() if issparse(phi) else phi
    return np.kron(np.eye(n_outputs), phi)


def finite_mean(changes):
    """Mean of changes that are finite."""
    finite = changes[np.isfinite(changes)]
    return finite.mean() if len(finite) else 0.0


def gains_without(curvatures, cross):
    """(I - S M)^-1 S of each row, (m, K, K); nan where that is singular."""
    n_outputs = curvatures.shape[1]
    systems = np.eye(n_outputs) - curvatures @ cross
    if n_outputs == 1:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(np.abs(systems) > LEVERAGE_ONE, curvatures / systems, np.nan)
    # A row alone in its class has a curvature of nan, which LAPACK would warn of.
    singular = ~np.isfinite(systems).all((1, 2))
    systems[singular] = 0
    singular |= ~(np.abs(np.linalg.det(systems)) > LEVERAGE_ONE)
    systems[singular] = np.eye(n_outputs)
    gains = np.linalg.solve(systems, np.where(np.isfinite(curvatures), curvatures, 0))
    gains[singular] = np.nan
    return gains


def row_products(design, product):
    """Inner products (m,) of the rows of two matrices, the first of which may be sparse."""
    if issparse(design):
        return np.asarray(design.multiply(product).sum(1)).ravel()
    return np.einsum("md,md->m", design, product)


def outer_products(coefficients, design):
    """e_i ⊗ φ_i of each row, (m, p)."""
    design = design.toarray() if issparse(design) else design
    return (coefficients[:, :, None] * design[:, None, :]).reshape(len(design), -1)


def outputs_of_rows(design, theta):
    """θ_i φ_i of each row with parameters of its own, (m, K)."""
    if issparse(design):
        parts = [row_products(design, theta[:, k]) for k in range(theta.shape[1])]
        return np.stack(parts, 1)
    return np.einsum("mkd,md->mk", theta, design)
