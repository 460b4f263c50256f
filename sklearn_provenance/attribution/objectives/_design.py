"""Rows of a training problem from rows of an estimator, with a column for the intercept.

Shapes in comments: n rows, f features, d columns of the problem, K outputs.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack, solve_triangular
from scipy.sparse import csr_matrix, hstack, issparse
from sklearn.utils.extmath import safe_sparse_dot

from ..._utils.budget import take

# Matrices among rows that are there at once: the kernel, features and their factor; or features,
# their factor, and the Hessian, inverted at two points.
_KERNELS = 5
# Rows of a matrix that are looked at together.
_ROWS = 256


@dataclass(frozen=True, eq=False)
class LinearDesign:
    """Features, and a column for the intercept.

    Dense features lose their means where the intercept is free, which changes nothing but rounding.
    """

    intercept: float | None  # value of the intercept's column; None for no intercept
    shift: np.ndarray | None = None  # (f,) subtracted from the features
    columns: np.ndarray | None = None  # features in use; None for all

    @classmethod
    def of(cls, X, *, intercept, free=True, columns=None):
        """Make the design of training rows X (n, f).

        Parameters
        ----------
        X : ndarray or csr matrix of shape (n, f)
            Features.
        intercept : float or None
            Value of the intercept's column.
        free : bool, default=True
            Whether the intercept is not penalised.
        columns : ndarray of int, default=None
            Features in use; None for all.
        """
        shift = None
        if intercept is not None and free and not issparse(X):
            shift = X.mean(0)
            if columns is not None:
                shift = shift[columns]
        return cls(intercept, shift, columns)

    n_bytes = 0  # beside the rows

    def rows(self, X):
        """Make rows φ (n, d) of features X (n, f)."""
        if self.columns is not None:
            X = X[:, self.columns]
        if self.shift is not None:
            if issparse(X):  # queries, where the training rows were dense
                X = X.toarray()
            n, f = X.shape
            rows = np.empty((n, f + 1))
            np.subtract(X, self.shift, out=rows[:, :f])
            rows[:, f] = self.intercept
            return rows
        if self.intercept is None:
            return X
        column = np.full((X.shape[0], 1), self.intercept)
        if issparse(X):
            return hstack([X, csr_matrix(column)], format="csr")
        return np.hstack([X, column])

    def parameters(self, coefficients, intercept):
        """Return parameters (K, d) of coefficients (K, f) and intercepts (K,)."""
        if self.columns is not None:
            coefficients = coefficients[:, self.columns]
        if self.shift is not None:
            intercept = intercept + coefficients @ self.shift
        if self.intercept is None:
            return coefficients
        return np.hstack([coefficients, intercept[:, None] / self.intercept])

    def coefficients(self, theta):
        """Return coefficients (..., d) on features in use and then the intercept, of parameters."""
        if self.intercept is None:
            return theta
        intercept = theta[..., -1:] * self.intercept
        if self.shift is not None:
            intercept = intercept - (theta[..., :-1] @ self.shift)[..., None]
        return np.concatenate([theta[..., :-1], intercept], -1)

    def penalty(self, strength, n_columns, penalised_intercept=False):
        """Return the penalty (d,) on all columns but that of a free intercept."""
        penalty = np.full(n_columns, float(strength))
        if self.intercept is not None and not penalised_intercept:
            penalty[-1] = 0
        return penalty


@dataclass(frozen=True, eq=False)
class KernelDesign:
    """Features of rank r whose inner products are a kernel's values on the training rows.

    A minimiser with a quadratic penalty lies in the span of the training rows, so these features
    take the place of more features than rows, or of infinitely many. The pivoted Cholesky
    factorisation K = L L^T gives them as rows of L, and those of a query q as L_p^-1 k(p, q) with
    the pivots p.
    """

    kernel: object  # callable: kernel(X, Z) -> (n, m)
    pivots: object  # rows of X that the factorisation took, (r, f)
    factor: np.ndarray  # L_p, (r, r), lower triangular
    intercept: float | None

    @classmethod
    def of(cls, X, kernel, intercept=None):
        """Return the design of training rows X with ``kernel(X, Z)``, and its features (n, r)."""
        n = X.shape[0]
        take(
            bytes_of_kernels(n),
            f"more features than rows, or a kernel, are matrices of all pairs of {n} rows, of "
            f"which {_KERNELS} take",
            "use fewer features, by max_features of a vectorizer or TruncatedSVD, or fewer rows",
        )
        matrix = np.array(kernel(X, X), np.float64, order="C")  # a kernel may keep what it gives
        own = np.diag(matrix).copy()
        # The transposed matrix, which is the same, has columns one after the other, as LAPACK asks.
        factor, order, rank, _ = lapack.dpstrf(matrix.T, lower=True, overwrite_a=True)
        del matrix
        order = order - 1
        for start in range(0, n, _ROWS):  # above the diagonal is what was there before
            rows = slice(start, start + _ROWS)
            factor[:start, rows] = 0
            factor[rows, rows] = np.tril(factor[rows, rows])
        factor = factor[:, :rank]
        lengths = np.einsum("ij,ij->i", factor, factor)
        if not np.allclose(lengths, own[order], rtol=1e-6, atol=1e-9 * np.abs(own).max()):
            raise ValueError(
                "the kernel must be positive semidefinite, but that of these rows is not"
            )
        pivots = X[order[:rank]]
        features = np.empty_like(factor)
        features[order] = factor
        design = cls(kernel, pivots, np.ascontiguousarray(factor[:rank]), intercept)
        del factor
        return design, design._with_intercept(features)

    def _with_intercept(self, features):
        if self.intercept is None:
            return features
        return np.hstack([features, np.full((len(features), 1), self.intercept)])

    def rows(self, X):
        """Make rows φ (n, d) of features X."""
        values = np.asarray(self.kernel(self.pivots, X))  # (r, n)
        return self._with_intercept(solve_triangular(self.factor, values, lower=True).T)

    def parameters_of_outputs(self, outputs):
        """Find parameters (K, r) with given outputs (r, K) at the pivots, without intercept."""
        return solve_triangular(self.factor, outputs, lower=True).T

    penalty = LinearDesign.penalty

    @property
    def n_bytes(self):
        """Bytes of the features of training rows, and of their factor."""
        return 2 * 8 * len(self.factor) ** 2


def bytes_of_kernels(n):
    """Count the bytes that a design of n rows by their kernel takes, its Hessian included."""
    return 8 * _KERNELS * n**2


def linear_kernel(X, Z):
    """Compute inner products (n, m) of dense or sparse rows."""
    return safe_sparse_dot(X, Z.T, dense_output=True)
