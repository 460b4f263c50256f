"""Tangent features of linear models in closed form, for dense and sparse rows.

The outputs are o = W a, with a = [x; 1] where there is an intercept, and the logits M o (M is the
identity, or (-1/2, 1/2)^T where one output decides between two classes). The gradient of a
measurement is g a^T with g = M^T ∇m, so the kernel is (a·a')(g·g').

Shapes in comments: n points, d columns of X, O outputs, C classes.
"""

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.preprocessing import normalize

from ...information._softmax import measurement_gradient
from ...tangent import Coverage
from ...tangent._outputs import check_finite
from ._base import ExplicitPoints, Features
from ._head import Head

# Rows of a product of sparse matrices that are dense at a time.
_BLOCK = 512


class LinearFeatures(Features):
    """Exact tangent features of a linear model.

    Parameters
    ----------
    model : FittedModel
        With ``linear``.
    measurement : str or callable
        Scalar whose gradient is φ.
    ntk_parameterization : bool or float
        See :class:`~sklearn_provenance.tangent.TangentModel`.
    row_measurement : str, default=None
        What training rows are measured by; None as queries are.
    """

    def __init__(self, model, measurement, ntk_parameterization=False, row_measurement=None):
        self.model, self.measurement = model, measurement
        self.row_measurement, self.rows_differ = row_measurement, row_measurement is not None
        self.per_label = measurement == "label_logit" and not self.rows_differ
        weight, intercept = model.linear
        scale = float(ntk_parameterization) / weight.shape[1] ** 0.5
        self.x_scale = scale**2 if ntk_parameterization else 1.0  # factor of x·x'
        self.weight, self.intercept = weight, intercept
        self.mixing = torch.eye(len(weight), dtype=torch.float64)
        if len(weight) == 1:
            self.mixing = torch.tensor([[-0.5], [0.5]], dtype=torch.float64)
        names = ("weight",) if intercept is None else ("weight", "bias")
        self.coverage = Coverage(
            dict.fromkeys(names, "factors"),
            {"factors": 1.0, "functional": 0.0, "idle": 0.0, "excluded": 0.0},
        )

    def inputs(self, X):
        """Rows that the estimator has checked, in double precision."""
        return self.model.inputs(X)

    def points(self, inputs, labels=None):
        """Points of rows at labels (n,); None takes the predicted ones."""
        return self._points(inputs, labels, self.measurement)

    def training_points(self, inputs, labels):
        """Points of training rows at labels (n,)."""
        return self._points(inputs, labels, self.row_measurement or self.measurement)

    def _points(self, inputs, labels, measurement):
        logits = logits_of(self.model.linear, self.mixing, inputs)
        labels = self.model.decide(logits) if labels is None else torch.as_tensor(labels)
        gradient = measurement_gradient(logits, labels, measurement) @ self.mixing  # (n, O)
        bias = 0.0 if self.intercept is None else 1.0
        return OuterPoints(inputs, gradient, self.x_scale, bias, labels, logits)

    def n_features_out(self, inputs):
        """Coefficients and intercepts."""
        return self.weight.size + (0 if self.intercept is None else len(self.intercept))


class LinearInputs(Features):
    """The inputs of a linear model: what goes into its last, and only, layer.

    Parameters
    ----------
    model : FittedModel
        With ``linear``.
    """

    def __init__(self, model):
        self.model = model
        self.fitted = self
        weight, intercept = model.linear
        intercept = None if intercept is None else torch.as_tensor(intercept)
        self.head = Head(torch.as_tensor(weight), intercept, len(weight) == 1)

    def inputs(self, X):
        """Rows that the estimator has checked, in double precision."""
        return self.model.inputs(X)

    def points(self, inputs, labels=None):
        """Points of rows at labels (n,); None takes the predicted ones."""
        logits = logits_of(self.model.linear, self.head.mixing, inputs)
        labels = self.model.decide(logits) if labels is None else torch.as_tensor(labels)
        if issparse(inputs):
            return SparsePoints(inputs, labels, logits)
        return ExplicitPoints(inputs, labels, logits)

    def n_features_out(self, inputs):
        """Columns of the inputs."""
        return self.model.linear[0].shape[1]

    def __call__(self, X):
        """The inputs (n, d) as an array."""
        return self.transform(X)


