"""Tangent features as rows of numbers: sketched, or the whole Jacobian."""

import torch

from ..._utils.rows import n_rows
from ...tangent import TangentRows
from ...tangent._points import ExplicitPoints
from ._base import Features


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
        array, labels, logits, norms = self.cache("sketch", self._measured, inputs, labels)
        return ExplicitPoints(array, labels, logits, sketched=norms, device=self.device)

    def _measured(self, inputs, labels):
        features = self.fitted
        if features.store is None:
            return features._measured(inputs, labels, self.model.decide)
        # Rows in a store are found without a pass; what is not in it takes a forward pass.
        logits = self.tangent.logits(inputs, features.batch_size)
        if labels is None:
            labels = self.model.decide(logits)
        labels = torch.as_tensor(labels)
        return features.transform(inputs, labels), labels.cpu(), logits.cpu().double(), None

    def scale(self, points, inputs):
        """Mean squared norm of the network's φ, which that of the sketch is on average."""
        norms = points.sketched
        if norms is None:
            norms = self.norms(inputs, points.labels)
        return norms.mean().item()

    def norms(self, inputs, labels):
        """Compute squared norms (n,) of the network's φ."""
        return self.cache("norms", self._norms, inputs, labels)

    def _norms(self, inputs, labels):
        settings = {"batch_size": self.fitted.batch_size, "memory_limit": 0}
        return TangentRows(self.tangent, inputs, labels, **settings).norms()

    def n_bytes(self, inputs):
        """Bytes of the sketch of rows; a store keeps it on disk."""
        if self.fitted.store is not None:
            return 0
        return n_rows(inputs) * self.fitted._n_features_out * self.tangent.dtype.itemsize

    def n_features_out(self, inputs):
        """Components of the sketch."""
        return self.fitted._n_features_out
