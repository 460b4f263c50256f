"""Exact tangent features of linear models, in closed form.

The outputs of a linear model are o = W a, with a = [x; 1] where there is an intercept, and its
logits M o. The gradient of a measurement is g a^T with g = M^T ∇m, so the kernel is (a·a')(g·g').

Shapes in comments: n points, O outputs.
"""

import numpy as np
import torch

from ...information._last_layer import Head
from ...information._softmax import measurement_gradient
from ...tangent import Coverage
from ...tangent._outputs import check_finite
from ...tangent._points import OuterPoints
from ._base import Features


class LinearFeatures(Features):
    """Exact tangent features of a linear model in closed form, for dense and sparse rows.

    Training rows may have a measurement of their own, at their own labels.
    """

    def __init__(self, model, settings, row_measurement=None):
        self.model = model
        self.measurement = settings.measurement
        self.row_measurement = row_measurement
        self.rows_differ = row_measurement is not None
        self.per_label = self.measurement == "label_logit" and not self.rows_differ
        self.head = linear_head(model)
        self.x_scale = 1.0  # factor of x·x'
        if settings.ntk_parameterization:
            self.x_scale = float(settings.ntk_parameterization) ** 2 / self.head.weight.shape[1]
        names = ["weight"]
        if self.head.bias is not None:
            names.append("bias")
        self.coverage = Coverage(
            dict.fromkeys(names, "factors"),
            {"factors": 1.0, "functional": 0.0, "idle": 0.0, "excluded": 0.0},
        )

    def points(self, inputs, labels=None):
        """Measure rows at labels (n,); None takes the predicted ones."""
        return self._points(inputs, labels, self.measurement)

    def training_points(self, inputs, labels):
        """Measure training rows at labels (n,)."""
        return self._points(inputs, labels, self.row_measurement or self.measurement)

    def points_by(self, measurement, inputs, targets):
        """Measure training rows by a callable; see :meth:`Features.points_by`."""
        return self._points(inputs, targets, measurement)

    def feature_names(self, names):
        """Name the columns of the model's inputs."""
        return self.model.feature_names(names)

    def _points(self, inputs, labels, measurement):
        logits = linear_logits(self.head, inputs)
        if labels is None:
            labels = self.model.decide(logits)
        labels = torch.as_tensor(labels)
        gradient = measurement_gradient(logits, labels, measurement) @ self.head.mixing  # (n, O)
        bias = float(self.head.bias is not None)
        return OuterPoints(inputs, gradient, self.x_scale, bias, labels, logits)

    def n_features_out(self, inputs):
        """Count coefficients and intercepts."""
        return self.head.n_weights

    def components(self, inputs):
        """Count the weights, and how many pay to be multiplied out."""
        return self.head.n_weights, OuterPoints.most_components


def linear_head(model):
    """Turn a linear model into softmax regression."""
    weight, bias = (None if p is None else torch.as_tensor(p) for p in model.linear)
    return Head(weight, bias, one_output=len(weight) == 1)


def linear_logits(head, inputs):
    """Compute logits (n, C) of a linear model, which must be finite."""
    logits = head.logits(torch.as_tensor(np.asarray(inputs @ head.weight.numpy().T)))
    check_finite(logits, "logits")
    return logits