def logits_of(linear, mixing, inputs):
    """Logits (n, C) of a linear model, which must be finite."""
    outputs = torch.as_tensor(np.asarray(inputs @ linear.coefficients.T))  # (n, O)
    if linear.intercept is not None:
        outputs = outputs + torch.as_tensor(linear.intercept)
    logits = outputs @ mixing.mT
    check_finite(logits, "logits")
    return logits


class OuterPoints:
    """Points φ = g ⊗ [x; 1], never multiplied out.

    Parameters
    ----------
    x : ndarray or csr matrix of shape (n, d)
        Rows.
    gradient : Tensor of shape (n, O)
        g.
    scale : float
        Factor of x·x'.
    bias : float
        What the 1 of the intercept adds to it: 1, or 0 without.
    labels, logits : Tensor
        As :class:`ExplicitPoints`.
    """

    most_components = 1024  # more of them are dearer to multiply out than their kernel

    def __init__(self, x, gradient, scale, bias, labels, logits):
        self.x, self.gradient, self.scale, self.bias = x, gradient, scale, bias
        self.labels, self.logits = labels, logits

    def __len__(self):
        return self.x.shape[0]

    @property
    def n_components(self):
        """Weights of the model."""
        return self.gradient.shape[1] * (self.x.shape[1] + bool(self.bias))

    def take(self, rows):
        """Some of the points."""
        rows = torch.as_tensor(rows)
        logits = None if self.logits is None else self.logits[rows]
        x, gradient = self.x[rows.numpy()], self.gradient[rows]
        return OuterPoints(x, gradient, self.scale, self.bias, self.labels[rows], logits)

    def identity(self):
        """Arrays that tell these points from others, for results kept on disk."""
        return self.x, self.gradient, self.scale, self.bias

    def norms(self):
        """Squared norms (n,)."""
        x = self.x.multiply(self.x) if issparse(self.x) else np.square(self.x)
        squares = torch.as_tensor(np.asarray(x.sum(1)).ravel())
        return (self.scale * squares + self.bias) * self.gradient.square().sum(1)

    def inner(self, other=None):
        """Kernel (n, n_other)."""
        other = self if other is None else other
        kernel = torch.empty(len(self), len(other), dtype=torch.float64)
        transposed = other.x.T
        # Products of sparse rows are nearly full, and take more than the kernel where sparse.
        step = _BLOCK if issparse(self.x) else len(self)
        for start in range(0, len(self), max(1, step)):
            rows = slice(start, start + step)
            first = start if other is self and step < len(self) else 0  # the rest is symmetric
            products = self.x[rows] @ transposed[:, first:]
            products = products.toarray() if issparse(products) else products
            block = torch.as_tensor(products).mul_(self.scale).add_(self.bias)
            block *= self.gradient[rows] @ other.gradient[first:].mT
            kernel[rows, first:] = block
            if first:
                kernel[start:, rows] = block.mT
        return kernel

    def times(self, weights):
        """Inner products (n, m) of x and weights (m, d)."""
        return torch.as_tensor(np.asarray(self.x @ weights.numpy().T))

    def combine(self, weights):
        """Sums (m, d) of the rows x, weighted by the columns of weights (n, m)."""
        return torch.as_tensor(np.asarray(self.x.T @ weights.numpy()).T)

    def matrix(self):
        """φ (n, n_components): weights output by output, then intercepts."""
        x = torch.as_tensor(self.x.toarray() if issparse(self.x) else np.array(self.x))
        parts = [(self.gradient[:, :, None] * (x * self.scale**0.5)[:, None]).flatten(1)]
        if self.bias:
            parts.append(self.gradient)
        return torch.cat(parts, 1)


class SparsePoints(OuterPoints):
    """Sparse rows φ of the user's own.

    Parameters
    ----------
    x : csr matrix of shape (n, n_components)
        φ.
    labels : Tensor of shape (n,), int64
        Label of each.
    logits : Tensor of shape (n, n_classes), default=None
        Logits of each.
    """

    def __init__(self, x, labels, logits=None):
        ones = torch.ones(x.shape[0], 1, dtype=torch.float64)
        super().__init__(x, ones, 1.0, 0.0, labels, logits)

    def take(self, rows):
        """Some of the points."""
        rows = torch.as_tensor(rows)
        logits = None if self.logits is None else self.logits[rows]
        return SparsePoints(self.x[rows.numpy()], self.labels[rows], logits)

    def unit(self):
        """Points with rows divided by their norms; zeros stay zeros."""
        return SparsePoints(normalize(self.x), self.labels, self.logits)
