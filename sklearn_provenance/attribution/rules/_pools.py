"""InfoGain where rows are searched, or re-ranked in pools of large |k(x, x_*)|."""

from functools import cached_property

import torch

from ...information import greedy, linear_response_by_search, select_in_pools
from ...retrieval import make_index
from ._gain import GainRule


class PooledGainRule(GainRule):
    """InfoGain among pools of the rows with the largest |k(x, x_*)|, from the kernel."""

    counts_ties = False

    def __init__(self, noise_variance, memory_limit, solver, pool_size):
        super().__init__(noise_variance, memory_limit, solver)
        self.pool_size = pool_size

    def pick(self, queries, k, rows=None, own=None):
        """Pick k rows for each query from its pool; see :class:`Rule`."""
        check_pool(k, self.pool_size)
        cross = queries.inner(self.points)  # (n_queries, n_rows)
        size = cross.abs()
        if own is not None:
            size.scatter_(1, own[:, None].to(size.device), -torch.inf)
        pools = size.topk(min(self.pool_size, size.shape[1])).indices
        rows, places = pools.unique(return_inverse=True)
        allowed = torch.zeros(len(cross), len(rows), dtype=torch.bool, device=cross.device)
        # The own row is the last of a pool that takes in all rows.
        allowed.scatter_(1, places, size.gather(1, pools) >= 0)
        kernel = self.points.take(rows.cpu()).inner()
        system = kernel, cross[:, rows], queries.norms().to(cross.device)
        picks, nats = greedy(*system, self.noise_variance, k, self.rule, allowed)
        return torch.where(picks >= 0, rows[picks], -1), nats, picks.new_zeros(len(picks))


class SearchedGainRule(GainRule):
    """InfoGain whose rows are found by an index of explicit features; None scans them.

    Without a ``pool_size`` the index is searched once per pick.
    """

    counts_ties = False

    def __init__(self, noise_variance, memory_limit, solver, index, pool_size):
        super().__init__(noise_variance, memory_limit, solver)
        self.index, self.pool_size = index, pool_size

    @cached_property
    def built(self):
        """Index of the rows, built when a pick is asked for."""
        return make_index(self.index or "exact").build(self.points.array)

    def pick(self, queries, k, rows=None, own=None):
        """Pick k rows that searches find for each query; see :class:`Rule`."""
        phi, rows = queries.matrix().cpu(), self.points.array
        settings = self.noise_variance, k
        n_tied = torch.zeros(len(phi), dtype=torch.int64)
        if self.pool_size is None:
            search = self.built.search
            found = linear_response_by_search(search, rows, phi, *settings, own)
            return *found, n_tied
        check_pool(k, self.pool_size)
        size = self.pool_size + (own is not None)  # a search may find the query itself
        pools, _ = self.built.search(phi.numpy(), min(size, len(rows)))
        pools = torch.as_tensor(pools)
        if own is not None:
            found = pools == own[:, None]
            found[:, self.pool_size :] |= ~found.any(1, keepdim=True)
            pools = pools.masked_fill(found, -1)
        return *select_in_pools(rows, phi, *settings, pools, self.rule), n_tied


def check_pool(k, pool_size):
    """Refuse more picks than a pool holds."""
    if k > pool_size:
        raise ValueError(f"k={k} rows cannot come from pools of pool_size={pool_size}")
