"""The loss of a provenance autoencoder.

Shapes in comments and docstrings: B rows of a batch.
[PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability".
"""

import math

import torch
from torch import nn

from ._index import index_cross_entropy
from ._training import TrackedLoss


class VAELoss(TrackedLoss):
    """Weighted sum of the losses of generating and of naming, in nats ([PN] Eq. 3).

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
        label = target["label"]
        local = target["local"]
        reconstruction = negative_log_likelihood(output.inputs, output.image, output.log_noise)
        kl = divergence(output.mean, output.log_variance)  # (B,), as the terms before and after
        index_loss = index_cross_entropy(output.index_logits, local, self.sizes[label])
        self.add("reconstruction_loss", reconstruction.detach().sum(), len(label))
        self.add("kl_loss", kl.detach().sum(), len(label))
        self.add("index_loss", index_loss.detach().sum(), len(label))
        right = output.index_logits.detach().argmax(1) == local
        self.add("index_accuracy", right.sum(), len(label))
        named = self.class_loss(output.class_logits, label) + index_loss.mean()
        generated = (reconstruction + kl).mean()
        return self.lambda_gen * generated + self.lambda_cls * named


def negative_log_likelihood(inputs, image, log_noise):
    """Compute -log p(x | z) of each row (B,) in nats, at the scale of the network's inputs.

    Parameters
    ----------
    inputs : Tensor of shape (B, ...)
        x.
    image : Tensor of shape (B, ...)
        Logits of a Bernoulli, or means of a Gaussian distribution.
    log_noise : Tensor of shape () or None
        Log variance of the Gaussian; None for a Bernoulli.
    """
    inputs = inputs.flatten(1)
    image = image.flatten(1)
    if log_noise is None:
        losses = nn.functional.binary_cross_entropy_with_logits(image, inputs, reduction="none")
        return losses.sum(1)
    squares = (inputs - image).square().sum(1) * (-log_noise).exp()
    return (squares + inputs.shape[1] * (log_noise + math.log(2 * math.pi))) / 2


def divergence(mean, log_variance):
    """Compute KL(N(mean, exp(log_variance)) || N(0, I)) of each row (B,) in nats."""
    return (mean.square() + torch.expm1(log_variance) - log_variance).sum(1) / 2
