"""Tangent features as rows of numbers: sketched, or the whole Jacobian."""

import torch

from ...tangent import TangentRows
from ._base import ExplicitPoints, Features


class SketchedFeatures(Features):
    """Rows of a fitted TangentFeatures.

    Parameters
    ----------
    model : FittedModel
        The network.
    fitted : TangentFeatures
        Fitted on training rows.
    cache : Cache
        Keeps rows.
    """

    def __init__(self, model, fitted, cache):
        self.model, self.fitted, self.cache = model, fitted, cache
        self.tangent = fitted.model_
        self.per_label = fitted.measurement == "label_logit"
        on_gpu = self.tangent.device.type == "cuda"
        self.device = self.tangent.device if on_gpu else torch.device("cpu")  # needs float64

    @property
    def coverage(self):
        """How the gradient of each parameter is computed."""
        return self.tangent.coverage

    def inputs(self, X):
        """What the network takes."""
        return self.model.inputs(X)

    def points(self, inputs, labels=None):
        """Points of rows at labels (n,); None takes the predicted ones."""
        logits = self.tangent.logits(inputs, self.fitted.batch_size)
        labels = self.model.decide(logits).cpu() if labels is None else torch.as_tensor(labels)
        array = self.cache("sketch", self.fitted.transform, inputs, labels.numpy())
        return ExplicitPoints(array, labels, logits.cpu().double(), device=self.device)

    def scale(self, inputs, labels, points):
        """Mean squared norm of the network's φ, which that of the sketch is on average."""
        return self.cache("norms", self._norms, inputs, labels).mean().item()

    def _norms(self, inputs, labels):
        settings = {"batch_size": self.fitted.batch_size, "memory_limit": 0}
        return TangentRows(self.tangent, inputs, labels, **settings).norms()

    def n_features_out(self, inputs):
        """Components of the sketch."""
        return self.fitted._n_features_out
