"""RelatIF: influence relative to what a row does to all predictions."""

from functools import cached_property

import torch

from ..._utils.cluster import current_client
from ..._utils.kept import check_fits
from ...information._local_shards import RowBlocks, slices_of
from ...information._own_row import cosine_without_own
from ...information._posterior import KernelPosterior
from ...information._root_posterior import RootPosterior, block_posterior, block_roots
from ...information._shard_root import GRAM_COPIES
from ...information._weight_space import FeaturePosterior
from ...tangent._points import ExplicitPoints
from ._base import GaussianRule
from ._greedy_in_blocks import check_root_fits
from ._relatif_by_workers import SharedPosterior

# Numbers for each query and row that finding the largest cosines takes at its peak.
_RANKING = 10


class RelatIFRule(GaussianRule):
    """Score rows by their posterior correlation with the query.

    References
    ----------
    "A Bayesian information-theoretic approach to data attribution" (2026), Eq. 86.
    """

    name = "RelatIF"
    unit = "posterior cosine"
    needs_all_rows = True
    rule = "info_loss"
    n_kernels = 2
    picks_by_workers = True

    def check(self, n_rows, n_components, most_components):
        """Refuse rows whose kernel, or whose posterior in blocks, would not fit the budget."""
        if n_components >= min(n_rows, most_components):
            self.check_kernel_fits(n_rows, self.n_kernels)
        elif not self.features_fit(self.n_copies, n_rows, n_components):
            check_root_fits(n_components, GRAM_COPIES, self.memory_limit)
            what = f"cosines of a query with {n_rows} rows, beside the posterior of "
            what += f"{n_components} features, take"
            needed = _bytes_of_blocks(n_rows, n_components)
            check_fits(needed, what, self.memory_limit, "give fit fewer rows")

    def n_bytes(self, n_rows, n_components, most_components):
        """Count the bytes of the posterior; less where features are read in blocks."""
        explicit = n_components < min(n_rows, most_components)
        if explicit and not self.features_fit(self.n_copies, n_rows, n_components):
            return _bytes_of_blocks(n_rows, n_components)
        return super().n_bytes(n_rows, n_components, most_components)

    def _fit(self):
        super()._fit()
        if self._in_blocks() and current_client() is None:
            _ = self._roots  # what does not fit is said now, and not by the first query

    def _in_blocks(self):
        return self.explicit and not self.fits(self.n_copies)

    @cached_property
    def _roots(self):
        """How R is computed of blocks, and the largest |φ|², by one look at the rows."""
        self.check(len(self.points), self.n_components, self.points.most_components)
        found = block_roots(RowBlocks(self.points), self.noise_variance)
        check_root_fits(self.n_components, found[0].copies, self.memory_limit)
        return found

    @cached_property
    def posterior(self):
        """The posterior given all rows."""
        if self._in_blocks():
            return block_posterior(RowBlocks(self.points), *self._roots)
        if self.explicit:
            return FeaturePosterior(self.features(self.n_copies), self.noise_variance)
        self.check_kernel_fits(len(self.points), self.n_kernels)
        return KernelPosterior(self.points.inner(), self.noise_variance)

    @cached_property
    def _shared(self):
        """The rows as workers share them."""
        return SharedPosterior(self.points, self.noise_variance)

    def can_be_shared(self):
        """Return whether workers can hold the rows: by explicit features, fewer than rows."""
        return self.explicit and isinstance(self.points, ExplicitPoints)

    def takes_classes(self):
        """Return whether workers hold the rows, and so all of them for each class."""
        return current_client() is not None and self.can_be_shared()

    def _asked(self, queries):
        """Return the posterior that answers queries, and what it takes."""
        known = self.asked(queries)
        if current_client() is not None and self.can_be_shared():
            known = known.cpu()
        return self._posterior_asked(), known

    def _posterior_asked(self):
        """Return the posterior that answers queries, that of workers where there is a client."""
        client = current_client()
        if client is not None and self.can_be_shared():
            return self._shared.posterior(client)
        return self.posterior

    def scores(self, queries, rows=None, own=None):
        """Compute cosines of every row and query."""
        posterior, known = self._asked(queries)
        cosine = posterior.cosine(known, self.every(rows))
        if own is None:
            return cosine
        distinct, place = own.unique(return_inverse=True)
        lost = posterior.loss(known, distinct)
        return cosine_without_own(cosine, lost.gather(1, place[:, None].to(lost.device))[:, 0])

    def total(self, queries, together):
        """Add up the cosines of all rows, by one direction for all queries in blocks or shards."""
        posterior = self._posterior_asked()
        if not isinstance(posterior, RootPosterior):
            return super().total(queries, together)
        parts = slices_of(len(queries), self.n_components)
        blocks = (self._block_asked(queries, part) for part in parts)
        return self.settled(posterior.total(blocks)[None])[0]

    def _block_asked(self, queries, part):
        """Return features of a slice of queries as a posterior in blocks or shards takes them."""
        known = self.asked(queries.take(torch.arange(part.start, part.stop)))
        if current_client() is not None and self.can_be_shared():
            return known.cpu()
        return known

    def together(self, n_queries):
        """Count the queries whose cosines are ranked together, beside the posterior in blocks."""
        if not self._in_blocks():
            return n_queries
        n_rows = len(self.points)
        left = self.memory_limit - _bytes_of_posterior(n_rows, self.n_components)
        return min(n_queries, int(left // (8 * _RANKING * n_rows)))


def _bytes_of_posterior(n_rows, n_components):
    """Count the bytes of what blocks keep of rows: R, and one number for each."""
    return 8 * (n_components**2 + n_rows)


def _bytes_of_blocks(n_rows, n_components):
    """Count the bytes that cosines of one query take beside it."""
    return _bytes_of_posterior(n_rows, n_components) + 8 * _RANKING * n_rows
