"""Gaussian-process variances, and how they change when rows come and go.

Notation ([1]_): k(x, x') = φ(x)·φ(x') is a kernel over training rows D and queries x_*; σ² is the
noise variance; A is a set of rows, K_y = K_DD + σ² I, and

    v_*^A = k_** - k_*A (K_A + σ² I)^-1 k_A*        posterior variance of the query
    c_x^A = k_x* - k_xA (K_A + σ² I)^-1 k_A*        posterior covariance of row and query
    v_x^A = k_xx - k_xA (K_A + σ² I)^-1 k_Ax        posterior variance of the row

Adding x to A lowers v_*^A by c² / (σ² + v); removing x from A raises it by c² / (σ² - v).

*Where float64 ends.* A kernel entry is rounded to ε k (ε = 2.2e-16), and K + σ² I has σ² beside k.
Variances from a kernel therefore have a relative error of about ε κ, with κ = 1 + trace(K) / σ²:
1e-6 for ten rows of k = 1e3 at σ² = 1e-6. No digits are left if σ² < ε k, which is refused. This
error needs triangular solves with the Cholesky factor. With the inverse of K + σ² I it is ε κ²,
which is several percent already at κ = 1e8. The functions that take features lose ε sqrt(κ) at
most.

Tensors may be on any device; results are float64 on the same one.

References
----------
.. [1] Tailor, Felicioni, Ciosek (2026). A Bayesian information-theoretic approach to data
   attribution, arXiv:2604.03858.
"""

import torch

from ._validation import (
    check_function_space,
    check_noise_variance,
    check_noisy_kernel,
    check_resolved,
    check_row_numbers,
    check_tensor,
    unresolved,
)


def posterior_variance(
    kernel: torch.Tensor, cross: torch.Tensor, query_variance: torch.Tensor, noise_variance: float
) -> torch.Tensor:
    """Compute the variance v_*^A of each query given the rows A, from kernels.

    Parameters
    ----------
    kernel : Tensor of shape (n_train, n_train)
        Kernel of the rows conditioned on, without noise.
    cross : Tensor of shape (n_queries, n_train)
        Kernel of queries and rows.
    query_variance : Tensor of shape (n_queries,)
        Prior variances k_**.
    noise_variance : float
        σ².

    Returns
    -------
    variance : Tensor of shape (n_queries,)
        v_*^A = k_** - ||L^-1 k_A*||², L L^T = K_A + σ² I. The error is about ε k_**, see the
        module.

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite or σ² is lost beside the kernel.

    References
    ----------
    [IT] Eq. 10; Rasmussen and Williams (2006), algorithm 2.1.

    Examples
    --------
    >>> import torch
    >>> phi = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    >>> query = torch.tensor([[1.0, 0.0]])
    >>> posterior_variance(phi @ phi.T, query @ phi.T, torch.ones(1), 0.1)
    tensor([0.1603], dtype=torch.float64)
    """
    kernel, cross, query_variance, noise_variance = check_function_space(
        kernel, cross, query_variance, noise_variance
    )
    whitened = whiten(noise_factor(kernel, noise_variance), cross.mT)
    variance = query_variance - whitened.square().sum(0)
    check_resolved(variance, query_variance, noise_variance)
    return variance


