"""BM25: the words that a query shares with a text."""

import numpy as np

from ._base import Rule


class WordRule(Rule):
    """Score rows by the sum of the weights of their words that the query has."""

    name = "BM25"
    unit = "BM25 score"
    has_pair_parts = True

    def scores(self, queries, rows=None, own=None):
        """Multiply counts of words in queries with their weights in rows."""
        points = self.points
        if rows is not None:
            points = points.take(rows)
        return queries.inner(points)

    def pair_parts(self, queries, picks, own=None):
        """Give the part of each word in the score; see :class:`Rule`."""
        weights = self.points.x
        parts = []
        for query, rows in enumerate(picks.clamp(min=0).numpy()):
            counts = queries.x[[query] * len(rows)]  # (k, d)
            parts.append((counts * weights[rows]).tocsr())
        return parts, np.zeros(picks.shape)
