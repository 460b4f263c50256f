"""Inner products: GradDot and RepSim."""

from ._base import Rule


class DotRule(Rule):
    """Score rows by the inner product of two gradients."""

    name = "GradDot"
    unit = "gradient inner product"

    def scores(self, queries, rows=None, own=None):
        """Inner products of queries and rows."""
        return queries.inner(self.points if rows is None else self.points.take(rows))


class CosineRule(Rule):
    """Score rows by the cosine of their features and the query's."""

    name = "RepSim"
    unit = "cosine similarity"

    def _fit(self):
        self.directions = self.points.unit()

    def scores(self, queries, rows=None, own=None):
        """Cosines of queries and rows."""
        return queries.unit().inner(self.directions if rows is None else self.directions.take(rows))
