"""Training rows whose features lie in a store."""

import torch

from ..._utils.copies import all_differ, first_equal, join
from ...tangent._points import ExplicitPoints
from ..features._training import NOTHING_EXPECTED, TrainingRows


class StoredRows(TrainingRows):
    """Training rows at their own labels, whose features are read from a store.

    Parameters
    ----------
    features : Features
        Make the points of queries.
    content : StoreContent
        What the store holds.
    labels : ndarray of shape (n,)
        Positions of the rows' classes; their targets where these are numbers.
    kept : Kept
        Keeps points within ``memory_limit``.
    """

    def __init__(self, features, content, labels, kept):
        self.features = features
        self.inputs = content.features
        self.labels = labels
        self.content = content
        self._kept = kept
        self._hint = NOTHING_EXPECTED
        self._copies = None
        self._own_copies = None
        if features.copies_tie and not all_differ(content.digests):
            first = first_equal(content.digests)
            self._copies = torch.as_tensor(first)
            self._own_copies = torch.as_tensor(join(first, labels))

    def _points(self, labels, copies):
        content = self.content
        return ExplicitPoints(
            content.features,
            torch.as_tensor(labels),
            device=getattr(self.features, "device", "cpu"),
            squares=torch.as_tensor(content.norms),
        )

    def at(self, label):
        """Take all rows at their own labels; others would need the rows themselves."""
        if label is not None and self.features.per_label:
            raise ValueError(
                "a store holds rows measured at their own labels, but this needs them at the label "
                'of a query; fit with measurement="margin", or without a store'
            )
        return super().at(None)

    def as_queries(self):
        """Take every row at its own label, as queries are measured."""
        if self.features.rows_differ:
            raise ValueError(
                "X must be given, because rows are measured otherwise than queries, and the store "
                "holds the rows alone"
            )
        return self.own()
