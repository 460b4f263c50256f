"""What goes into the last linear layer of a network, or into a linear model."""

import torch
from scipy.sparse import issparse

from ..._utils.modules import evaluation
from ..._utils.rows import n_rows, take_rows
from ...information._last_layer import Head, SquaredHead
from ...tangent import TangentModel
from ...tangent._penultimate import Penultimate
from ...tangent._points import ExplicitPoints, SparsePoints
from ..models import SUPPORTED
from ._base import Features
from ._linear import linear_head, linear_logits
from ._outputs import PredictedTargets, output_network

# Rows on which the last layer is compared with the logits.
_CHECKED = 32


class PenultimateFeatures(Features):
    """The input of the last linear layer of which the logits are a function.

    That is the layer of the class branch in a provenance network with two branches, and of the
    index branch in one with a single branch.
    """

    def __init__(self, model, inputs, batch_size="auto"):
        self.model, self.fitted = model, self
        network = TangentModel(model.module, forward=model.forward)
        self.network = Penultimate(network, inputs, model.n_outputs, batch_size)
        self.layer = self.network.layer

    def identity(self):
        """List the network, and steps before it."""
        model = self.model
        return ["penultimate", model.module, model.forward, *model.preprocessing()]

    def points(self, inputs, labels=None):
        """Return points of rows at labels (n,); None takes the predicted ones, in the same pass."""
        features, logits = self.network.forward(inputs)
        labels = self.model.decide(logits).cpu() if labels is None else torch.as_tensor(labels)
        return ExplicitPoints(features.cpu().numpy(), labels, logits.cpu().double())

    def head(self, inputs):
        """Return the last layer as softmax regression, checked on the first of the rows."""
        layer = self.layer
        with evaluation(self.model.module):  # calls on other threads swap parameters
            weight, bias = (
                None if p is None else p.detach().double().cpu() for p in (layer.weight, layer.bias)
            )
        head = Head(weight, bias, one_output=self.model.n_outputs == 1)
        features, logits = self.network.forward(take_rows(inputs, slice(_CHECKED)))
        logits = logits.double().cpu()
        fits = len(head.mixing) == logits.shape[1]
        found = head.logits(features.double().cpu() @ head.weight.mT)
        if not fits or not torch.allclose(found.softmax(1), logits.softmax(1), atol=1e-3):
            raise ValueError(
                "the logits are not the outputs W z + b of a last layer, one for each class, so "
                "influence through it is not known"
            )
        return head

    def n_bytes(self, inputs):
        """Count the bytes of the features of rows."""
        return n_rows(inputs) * self.layer.in_features * self.layer.weight.element_size()

    def n_features_out(self, inputs):
        """Count the inputs of the last layer."""
        return self.layer.in_features

    def __call__(self, X):
        """Return penultimate features (n, F) of X, in the network's precision."""
        return self.network.forward(self.inputs(X))[0].cpu().numpy()


class OutputPenultimate(PredictedTargets, PenultimateFeatures):
    """The input of the last linear layer of a regressor's network, of which the output is made."""

    def __init__(self, regressor, inputs, batch_size="auto"):
        super().__init__(output_network(regressor), inputs, batch_size)
        self.regressor = regressor

    def head(self, inputs):
        """Return the last layer, in the units of y, checked on the first of the rows."""
        with evaluation(self.model.module):  # calls on other threads swap parameters
            weight = self.layer.weight.detach().double().cpu()
            bias = self.layer.bias
            bias = torch.zeros(1).double() if bias is None else bias.detach().double().cpu()
        features, outputs = self.network.forward(take_rows(inputs, slice(_CHECKED)))
        outputs = outputs.double().cpu()
        layer = features.double().cpu() @ weight.mT + bias  # (n, 1)
        # Networks that learn standardised targets scale what the layer gives.
        low, high = layer.argmin(), layer.argmax()
        spread = (layer[high] - layer[low]).item()
        scale = (outputs[high] - outputs[low]).item() / spread if spread else 1.0
        shift = outputs[low] - scale * layer[low]
        tolerance = 1e-4 * outputs.abs().max().item()
        if not torch.allclose(scale * layer + shift, outputs, rtol=0, atol=tolerance):
            raise ValueError(
                "the output must be that of the last layer, W z + b, or a multiple of it, but it "
                "is not, so that influence through it is not known"
            )
        return SquaredHead(scale * weight, scale * bias + shift)


class LinearInputs(Features):
    """The inputs of a linear model: what goes into its last, and only, layer."""

    def __init__(self, model):
        self.model, self.fitted = model, self
        self._head = linear_head(model)

    def points(self, inputs, labels=None):
        """Return points of rows at labels (n,); None takes the predicted ones."""
        logits = linear_logits(self._head, inputs)
        labels = self.model.decide(logits) if labels is None else torch.as_tensor(labels)
        kind = SparsePoints if issparse(inputs) else ExplicitPoints
        return kind(inputs, labels, logits)

    def identity(self):
        """List what goes before the model: its inputs do not depend on coefficients."""
        return ["inputs", *self.model.preprocessing()]

    def head(self, inputs):
        """Return the model as softmax regression."""
        return self._head

    def feature_names(self, names):
        """Name the columns of the model's inputs."""
        return self.model.feature_names(names)

    def n_features_out(self, inputs):
        """Count the columns of the inputs."""
        return self.model.linear.coefficients.shape[1]

    def __call__(self, X):
        """Return the inputs (n, d) as an array."""
        return self.transform(X)


def last_layer_inputs(model, X, settings):
    """Return features that the last layer of a model takes, and what they take for rows X."""
    if model.linear is not None:
        return LinearInputs(model), settings.inputs(model, X)
    if model.module is None and model.network is None:
        raise TypeError(f"estimator must be {SUPPORTED}; got {type(model.estimator).__name__}")
    inputs = settings.inputs(model, X)
    batch_size = settings.batch_size
    if model.network is not None:
        return OutputPenultimate(model, inputs, batch_size), inputs
    return PenultimateFeatures(model.examined(inputs), inputs, batch_size), inputs
