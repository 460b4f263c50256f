"""The same variances from features, without the cancellation of k_** - k_*A (...) k_A*.

With S_A = I + σ^-2 Φ_A^T Φ_A the posterior variance is v_*^A = φ_*^T S_A^-1 φ_*, and there are
coordinates ψ, linear in φ, with ψ·ψ' = φ^T S_A^-1 φ'. Two kinds of coordinates cost little:

    ψ = R^-T φ,  Q R = [Φ_A / σ; I]                    (n_features numbers)
    ψ = [φ; 0] minus its projection on the rows [φ_x; σ e_x], x in A
                                                       (n_features + |A| numbers)

The second is the ridge residual, v_*^A = ||φ_* - Φ_A^T a||² + σ² ||a||². With both, the variance is
a sum of squares: nothing is subtracted from k_**. The orthogonal transformations are those of
[Φ_A; σ I], whose condition number is the square root of that of K_A + σ² I, so variances have a
relative error of about ε sqrt(k / σ²): 1e-11 where the kernel form has 1e-7 (k = 1e3, σ² = 1e-6).
"""

from functools import cached_property

import torch

from .._utils.budget import block_numbers
from ._cholesky import cholesky
from ._selection import one_thread
from ._validation import (
    EPS,
    check_noise_variance,
    check_scale,
    check_tensor,
    nats_of,
)

# Squaring the features costs ε trace(K) / σ² in relative accuracy. Below this bound the Gram matrix
# is used, which costs less than orthogonal transformations.
GRAM_LOSS = 1e-11
_GRAM_BLOCK = 512
# Numbers of features that are transformed at a time, where the result is not kept.
_NUMBERS = 2**20


def posterior_features(
    features: torch.Tensor, points: torch.Tensor, noise_variance: float
) -> torch.Tensor:
    """Find coordinates ψ in which inner products are posterior covariances given the rows A.

    Parameters
    ----------
    features : Tensor of shape (n_train, n_features)
        Φ_A, the rows conditioned on.
    points : Tensor of shape (n_points, n_features)
        Features of rows or queries.
    noise_variance : float
        σ².

    Returns
    -------
    posterior : Tensor of shape (n_points, n_coordinates)
        ψ with ψ_i·ψ_j = φ_i^T S_A^-1 φ_j; n_coordinates is n_features, or n_features + n_train
        when there are fewer rows than features. Coordinates of different calls do not mix.

    Raises
    ------
    ValueError
        If shapes disagree or values are not finite.

    References
    ----------
    [IT] Eqs. 12-13.

    Examples
    --------
    >>> import torch
    >>> phi = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    >>> psi = posterior_features(phi, torch.tensor([[1.0, 0.0]]), 0.1)
    >>> (psi @ psi.T).item()
    0.1603...
    """
    noise_variance = check_noise_variance(noise_variance)
    features = check_tensor("features", features, ("n_train", "n_features"))
    n_features = features.shape[1]
    points = check_tensor("points", points, ("n_points", n_features))
    return FeaturePosterior(features, noise_variance).points(points)


def upper_gram(features):
    """Compute Φ^T Φ above the diagonal, in blocks: little more than half the work of all of it."""
    n_features = features.shape[1]
    return add_upper_gram(features.new_zeros(n_features, n_features), features)


def add_upper_gram(gram, features):
    """Add Φ^T Φ above the diagonal to a matrix, and return it."""
    for i in range(0, features.shape[1], _GRAM_BLOCK):
        rows = slice(i, i + _GRAM_BLOCK)
        gram[rows, i:].addmm_(features[:, rows].mT, features[:, i:])
    return gram


