"""The posterior given rows by their kernel, factorised once and asked by any queries."""

import torch
from scipy.linalg.lapack import dpotrf

from ._validation import check_resolved, nats_of, unresolved

# Columns that are solved for at a time, to have no second matrix of all of them.
_BLOCK = 512


class KernelPosterior:
    """The posterior given rows by their kernel: K + σ² I factorised once.

    Parameters
    ----------
    kernel : Tensor of shape (n_train, n_train)
        Checked kernel of all rows.
    noise_variance : float
        σ².
    overwrite : bool, default=False
        Whether the factor takes the kernel's memory; :meth:`cosine` cannot be asked then.
    """

    def __init__(self, kernel, noise_variance, *, overwrite=False):
        self.noise_variance, self._columns = noise_variance, None
        self.kernel = None if overwrite else kernel
        noisy = kernel if overwrite else kernel.clone()
        scale = kernel.diagonal().max().item() if len(kernel) else 0.0
        noisy.diagonal().add_(noise_variance)
        self.factor, failed = _cholesky(noisy)
        if failed:
            raise unresolved(noise_variance, scale)

    def columns(self, rows):
        """L^-1 E_rows (n_train, n_rows); those of the rows asked for last are kept."""
        kept = self._columns  # read once: other threads may ask for other rows
        if kept is None or not torch.equal(kept[0], rows):
            columns = self.factor.new_zeros(len(self.factor), len(rows))
            columns[rows, torch.arange(len(rows), device=rows.device)] = 1.0
            for block in columns.split(_BLOCK, 1):
                block.copy_(self.whiten(block))
            self._columns = kept = rows, columns
        return kept[1]

    def queries(self, cross, query_variance):
        """L^-1 k_D* (n_train, n_queries), and v_*^D (n_queries,)."""
        solved = self.whiten(cross.mT)
        variance = query_variance - solved.square().sum(0)
        check_resolved(variance, query_variance, self.noise_variance)
        return solved, variance

    def loss(self, queries, rows):
        """I_IL({x}; x_*) in nats (n_queries, n_rows) of rows, for (cross, query_variance)."""
        columns = self.columns(rows)
        solved, variance = self.queries(*queries)
        gain = (solved.mT @ columns).square() / columns.square().sum(0)
        return nats_of(gain, variance[:, None])

    def cosine(self, queries, rows):
        """Posterior correlation (n_queries, n_rows) of queries and rows; needs the kernel."""
        noise_variance, columns = self.noise_variance, self.columns(rows)
        solved, variance = self.queries(*queries)
        known = [self.whiten(self.kernel[:, part]).square().sum(0) for part in rows.split(_BLOCK)]
        row_variance = (self.kernel.diagonal()[rows] - torch.cat(known)).clamp_(min=0.0)
        scale = (row_variance * variance[:, None]).sqrt()
        covariance = noise_variance * solved.mT @ columns
        return torch.where(scale > 0, covariance / scale, 0.0).clamp_(-1.0, 1.0)

    def whiten(self, right):
        """L^-1 right."""
        return torch.linalg.solve_triangular(self.factor, right, upper=False)


def _cholesky(matrix):
    """Lower Cholesky factor in the memory of the matrix where LAPACK can, and whether it failed."""
    if matrix.device.type != "cpu":
        factor, failed = torch.linalg.cholesky_ex(matrix)
        return factor, bool(failed)
    # The transpose of a row-major matrix is column-major: its upper factor is our lower one.
    factor, failed = dpotrf(matrix.numpy().T, lower=0, clean=1, overwrite_a=1)
    return torch.from_numpy(factor.T), failed != 0
