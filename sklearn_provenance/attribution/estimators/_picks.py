"""Queries in groups that one rule answers, and what is picked for them."""

from typing import Any, NamedTuple

import numpy as np
import torch

from ...explanation._pair_contributions import PairContributions


class QueryGroup(NamedTuple):
    """Queries of one label, or all, and the rule that answers them.

    A rule counts its rows from 0: where it was fitted on the rows of a class, its row 0 is the
    first training row of that class.
    """

    numbers: np.ndarray  # (n_queries,) of the X that is explained
    queries: Any  # their points
    rule: Any  # fitted on training rows
    training_rows: np.ndarray  # (n_rows,) that the rule's rows are
    candidates: Any  # those of the rule's rows that may be named, or SameClass; None for all
    own: torch.Tensor | None  # the rule's row that each query is, if queries are training rows


class Picks(NamedTuple):
    """The rows that are named for each query."""

    labels: np.ndarray  # (n_queries,) that queries are explained at
    indices: np.ndarray  # (n_queries, k)
    scores: np.ndarray  # (n_queries, k)
    n_tied: np.ndarray  # (n_queries,)
    factors: np.ndarray | None  # (n_queries, k) of features in inner products, if they have names
    inputs: Any  # features (n_queries, n_features) of queries, where there are factors
    parts: PairContributions | None  # of features in scores, where there are no factors

    def copied(self):
        """Copy the arrays, to which users may write; they are not handed features and parts."""
        arrays = (None if array is None else array.copy() for array in self[:-2])
        return Picks(*arrays, inputs=self.inputs, parts=self.parts)


def by_label(labels, apart):
    """Yield each label and the positions that hold it; None and all positions unless ``apart``."""
    if not apart:
        yield None, np.arange(len(labels))
        return
    for label in np.unique(labels):
        yield label, np.flatnonzero(labels == label)
