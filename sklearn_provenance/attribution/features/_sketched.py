"""Tangent features as rows of numbers: sketched, or the whole Jacobian."""

import numpy as np
import torch

from ..._utils.rows import n_rows
from ...tangent._points import ExplicitPoints
from ._base import Features, some_rows


class SketchedFeatures(Features):
    """Rows of a fitted TangentFeatures, kept by a cache."""

    def __init__(self, model, fitted, cache):
        self.model = model
        self.fitted = fitted
        self.cache = cache
        self.tangent = fitted.model_
        self.per_label = fitted.measurement == "label_logit"
        self.device = self.tangent.device
        if self.device.type != "cuda":
            self.device = torch.device("cpu")  # other devices have no double precision

    @property
    def coverage(self):
        """How the gradient of each parameter is computed."""
        return self.tangent.coverage

    def points(self, inputs, labels=None):
        """Points of rows at labels (n,); None takes the predicted ones, in the same pass."""
        array, labels, logits = self.cache("sketch", self._measured, inputs, labels)
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
                found = self.fitted._measured_at(inputs, targets, self.model.decide)
                made.update((int(one.labels[0]), one) for one in found)
            return made.pop(label)

        finished = set()
        points = []
        for label in labels:
            compute = self._measured if len(labels) == 1 else measured
            array, at, logits = self.cache("sketch", compute, inputs, np.full(n, label))
            finished.add(label)
            points.append(ExplicitPoints(array, at, logits, device=self.device))
        return points

    def _measured(self, inputs, labels):
        features = self.fitted
        if features.store is None:
            return features._measured(inputs, labels, self.model.decide)
        # Rows in a store are found without a pass; what is not in it takes a forward pass.
        logits = self.tangent.logits(inputs, features.batch_size)
        if labels is None:
            labels = self.model.decide(logits)
        labels = torch.as_tensor(labels)
        return features.transform(inputs, labels), labels.cpu(), logits.cpu().double()

    def mean_norm(self, inputs, labels):
        """Mean squared norm of the sketches of some training rows, see :func:`some_rows`."""
        return super().mean_norm(*some_rows(inputs, labels))

    def n_bytes(self, inputs):
        """Bytes of the sketch of rows; a store keeps it on disk."""
        if self.fitted.store is not None:
            return 0
        return n_rows(inputs) * self.fitted._n_features_out * self.tangent.dtype.itemsize

    def n_features_out(self, inputs):
        """Components of the sketch."""
        return self.fitted._n_features_out
