"""RelatIF: influence relative to what a row does to all predictions."""

from functools import cached_property

from ...information._own_row import cosine_without_own
from ...information._posterior import KernelPosterior
from ...information._weight_space import FeaturePosterior
from ._base import GaussianRule


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

    def check(self, n_rows, n_components, most_components):
        """Refuse rows whose kernel would not fit the budget."""
        if n_components >= min(n_rows, most_components):
            self.check_kernel_fits(n_rows, self.n_kernels)

    @cached_property
    def posterior(self):
        """The posterior given all rows."""
        if self.explicit:
            return FeaturePosterior(self.features(self.n_copies), self.noise_variance)
        self.check_kernel_fits(len(self.points), self.n_kernels)
        return KernelPosterior(self.points.inner(), self.noise_variance)

    def scores(self, queries, rows=None, own=None):
        """Compute cosines of every row and query."""
        known = self.asked(queries)
        cosine = self.posterior.cosine(known, self.every(rows))
        if own is None:
            return cosine
        distinct, place = own.unique(return_inverse=True)
        lost = self.posterior.loss(known, distinct)
        return cosine_without_own(cosine, lost.gather(1, place[:, None].to(lost.device))[:, 0])
