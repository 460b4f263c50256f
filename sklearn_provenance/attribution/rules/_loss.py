"""InfoLoss: rows that a query would miss most, given all the others."""

from functools import cached_property

import torch

from ..._utils.cluster import current_client
from ...information import leave_out_system
from ...information._systems import KernelSystem
from ._base import GreedyRule
from ._greedy_in_blocks import block_system, loss_roots


class LossRule(GreedyRule):
    """Pick rows greedily by the nats that are lost without them.

    References
    ----------
    "A Bayesian information-theoretic approach to data attribution" (2026), Eqs. 4 and 62.
    """

    name = "InfoLoss"
    unit = "information loss (nats)"
    needs_all_rows = True
    rule = "info_loss"

    def check(self, n_rows, n_components, most_components):
        """Refuse rows whose kernel would not fit the budget."""
        if n_components >= min(n_rows, most_components):
            self.check_kernel_fits(n_rows)
        else:
            self.check_blocks_fit(n_rows, n_components)

    def _fit(self):
        super()._fit()
        if self.explicit and not self.fits(self.n_copies) and current_client() is None:
            _ = self._roots  # what does not fit is said now, and not by the first query

    @cached_property
    def _roots(self):
        """How the posterior is computed of blocks, by one look at the rows."""
        self.check_blocks_fit(len(self.points), self.n_components)
        return loss_roots(self.points, self.noise_variance, self.memory_limit)

    @cached_property
    def block_system(self):
        """The rows by features that are read in blocks, once for each round of picks."""
        settings = self.noise_variance, self.rule, self.memory_limit
        return block_system(self.points, *settings, self.copies, self._roots)

    def kernel_system(self):
        """Return the posterior given all rows, from their kernel."""
        self.check_kernel_fits(len(self.points))
        return KernelSystem(self.points.inner(), self.noise_variance, self.rule, overwrite=True)

    def scores(self, queries, rows=None, own=None):
        """Compute the information loss of every row alone, in nats."""
        return self.system.loss(self.asked(queries), self.every(rows))

    def lost(self, queries, sets):
        """Compute what is lost about queries with the first rows of sets.

        Parameters
        ----------
        queries : points
            Queries.
        sets : Tensor of shape (n_sets, n_queries, k), int64
            Rows that are withheld for each query, all different.

        Returns
        -------
        Tensor of shape (n_sets, n_queries, k)
            Nats lost with the first 1 to k rows.
        """
        wanted, places = sets.unique(return_inverse=True)
        precision, weights, variance = self._leave_out(queries, wanted)
        nats = torch.empty(sets.shape, dtype=torch.float64)
        for query in range(sets.shape[1]):
            at = places[:, query].to(precision.device)  # (n_sets, k)
            block = precision[at[:, :, None], at[:, None, :]]  # P_SS of each set
            # The first m entries of L^-1 u_S depend on the first m rows alone, so that one factor
            # holds u_S^T (P_SS)^-1 u_S of every m.
            factor, failed = torch.linalg.cholesky_ex(block)
            if failed.any():
                raise ValueError(
                    f"noise_variance_={self.noise_variance:.3g} is lost in rounding beside the "
                    "kernel; choose a larger one"
                )
            solved = torch.linalg.solve_triangular(factor, weights[query, at, None], upper=False)
            gain = solved[..., 0].square().cumsum(1)
            ratio = torch.where(gain == 0, 0.0, gain / variance[query])
            nats[:, query] = (0.5 * torch.log1p(ratio)).cpu()
        return nats

    def _leave_out(self, queries, rows):
        """Compute P of rows (n_rows, n_rows), u (n_queries, n_rows) and v_*^D of each query.

        They may be those of G = σ² P σ² in place of P, which gives the same u_S^T (P_SS)^-1 u_S.
        """
        n_bytes = 8 * len(self.points) ** 2
        if not self.explicit or n_bytes <= self.memory_limit:  # the more accurate form
            self.check_kernel_fits(len(self.points))
            kernels = self.points.inner(), queries.inner(self.points), queries.norms()
            return leave_out_system(*kernels, self.noise_variance, rows)
        points, diagonal, solved = self.system.rows_and_points(rows, queries.matrix())
        matrix = -(points @ points.mT)
        matrix.diagonal().copy_(diagonal)
        return matrix, solved @ points.mT, solved.square().sum(1)
