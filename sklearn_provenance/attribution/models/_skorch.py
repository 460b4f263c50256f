"""Classifiers and regressors of skorch.

Shapes in comments: B rows, C classes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from torch import nn

from ..._utils.numeric import as_numbers
from ...tangent._outputs import logits_of
from ...tangent._read_logits import ReadLogits, binary_logits, call_module
from ._base import FittedModel, adapt


@dataclass(frozen=True, eq=False)
class SkorchModel(FittedModel):
    """A NeuralNetClassifier; it predicts positions of its outputs, whatever its classes."""

    def inputs(self, X):
        """Return rows as skorch hands them to the module: a data frame as a dict of columns."""
        if hasattr(X, "iloc") and hasattr(X, "columns"):
            X = {name: X[name].to_numpy().reshape(-1, 1) for name in X}
        return as_numbers(X)

    def decide(self, logits):
        """Return positions of the largest probability."""
        return self.estimator._get_predict_nonlinearity()(logits).argmax(1)


@dataclass(frozen=True, eq=False)
class BinarySkorchModel(SkorchModel):
    """A NeuralNetBinaryClassifier: one output, and a threshold of its own."""

    def decide(self, logits):
        """Return 1 where the probability is above the threshold, else 0."""
        p = torch.sigmoid(logits[:, 1] - logits[:, 0])
        if self.estimator.predict_nonlinearity != "auto":
            p = self.estimator._get_predict_nonlinearity()(logits[:, 1] - logits[:, 0])[:, 1]
        # NumPy compares in the precision of the probabilities.
        return torch.as_tensor(p.cpu().numpy() > self.estimator.threshold, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class SkorchRegressor(SkorchModel):
    """A NeuralNetRegressor with one target."""

    def predict(self, X):
        """Predict targets (n,)."""
        found = super().predict(X)
        if found.size == len(found):
            found = found.ravel()
        return found


def log_output(module, x):
    """Compute log-probabilities (B, C), as logits, of a module that ends in a softmax.

    skorch trains such modules with NLLLoss and adds the same constant.
    """
    p = logits_of(call_module(module, x), first=True)
    return torch.log(p + torch.finfo(p.dtype).eps)


def logit_output(module, x):
    """Compute logits (B, 2) of a module with one output after a sigmoid, trained with BCELoss."""
    p = logits_of(call_module(module, x), first=True)  # (B,) or (B, 1)
    return binary_logits(torch.logit(p.reshape(-1, 1), torch.finfo(p.dtype).eps))


def _criterion(estimator):
    criterion = estimator.criterion_
    return getattr(criterion, "_orig_mod", criterion)  # compiled


@adapt.register(NeuralNetClassifier)
def _(estimator):
    forward = ReadLogits(first=True)
    if isinstance(_criterion(estimator), nn.NLLLoss):
        forward = log_output
    return SkorchModel(estimator, module=estimator.module_, forward=forward)


@adapt.register(NeuralNetBinaryClassifier)
def _(estimator):
    forward = ReadLogits(first=True)
    if isinstance(_criterion(estimator), nn.BCELoss):
        forward = logit_output
    return BinarySkorchModel(
        estimator,
        classes=np.array([0, 1]),
        module=estimator.module_,
        forward=forward,
        n_outputs=1,
    )


@adapt.register(NeuralNetRegressor)
def _(estimator):
    return SkorchRegressor(estimator, network=estimator.module_)
