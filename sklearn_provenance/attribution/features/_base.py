"""Features of rows and queries: what kinds have in common."""

import math
from abc import ABC, abstractmethod

import numpy as np
import torch


class Features(ABC):
    """From rows as the user gives them to points, which know their inner products.

    A point is a row measured at a label. Every kind of points has ``labels`` (positions of classes,
    int64 on the CPU), ``logits`` (or None), ``n_components``, ``len()``, ``take(rows)``,
    ``norms()`` (squared norms of φ), ``inner(other)`` (kernel in double precision, on the CPU or
    the network's GPU) and ``matrix()`` (φ itself, for few components).

    Attributes
    ----------
    per_label : bool
        Whether φ depends on the label that a row is measured at, whatever its own.
    rows_differ : bool
        Whether training rows are measured otherwise than queries.
    fitted : object or None
        The fitted transformer, if there is one.
    coverage : Coverage or None
        How gradients are computed, if they are.
    """

    per_label = False
    rows_differ = False
    fitted = None
    coverage = None

    @abstractmethod
    def inputs(self, X):
        """What :meth:`points` takes for the rows of X."""

    @abstractmethod
    def points(self, inputs, labels=None):
        """Points of rows at labels (n,); None takes the predicted ones."""

    def training_points(self, inputs, labels):
        """Points of training rows, where they differ from those of queries."""
        return self.points(inputs, labels)

    def query(self, X, labels=None):
        """Points of queries as the user gives them."""
        return self.points(self.inputs(X), labels)

    def weights(self):
        """Numbers that tell whether the weights of the model have changed."""
        return self.model.weights()

    def scale(self, points, inputs):
        """Mean squared norm of φ of points, made of inputs."""
        return points.norms().mean().item()

    @abstractmethod
    def n_features_out(self, inputs):
        """Columns of :meth:`transform`."""

    def transform(self, X):
        """Features (n, n_features_out) of X at the predicted labels."""
        return self.query(X).matrix().cpu().numpy()


class ExplicitPoints:
    """Points whose φ are stored as rows of an array.

    Parameters
    ----------
    array : ndarray or numpy.memmap of shape (n, n_components)
        φ, in any precision.
    labels : Tensor of shape (n,), int64
        Label of each.
    logits : Tensor of shape (n, n_classes), default=None
        Logits of each.
    sketched : Tensor of shape (n,), default=None
        Squared norms of what φ is a sketch of.
    device : torch.device, default="cpu"
        Where products are computed.
    """

    most_components = math.inf  # φ are there: products of few components always pay

    def __init__(self, array, labels, logits=None, sketched=None, device="cpu"):
        self.array, self.labels, self.logits = array, labels, logits
        self.sketched, self.device = sketched, device

    def __len__(self):
        return len(self.array)

    @property
    def n_components(self):
        """Columns of φ."""
        return self.array.shape[1]

    def take(self, rows):
        """Some of the points."""
        rows = torch.as_tensor(rows)
        logits, sketched = (None if v is None else v[rows] for v in (self.logits, self.sketched))
        array, labels = self.array[rows.numpy()], self.labels[rows]
        return ExplicitPoints(array, labels, logits, sketched, self.device)

    def identity(self):
        """Arrays that tell these points from others, for results kept on disk."""
        return (self.array,)

    def matrix(self):
        """φ (n, n_components) in double precision."""
        return torch.tensor(np.asarray(self.array), dtype=torch.float64, device=self.device)

    def norms(self):
        """Squared norms (n,)."""
        return self.matrix().square().sum(1)

    def combine(self, weights):
        """Sums (m, n_components) of φ, weighted by the columns of weights (n, m)."""
        return weights.mT @ self.matrix()

    def times(self, weights):
        """Inner products (n, m) of φ and weights (m, n_components)."""
        return self.matrix() @ weights.mT.to(self.device)

    def unit(self):
        """Points with rows divided by their norms; zeros stay zeros."""
        phi = self.matrix()
        phi = torch.nn.functional.normalize(phi, dim=1, eps=torch.finfo(phi.dtype).tiny)
        return ExplicitPoints(phi.cpu().numpy(), self.labels, self.logits, device=self.device)

    def inner(self, other=None):
        """Kernel (n, n_other); of the points with themselves without other."""
        phi = self.matrix()
        return phi @ (phi if other is None else other.matrix()).mT
