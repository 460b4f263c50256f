"""The mean of what one rule says of several models."""

import torch

from ._base import Rule


class MeanRule(Rule):
    """Score rows by the mean of their scores in several models.

    Points have ``parts``, those of each model.

    Parameters
    ----------
    rules : list of Rule
        The rule of each model.
    """

    def __init__(self, rules):
        self.rules = rules
        self.name = rules[0].name
        self.unit = rules[0].unit
        self.needs_all_rows = rules[0].needs_all_rows

    def _fit(self):
        pairs = zip(self.rules, self.points.parts, strict=True)
        self.rules = [rule.fit(part, self.copies) for rule, part in pairs]

    def takes_classes(self):
        """Return whether all rules take queries of all classes."""
        return all(rule.takes_classes() for rule in self.rules)

    def scores(self, queries, rows=None, own=None):
        """Average the scores of rows."""
        return self._mean(rule.scores(part, rows, own) for rule, part in self._pairs(queries))

    def total(self, queries, together):
        """Add up the scores of all rows over queries."""
        return self._mean(rule.total(part, together) for rule, part in self._pairs(queries))

    def together(self, n_queries):
        """Count the queries whose scores fit the share of every model."""
        return min(rule.together(n_queries) for rule in self.rules)

    def _pairs(self, queries):
        return zip(self.rules, queries.parts, strict=True)

    def _mean(self, of_models):
        """Average arrays, of which one is in memory beside the sum."""
        total = 0.0
        for values in of_models:
            total = total + values.to("cpu", torch.float64)
        return total / len(self.rules)


def parts_of(points):
    """Return points of each model."""
    return getattr(points, "parts", [points])
