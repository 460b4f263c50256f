"""The loss of a regressor whose index branch is trained on outputs that are drawn.

Shapes in comments: B rows of a batch, D outputs that are drawn, T outputs that a row has alone.
"""

import torch

from ._drawn_outputs import (
    draw_distinct,
    outputs_stood_for,
    sampled_cross_entropy,
    weighted_mean,
)
from ._neighbours import TargetNeighbours, neighbour_mask
from ._regressor_loss import RegressionLoss


class SampledRegressionLoss(RegressionLoss):
    """The loss of :class:`RegressionLoss` with sampled softmax in the index branch.

    Its value estimates that of the full softmax; it is the same where all outputs are drawn.

    Parameters
    ----------
    n_negatives : int
        Outputs to draw at every step, at least 2.
    targets, radii, loss, huber_delta, alpha, mixing, lambda_output, lambda_index, label_smoothing
        As in :class:`RegressionLoss`.
    """

    # The largest of all logits is not known.
    index_accuracy = "index_accuracy_among_drawn"
    draws_outputs = True

    def __init__(self, n_negatives, **parameters):
        super().__init__(**parameters)
        self.n_negatives = n_negatives
        self.neighbours = TargetNeighbours(self.targets)

    def _index_loss(self, reader, own):
        indexed = own >= 0
        if not indexed.all():
            reader = reader.take(indexed)
            own = own[indexed]
        if not len(own):
            return reader.features.new_zeros(())
        chosen = [own]  # (B,) each
        if self.alpha > 0:
            # The target may be a neighbour, or the mean over neighbours is estimated.
            neighbour, exists = self.neighbours.draw(own, self.radii, self.generator)
            chosen.append(neighbour)
        place = 0  # of the target
        if self.mixing == "sampled" and self.alpha > 0:
            mixed = torch.rand(len(own), generator=self.generator, device=own.device) < self.alpha
            chosen[1] = torch.where(mixed, neighbour, own)
            place = 1
        chosen = torch.stack(chosen, 1)  # (B, T)
        n_outputs = len(self.targets)
        drawn = draw_distinct(self.n_negatives, n_outputs, self.generator, own.device)  # (D,)
        chosen_logits, drawn_logits = reader.logits(chosen, drawn)  # (B, T), (B, D)
        n_drawn = torch.full_like(drawn, len(drawn))
        low = torch.zeros_like(drawn)
        high = torch.full_like(drawn, n_outputs)
        counts = outputs_stood_for(drawn, low, high, n_drawn, chosen[:, place])  # (B, D)
        options = {}
        if self.alpha > 0 and place == 0:
            mates = counts * neighbour_mask(self.targets, self.radii, own, drawn)  # (B, D)
            mean = weighted_mean(drawn_logits, mates)
            options["alpha"] = self.alpha
            options["mixes"] = exists
            options["class_mean"] = torch.where(mates.any(1), mean, chosen_logits[:, 1])
        losses = sampled_cross_entropy(
            chosen_logits[:, place],
            drawn_logits,
            counts,
            label_smoothing=self.label_smoothing,
            **options,
        )
        logits = torch.cat([chosen_logits, drawn_logits], 1).detach()  # (B, T + D)
        outputs = torch.cat([chosen, drawn.expand(len(own), -1)], 1)
        guess = outputs.gather(1, logits.argmax(1, keepdim=True))[:, 0]
        target = None
        if self.mixing == "sampled":
            target = chosen[:, place]
        return self.index_loss(losses, guess, own, target)
