"""Inverse Hessians that are not formed, through products of Hessians with vectors.

Shapes in comments: n rows, d columns, K outputs, p = K d parameters, m vectors at a time.
"""

import numpy as np
from scipy.sparse import issparse

from .._utils.budget import block_bytes
from .._utils.kept import MEMORY_LIMIT
from ._hessians import BLOCK

# Relative residual of a solution, and the most iterations that it may take.
_TOLERANCE = 1e-8
_MOST_ITERATIONS = 2000
# Random vectors from which φ_i^T H^-1 φ_i is estimated, and the residual that is enough for them.
N_PROBES = 128
_ROUGH = 1e-3
# Rows with larger leverages are solved for one by one: at most as many as that, fewer where that
# would take many products with the entries of the design; and so many at a time.
_HIGH = 0.1
_MOST_SOLVED = 256
_MOST_ENTRIES = 50_000_000
_SOLVED_AT_ONCE = 32
# Vectors for which a matrix among rows is worth its products.
_MANY = 16
# Arrays that are there at once for each vector that is solved for.
VECTORS = 8


class ConjugateGradients:
    """Solve systems with the Hessian Σ_i Φ_i^T S_i Φ_i + Λ of a problem, column by column.

    Parameters
    ----------
    design : ndarray or csr matrix of shape (n, d)
        Rows φ.
    curvatures : ndarray of shape (n, K, K)
        S, the weighted second derivatives of the rows' losses.
    penalty : ndarray of shape (d,)
        Λ of each output.
    gauge : ndarray of shape (d,), default=None
        Columns, as booleans, whose parameters may change alike over outputs with no effect, and
        get a curvature of their own there, as in ``fix_gauge``.
    near : FunctionSpaceInverse, default=None
        Something near to the inverse, with ``times(vectors)``, to precondition many vectors with.
        Few are faster with the diagonal, which reads no large matrix in each step.
    memory_limit : float, default=MEMORY_LIMIT
        Bytes, a quarter of which vectors that are solved for together may take.
    """

    def __init__(
        self, design, curvatures, penalty, gauge=None, near=None, memory_limit=MEMORY_LIMIT
    ):
        self.memory_limit = memory_limit
        self.near = near
        self.design = design
        self.curvatures = curvatures
        self.penalty = penalty
        diagonal = np.einsum("nkk->nk", curvatures)
        own = squares_times(design, diagonal, block_bytes(BLOCK, memory_limit)) + penalty  # (K, d)
        self._gauge = None
        if gauge is not None and gauge.any():
            curvature = own[:, gauge].sum(0) / len(own) ** 2
            own[:, gauge] += curvature
            self._gauge = np.flatnonzero(gauge), curvature
        self.diagonal = np.where(own > 0, own, 1.0).ravel()

    def product(self, vectors):
        """Multiply vectors (m, p) by the Hessian."""
        n_outputs, d = self.curvatures.shape[1], self.design.shape[1]
        m = len(vectors)
        shaped = vectors.reshape(m * n_outputs, d)
        outputs = np.asarray(self.design @ shaped.T).reshape(-1, m, n_outputs)
        curved = np.einsum("nkl,nml->nmk", self.curvatures, outputs)
        product = np.asarray(self.design.T @ curved.reshape(len(outputs), -1)).T
        product += shaped * self.penalty
        product = product.reshape(m, n_outputs, d)
        if self._gauge is not None:
            columns, curvature = self._gauge
            alike = vectors.reshape(m, n_outputs, d)[:, :, columns].sum(1, keepdims=True)
            product[:, :, columns] += curvature * alike
        return product.reshape(m, -1)

    def times(self, vectors, tolerance=_TOLERANCE):
        """Multiply vectors (m, p) by the inverse Hessian, by preconditioned conjugate gradients."""
        step = self._together()
        if len(vectors) > step:
            starts = range(0, len(vectors), step)
            return np.concatenate(
                [self.times(vectors[start : start + step], tolerance) for start in starts]
            )
        solution = np.zeros_like(vectors)
        residual = vectors.copy()
        target = tolerance * np.linalg.norm(vectors, axis=1)
        scaled = self._nearly_solved(residual)
        direction = scaled.copy()
        inner = np.einsum("mp,mp->m", residual, scaled)
        for _ in range(_MOST_ITERATIONS):
            open_ = np.linalg.norm(residual, axis=1) > target
            if not open_.any():
                break
            product = self.product(direction)
            curvature = np.einsum("mp,mp->m", direction, product)
            step = np.where(open_ & (curvature > 0), inner / np.where(open_, curvature, 1), 0)
            solution += step[:, None] * direction
            residual -= step[:, None] * product
            scaled = self._nearly_solved(residual)
            before, inner = inner, np.einsum("mp,mp->m", residual, scaled)
            ratio = np.where(before > 0, inner / np.where(before > 0, before, 1), 0)
            direction = scaled + ratio[:, None] * direction
        return solution

    def _together(self):
        """Count the vectors that are solved for together."""
        n, n_outputs = self.curvatures.shape[:2]
        size = 8 * VECTORS * n_outputs * (self.design.shape[1] + n)
        return max(1, int(self.memory_limit / 4 / size))

    def _nearly_solved(self, vectors):
        """Return something near to the inverse Hessian times vectors (m, p)."""
        if self.near is None or len(vectors) < _MANY:
            return vectors / self.diagonal
        return self.near.times(vectors)

    def cross(self, n_probes=N_PROBES):
        """Estimate M (n, K, K), φ_i^T H^-1_kl φ_i of each row, with a relative error of (2/m)^1/2.

        H^-1 = H^-1 E[r r^T] H^-1 for random r with covariance H; see Spielman, Srivastava (2011),
        Graph sparsification by effective resistances, section 4. The random numbers are the same
        each time.
        """
        rng = np.random.default_rng(0)
        n, n_outputs, _ = self.curvatures.shape
        d = self.design.shape[1]
        values, vectors = np.linalg.eigh(self.curvatures)
        roots = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]  # L L^T = S
        cross = np.zeros((n, n_outputs, n_outputs))
        step = self._together()
        for start in range(0, n_probes, step):
            m = min(step, n_probes - start)
            signs = rng.choice([-1.0, 1.0], (n, m, n_outputs))
            of_rows = np.einsum("nkl,nml->nmk", roots, signs).reshape(n, -1)
            del signs
            probes = np.asarray(self.design.T @ of_rows).T.reshape(m, n_outputs, d)
            del of_rows
            probes += rng.choice([-1.0, 1.0], probes.shape) * np.sqrt(self.penalty)
            if self._gauge is not None:
                columns, curvature = self._gauge
                alike = rng.choice([-1.0, 1.0], (m, 1, len(columns)))
                probes[:, :, columns] += alike * np.sqrt(curvature)
            solved = self.times(probes.reshape(m, -1), _ROUGH).reshape(-1, d)
            outputs = np.asarray(self.design @ solved.T).reshape(n, m, n_outputs)
            cross += np.einsum("nmk,nml->nkl", outputs, outputs)
        cross /= n_probes
        leverages = np.einsum("nkl,nlk->n", self.curvatures, cross)
        most = min(_MOST_SOLVED, _MOST_ENTRIES // max(1, self.design.nnz * n_outputs))
        high = np.argsort(-leverages, kind="stable")[:most]
        high = high[leverages[high] > _HIGH]
        together = max(1, min(_SOLVED_AT_ONCE, step // n_outputs))
        for start in range(0, len(high), together):
            rows = high[start : start + together]
            cross[rows] = self._solved_cross(rows)
        return cross

    def _solved_cross(self, rows):
        """Compute M (m, K, K) of some rows, by solving their systems."""
        n_outputs = self.curvatures.shape[1]
        phi = self.design[rows].toarray()  # (m, d)
        vectors = np.einsum("kl,md->mkld", np.eye(n_outputs), phi)
        solved = self.times(vectors.reshape(len(rows) * n_outputs, -1), _ROUGH)
        return np.einsum("mkld,md->mkl", solved.reshape(vectors.shape), phi)


def squares_times(design, weights, block):
    """Compute Σ_i w_i φ_i² (K, d) of weights (n, K), with arrays of some bytes on the way."""
    if issparse(design):
        return np.asarray(design.multiply(design).T @ weights).T
    total = np.zeros((weights.shape[1], design.shape[1]))
    step = max(1, block // (8 * design.shape[1]))
    for start in range(0, len(design), step):
        part = slice(start, start + step)
        total += weights[part].T @ np.square(design[part])
    return total


class CorrectedInverse(ConjugateGradients):
    """An inverse Hessian by conjugate gradients, from another that was near to it some rows ago."""

    def _nearly_solved(self, vectors):
        """Return what the other inverse makes of vectors (m, p)."""
        return self.near.times(vectors)
