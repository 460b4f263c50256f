"""The posterior given rows by their kernel, factorised once for any queries."""

import torch

from ._cholesky import cholesky
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
        Whether the factor takes the kernel's memory; :meth:`cosine` cannot be called then.
    """

    def __init__(self, kernel, noise_variance, *, overwrite=False):
        self.noise_variance = noise_variance
        self._columns = None
        self.kernel = None
        scale = 0.0
        if len(kernel):
            scale = kernel.diagonal().max().item()
        if not overwrite:
            self.kernel = kernel
            kernel = kernel.clone()
        kernel.diagonal().add_(noise_variance)
        self.factor, failed = cholesky(kernel)
        if failed:
            raise unresolved(noise_variance, scale)

    def columns(self, rows):
        """Compute L^-1 E_rows (n_train, n_rows), and keep those of the last rows."""
        last = self._columns  # read once: other threads may ask for other rows
        if last is not None and torch.equal(last[0], rows):
            return last[1]
        columns = self.factor.new_zeros(len(self.factor), len(rows))
        columns[rows, torch.arange(len(rows), device=rows.device)] = 1.0
        for block in columns.split(_BLOCK, 1):
            block.copy_(self.whiten(block))
        self._columns = (rows, columns)
        return columns

    def queries(self, cross, query_variance):
        """Compute L^-1 k_D* (n_train, n_queries), and v_*^D (n_queries,)."""
        solved = self.whiten(cross.mT)
        variance = query_variance - solved.square().sum(0)
        check_resolved(variance, query_variance, self.noise_variance)
        return solved, variance

    def loss(self, queries, rows):
        """Compute I_IL({x}; x_*) in nats (n_queries, n_rows), for (cross, query_variance)."""
        columns = self.columns(rows)
        solved, variance = self.queries(*queries)
        gain = (solved.mT @ columns).square() / columns.square().sum(0)
        return nats_of(gain, variance[:, None])

    def cosine(self, queries, rows):
        """Compute the posterior correlation (n_queries, n_rows) of queries and rows.

        It needs the kernel, so it cannot be called after ``overwrite``.
        """
        columns = self.columns(rows)
        solved, variance = self.queries(*queries)
        explained = [
            self.whiten(self.kernel[:, part]).square().sum(0) for part in rows.split(_BLOCK)
        ]
        row_variance = (self.kernel.diagonal()[rows] - torch.cat(explained)).clamp_(min=0.0)
        scale = (row_variance * variance[:, None]).sqrt()
        covariance = self.noise_variance * solved.mT @ columns
        return torch.where(scale > 0, covariance / scale, 0.0).clamp_(-1.0, 1.0)

    def whiten(self, right):
        """Compute L^-1 right."""
        return torch.linalg.solve_triangular(self.factor, right, upper=False)
