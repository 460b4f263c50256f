"""Inner products: GradDot and RepSim."""

from functools import cached_property

import torch

from ._base import Rule


class DotRule(Rule):
    """Score rows by the inner product of two gradients."""

    name = "GradDot"
    unit = "gradient inner product"
    is_inner_product = True

    def scores(self, queries, rows=None, own=None):
        """Inner products of queries and rows."""
        return queries.inner(self.points if rows is None else self.points.take(rows))

    def pair_factors(self, queries, picks):
        """Factors of features in the inner product of gradients; see :class:`Rule`."""
        return queries.pair_factors(self.points, picks)


class CosineRule(Rule):
    """Score rows by the cosine of their features and the query's."""

    name = "RepSim"
    unit = "cosine similarity"
    is_inner_product = True

    def _fit(self):
        self.directions = self.points.unit()

    @cached_property
    def norms(self):
        """Norms (n_rows,) of the features of rows."""
        return self.points.norms().cpu().sqrt()

    def scores(self, queries, rows=None, own=None):
        """Cosines of queries and rows."""
        return queries.unit().inner(self.directions if rows is None else self.directions.take(rows))

    def pair_factors(self, queries, picks):
        """One over the norms of query and row; see :class:`Rule`."""
        products = queries.norms().cpu().sqrt()[:, None] * self.norms[picks.clamp(min=0)]
        return torch.where(products > 0, 1 / products, 0.0)  # a row of zeros has no parts
