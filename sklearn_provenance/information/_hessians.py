"""Hessians that are formed as matrices: their sums over rows, and their inverses.

The formulas and shapes are those of ``_newton``.
"""

import numpy as np
from scipy.linalg import lapack
from scipy.sparse import issparse

# A matrix whose reciprocal condition number is below this has no inverse to speak of.
SINGULAR = 1e-14
# Bytes that the temporary arrays of a block of rows may take.
BLOCK = 64_000_000
# Rows of a square matrix that are looked at together.
_ROWS = 256


class NoMinimumError(ValueError):
    """The problem has no minimum, or none that is unique."""


def gram(design, curvatures, block=BLOCK):
    """Compute Σ_i C_i ⊗ φ_i φ_i^T, a symmetric matrix (p, p), of C (n, K, K).

    Arrays on the way take some ``block`` bytes; of sparse rows, one matrix (d, d).
    """
    n, d = design.shape
    n_outputs = curvatures.shape[1]
    total = np.empty((n_outputs, d, n_outputs, d))
    step = max(1, int(block // (8 * (n + d))))
    for k in range(n_outputs):
        for j in range(k + 1):
            weights = curvatures[:, k, j]
            if issparse(design):
                part = (design.multiply(weights[:, None]).tocsr().T @ design).toarray()
                total[k, :, j] = part
                total[j, :, k] = part.T
                continue
            for start in range(0, d, step):
                columns = slice(start, start + step)
                part = (design[:, columns] * weights[:, None]).T @ design
                total[k, columns, j] = part
                total[j, :, k, columns] = part.T
    return total.reshape(n_outputs * d, n_outputs * d)


def add_penalty(hessian, penalty):
    """Add a penalty (d,) of each output's parameters to the diagonal of a matrix (p, p)."""
    n_outputs = len(hessian) // len(penalty)
    hessian[np.diag_indices_from(hessian)] += np.tile(penalty, n_outputs)


def fix_gauge(hessian, gauge):
    """Add curvature to a matrix (p, p) in directions that have no effect, so that it is regular."""
    if gauge is None:
        return
    blocks = hessian.reshape(2 * (len(hessian) // len(gauge), len(gauge)))  # (K, d, K, d)
    n_outputs = len(blocks)
    for column in np.flatnonzero(gauge):
        block = blocks[:, column, :, column]  # (K, K), a copy
        blocks[:, column, :, column] = block + np.trace(block) / n_outputs**2


def invert(hessian):
    """Invert a symmetric positive definite matrix (p, p), whose columns may differ in scale.

    The inverse takes the memory of the matrix, and no second one is made on the way.

    Raises
    ------
    NoMinimumError
        If it is singular to working precision.
    """
    diagonal = np.diag(hessian).copy()
    if not (np.isfinite(diagonal).all() and (diagonal > 0).all()):
        raise NoMinimumError("the Hessian must be finite and positive definite")
    scale = 1 / np.sqrt(diagonal)
    hessian *= scale[:, None]
    hessian *= scale
    norm = max(np.abs(rows).sum(1).max() for rows in _row_blocks(hessian))
    # LAPACK's matrices have columns one after the other: what it sees is the transposed matrix.
    factor, failed = lapack.dpotrf(hessian.T, lower=False, overwrite_a=True, clean=False)
    if not failed:
        reciprocal, failed = lapack.dpocon(factor, norm, uplo="U")
    if failed or reciprocal < SINGULAR:
        raise NoMinimumError("the Hessian is singular to working precision")
    inverse, _ = lapack.dpotri(factor, lower=False, overwrite_c=True)
    inverse = inverse.T  # of which the lower triangle is known
    for start in range(0, len(inverse), _ROWS):
        rows = slice(start, start + _ROWS)
        inverse[:start, rows] = inverse[rows, :start].T
        corner = np.tril(inverse[rows, rows])
        inverse[rows, rows] = corner + np.tril(corner, -1).T
    inverse *= scale[:, None]
    inverse *= scale
    return inverse


def _row_blocks(matrix):
    """Yield some rows of a matrix at a time."""
    for start in range(0, len(matrix), _ROWS):
        yield matrix[start : start + _ROWS]


class FormedInverse:
    """An inverse Hessian (p, p) that is there as a matrix."""

    def __init__(self, matrix):
        self.matrix = matrix

    def times(self, vectors):
        """Multiply the inverse by vectors (m, p)."""
        return vectors @ self.matrix
