"""The last layer as softmax regression."""

import torch

from ..._utils.rows import take_rows
from ._base import ExplicitPoints
from ._penultimate import PROBE


class Head:
    """The last layer as softmax regression: outputs W z + b, logits M (W z + b).

    Parameters
    ----------
    weight : Tensor of shape (n_outputs, n_features)
        W.
    bias : Tensor of shape (n_outputs,) or None
        b.
    one_output : bool
        Whether a single output z stands for the logits (-z/2, z/2).

    Attributes
    ----------
    weight : Tensor of shape (n_outputs, n_features + 1) or (n_outputs, n_features)
        W, and the bias in the last column if there is one.
    mixing : Tensor of shape (n_classes, n_outputs)
        M.
    """

    def __init__(self, weight, bias, one_output):
        self.has_bias = bias is not None
        self.weight = torch.cat([weight, bias[:, None]], 1) if self.has_bias else weight
        self.n_outputs = len(weight)
        self.mixing = torch.eye(self.n_outputs, dtype=torch.float64)
        if one_output:
            self.mixing = torch.tensor([[-0.5], [0.5]], dtype=torch.float64)

    @classmethod
    def of(cls, features, inputs):
        """The head of a network, checked on the first rows of inputs.

        Parameters
        ----------
        features : PenultimateFeatures
            Gives the layer and what goes into it.
        inputs : ndarray, Tensor, csr matrix or dict of Tensor
            Rows.

        Raises
        ------
        ValueError
            If the logits are not those of the layer.
        """
        layer = features.layer
        parameters = (layer.weight, layer.bias)
        weight, bias = (None if p is None else p.detach().double().cpu() for p in parameters)
        head = cls(weight, bias, features.model.n_outputs == 1)
        found, truth = features.forward(take_rows(inputs, slice(PROBE)))
        found, truth = ExplicitPoints(found.cpu().numpy(), None), truth.double().cpu()
        if truth.shape[1] < 2:
            raise ValueError("the last layer must tell classes apart, but there is one logit")
        fits = len(head.mixing) == truth.shape[1]
        if not fits or not torch.allclose(
            head.logits(found).softmax(1), truth.softmax(1), atol=1e-3
        ):
            raise ValueError(
                "the logits are not the outputs W z + b of a last layer, one for each class, so "
                "influence through it is not known"
            )
        return head

    def with_bias(self, features):
        """Features with the 1 that the bias multiplies, if there is one."""
        if not self.has_bias:
            return features
        return torch.cat([features, torch.ones_like(features[:, :1])], 1)

    def logits(self, points):
        """Logits (n, n_classes) of points, in double precision whatever the network's."""
        n_features = self.weight.shape[1] - self.has_bias
        outputs = points.times(self.weight[:, :n_features])
        if self.has_bias:
            outputs = outputs + self.weight[:, n_features]
        return outputs @ self.mixing.mT
