"""InfoLoss: rows that a query would miss most, given all the others."""

from functools import cached_property

from ...information._systems import FeatureSystem, KernelSystem
from ._gaussian import GaussianRule


class LossRule(GaussianRule):
    """Pick rows greedily by the nats that are lost without them.

    References
    ----------
    "Bayesian information-theoretic training data attribution" (2026), Eqs. 4 and 62.
    """

    name = "InfoLoss"
    unit = "information loss (nats)"
    needs_all_rows = True
    rule = "info_loss"

    def check(self, n_rows, n_components, most_components):
        """Refuse rows whose kernel would not fit the budget."""
        if n_components >= min(n_rows, most_components):
            self.check_kernel_fits(n_rows)

    @cached_property
    def system(self):
        """The posterior given all rows, ready to pick from."""
        points, settings = self.points, (self.noise_variance, self.rule)
        if self.explicit:
            return FeatureSystem(self.features(points, 3), *settings)
        self.check_kernel_fits(len(points))
        return KernelSystem(points.inner(), *settings, overwrite=True)

    def pick(self, queries, k, rows=None, own=None):
        """Pick k rows for each query; see :class:`Rule`."""
        return self.system.pick(self.query_system(queries), k, self.mask(rows), own)

    def scores(self, queries, rows=None, own=None):
        """Information loss of every row alone, in nats."""
        return self.system.posterior.loss(self.query_system(queries), self.every(rows))
