"""Hessians of many sparse columns, inverted through the matrix among rows.

With a penalty Λ on the columns P, and curvatures S of the rows, the Hessian H = Φ^T S Φ + Λ has the
inverse (Woodbury)

    H_PP^-1 = Λ^-1 - Λ^-1 Φ_P^T S^1/2 B^-1 S^1/2 Φ_P Λ^-1,   B = I + S^1/2 Φ_P Λ^-1 Φ_P^T S^1/2,

where B (n, n) has as many rows as there are training rows, however many columns there are. Columns
F without a penalty, such as the intercept, come in through their Schur complement T:

    Φ H^-1 Φ^T = Φ_P H_PP^-1 Φ_P^T + R T^-1 R^T,   R = Φ_F - Φ_P W,   W = H_PP^-1 Φ_P^T S Φ_F,
    T = Φ_F^T S^1/2 B^-1 S^1/2 Φ_F.

B is factorised in single precision, which takes half of the time and memory. That is enough for
leverages, and to precondition conjugate gradients, which give solutions in double precision in a
few steps. Shapes: n rows, d columns of P, f columns of F, m vectors at a time. For one output.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack
from scipy.sparse import dia_array

from .._utils.budget import block_bytes

# Rows whose matrix is factorised: 0.6 GB in single precision, and some 10^12 operations.
MOST_ROWS = 12_000
# Columns without a penalty, at most.
_MOST_FREE = 8
# Columns that are multiplied as dense ones: those that most rows have.
_DENSE_COLUMNS = 1024
# Bytes of a block of the matrix on the way.
_BLOCK = 64_000_000
# Where s φ^T H^-1 φ is below this, dividing by s would lose digits.
_SMALL = 1e-3


def fits(problem: Any) -> bool:
    """Whether the Hessian of a problem can be inverted through the matrix among rows."""
    free = int((problem.penalty == 0).sum())
    # Half of the budget is left for the vectors that are solved for.
    n_rows = min(MOST_ROWS, (problem.memory_limit / 2 / 4) ** 0.5 - _DENSE_COLUMNS)
    return problem.n_outputs == 1 and problem.n_rows <= n_rows and free <= _MOST_FREE


def invert_through_rows(point: Any) -> "FunctionSpaceInverse | None":
    """Invert the Hessian of a problem at a point; None where that does not fit or fails."""
    curvature = point.weights * point.row_curvatures[:, 0, 0]
    if not (fits(point.problem) and np.isfinite(curvature).all() and (curvature >= 0).all()):
        return None
    penalty = point.penalty_scale * point.problem.penalty
    try:
        block = block_bytes(_BLOCK, point.problem.memory_limit)
        inverse = FunctionSpaceInverse(point.problem.design, curvature, penalty, block)
        inverse._left  # noqa: B018  what cannot be factorised is known here
        return inverse
    except np.linalg.LinAlgError:
        return None


def _diagonal(values):
    """Return a sparse diagonal matrix; SciPy 1.11 has no diags_array."""
    return dia_array((values[None], [0]), shape=(len(values), len(values)))


class FunctionSpaceInverse:
    """The inverse of Φ^T S Φ + Λ, in single precision.

    Parameters
    ----------
    design : csr matrix of shape (n, d + f)
        Rows φ.
    curvature : ndarray of shape (n,)
        S, none of which is negative.
    penalty : ndarray of shape (d + f,)
        Λ, 0 for the columns F.
    block : int
        Bytes of a block of a matrix on the way.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the factorisation fails.
    """

    def __init__(
        self, design: Any, curvature: NDArray, penalty: NDArray, block: int = _BLOCK
    ) -> None:
        self._block = block
        self._penalised = np.flatnonzero(penalty)
        self._free = np.flatnonzero(penalty == 0)
        self.penalty = penalty[self._penalised]
        self.rows = design[:, self._penalised].tocsr()  # Φ_P (n, d)
        self.curvature = curvature
        self.root = np.sqrt(curvature)
        free = design[:, self._free].toarray()  # Φ_F (n, f)
        if len(self._free):
            solved = self._solve(self.root[:, None] * free)  # B^-1 S^1/2 Φ_F, (n, f)
            self._schur = np.linalg.inv(free.T @ (self.root[:, None] * solved))
            moved = self.rows.T @ (self.root[:, None] * solved)
            self._moved = np.asarray(moved) / self.penalty[:, None]  # W (d, f)
            self._rest = free - self.rows @ self._moved  # R (n, f)

    @cached_property
    def _left(self) -> NDArray:
        """The inverse of the Cholesky factor L of B, (n, n), lower triangular."""
        scaled = _diagonal(self.root) @ self.rows @ _diagonal(1 / np.sqrt(self.penalty))
        scaled = scaled.tocsr()
        largest = scaled.multiply(scaled).sum(1).max()  # on the diagonal of B - I
        if largest > np.finfo(np.float32).max:
            raise np.linalg.LinAlgError("the matrix among rows overflows in single precision")
        n = scaled.shape[0]
        matrix = np.empty((n, n), dtype=np.float32, order="F")
        often = np.argsort(-np.bincount(scaled.indices, minlength=scaled.shape[1]), kind="stable")
        often = often[:_DENSE_COLUMNS]
        common = scaled[:, often].toarray().astype(np.float32)
        seldom = np.ones(scaled.shape[1])
        seldom[often] = 0
        others = (scaled @ _diagonal(seldom)).tocsr().astype(np.float32)
        others.eliminate_zeros()
        step = max(1, self._block // (4 * n))
        for start in range(0, n, step):  # columns of the symmetric matrix
            part = slice(start, start + step)
            block = (others @ others[part].T).toarray()
            block += common @ common[part].T
            matrix[:, part] = block
        matrix[np.diag_indices(n)] += 1
        factor, failed = lapack.spotrf(matrix, lower=True, overwrite_a=True, clean=False)
        if not failed:
            factor, failed = lapack.strtri(factor, lower=True, overwrite_c=True)
        if failed:
            raise np.linalg.LinAlgError("the matrix among rows is singular in single precision")
        return factor

    def __getstate__(self) -> dict:
        return {name: value for name, value in vars(self).items() if name != "_left"}  # made again

    def _solve(self, columns: NDArray) -> NDArray:
        """Compute B^-1 times columns (n, m)."""
        left = self._left
        columns = np.asfortranarray(columns, dtype=np.float32)
        half = blas.strmm(1.0, left, columns, lower=True)
        return blas.strmm(1.0, left, half, lower=True, trans_a=True).astype(np.float64)

    def _penalised_times(self, columns: NDArray) -> NDArray:
        """Compute H_PP^-1 times columns (d, m)."""
        columns = columns / self.penalty[:, None]
        inner = self._solve(self.root[:, None] * (self.rows @ columns))
        return columns - (self.rows.T @ (self.root[:, None] * inner)) / self.penalty[:, None]

    def times(self, vectors: NDArray) -> NDArray:
        """Multiply vectors (m, d + f) by the inverse."""
        solution = np.empty_like(vectors)
        inner = self._penalised_times(vectors[:, self._penalised].T)  # (d, m)
        if len(self._free):
            weighted = self.curvature[:, None] * (self.rows @ inner)  # (n, m)
            free = vectors[:, self._free].T - self._free_rows().T @ weighted
            free = self._schur @ free  # (f, m)
            inner -= self._moved @ free
            solution[:, self._free] = free.T
        solution[:, self._penalised] = inner.T
        return solution

    def _free_rows(self) -> NDArray:
        """Return Φ_F (n, f)."""
        return self._rest + self.rows @ self._moved

    def cross(self) -> NDArray:
        """Compute φ_i^T H^-1 φ_i of each row, (n, 1, 1)."""
        n = len(self.curvature)
        inverse = np.empty(n)  # diagonal of B^-1
        step = max(1, self._block // (8 * n))
        for start in range(0, n, step):
            # Column i of L^-1 begins at row i.
            block = self._left[start:, start : start + step].astype(np.float64)
            inverse[start : start + step] = (np.tril(block) ** 2).sum(0)
        leverage = 1 - inverse
        small = leverage < _SMALL
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(small, 0, leverage / self.curvature)
        for start in range(0, int(small.sum()), step):
            rows = np.flatnonzero(small)[start : start + step]
            values[rows] = self._cross_of(rows)
        if len(self._free):
            values += np.einsum("nf,fg,ng->n", self._rest, self._schur, self._rest)
        return values[:, None, None]

    def _cross_of(self, rows: NDArray) -> NDArray:
        """Compute φ_i^T H_PP^-1 φ_i of some rows, from their own products."""
        weighted = self.rows[rows] @ _diagonal(1 / self.penalty)
        kernel = (self.rows @ weighted.T).toarray()  # (n, m)
        half = blas.strmm(
            1.0,
            self._left,
            np.asfortranarray(self.root[:, None] * kernel, dtype=np.float32),
            lower=True,
        )
        return kernel[rows, np.arange(len(rows))] - (half.astype(np.float64) ** 2).sum(0)
