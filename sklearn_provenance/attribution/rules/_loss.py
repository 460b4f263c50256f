"""InfoLoss: rows that a query would miss most, given all the others."""

from ...information._systems import KernelSystem
from ._base import GreedyRule


class LossRule(GreedyRule):
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

    def kernel_system(self):
        """The posterior given all rows, from their kernel."""
        self.check_kernel_fits(len(self.points))
        return KernelSystem(self.points.inner(), self.noise_variance, self.rule, overwrite=True)

    def scores(self, queries, rows=None, own=None):
        """Information loss of every row alone, in nats."""
        return self.system.posterior.loss(self.asked(queries), self.every(rows))
