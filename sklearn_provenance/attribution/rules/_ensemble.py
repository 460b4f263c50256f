"""Training rows of an ensemble: their weights in a prediction, or what it loses without them."""

import numpy as np
import torch

from ...information._ranking import largest
from ._base import Rule


class EnsembleWeightRule(Rule):
    """Score rows by their weights in the prediction.

    ``decomposition.weights(X, own)`` gives them.
    """

    name = "Ensemble"
    unit = "weight in the prediction"
    needs_all_rows = True

    def __init__(self, decomposition):
        self.decomposition = decomposition

    def settled(self, scores, rows=None):
        """Return scores as they are: copies of a row may be in other samples."""
        return scores

    def scores(self, queries, rows=None, own=None):
        """Compute weights of rows."""
        own = None if own is None else np.asarray(own)
        weights = torch.as_tensor(self.decomposition.weights(queries.X, own).toarray())
        return weights if rows is None else weights[:, rows]

    def pick(self, queries, k, rows=None, own=None):
        """Pick k rows for each query; those without weight are no part of the prediction."""
        scores = self.scores(queries, rows, own)
        picks, values, n_tied = largest(scores.masked_fill(scores == 0, -torch.inf), k)
        if rows is not None and len(rows):
            picks = torch.where(picks >= 0, rows[picks], -1)
        return picks, values, n_tied


class EnsembleRemovalRule(Rule):
    """Score rows by how far what is explained falls without them.

    ``decomposition.drops(X, labels)`` gives that. What is not known is nan, and never picked.
    """

    name = "Ensemble"
    needs_all_rows = True

    def __init__(self, decomposition, memory_limit):
        self.decomposition, self.memory_limit = decomposition, memory_limit
        self.unit = decomposition.response.score_name

    def settled(self, scores, rows=None):
        """Return scores as they are: copies of a row may be in other samples."""
        return scores

    def scores(self, queries, rows=None, own=None):
        """Compute falls without each row."""
        drops = np.empty((len(queries), self.decomposition.n_rows))
        step = self.decomposition.queries_within(self.memory_limit)
        for start in range(0, len(queries), step):
            part = queries.take(np.arange(start, min(start + step, len(queries))))
            drops[start : start + step] = self.decomposition.drops(part.X, part.labels.numpy())
        drops = torch.as_tensor(drops)
        return drops if rows is None else drops[:, rows]

    def pick(self, queries, k, rows=None, own=None):
        """Pick k rows for each query."""
        scores = self.scores(queries, rows, own)
        if own is not None:
            numbers = torch.arange(scores.shape[1]) if rows is None else rows
            scores = scores.masked_fill(numbers == own[:, None], -torch.inf)
        picks, values, n_tied = largest(scores.nan_to_num(nan=-torch.inf), k)
        if rows is not None and len(rows):
            picks = torch.where(picks >= 0, rows[picks], -1)
        return picks, values, n_tied
