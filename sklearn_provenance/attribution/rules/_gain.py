"""InfoGain: rows that, taken alone, tell the most about a query."""

from ...information import pointwise_information_gain
from ...information._systems import ColumnSystem, KernelSystem
from ._base import GreedyRule

# Names of the solvers in sklearn_provenance.information.
RULES = {"exact": "info_gain", "linear_response": "linear_response"}


class GainRule(GreedyRule):
    """Pick rows greedily by the nats that they add: the largest c² / (σ² + v).

    With ``solver="linear_response"`` it is the largest c².

    References
    ----------
    "A Bayesian information-theoretic approach to data attribution" (2026), Eqs. 8 and 15.
    """

    name = "InfoGain"
    unit = "information gain (nats)"
    n_copies = 2

    def __init__(self, noise_variance, memory_limit, solver="exact"):
        super().__init__(noise_variance, memory_limit)
        self.rule = RULES[solver]

    def kernel_system(self):
        """Return the rows by their kernel, or by its columns."""
        points = self.points
        if 8 * len(points.labels) ** 2 <= self.memory_limit:
            return KernelSystem(points.inner(), self.noise_variance, self.rule)

        # Columns of picked rows alone: exact too, and slower where there are many picks.
        def columns(rows):
            return points.take(rows.cpu()).inner(points)

        return ColumnSystem(columns, points.norms(), self.noise_variance, self.rule)

    def scores(self, queries, rows=None, own=None):
        """Compute the information gain of every row alone, in nats."""
        points = self.points if rows is None else self.points.take(rows)
        cross = queries.inner(points)  # (n_queries, n_rows)
        variance = points.norms().to(cross.device)  # (n_rows,)
        prior = queries.norms().to(cross.device)  # (n_queries,)
        return pointwise_information_gain(variance, cross, prior, self.noise_variance)
