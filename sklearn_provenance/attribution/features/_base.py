"""Features of rows and queries: what kinds have in common."""

import math
from abc import ABC, abstractmethod


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
    needs_targets : bool
        Whether numbers to measure queries at must be given, where there are no classes.
    fitted : object or None
        The fitted transformer, if there is one.
    coverage : Coverage or None
        How gradients are computed, if they are.
    """

    per_label = False
    rows_differ = False
    needs_targets = True
    fitted = None
    coverage = None

    def inputs(self, X):
        """What :meth:`points` takes for the rows of X: what the model does."""
        return self.model.inputs(X)

    @abstractmethod
    def points(self, inputs, labels=None):
        """Points of rows at labels (n,); None takes the predicted ones."""

    def training_points(self, inputs, labels):
        """Points of training rows, where they differ from those of queries."""
        return self.points(inputs, labels)

    def query(self, X, labels=None):
        """Points of queries as the user gives them."""
        return self.points(self.inputs(X), labels)

    def predict(self, X):
        """Labels that the model predicts."""
        return self.model.predict(X)

    @property
    def models(self):
        """The models that features are computed from."""
        return [self.model]

    def scale(self, points, inputs):
        """Mean squared norm of φ of points, made of inputs."""
        return points.norms().mean().item()

    def norms(self, inputs, labels):
        """Squared norms (n,) of training rows whose points are not wanted."""
        return self.training_points(inputs, labels).norms()

    def components(self, inputs):
        """Columns of φ, and how many pay to be multiplied out whatever the number of rows."""
        return self.n_features_out(inputs), math.inf

    @abstractmethod
    def n_features_out(self, inputs):
        """Columns of :meth:`transform`."""

    def transform(self, X):
        """Features (n, n_features_out) of X at the predicted labels."""
        return self.query(X).matrix().cpu().numpy()
