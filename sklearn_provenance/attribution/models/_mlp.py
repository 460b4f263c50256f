"""MLPClassifier and MLPRegressor of scikit-learn, rebuilt as modules."""

from dataclasses import dataclass

import torch
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.validation import check_is_fitted
from torch import nn

from ._base import adapt
from ._linear import RebuiltModel, forward_of, linear_layer, refuse_multilabel


class _Exp(nn.Module):
    """The inverse link of counts."""

    def forward(self, x):
        return x.exp()


_ACTIVATIONS = {
    "exp": _Exp,
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}


@dataclass(frozen=True, eq=False)
class MLPModel(RebuiltModel):
    """Predicts from probabilities, where logits that differ may be equal."""

    def decide(self, logits):
        """Return positions of the largest probability; of two classes the second above one half."""
        if self.n_outputs == 1:
            return (torch.sigmoid(logits[:, 1] - logits[:, 0]) > 0.5).long()
        return logits.softmax(1).argmax(1)


def _layers(estimator):
    """Return layers of a network up to its last activation."""
    layers = []
    for weights, bias in zip(estimator.coefs_, estimator.intercepts_, strict=True):
        layers += [linear_layer(weights.T, bias), _ACTIVATIONS[estimator.activation]()]
    return layers[:-1]


@adapt.register(MLPClassifier)
def _(estimator):
    check_is_fitted(estimator)
    refuse_multilabel(estimator)
    return MLPModel(
        estimator,
        classes=estimator.classes_,
        # Without the last activation, softmax or logistic, which makes probabilities of logits.
        module=nn.Sequential(*_layers(estimator)).eval(),
        forward=forward_of(estimator.n_outputs_),
        n_outputs=estimator.n_outputs_,
    )


@adapt.register(MLPRegressor)
def _(estimator):
    check_is_fitted(estimator)
    last = _ACTIVATIONS[estimator.out_activation_]()
    return RebuiltModel(estimator, network=nn.Sequential(*_layers(estimator), last).eval())