def posterior_covariance(
    kernel: torch.Tensor,
    cross_left: torch.Tensor,
    cross_right: torch.Tensor,
    prior: torch.Tensor,
    noise_variance: float,
) -> torch.Tensor:
    """Compute the covariance of two families of points given the rows A, from kernels.

    Parameters
    ----------
    kernel : Tensor of shape (n_train, n_train)
        Kernel of the rows conditioned on.
    cross_left : Tensor of shape (n_left, n_train)
        Kernel of the left points and the rows.
    cross_right : Tensor of shape (n_right, n_train)
        Kernel of the right points and the rows.
    prior : Tensor of shape (n_left, n_right)
        Kernel of left and right points.
    noise_variance : float
        σ².

    Returns
    -------
    covariance : Tensor of shape (n_left, n_right)
        c^A for every pair. The error is about ε sqrt(k k').

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite or σ² is lost beside the kernel.

    References
    ----------
    [IT] Eq. 9.
    """
    kernel, noise_variance = check_noisy_kernel(kernel, noise_variance)
    cross_left = check_tensor("cross_left", cross_left, ("n_left", len(kernel)))
    cross_right = check_tensor("cross_right", cross_right, ("n_right", len(kernel)))
    prior = check_tensor("prior", prior, (len(cross_left), len(cross_right)))
    factor = noise_factor(kernel, noise_variance)
    return prior - whiten(factor, cross_left.mT).mT @ whiten(factor, cross_right.mT)


def add_one_in(
    variance: torch.Tensor,
    covariance: torch.Tensor,
    row_variance: torch.Tensor,
    noise_variance: float,
) -> torch.Tensor:
    """Compute the query variance with a row added, v_*^{A+x} = v_*^A - (c_x^A)² / (σ² + v_x^A).

    Parameters
    ----------
    variance, covariance, row_variance : Tensor
        v_*^A, c_x^A and v_x^A, of shapes that broadcast.
    noise_variance : float
        σ².

    Returns
    -------
    variance : Tensor
        v_*^{A+x}.

    References
    ----------
    [IT] Eq. 8 and Appendix B.
    """
    return variance - covariance**2 / (check_noise_variance(noise_variance) + row_variance)


def leave_one_out(
    variance: torch.Tensor, covariance: torch.Tensor, noise_margin: torch.Tensor
) -> torch.Tensor:
    """Compute the query variance without a row, v_*^{B-x} = v_*^B + (c_x^B)² / (σ² - v_x^B).

    Parameters
    ----------
    variance, covariance : Tensor
        v_*^B and c_x^B of a row x in B, of shapes that broadcast.
    noise_margin : Tensor
        σ² - v_x^B > 0, from :func:`noise_margin`. The difference itself has no digits left if σ²
        is small.

    Returns
    -------
    variance : Tensor
        v_*^{B-x}.

    References
    ----------
    [IT] Eq. 62 and Appendix A.1.
    """
    return variance + covariance**2 / noise_margin


def linear_response(
    variance: torch.Tensor, covariance: torch.Tensor, noise_variance: float
) -> torch.Tensor:
    """Estimate the query variance with a row added to first order, v_*^A - (c_x^A)² / σ².

    Parameters
    ----------
    variance, covariance : Tensor
        v_*^A and c_x^A, of shapes that broadcast.
    noise_variance : float
        σ².

    Returns
    -------
    variance : Tensor
        The estimate: never above the exact variance, possibly negative.

    References
    ----------
    [IT] Eqs. 14 and 68.
    """
    return variance - covariance**2 / check_noise_variance(noise_variance)


def linear_response_error_bound(
    covariance: torch.Tensor, row_variance: torch.Tensor, noise_variance: float
) -> torch.Tensor:
    """Bound how far linear response is below the exact variance, by c² v / σ⁴.

    The error itself is c² v / (σ² (σ² + v)) ([IT] Eq. 74).

    Parameters
    ----------
    covariance, row_variance : Tensor
        c_x^A and v_x^A, of shapes that broadcast.
    noise_variance : float
        σ².

    Returns
    -------
    bound : Tensor
        Not below v_*^{A+x} minus the estimate.

    References
    ----------
    [IT] Eq. 78.
    """
    noise_variance = check_noise_variance(noise_variance)
    # Dividing twice keeps σ⁴ from underflowing or overflowing.
    return covariance / noise_variance * covariance * (row_variance / noise_variance)


