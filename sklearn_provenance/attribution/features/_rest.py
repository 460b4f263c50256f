"""What the loss of a row knows of the classes beside its margin, as another measurement."""

from dataclasses import dataclass

import torch

from ...information._softmax import rest_of_curvature


@dataclass(frozen=True)
class RestOfCurvature:
    """Measure rows, by number, along random directions of the curvature beside that of margins.

    The sum of the squares of these gradients is on average the part of the Gauss-Newton matrix that
    gradients of margins do not have; see :func:`rest_of_curvature`.

    Parameters
    ----------
    labels : Tensor of shape (n,), int64
        Positions of the classes of the training rows.
    signs : Tensor of shape (n, n_classes)
        Random signs of each row.
    """

    labels: torch.Tensor
    signs: torch.Tensor

    @classmethod
    def drawn(cls, labels, n_classes):
        """Draw the signs, the same each time."""
        generator = torch.Generator().manual_seed(0)
        signs = torch.randint(0, 2, (len(labels), n_classes), generator=generator) * 2 - 1
        return cls(torch.as_tensor(labels), signs)

    def __call__(self, logits, rows):
        """Compute scalars (B,) of logits (B, C) of the rows with these numbers (B,)."""
        at = rows.to(self.labels.device)
        labels = self.labels[at].to(logits.device)
        signs = self.signs[at].to(logits)
        return (logits * rest_of_curvature(logits.detach(), labels, signs)).sum(1)
