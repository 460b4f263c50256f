"""Features of rows and queries, and those that are exact: of networks and of linear models.

The outputs of a linear model are o = W a, with a = [x; 1] where there is an intercept, and its
logits M o. The gradient of a measurement is g a^T with g = M^T ∇m, so the kernel is (a·a')(g·g').

Shapes in comments: n points, d columns of X, O outputs, C classes.
"""

import math
from abc import ABC, abstractmethod
from functools import partial

import numpy as np
import torch

from ..._utils.copies import find_copies, join
from ..._utils.rows import n_rows, take_rows
from ...information._last_layer import Head
from ...information._softmax import measurement_gradient
from ...tangent import Coverage, TangentFeatures, TangentModel, TangentRows
from ...tangent._batches import as_rows
from ...tangent._cache import Cache
from ...tangent._outputs import check_finite
from ...tangent._points import OuterPoints
from ...tangent._remembered import RememberedRows
from ._settings import sketch_of

# Parameters up to which transform() may give the whole Jacobian.
DENSE_LIMIT = 2**16


# Rows whose mean squared norm stands for that of all rows.
_SAMPLED = 256


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
        """What :meth:`points` takes for the rows of X: what the model does."""
        return self.model.inputs(X)

    @abstractmethod
    def points(self, inputs, labels=None):
        """Points of rows at labels (n,); None takes the predicted ones."""

    def training_points(self, inputs, labels):
        """Points of training rows, where they differ from those of queries."""
        return self.points(inputs, labels)

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
        """Points of queries as the user gives them."""
        return self.points(self.inputs(X), labels)

    def predict(self, X):
        """Labels that the model predicts."""
        return self.model.predict(X)

    def probabilities(self, X, inputs):
        """Probabilities (n, n_classes) of classes for rows X, of which ``inputs`` were made."""
        if self.model.module is None:
            return np.asarray(self.model.estimator.predict_proba(X), dtype=np.float64)
        return self.model.probabilities(inputs)

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

    def n_bytes(self, inputs):
        """Bytes that points of rows take as long as they are there, beside the inputs."""
        return 0

    def mean_norm(self, inputs, labels):
        """Mean squared norm of φ of training rows whose points are not wanted."""
        return self.training_points(inputs, labels).norms().mean().item()

    def components(self, inputs):
        """Columns of φ, and how many pay to be multiplied out whatever the number of rows."""
        return self.n_features_out(inputs), math.inf

    @abstractmethod
    def n_features_out(self, inputs):
        """Columns of :meth:`transform`."""

    def transform(self, X):
        """Features (n, n_features_out) of X at the predicted labels."""
        return self.query(X).matrix().cpu().numpy()


# Labels at which rows will be asked for, and bytes that points at several of them may take.
NOTHING_EXPECTED: tuple[list, float] = ([], 0.0)


class TrainingRows:
    """Training rows as points.

    Parameters
    ----------
    features : Features
        Make the points.
    inputs : object
        What ``features.inputs`` made of the training rows. A copy, because points are made of them
        long after fit.
    labels : ndarray of shape (n,)
        Positions of the rows' classes; their targets where these are numbers.
    kept : Kept
        Keeps the points within ``memory_limit``.
    """

    def __init__(self, features, inputs, labels, kept):
        self.features, self.inputs, self.labels = features, inputs, labels
        self._kept = kept
        self._hint = NOTHING_EXPECTED
        first = find_copies(inputs) if features.copies_tie else None
        # First row (n,) that each row is an exact copy of: whatever its label, and with its label.
        self._copies = None if first is None else torch.as_tensor(first)
        self._own_copies = None if first is None else torch.as_tensor(join(first, labels))

    def __len__(self):
        return len(self.labels)

    def own(self):
        """Measure every row at its own label."""
        return self._kept(("points", None), lambda: self._points(self.labels, self._own_copies))

    def at(self, label):
        """Measure all rows at one label, and find copies.

        None takes each row at its own label, as does any label on which features do not depend.
        """
        if label is None or not self.features.per_label:
            return self.own(), self._own_copies
        return self._kept(("points", label), lambda: self._points_at(label)), self._copies

    def expect(self, labels, together):
        """Say at which labels rows will be asked for, so that these share passes.

        Parameters
        ----------
        labels : array-like of int
            Positions of classes.
        together : float
            Bytes that points at several labels may take.
        """
        self._hint = (list(labels), together)

    def __getstate__(self):
        # A hint changes how rows are measured, and not what is found.
        return vars(self) | {"_hint": NOTHING_EXPECTED}

    def _points_at(self, label):
        """Measure all rows at a label, and at others that are expected and not kept."""
        expected, together = self._hint
        others = [one for one in expected if one != label]
        labels = [label, *(one for one in others if ("points", one) not in self._kept)]
        if len(labels) > 1:
            size = self.features.n_bytes(self.inputs) or 0
            self._kept.free(min(together, len(labels) * size))
        several = self.features.points_at(self.inputs, labels, together)
        for one, points in zip(labels, several, strict=False):
            if self._copies is not None:
                points.equalise(self._copies)
            if one != label:
                self._kept.put(("points", one), points)
        return several[0]

    def of_class(self, label):
        """Take the rows of one class at their label, and copies among them."""
        numbers = np.flatnonzero(self.labels == label)
        copies = self._own_copies
        if copies is not None:
            copies = copies[numbers]
        return self.own().take(numbers), copies

    def as_queries(self):
        """Measure every row at its own label, as queries are measured."""
        if self.features.rows_differ:
            return self.features.points(self.inputs, self.labels)
        return self.own()

    def _points(self, labels, copies):
        points = self.features.training_points(self.inputs, labels)
        if copies is not None:
            points.equalise(copies)
        return points


