"""Products of rows, parameters and inverse Hessians that Newton steps without rows are made of.

The formulas and shapes are those of ``_newton``.
"""

import numpy as np
from scipy.sparse import issparse

from ._conjugate import CorrectedInverse
from ._hessians import FormedInverse

# Without a row whose 1 - leverage is below this, the system would be singular.
_LEVERAGE_ONE = 1e-9


class UpdatedInverse:
    """An inverse Hessian, and what rows that have gone since have added to it."""

    def __init__(self, base, added=()):
        self.base = base
        self.added = added  # pairs of B (p, K) and G (K, K), which stand for B G B^T

    def times(self, vectors):
        """Multiply the inverse by vectors (m, p)."""
        product = self.base.times(vectors)
        for columns, middle in self.added:
            product += (vectors @ columns) @ middle @ columns.T
        return product

    def plus(self, columns, middle):
        """Return the inverse with another term."""
        return UpdatedInverse(self.base, (*self.added, (columns, middle)))


def parameter_scale(inverse):
    """Return square roots of the diagonal (p,) of an inverse Hessian, or of what it is near to."""
    if isinstance(inverse, CorrectedInverse):
        inverse = inverse.near
    if isinstance(inverse, UpdatedInverse):
        inverse = inverse.base
    if isinstance(inverse, FormedInverse):
        return np.sqrt(np.diag(inverse.matrix))
    return 1 / np.sqrt(inverse.diagonal)


def relative_size(change, scale):
    """Return the largest change (m,) of a parameter in units of its scale; 0 without a scale."""
    if scale is None:
        return np.zeros(len(change))
    return np.abs(change / scale).max(1)


def each_output(phi, n_outputs):
    """Return I_K ⊗ φ^T, (K, p), of a row (1, d) that may be sparse."""
    if issparse(phi):
        phi = phi.toarray()
    return np.kron(np.eye(n_outputs), phi)


def finite_mean(changes):
    """Return the mean of the changes that are finite, 0 where none is."""
    finite = changes[np.isfinite(changes)]
    if not len(finite):
        return 0.0
    return finite.mean()


def gains_without(curvatures, cross):
    """Return (I - S M)^-1 S of each row, (m, K, K); nan where that is singular."""
    n_outputs = curvatures.shape[1]
    systems = np.eye(n_outputs) - curvatures @ cross
    if n_outputs == 1:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(np.abs(systems) > _LEVERAGE_ONE, curvatures / systems, np.nan)
    # A row alone in its class has a curvature of nan, which LAPACK would warn of.
    singular = ~np.isfinite(systems).all((1, 2))
    systems[singular] = 0
    singular |= ~(np.abs(np.linalg.det(systems)) > _LEVERAGE_ONE)
    systems[singular] = np.eye(n_outputs)
    gains = np.linalg.solve(systems, np.where(np.isfinite(curvatures), curvatures, 0))
    gains[singular] = np.nan
    return gains


def row_products(design, product):
    """Return inner products (m,) of the rows of two matrices, the first of which may be sparse."""
    if issparse(design):
        return np.asarray(design.multiply(product).sum(1)).ravel()
    return np.einsum("md,md->m", design, product)


def outer_products(coefficients, design):
    """Return e_i ⊗ φ_i of each row, (m, p)."""
    if issparse(design):
        design = design.toarray()
    return (coefficients[:, :, None] * design[:, None, :]).reshape(len(design), -1)


def outputs_of_rows(design, theta):
    """Return θ_i φ_i of each row, with parameters that belong to the row, (m, K)."""
    if issparse(design):
        parts = [row_products(design, theta[:, k]) for k in range(theta.shape[1])]
        return np.stack(parts, 1)
    return np.einsum("mkd,md->mk", theta, design)
