"""Tangent features as rows of numbers: sketched, or the whole Jacobian."""

import copy
from functools import partial

import numpy as np
import torch

from ..._utils.rows import n_rows
from ...tangent._batches import as_rows
from ...tangent._fingerprint import transformer_fingerprint
from ...tangent._points import ExplicitPoints
from ..models._sequences import value_of_row
from ._base import Features, some_rows


class SketchedFeatures(Features):
    """Rows of a fitted TangentFeatures, kept by a cache.

    Parameters
    ----------
    model : FittedModel
        The model.
    fitted : TangentFeatures
        Measures training rows.
    cache : Cache
        Keeps what ``fitted`` computes.
    of_queries : TangentFeatures, default=None
        The same sketch of another measurement, by which queries are measured; see
        :func:`measured_otherwise`.
    cache_of_queries : Cache, default=None
        Keeps what that computes.
    """

    def __init__(self, model, fitted, cache, of_queries=None, cache_of_queries=None):
        self.model = model
        self.fitted = fitted
        self.cache = cache
        self.of_queries = of_queries or fitted
        self.cache_of_queries = cache_of_queries or cache
        self.tangent = fitted.model_
        self.rows_differ = of_queries is not None
        self.per_label = fitted.measurement == "label_logit" and not self.rows_differ
        self.device = self.tangent.device
        if self.device.type != "cuda":
            self.device = torch.device("cpu")  # other devices have no double precision

    @property
    def coverage(self):
        """How the gradient of each parameter is computed."""
        return self.tangent.coverage

    @property
    def width(self):
        return self.fitted._n_features_out

    def identity(self):
        """List what the network and its sketch are told by, and steps before the network."""
        digests = [transformer_fingerprint(one) for one in (self.fitted, self.of_queries)]
        if None in digests:
            return None
        return ["sketched", *digests, *self.model.preprocessing()]

    def points(self, inputs, labels=None):
        """Return points of rows at labels (n,); None takes the predicted ones, in the same pass."""
        return self._points(self.of_queries, self.cache_of_queries, inputs, labels)

    def training_points(self, inputs, labels):
        """Return points of training rows at labels (n,)."""
        return self._points(self.fitted, self.cache, inputs, labels)

    def points_by(self, measurement, inputs, targets):
        """Measure training rows by a callable; see :meth:`Features.points_by`."""
        features = measured_otherwise(self.fitted, measurement, inputs, targets)
        array = features.transform(inputs, targets)
        return ExplicitPoints(array, targets, None, device=self.device)

    def likelihood_points(self, inputs, labels):
        """Measure training rows of a language model by their log probability."""
        forward = self.model.likelihood.forward
        features = measured_otherwise(self.fitted, value_of_row, inputs, labels, forward)
        array = features.transform(inputs, labels)
        return ExplicitPoints(array, labels, None, device=self.device)

    def _points(self, features, cache, inputs, labels):
        measured = partial(self._measured, features)
        array, labels, logits = cache("sketch", measured, inputs, labels)
        return ExplicitPoints(array, labels, logits, device=self.device)

    def points_at(self, inputs, labels, together):
        """Measure all rows at several labels, as many as fit; with a store at one."""
        n_labels = 1
        size = self.n_bytes(inputs)
        if size:
            n_labels = max(1, int(together // size))
        labels = labels[:n_labels]
        n = n_rows(inputs)
        made = {}

        def measured(inputs, at):
            label = at[0]
            if label not in made:
                targets = [np.full(n, one) for one in labels if one not in finished]
                found = self.of_queries._measured_at(inputs, targets, self.model.decide)
                made.update((int(one.labels[0]), one) for one in found)
            return made.pop(label)

        finished = set()
        points = []
        for label in labels:
            compute = partial(self._measured, self.of_queries) if len(labels) == 1 else measured
            at = np.full(n, label)
            array, at, logits = self.cache_of_queries("sketch", compute, inputs, at)
            finished.add(label)
            points.append(ExplicitPoints(array, at, logits, device=self.device))
        return points

    def _measured(self, features, inputs, labels):
        if features.store is None:
            return features._measured(inputs, labels, self.model.decide)
        # Rows in a store are found without a pass; what is not in it takes a forward pass.
        logits = features.model_.logits(inputs, features.batch_size)
        if labels is None:
            labels = self.model.decide(logits)
        labels = torch.as_tensor(labels)
        return features.transform(inputs, labels), labels.cpu(), logits.cpu().double()

    def mean_norm(self, inputs, labels):
        """Compute the mean squared norm of sketches of some training rows; see `some_rows`."""
        return super().mean_norm(*some_rows(inputs, labels))

    def n_bytes(self, inputs):
        """Count the bytes of the sketch of rows; a store keeps it on disk."""
        if self.fitted.store is not None:
            return 0
        return n_rows(inputs) * self.fitted._n_features_out * self.tangent.dtype.itemsize

    def n_features_out(self, inputs):
        """Count the components of the sketch."""
        return self.fitted._n_features_out


def measured_otherwise(fitted, measurement, inputs, targets=None, forward=None):
    """Sketch the gradients of another measurement as a fitted TangentFeatures does.

    Parameters
    ----------
    fitted : TangentFeatures
        The fitted sketch.
    measurement : str or callable
        The other measurement.
    inputs : object
        Rows to examine the network on.
    targets : Tensor of shape (n,), default=None
        Their targets; None takes the predicted classes.
    forward : callable, default=None
        What gives the outputs that are measured; None is that of ``fitted``.

    Returns
    -------
    TangentFeatures
        Its features have inner products with those of ``fitted``.
    """
    other = copy.copy(fitted)
    other.measurement = measurement
    other.model_ = fitted.model_.measuring(measurement, forward)
    if forward is not None:
        other.forward = forward
    other.model_.plan(as_rows(inputs, other.model_)[0], targets)
    # Columns of exact gradients are those of the rows.
    columns = {layer.key for layer in fitted._active}
    other._active = [layer for layer in other.model_.layers if layer.key in columns]
    return other
