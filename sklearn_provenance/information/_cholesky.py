"""Cholesky factors, on a CPU in the memory of the matrix."""

import torch
from scipy.linalg.lapack import dpotrf


def cholesky(matrix, upper=False):
    """Compute the Cholesky factor of a matrix in double precision, and whether it failed.

    On a CPU the factor takes the matrix's memory, and LAPACK is that of scipy, which takes less
    time than torch's on some processors.

    Parameters
    ----------
    matrix : Tensor of shape (n, n)
        The matrix, of which the part below the diagonal is read, or above it with ``upper``.
    upper : bool, default=False
        Whether the factor is R with R^T R, and not L with L L^T.

    Returns
    -------
    factor : Tensor of shape (n, n)
        The factor.
    failed : bool
        Whether the matrix is not positive definite, numerically.
    """
    if matrix.device.type != "cpu":
        factor, failed = torch.linalg.cholesky_ex(matrix, upper=upper)
        return factor, bool(failed)
    # The transpose of a row-major matrix is column-major, as LAPACK takes it: its upper factor is
    # the transpose of the lower one.
    factor, failed = dpotrf(matrix.numpy().T, lower=int(upper), clean=1, overwrite_a=1)
    return torch.from_numpy(factor.T), failed != 0
