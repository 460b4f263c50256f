"""What measures the rows that are put into a store."""

import numpy as np

from ..._utils.rows import take_rows
from ...tangent._points import ExplicitPoints
from ..features._base import CANNOT_BE_STORED


class Measure:
    """Measures rows for a store; see :class:`.NewRows`.

    Parameters
    ----------
    features : Features
        Make the points of rows.
    labels : ndarray of shape (n_rows,)
        Positions of the rows' classes, or their targets.
    """

    def __init__(self, features, labels):
        self.features = features
        self.labels = labels

    def __call__(self, X, rows):
        return self.measured(take_rows(X, rows), self.labels[rows])

    def measured(self, X, labels):
        """Measure rows at labels: features (n, n_components)."""
        features = self.features
        points = features.training_points(features.inputs(X), labels)
        if not isinstance(points, ExplicitPoints):
            raise ValueError(f"{CANNOT_BE_STORED}; got sparse rows")
        return np.asarray(points.array)

    def width(self, X):
        """Count the columns of the features of rows."""
        if self.features.width is not None:
            return self.features.width
        return self(X, slice(0, 1)).shape[1]

    def without_labels(self):
        """Copy what :meth:`measured` needs."""
        return Measure(self.features, None)