def noise_margin(kernel: torch.Tensor, noise_variance: float) -> torch.Tensor:
    """Compute how far each row's posterior variance is below the noise, σ² - v_x^D.

    It is σ⁴ [K_y^-1]_xx, σ⁴ times the squared norm of a column of L^-1, so rounding cannot make it
    negative. The difference of σ² and v_x^D, in contrast, is not positive for half of the rows at
    k = 1e3, σ² = 1e-6.

    Parameters
    ----------
    kernel : Tensor of shape (n_train, n_train)
        Kernel of the rows.
    noise_variance : float
        σ².

    Returns
    -------
    margin : Tensor of shape (n_train,)
        σ² - v_x^D, in (0, σ²]: never below σ⁴ / (σ² + k_xx).

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite or σ² is lost beside the kernel.

    References
    ----------
    [IT] Appendix A.1 with S = {x}.
    """
    kernel, noise_variance = check_noisy_kernel(kernel, noise_variance)
    identity = torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device)
    columns = whiten(noise_factor(kernel, noise_variance), identity)
    return (columns * noise_variance).square().sum(0)


def leave_out_system(
    kernel: torch.Tensor,
    cross: torch.Tensor,
    query_variance: torch.Tensor,
    noise_variance: float,
    rows: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute the precision of the rows and its products with queries, for leave-out formulas.

    With P = K_y^-1 and u = P k_D*, leaving S out of D raises the query variance by
    u_S^T (P_SS)^-1 u_S. To leave out some rows, their entries of P and u are therefore enough.

    Parameters
    ----------
    kernel : Tensor of shape (n_train, n_train)
        Kernel of all rows D.
    cross : Tensor of shape (n_queries, n_train)
        Kernel of queries and rows.
    query_variance : Tensor of shape (n_queries,)
        Prior variances k_**.
    noise_variance : float
        σ².
    rows : Tensor of shape (n_rows,), default=None
        Rows wanted; None for all.

    Returns
    -------
    precision : Tensor of shape (n_rows, n_rows)
        P restricted to the rows.
    weights : Tensor of shape (n_queries, n_rows)
        u of each query, restricted to the rows.
    variance : Tensor of shape (n_queries,)
        v_*^D.

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite or σ² is lost beside the kernel.

    References
    ----------
    [IT] Appendix A.1.
    """
    _, columns, solved, variance = whitened_system(
        kernel, cross, query_variance, noise_variance, rows
    )
    return columns.mT @ columns, solved.mT @ columns, variance


def whitened_system(kernel, cross, query_variance, noise_variance, rows=None):
    """Compute L, and with it the columns and variances of :func:`leave_out_system`.

    Returns
    -------
    factor : Tensor of shape (n_train, n_train)
        L.
    columns : Tensor of shape (n_train, n_rows)
        L^-1 E_rows.
    solved : Tensor of shape (n_train, n_queries)
        L^-1 k_D*.
    variance : Tensor of shape (n_queries,)
        v_*^D.
    """
    kernel, cross, query_variance, noise_variance = check_function_space(
        kernel, cross, query_variance, noise_variance
    )
    if rows is None:
        rows = torch.arange(len(kernel), device=kernel.device)
    rows = check_row_numbers("rows", rows, len(kernel), kernel.device)
    identity = kernel.new_zeros(len(kernel), len(rows))
    identity[rows, torch.arange(len(rows), device=kernel.device)] = 1.0
    factor = noise_factor(kernel, noise_variance)
    columns = whiten(factor, identity)
    solved = whiten(factor, cross.mT)
    variance = query_variance - solved.square().sum(0)
    check_resolved(variance, query_variance, noise_variance)
    return factor, columns, solved, variance


def noise_factor(kernel, noise_variance):
    """Compute the lower Cholesky factor of K + σ² I, for one kernel or a batch (..., n, n)."""
    noisy = kernel.clone()
    noisy.diagonal(dim1=-2, dim2=-1).add_(noise_variance)
    factor, failed = torch.linalg.cholesky_ex(noisy)
    if failed.any():
        raise unresolved(noise_variance, kernel.abs().max().item())
    return factor


def whiten(factor, right):
    """Compute L^-1 right."""
    return torch.linalg.solve_triangular(factor, right, upper=False)
