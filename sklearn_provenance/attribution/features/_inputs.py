"""The inputs of models that are linear in them and have no logits, with a 1 for the intercept."""

import torch

from ...tangent._points import OuterPoints
from ._rows import OwnRows


class InputFeatures(OwnRows):
    """φ = [x; 1], the gradient of any output in its own coefficients, whatever the label."""

    def __init__(self, model):
        self.model = model

    def inputs(self, X):
        """Return rows that the estimator has checked."""
        return self.model.inputs(X)

    def points(self, inputs, labels=None):
        """Return points of rows at labels, which must be given."""
        gradient = torch.ones(inputs.shape[0], 1, dtype=torch.float64)
        labels = torch.as_tensor(labels)
        return OuterPoints(inputs, gradient, 1.0, self.model.input_bias, labels, None)

    def feature_names(self, names):
        """Name the columns of the model's inputs."""
        return self.model.feature_names(names)

    def n_features_out(self, inputs):
        """Count the columns of X, and the intercept."""
        return inputs.shape[1] + bool(self.model.input_bias)

    def components(self, inputs):
        """Count the columns of φ, and those that pay to be multiplied out."""
        return self.n_features_out(inputs), OuterPoints.most_components

    def transform(self, X):
        """Return rows φ of X."""
        return self.query(X).matrix().numpy()
