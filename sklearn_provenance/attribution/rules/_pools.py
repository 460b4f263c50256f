"""InfoGain where rows are searched, or re-ranked in pools of large |k(x, x_*)|."""

from functools import cached_property

import torch

from ..._utils.row_arrays import read_together
from ...information import linear_response_by_search, select_in_pools
from ...information._ranking import largest
from ...information._systems import KernelSystem
from ...retrieval import ExactIndex, make_index
from ._gain import GainRule

# Numbers that a search and its ranking hold for each row of a pool.
_FOUND = 8


class PooledGainRule(GainRule):
    """InfoGain among pools of the rows with the largest |k(x, x_*)|, from the kernel."""

    counts_ties = False

    def __init__(self, noise_variance, memory_limit, solver, pool_size):
        super().__init__(noise_variance, memory_limit, solver)
        self.pool_size = pool_size

    def picked_together(self):
        """Return None: each query is compared with all rows."""
        return None

    def pick(self, queries, k, rows=None, own=None):
        """Pick k rows for each query from its pool; see :class:`Rule`."""
        check_pool(k, self.pool_size)
        cross = queries.inner(self.points)  # (n_queries, n_rows)
        size = cross.abs()
        if own is not None:
            size.scatter_(1, own[:, None].to(size.device), -torch.inf)
        pools, _, _ = largest(size, min(self.pool_size, size.shape[1]))
        pools = pools.sort(1).values  # (n_queries, pool_size)
        # One kernel of the rows of all pools, of which each query is allowed those of its own.
        rows, places = pools.clamp(min=0).unique(return_inverse=True)
        # Without its own row a query's pool may be smaller: -1 pads it.
        allowed = torch.zeros(len(cross), len(rows), dtype=torch.int64, device=cross.device)
        allowed = allowed.scatter_add_(1, places, (pools >= 0).long()) > 0
        system = KernelSystem(self.points.take(rows.cpu()).inner(), self.noise_variance, self.rule)
        known = cross[:, rows], queries.norms().to(cross.device)
        picks, nats, n_tied = system.pick(known, k, allowed)
        return torch.where(picks >= 0, rows[picks], -1), nats, n_tied


class SearchedGainRule(GainRule):
    """InfoGain whose rows are found by an index of explicit features; None scans them.

    Without a ``pool_size`` the index is searched once per pick.
    """

    counts_ties = False
    index_file = None  # where a store keeps the index

    def __init__(self, noise_variance, memory_limit, solver, index, pool_size):
        super().__init__(noise_variance, memory_limit, solver)
        self.index, self.pool_size = index, pool_size

    @property
    def picks_by_workers(self):
        """Whether workers share the search."""
        return self.index in (None, "exact") or isinstance(self.index, ExactIndex)

    def picked_together(self):
        """Count the queries whose features, and the rows found for them, are an eighth of it."""
        numbers = 2 * self.n_components + _FOUND * (self.pool_size or 0)
        return max(1, int(self.memory_limit / 64 / numbers))

    @cached_property
    def built(self):
        """Index of the rows, built when a pick is asked for."""
        index = make_index(self.index or "exact")
        if self.index_file is not None:
            return self.index_file.built(index, self.points.array)
        return index.build(self.points.array)

    def pick(self, queries, k, rows=None, own=None):
        """Pick k rows that searches find for each query; see :class:`Rule`."""
        phi = queries.matrix().cpu()  # (n_queries, n_components)
        rows = self.points.array
        settings = self.noise_variance, k
        n_tied = torch.zeros(len(phi), dtype=torch.int64)
        if self.pool_size is None:
            search = self.built.search
            picks, nats = linear_response_by_search(search, rows, phi, *settings, own)
            return self._lowest(picks, own), nats, n_tied
        check_pool(k, self.pool_size)
        size = self.pool_size + (own is not None)  # a search may find the query itself
        pools, _ = self.built.search(phi.numpy(), min(size, len(rows)))
        pools = torch.as_tensor(pools)
        if own is not None:
            dropped = pools == own[:, None]
            # A search that has not found the query itself has one row too many.
            dropped[:, self.pool_size :] |= ~dropped.any(1, keepdim=True)
            pools = pools.masked_fill(dropped, -1)
        sets = [pool[pool >= 0].numpy() for pool in pools]
        parts = [
            select_in_pools(source, phi[some], *settings, pools[some], self.rule)
            for some, source in read_together(rows, sets)
        ]
        picks, nats = (torch.cat(part) for part in zip(*parts, strict=True))
        return self._lowest(picks, own), nats, n_tied

    def _lowest(self, picks, own):
        """Name the lowest of a row's copies first, whichever a search has found."""
        if self.copies is None:
            return picks
        picks = picks.clone()
        for number, picked in enumerate(picks):
            kinds = self.copies[picked].masked_fill(picked < 0, -1)  # (k,)
            for kind in kinds[kinds >= 0].unique():
                rows = (self.copies == kind).nonzero()[:, 0]
                if own is not None:
                    rows = rows[rows != own[number]]
                same = kinds == kind
                picked[same] = rows[: int(same.sum())]
        return picks


def check_pool(k, pool_size):
    """Refuse more picks than a pool holds."""
    if k > pool_size:
        raise ValueError(f"k={k} rows cannot come from pools of pool_size={pool_size}")
