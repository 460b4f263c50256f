"""Inner products: GradDot and RepSim."""

import torch

from ._base import Rule

# Squares below have lost digits; those of larger numbers are infinite.
_SMALLEST_SQUARE = 1e-290


class DotRule(Rule):
    """Score rows by the inner product of two gradients."""

    name = "GradDot"
    unit = "gradient inner product"
    is_inner_product = True

    def scores(self, queries, rows=None, own=None):
        """Multiply gradients of queries and rows."""
        points = self.points
        if rows is not None:
            points = points.take(rows)
        return queries.inner(points)

    def total(self, queries, together):
        """Multiply the gradients of rows by the sum of the queries' gradients."""
        return self.settled(queries.inner_sum(self.points)[None])[0]

    def pair_factors(self, queries, picks):
        """Give the factors of features in the inner product of gradients; see :class:`Rule`."""
        return queries.pair_factors(self.points, picks)


class CosineRule(Rule):
    """Score rows by the cosine of their features and the query's."""

    name = "RepSim"
    unit = "cosine similarity"
    is_inner_product = True

    def _fit(self):
        self.inverse_norms = inverse_norms(self.points)

    def scores(self, queries, rows=None, own=None):
        """Compute cosines of queries and rows."""
        points = self.points
        factors = self.inverse_norms
        if rows is not None:
            points = points.take(rows)
            factors = factors[rows]
        products = queries.inner(points)  # (n_queries, n_rows)
        factors = inverse_norms(queries)[:, None] * factors
        return products.mul_(factors.to(products.device))

    def pair_factors(self, queries, picks):
        """Give one over the norms of query and row; see :class:`Rule`."""
        return inverse_norms(queries)[:, None] * self.inverse_norms[picks.clamp(min=0)]


def inverse_norms(points):
    """Compute one over the norms (n,) of features, on the CPU; zero for a row of zeros."""
    squares = points.norms().cpu()
    too_small = (squares < _SMALLEST_SQUARE).nonzero()[:, 0]
    vanished = len(too_small) and (points.take(too_small).x != 0).sum() > 0
    if vanished or not squares.isfinite().all():
        raise ValueError(
            "features must be of a size whose squares are finite and not zero, between 1e-145 and "
            f"1e154; got rows of norms {squares.min().sqrt():.3g} to {squares.max().sqrt():.3g}. "
            "Scale the rows"
        )
    return torch.where(squares > 0, squares.rsqrt(), 0.0)