class ExactFeatures(Features):
    """Exact tangent features of a network, as factors of each layer's gradients.

    Training rows may have a measurement of their own, at their own labels.
    """

    def __init__(self, model, settings, row_measurement=None):
        self.model = model
        self.tangent = TangentModel(
            model.module,
            forward=model.forward,
            measurement=settings.measurement,
            ntk_parameterization=settings.ntk_parameterization,
            parameters=settings.parameters,
        )
        self.rows_tangent = self.tangent
        self.rows_differ = row_measurement is not None
        kind = "exact"
        if self.rows_differ:
            self.rows_tangent = self.tangent.measuring(row_measurement)
            kind = "gradients"
        self.per_label = settings.measurement == "label_logit" and not self.rows_differ
        self.cache = Cache(settings.memory, kind, sketch_of(TangentFeatures(), model, settings))
        self.settings = {
            "decide": model.decide,
            "batch_size": settings.batch_size,
            "verbose": bool(settings.verbose),
            "memory_limit": settings.memory_limit,
        }

    @property
    def coverage(self):
        """How the gradient of each parameter is computed."""
        return self.tangent.coverage

    def plan(self, inputs, targets=None):
        """Examine the network on training rows: which queries come first must not matter."""
        for tangent in {id(t): t for t in (self.tangent, self.rows_tangent)}.values():
            tangent.plan(as_rows(inputs, tangent)[0], targets)
        return self

    def points(self, inputs, labels=None):
        """Points of rows at labels (n,); None takes the predicted ones, in the same pass."""
        return self._rows("points", self.tangent, inputs, labels)

    def training_points(self, inputs, labels):
        """Points of training rows at labels (n,)."""
        return self._rows("training_points", self.rows_tangent, inputs, labels)

    def points_at(self, inputs, labels, together):
        """Measure all rows at several labels; factors share what does not depend on the label."""
        model = self.tangent

        def measured(wanted):
            return TangentRows.at_labels(model, inputs, wanted, together=together, **self.settings)

        if self.cache.memory is None:
            return measured(labels)
        n = n_rows(inputs)
        made = {}

        def make(label):
            if label not in made:
                # Labels whose results are on disk are not asked for.
                wanted = [label, *(one for one in waiting if one != label)]
                made.update(zip(wanted, measured(wanted), strict=False))
            waiting.discard(label)
            return made.pop(label)

        waiting = set(labels)
        points = []
        for label in labels:
            at = np.full(n, label)
            making = partial(make, label)
            rows = RememberedRows(
                model, self.cache, "points", inputs, at, make=making, **self.settings
            )
            points.append(rows)
        return points

    def _rows(self, kind, tangent, inputs, labels):
        if self.cache.memory is None:
            return TangentRows(tangent, inputs, labels, **self.settings)
        return RememberedRows(tangent, self.cache, kind, inputs, labels, **self.settings)

    def mean_norm(self, inputs, labels):
        """Mean squared norm of some training rows, see :func:`some_rows`."""
        return super().mean_norm(*some_rows(inputs, labels))

    def components(self, inputs):
        """Parameters with influence, and how many pay to be multiplied out."""
        return self.tangent.n_components, TangentRows.most_components

    def n_features_out(self, inputs):
        """Parameters with influence; an error where there are too many for a Jacobian."""
        n_parameters = sum(p.numel() for p in self.tangent.weights.values())
        if n_parameters > DENSE_LIMIT:
            raise ValueError(
                f"the exact tangent features of this model are {n_parameters} numbers a row, and "
                f"transform gives at most {DENSE_LIMIT}; pass features=TangentFeatures(...)"
            )
        return self.tangent.n_components

    def transform(self, X):
        """The Jacobian (n, n_components) at the predicted labels, in the network's precision."""
        self.n_features_out(None)
        dtype = np.float32
        if self.tangent.dtype == torch.float64:
            dtype = np.float64
        return super().transform(X).astype(dtype)


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
        """Points of rows at labels (n,); None takes the predicted ones."""
        return self._points(inputs, labels, self.measurement)

    def training_points(self, inputs, labels):
        """Points of training rows at labels (n,)."""
        return self._points(inputs, labels, self.row_measurement or self.measurement)

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
        """Coefficients and intercepts."""
        return self.head.n_weights

    def components(self, inputs):
        """Weights, and how many pay to be multiplied out."""
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
