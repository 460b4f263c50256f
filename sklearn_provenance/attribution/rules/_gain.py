"""InfoGain: rows that, taken alone, tell the most about a query."""

from functools import cached_property

from ...information import pointwise_information_gain
from ...information._systems import ColumnSystem, FeatureSystem, KernelSystem
from ._gaussian import GaussianRule


class GainRule(GaussianRule):
    """Pick rows greedily by the nats that they add: the largest c² / (σ² + v).

    With ``solver="linear_response"`` it is the largest c².

    References
    ----------
    "Bayesian information-theoretic training data attribution" (2026), Eqs. 8 and 15.
    """

    name = "InfoGain"
    unit = "information gain (nats)"

    def __init__(self, noise_variance, memory_limit, solver="exact"):
        super().__init__(noise_variance, memory_limit)
        self.rule = "info_gain" if solver == "exact" else "linear_response"

    @cached_property
    def system(self):
        """The rows, ready to pick from; made when a pick is asked for."""
        points, settings = self.points, (self.noise_variance, self.rule)
        if self.explicit:
            return FeatureSystem(self.features(points, 2), *settings)
        if 8 * len(points) ** 2 <= self.memory_limit:
            return KernelSystem(points.inner(), *settings)
        # Columns of picked rows alone: exact too, and slower where there are many picks.
        return ColumnSystem(
            lambda rows: points.take(rows.cpu()).inner(points), points.norms(), *settings
        )

    def pick(self, queries, k, rows=None, own=None):
        """Pick k rows for each query; see :class:`Rule`."""
        return self.system.pick(self.query_system(queries), k, self.mask(rows), own)

    def scores(self, queries, rows=None, own=None):
        """Information gain of every row alone, in nats."""
        points = self.points if rows is None else self.points.take(rows)
        cross = queries.inner(points)
        variance, prior = (p.norms().to(cross.device) for p in (points, queries))
        return pointwise_information_gain(variance, cross, prior, self.noise_variance)
