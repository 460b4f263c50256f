"""A rule: from the points of training rows to scores and picks."""

import copy
from abc import ABC, abstractmethod

import torch

from ...information._ranking import first_of, largest


class Rule(ABC):
    """Scores training rows for queries.

    :meth:`fit` takes the points of the rows and returns a fitted copy. A subclass writes
    :meth:`_fit` and :meth:`scores`; one whose picks are not those of the largest scores writes
    :meth:`pick` too. ``rows`` are numbers (n_rows,) of the rows that queries may name, or None for
    all; ``own`` is the row (n_queries,) that each query is, if queries are rows, which is then left
    out of everything.

    Attributes
    ----------
    name, unit : str
        What an Explanation calls the method and its scores.
    needs_all_rows : bool
        Whether scores depend on rows that may not be named.
    counts_ties : bool
        Whether :meth:`pick` sees all rows, and so the ties with the last.
    """

    name = ""
    unit = "score"
    needs_all_rows = False
    counts_ties = True

    def fit(self, points, copies=None):
        """Learn what scores need of the rows.

        Parameters
        ----------
        points : points
            Training rows, see :class:`~sklearn_provenance.attribution.features.Features`.
        copies : Tensor of shape (n_rows,), default=None
            The same number for rows that are exact copies of each other; None where all differ.

        Returns
        -------
        Rule
            A fitted copy.
        """
        fitted = copy.copy(self)
        fitted.points, fitted.copies = points, copies
        fitted._fit()
        return fitted

    def _fit(self):  # noqa: B027
        """Learn from ``self.points``."""

    @abstractmethod
    def scores(self, queries, rows=None, own=None):
        """Score rows for every query.

        Returns
        -------
        Tensor of shape (n_queries, n_rows)
            Scores of the rows, of which larger is more important.
        """

    def settled(self, scores, rows=None):
        """Scores (n_queries, n_rows) of rows, with those of copies equal to the last bit."""
        if self.copies is None:
            return scores
        kinds = self.copies if rows is None else self.copies[rows]
        return scores[:, first_of(kinds).to(scores.device)]

    def total(self, queries):
        """Scores of all rows, added up over queries."""
        return self.settled(self.scores(queries)).sum(0)

    def pick(self, queries, k, rows=None, own=None):
        """Pick k rows for each query.

        Returns
        -------
        picks : Tensor of shape (n_queries, k), int64
            Rows, best first; -1 where there are no more.
        scores : Tensor of shape (n_queries, k)
            Their scores; nan where the row is -1.
        n_tied : Tensor of shape (n_queries,), int64
            Rows left out that score as the last pick does.
        """
        scores = self.settled(self.scores(queries, rows, own), rows).to("cpu", torch.float64)
        if own is not None:
            numbers = torch.arange(scores.shape[1]) if rows is None else rows
            scores = scores.masked_fill(numbers == own[:, None], -torch.inf)
        picks, values, n_tied = largest(scores, k)
        if rows is not None and len(rows):
            picks = torch.where(picks >= 0, rows[picks], -1)
        return picks, values, n_tied
