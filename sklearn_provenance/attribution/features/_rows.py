"""Rows φ that a transformer or a callable of the user's gives, the same whatever the label."""

import math

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import check_array

from ..._utils.dask_rows import DaskRows, in_blocks
from ..._utils.labels import positions
from ..._utils.numeric import as_ndarray
from ..._utils.row_arrays import DaskFeatures, RowArray, on_disk
from ..._utils.rows import n_rows
from ...tangent._outputs import check_finite
from ...tangent._points import ExplicitPoints, SparsePoints
from ._base import Features


class OwnRows(Features):
    """Features from a fitted transformer or a callable; the model predicts labels.

    Chunks of features that are a Dask array must fit ``memory_limit``.
    """

    needs_targets = False

    def __init__(self, features, model, memory_limit):
        self.fitted = features
        self.model = model
        self.memory_limit = memory_limit
        self._function = getattr(features, "transform", features)

    def identity(self):
        """List the transformer or callable."""
        return ["own", self.fitted]

    def inputs(self, X):
        """Compute rows φ of X."""
        phi = self._rows_of(X)
        if isinstance(phi, torch.Tensor):
            phi = as_ndarray(phi)
        phi = on_disk(phi, "the array that features gives")
        if isinstance(phi, DaskRows):
            raise ValueError(
                "features must give an array of shape (n_rows, n_columns); got a Dask array of "
                f"shape {phi.shape}"
            )
        if isinstance(phi, DaskFeatures):
            phi.rows.check_chunks(self.memory_limit)
        if isinstance(phi, RowArray):
            check_rows_on_disk(phi)
        else:
            phi = check_array(
                phi,
                dtype=np.float64,
                accept_sparse="csr",
                input_name="the rows that features gives",
            )
        if phi.shape[0] != n_rows(X):
            raise ValueError(
                f"features must give a row for each of the {n_rows(X)} rows of X; got "
                f"{phi.shape[0]} rows"
            )
        if issparse(phi) or isinstance(phi, RowArray):
            return phi
        return np.array(phi)  # a copy: users may write to theirs

    def _rows_of(self, X):
        """Call the callable with X as it was given, and a transformer with rows in memory."""
        if not isinstance(X, DaskRows):
            return self._function(X)
        if hasattr(self.fitted, "transform"):
            return in_blocks(self._function, X)
        return self._function(X.array)

    def points(self, inputs, labels=None):
        """Return points of rows φ at labels, which must be given."""
        kind = SparsePoints if issparse(inputs) else ExplicitPoints
        return kind(inputs, torch.as_tensor(labels))

    def query(self, X, labels=None):
        """Return points of queries; the model predicts labels that are not given."""
        if labels is None:
            labels = self.model.label_of_rows(n_rows(X))
        if labels is None:
            labels = predicted(self.model, X)
        return self.points(self.inputs(X), labels)

    def probabilities(self, X, inputs):
        """Compute probabilities (n, n_classes) of classes, which are not computed from φ."""
        return super().probabilities(X, self.model.inputs(X))

    def n_features_out(self, inputs):
        """Count the columns of φ."""
        return inputs.shape[1]

    def components(self, inputs):
        """Count the columns of φ, and those that pay to be used where they are sparse."""
        most = math.inf
        if issparse(inputs):
            most = SparsePoints.most_components
        return inputs.shape[1], most

    def transform(self, X):
        """Compute rows φ of X, as an array."""
        phi = self.inputs(X)
        if issparse(phi):
            return phi.toarray()
        return np.asarray(phi, dtype=np.float64)


def check_rows_on_disk(phi):
    """Raise a ValueError unless all numbers of rows on disk are finite."""
    if not phi.shape[1]:
        raise ValueError(f"features must give one or more columns; got shape {phi.shape}")
    for rows, block in phi.blocks():
        check_finite(torch.from_numpy(block), "the rows that features gives", rows.start)


def predicted(model, X):
    """Predict positions (n,) of classes, or the numbers of a regressor."""
    found = model.predict(X)
    if model.classes is None:
        found = np.asarray(found, dtype=np.float64)
        check_finite(torch.as_tensor(found), "predictions")
        return found
    return positions(model.classes, found, "the prediction")
