"""The loss of a provenance autoencoder.

[PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability".
"""

import math

import torch
from torch import nn

from ._index import index_cross_entropy
from ._training import TrackedLoss


class VAELoss(TrackedLoss):
    """Weighted sum of what generates and what names, in nats ([PN] Eq. 3).

    The negative log-likelihood is summed over the values of a row and the divergence over latent
    dimensions, as the evidence lower bound has them; all four terms are averaged over the batch.

    Parameters
    ----------
    sizes : Tensor of shape (n_classes,)
        Outputs of each class.
    lambda_gen, lambda_cls
        As in :class:`ProvenanceVAE`.
    """

    def __init__(self, sizes, lambda_gen, lambda_cls):
        super().__init__()
        self.register_buffer("sizes", sizes)
        self.lambda_gen = lambda_gen
        self.lambda_cls = lambda_cls

    def forward(self, output, target):
        label, local = target["label"], target["local"]
        terms = {
            "reconstruction_loss": negative_log_likelihood(output),
            "kl_loss": divergence(output.mean, output.log_variance),
            "index_loss": index_cross_entropy(output.index_logits, local, self.sizes[label]),
        }
        for name, values in terms.items():
            self.add(name, values.detach().sum(), len(values))
        right = (output.index_logits.detach().argmax(1) == local).sum()
        self.add("index_accuracy", right, len(local))
        named = self.class_loss(output.class_logits, label) + terms["index_loss"].mean()
        generated = (terms["reconstruction_loss"] + terms["kl_loss"]).mean()
        return self.lambda_gen * generated + self.lambda_cls * named


def negative_log_likelihood(output):
    """-log p(x | z) of each row (B,) in nats, at the network's scale."""
    inputs, image = output.inputs.flatten(1), output.image.flatten(1)
    if output.log_noise is None:
        losses = nn.functional.binary_cross_entropy_with_logits(image, inputs, reduction="none")
        return losses.sum(1)
    squares = (inputs - image).square().sum(1) * (-output.log_noise).exp()
    return (squares + inputs.shape[1] * (output.log_noise + math.log(2 * math.pi))) / 2


def divergence(mean, log_variance):
    """KL(N(mean, exp(log_variance)) || N(0, I)) of each row (B,) in nats."""
    return (mean.square() + torch.expm1(log_variance) - log_variance).sum(1) / 2