class FeaturePosterior:
    """The posterior given rows by their features, orthogonalised once for any points.

    Parameters
    ----------
    features : Tensor of shape (n_train, n_features)
        Checked features of the rows A.
    noise_variance : float
        σ².
    """

    def __init__(self, features, noise_variance):
        n_train, n_features = features.shape
        self.features = features
        self.noise_variance = noise_variance
        self._basis = None
        self._root = None
        if n_train < n_features:
            self._basis = _basis(features, noise_variance)
        else:
            self._root = _root(features, noise_variance)

    def points(self, points):
        """Compute coordinates ψ (n_points, n_coordinates) of points (n_points, n_features)."""
        if self._root is None:
            return _residuals(self._basis, points)
        return torch.linalg.solve_triangular(self._root, points, upper=True, left=False)

    def rows(self, wanted=None):
        """Compute coordinates ψ_x of the rows conditioned on, and their σ² - v_x.

        Parameters
        ----------
        wanted : Tensor of shape (n_wanted,), default=None
            Rows whose coordinates are returned; None for all. All rows are conditioned on.

        Returns
        -------
        rows : Tensor of shape (n_wanted, n_coordinates)
            ψ_x.
        margin : Tensor of shape (n_wanted,)
            σ² - v_x > 0. With fewer rows than features it is a sum of squares. Otherwise it is a
            difference with an error of ε σ², kept above its bound σ⁴ / (σ² + k_xx).
        """
        features = self.features
        noise_variance = self.noise_variance
        row_variance = features.square().sum(1)
        check_scale(row_variance, noise_variance)
        if wanted is None:
            wanted = torch.arange(len(features), device=features.device)
        if self._root is None:
            # [φ_x; σ e_x] is in the span, so [φ_x; 0] and -[0; σ e_x] have the same residual. The
            # second is used, because the first may be much longer than the residual. The squared
            # norm of its projection is σ² - v_x.
            n_features = features.shape[1]
            axes = self._basis[n_features + wanted]  # (n_wanted, n_train): coordinates of [0; e_x]
            rows = axes @ self._basis.mT
            rows[torch.arange(len(wanted), device=wanted.device), n_features + wanted] -= 1.0
            return noise_variance**0.5 * rows, noise_variance * axes.square().sum(1)
        rows = self.points(features[wanted])
        least = noise_variance * (noise_variance / (noise_variance + row_variance[wanted]))
        return rows, torch.maximum(noise_variance - rows.square().sum(1), least)

    def rows_and_points(self, wanted, points):
        """Compute both results of :meth:`rows`, and the coordinates of :meth:`points`."""
        return *self.rows(wanted), self.points(points)

    def loss(self, query_features, rows):
        """Compute I_IL({x}; x_*) in nats (n_queries, n_rows) of rows."""
        points, margin, queries = self.rows_and_points(rows, query_features)
        gain = (queries @ points.mT).square() / margin
        return nats_of(gain, queries.square().sum(1)[:, None])

    def cosine(self, query_features, rows):
        """Compute the posterior correlation (n_queries, n_rows) of queries and rows."""
        normalize = torch.nn.functional.normalize
        queries = normalize(self.points(query_features), dim=1, eps=1e-300)
        if self._root is None:
            points = normalize(self.points(self.features[rows]), dim=1, eps=1e-300)
            return (queries @ points.mT).clamp_(-1.0, 1.0)
        # ψ_*·ψ_x = (ψ_* R^-T)·φ_x, so that no row is transformed anew.
        weights = torch.linalg.solve_triangular(self._root.mT, queries, upper=False, left=False)
        features, lengths = self.features, self._lengths
        if not torch.equal(rows, torch.arange(len(features), device=rows.device)):
            features, lengths = features[rows], lengths[rows]
        return (weights @ features.mT).div_(lengths).clamp_(-1.0, 1.0)

    @cached_property
    def _lengths(self):
        """Lengths |ψ_x| (n_train,) of the rows, at least 1e-300; where R is known."""
        step = max(1, block_numbers(_NUMBERS) // max(1, self.features.shape[1]))
        parts = self.features.split(step)
        lengths = [torch.linalg.vector_norm(self.points(part), dim=1) for part in parts]
        return torch.cat(lengths).clamp_(min=1e-300)


def _root(features, noise_variance):
    """Compute the upper triangular R with R^T R = S_A."""
    squares = torch.linalg.vector_norm(features).square()
    if gram_suffices(squares, noise_variance):
        return root_of_gram(upper_gram(features), noise_variance)
    return root_of_triangle(features / noise_variance**0.5)


def gram_suffices(squares, noise_variance):
    """Return whether a Gram matrix of features keeps enough digits, from their sum of squares."""
    return bool(EPS * squares < GRAM_LOSS * noise_variance)


def root_of_gram(gram, noise_variance):
    """Compute R of Φ^T Φ, of which the part above the diagonal is read; it is overwritten."""
    precision = gram.div_(noise_variance)
    precision.diagonal().add_(1.0)
    root, _ = cholesky(precision, upper=True)  # of eigenvalues from 1 on: it does not fail
    return root


def root_of_triangle(scaled):
    """Compute R of Φ / σ, or of a triangle with the same Gram matrix."""
    identity = torch.eye(scaled.shape[1], dtype=scaled.dtype, device=scaled.device)
    return torch.linalg.qr(torch.cat([scaled, identity]), mode="r").R


def _basis(features, noise_variance):
    """Compute an orthonormal basis of the rows [φ_x; σ e_x], (n_features + n_train, n_train)."""
    noise = torch.eye(len(features), dtype=features.dtype, device=features.device)
    return torch.linalg.qr(torch.cat([features.mT, noise_variance**0.5 * noise])).Q


def _residuals(basis, points):
    """Subtract from [φ; 0] its projection on the basis.

    The part that rounding leaves in the span is orthogonal to the residual. Products contain its
    square only, so one pass is enough.
    """
    padded = torch.nn.functional.pad(points, (0, basis.shape[1]))
    return padded - (padded @ basis) @ basis.mT


def path_reductions(features, query_features, noise_variance, rows):
    """Compute by how much each row, added in order, reduces the query variance, and what is left.

    Each query has an orthonormal basis of its rows [φ_x; σ e_x]. Each reduction is a squared
    coefficient, the variance after the last row is a squared residual, and the variances before it
    are sums, so nothing cancels.

    Parameters
    ----------
    features : Tensor of shape (n_train, n_features)
        Checked features of the rows.
    query_features : Tensor of shape (n_queries, n_features)
        Checked features of the queries.
    noise_variance : float
        σ².
    rows : Tensor of shape (n_queries, n_rows)
        Rows in order of addition; -1 adds nothing.

    Returns
    -------
    reductions : Tensor of shape (n_queries, n_rows)
        v_*^{before} - v_*^{after}.
    variances : Tensor of shape (n_queries, n_rows)
        v_*^{after}.
    """
    n_rows = rows.shape[1]
    noise = noise_variance**0.5 * torch.eye(n_rows, dtype=features.dtype, device=features.device)
    reductions = torch.empty(rows.shape, dtype=features.dtype, device=features.device)
    left = reductions.new_empty(len(rows))
    with one_thread():
        for query, picks in enumerate(rows):
            # Padding has no features: its basis vector is a noise axis, and reduces nothing.
            picked = torch.where(picks[:, None] >= 0, features[picks], 0.0)
            basis = torch.linalg.qr(torch.cat([picked.mT, noise])).Q
            residual = torch.nn.functional.pad(query_features[query], (0, n_rows))
            coefficients = basis.mT @ residual
            residual = residual - basis @ coefficients
            reductions[query] = coefficients.square()
            left[query] = residual.square().sum()
    if not n_rows:
        return reductions, reductions
    later = torch.cat([reductions[:, 1:], left[:, None]], 1)
    return reductions, later.flip(1).cumsum(1).flip(1)
