"""Texts of an explanation, and the words or columns that a query shares with an exemplar."""

import numpy as np

from .._utils.rows import take_rows
from ._contributions import INTERCEPT
from ._rows import dense, gather, row_kind, text_of
from ._shared_features import N_PARTS

# Rows that are looked at to see whether rows are texts.
_SAMPLE_ROWS = 50
# Parts that are smaller, in units of the largest, are rounding.
_ROUNDING = 1e-9


def has_parts(explanation):
    """Return whether parts of features are known and can be read, as those of pixels cannot."""
    n_dimensions = getattr(explanation.training_data, "ndim", 0)
    shows_images = explanation.image_shape is not None or n_dimensions > 2
    return explanation.contributions is not None and not shows_images


def shared_parts(explanation, query, rank, n=N_PARTS):
    """Return the largest parts of features that an exemplar shares with its query.

    Parameters
    ----------
    explanation : Explanation
        Explanation that has the query.
    query, rank : int
        Position of the query and of its exemplar.
    n : int, default=8
        How many to return at most.

    Returns
    -------
    list of (str, float)
        Names and parts, without that of the intercept, which nothing shows. Empty where parts are
        not known, or those of pixels.
    """
    if not has_parts(explanation):
        return []
    parts = explanation.shared_features(query, rank)
    parts = [(name, part) for name, part in parts if name != INTERCEPT]
    smallest = max((abs(part) for _, part in parts), default=0.0) * _ROUNDING
    return [(name, part) for name, part in parts if abs(part) > smallest][:n]


class Texts:
    """Texts of the first queries and of their exemplars.

    Parameters
    ----------
    explanation : Explanation
        What is shown.
    n_queries, k : int, default=None
        How many queries and exemplars of each; None takes all.

    Attributes
    ----------
    queries : list of str or None
        Text of each query; None where rows are no texts or are unknown.
    exemplars : list of list of str or None
        Texts of the exemplars of each query, "" at padding.
    """

    def __init__(self, explanation, n_queries=None, k=None):
        self.queries = self.exemplars = None
        indices = explanation.indices[:n_queries, :k]
        n_queries = len(indices)
        if _are_texts(explanation.queries, explanation.image_shape):
            rows = dense(take_rows(explanation.queries, slice(0, n_queries)))
            self.queries = [text_of(row) for row in rows]
        if not _are_texts(explanation.training_data, explanation.image_shape):
            return
        if not (indices >= 0).any():
            return
        rows = gather(explanation.training_data, indices)
        self.exemplars = [[text_of(row) for row in of_query] for of_query in rows]
        for query, rank in np.argwhere(indices < 0):
            self.exemplars[query][rank] = ""


def _are_texts(data, image_shape):
    """Return whether the first rows are texts."""
    if data is None or image_shape is not None or not np.shape(data)[:1]:
        return False
    return row_kind([dense(take_rows(data, slice(0, _SAMPLE_ROWS)))], None) == "texts"
