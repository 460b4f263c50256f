"""Rows φ of the user's own: a transformer's or a callable's, the same whatever the label."""

import math

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import check_array

from ..._utils.labels import positions
from ..._utils.rows import n_rows
from ...tangent._outputs import check_finite
from ...tangent._points import ExplicitPoints, SparsePoints
from ._base import Features


class OwnRows(Features):
    """Features from a fitted transformer or a callable; the model predicts labels."""

    needs_targets = False

    def __init__(self, features, model):
        self.fitted, self.model = features, model
        self._function = getattr(features, "transform", features)

    def inputs(self, X):
        """Rows φ of X."""
        phi = self._function(X)
        if isinstance(phi, torch.Tensor):
            phi = phi.detach().cpu().numpy()
        phi = check_array(
            phi,
            dtype=np.float64,
            accept_sparse="csr",
            input_name="the rows that features gives",
        )
        if phi.shape[0] != n_rows(X):
            raise ValueError(f"features gave {phi.shape[0]} rows for {n_rows(X)} rows of X")
        return phi if issparse(phi) else np.array(phi)

    def points(self, inputs, labels=None):
        """Points of rows φ at labels, which must be given."""
        labels = torch.as_tensor(labels)
        return SparsePoints(inputs, labels) if issparse(inputs) else ExplicitPoints(inputs, labels)

    def query(self, X, labels=None):
        """Points of queries; the model predicts labels that are not given."""
        if labels is None:
            labels = predicted(self.model, X)
        return self.points(self.inputs(X), labels)

    def n_features_out(self, inputs):
        """Columns of φ."""
        return inputs.shape[1]

    def components(self, inputs):
        """Columns of φ, and how many pay to be used where they are sparse."""
        return inputs.shape[1], SparsePoints.most_components if issparse(inputs) else math.inf

    def transform(self, X):
        """Rows φ of X."""
        phi = self.inputs(X)
        return phi.toarray() if issparse(phi) else phi


def predicted(model, X):
    """Positions (n,) of the classes that a model predicts, or the numbers."""
    found = model.predict(X)
    if model.classes is None:
        found = np.asarray(found, dtype=np.float64)
        check_finite(torch.as_tensor(found), "predictions")
        return found
    return positions(model.classes, found, "the prediction")
