"""MLPClassifier of scikit-learn, rebuilt as a module."""

from dataclasses import dataclass

import torch
from sklearn.neural_network import MLPClassifier
from sklearn.utils.validation import check_is_fitted
from torch import nn

from ._base import adapt
from ._linear import RebuiltModel, binary_forward, linear_layer, refuse_multilabel

_ACTIVATIONS = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}


@dataclass(frozen=True, eq=False)
class MLPModel(RebuiltModel):
    """Predicts from probabilities, where logits that differ may be equal."""

    def decide(self, logits):
        """Positions of the largest probability; of two classes the second above one half."""
        if self.n_outputs == 1:
            return (torch.sigmoid(logits[:, 1] - logits[:, 0]) > 0.5).long()
        return logits.softmax(1).argmax(1)


@adapt.register(MLPClassifier)
def _(estimator):
    check_is_fitted(estimator)
    refuse_multilabel(estimator)
    layers = []
    for weights, bias in zip(estimator.coefs_, estimator.intercepts_, strict=True):
        layers += [linear_layer(weights.T, bias), _ACTIVATIONS[estimator.activation]()]
    return MLPModel(
        estimator,
        classes=estimator.classes_,
        # The last activation, softmax or logistic, turns logits into probabilities.
        module=nn.Sequential(*layers[:-1]).eval(),
        forward=binary_forward if estimator.n_outputs_ == 1 else None,
        n_outputs=estimator.n_outputs_,
    )
