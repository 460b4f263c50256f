"""Random scores, the control."""

import numpy as np
import torch

from ._base import Rule


class RandomRule(Rule):
    """Score rows by random numbers that depend on a seed and on what the query holds."""

    name = "Random"
    unit = "random number in [0, 1)"
    needs_all_rows = True  # what a row scores does not depend on the candidates

    def __init__(self, seed):
        self.seed = seed

    def settled(self, scores, rows=None):
        """Leave scores as they are: copies have numbers of their own."""
        return scores

    def scores(self, queries, rows=None, own=None):
        """Draw a number in [0, 1) for every query and row."""
        scores = np.empty((len(queries), len(self.points)))
        for of_query, digest in zip(scores, queries.array, strict=True):
            rng = np.random.default_rng([self.seed, *digest.astype(np.uint32)])
            of_query[:] = rng.random(len(of_query))
        scores = torch.as_tensor(scores)
        if rows is not None:
            scores = scores[:, rows]
        return scores
