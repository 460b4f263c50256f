"""Features of rows and queries: what all kinds of them know."""

import math
from abc import ABC, abstractmethod

import numpy as np

from ..._utils.dask_rows import in_blocks
from ..._utils.rows import n_rows, take_rows

# Rows whose mean squared norm stands for that of all rows.
_SAMPLED = 256
CANNOT_BE_STORED = (
    "features must be explicit to be stored: a TangentFeatures, or a transformer or callable that "
    "gives rows of numbers"
)


def some_rows(inputs, labels):
    """Draw the rows of which the mean squared norm is taken where each row costs a pass.

    Parameters
    ----------
    inputs : object
        What features made of the training rows.
    labels : ndarray of shape (n,)
        Their labels.

    Returns
    -------
    inputs, labels
        Those of 256 rows, the same whenever they are drawn; of all rows where there are fewer.
    """
    n = len(labels)
    if n <= _SAMPLED:
        return inputs, labels
    numbers = np.sort(np.random.default_rng(0).choice(n, _SAMPLED, replace=False))
    return take_rows(inputs, numbers), labels[numbers]


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
    copies_tie : bool
        Whether training rows that are exact copies must score alike.
    fitted : object or None
        The fitted transformer, if there is one.
    coverage : Coverage or None
        How gradients are computed, if they are.
    """

    per_label = False
    rows_differ = False
    needs_targets = True
    copies_tie = True
    fitted = None
    coverage = None

    def inputs(self, X):
        """Turn rows of X into what :meth:`points` takes, which is what the model takes."""
        return self.model.inputs(X)

    @abstractmethod
    def points(self, inputs, labels=None):
        """Measure rows at labels (n,); None takes the predicted ones."""

    def training_points(self, inputs, labels):
        """Measure training rows, whose points may differ from those of queries."""
        return self.points(inputs, labels)

    def points_by(self, measurement, inputs, targets):
        """Measure training rows by a callable, which gets logits and targets (n,)."""
        raise NotImplementedError

    def points_at(self, inputs, labels, together):
        """Measure all rows at each of several labels, in one pass as far as memory allows.

        Parameters
        ----------
        inputs : object
            What :meth:`inputs` made of n rows.
        labels : list of int
            Positions of classes.
        together : float
            Bytes that points at several labels may take.

        Returns
        -------
        list of points
            Those at the first labels, as many as share a pass; one at least.
        """
        return [self.points(inputs, np.full(n_rows(inputs), labels[0]))]

    def each_at(self, inputs, labels, together):
        """Yield each label and the points of all rows at it; see :meth:`points_at`."""
        left = list(labels)
        while left:
            found = self.points_at(inputs, left, together)
            yield from zip(left, found, strict=False)
            left = left[len(found) :]

    def query(self, X, labels=None):
        """Measure queries as the user gives them."""
        if labels is None:
            labels = self.model.label_of_rows(n_rows(X))
        return self.points(self.inputs(X), labels)

    def likelihood_points(self, inputs, labels):
        """Measure training rows of a language model by their log probability."""
        raise NotImplementedError

    def predict(self, X):
        """Predict labels by the model."""
        return self.model.predict(X)

    def probabilities(self, X, inputs):
        """Compute probabilities (n, n_classes) of rows X, of which ``inputs`` were made."""
        if self.model.module is None:
            predict_proba = self.model.estimator.predict_proba
            return np.asarray(in_blocks(predict_proba, X), dtype=np.float64)
        return self.model.probabilities(inputs)

    def identity(self):
        """List all that features depend on besides rows and labels, for a digest of it.

        None where the network holds what cannot be digested.

        Raises
        ------
        ValueError
            If a store cannot hold the features.
        """
        raise ValueError(
            f"{CANNOT_BE_STORED}; got those of a {type(self.model.estimator).__name__}"
        )

    def feature_names(self, names):
        """Name the columns x of which inner products of points are sums.

        Parameters
        ----------
        names : ndarray of shape (n_columns,) or None
            Names of the columns of X; None where there are none.

        Returns
        -------
        ndarray of shape (n_features,) or None
            None where inner products are no such sums, or names are not known.
        """
        return None

    @property
    def models(self):
        """The models that features are computed from."""
        return [self.model]

    @property
    def width(self):
        """Columns of explicit φ of any rows; None where a row must be measured to know them."""
        return None

    def n_bytes(self, inputs):
        """Count the bytes that points of rows take beside the inputs."""
        return 0

    def mean_norm(self, inputs, labels):
        """Compute the mean squared norm of φ of training rows whose points are not wanted."""
        return self.training_points(inputs, labels).norms().mean().item()

    def components(self, inputs):
        """Count the columns of φ, and how many pay to be multiplied out for any number of rows."""
        return self.n_features_out(inputs), math.inf

    @abstractmethod
    def n_features_out(self, inputs):
        """Count the columns of :meth:`transform`."""

    def transform(self, X):
        """Compute features (n, n_features_out) of X at the predicted labels."""
        return self.query(X).matrix().cpu().numpy()
