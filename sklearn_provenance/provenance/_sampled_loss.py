"""The loss of a classifier whose index branch is trained on outputs that are drawn.

Shapes in comments: B rows of a batch, D outputs that are drawn, T outputs that a row has alone.
"""

import math

import torch

from ._drawn_outputs import (
    draw_distinct,
    outputs_stood_for,
    sampled_cross_entropy,
    weighted_mean,
)
from ._index import sample_local_targets
from ._training import ProvenanceLoss


class SampledProvenanceLoss(ProvenanceLoss):
    """The loss of :class:`ProvenanceLoss` with sampled softmax in the index branch.

    Its value estimates that of the full softmax; it is the same where all outputs are drawn.

    Parameters
    ----------
    n_negatives : int
        Outputs to draw for each row, at least 2; rows share draws where they share outputs.
    labels : Tensor of shape (n_outputs,)
        Class of each output.
    members, sizes, alpha, mixing, lambda_class, lambda_index, label_smoothing
        As in :class:`ProvenanceLoss`.
    """

    # The largest of all logits is not known.
    index_accuracy = "index_accuracy_among_drawn"
    draws_outputs = True

    def __init__(self, n_negatives, labels, **parameters):
        super().__init__(**parameters)
        self.n_negatives = n_negatives
        self.register_buffer("labels", labels)

    def _index_loss(self, reader, target):
        indexed = target["output"] >= 0
        if not indexed.all():
            reader = reader.take(indexed)
            target = {name: values[indexed] for name, values in target.items()}
        label = target["label"]
        if not len(label):
            return reader.features.new_zeros(())
        own = self._outputs(label, target["local"])  # (B,)
        chosen = [own]
        is_drawn = self.mixing == "sampled"
        if is_drawn:
            chosen.append(self._draw_targets(target, self.alpha))
        elif self.alpha > 0 and self.members is not None:
            chosen.append(self._draw_targets(target, alpha=1))  # another row of the class
        chosen = torch.stack(chosen, 1)  # (B, T)
        place = 1 if is_drawn else 0  # of the target
        chosen_logits, drawn_logits, drawn, counts = self._read(reader, label, chosen, place)

        mixed = {}
        if self.alpha > 0 and not is_drawn:
            mixed["alpha"] = self.alpha
            mixed["mixes"] = self.sizes[label] > 1
            mixed["class_mean"] = self._class_mean(
                label, chosen_logits, drawn_logits, drawn, counts
            )
        losses = sampled_cross_entropy(
            chosen_logits[:, place],
            drawn_logits,
            counts,
            label_smoothing=self.label_smoothing,
            **mixed,
        )

        logits = torch.cat([chosen_logits, drawn_logits], 1).detach()  # (B, T + D)
        largest = logits.argmax(1, keepdim=True)
        guess = torch.cat([chosen, drawn], 1).gather(1, largest)[:, 0]
        return self.index_loss(losses, guess, own, chosen[:, 1] if is_drawn else None)

    def _outputs(self, label, local):
        """Number outputs as the branch does: inside their class, or among all."""
        if self.members is None:
            return local
        return self.members[label, local]

    def _draw_targets(self, target, alpha):
        label = target["label"]
        local = sample_local_targets(target["local"], self.sizes[label], alpha, self.generator)
        return self._outputs(label, local)

    def _read(self, reader, label, chosen, place):
        """Draw outputs, and compute logits of these (B, D) and of chosen ones (B, T).

        ``place`` is the column of ``chosen`` with the targets.

        Returns
        -------
        chosen_logits : Tensor of shape (B, T)
        drawn_logits : Tensor of shape (B, D)
            -inf for outputs that the class of a row does not have.
        drawn : Tensor of shape (B, D)
            The outputs that were drawn.
        counts : Tensor of shape (B, D)
            Outputs that each of them stands for; 0 for the target, and for outputs that the class
            does not have.
        """
        target = chosen[:, place]
        if reader.has_heads:
            drawn = {c: self._draw(self.sizes[c]) for c in label.unique().tolist()}
            chosen_logits, drawn_logits = reader.logits_per_class(label, chosen, drawn)
            table = label.new_full((len(self.sizes), drawn_logits.shape[1]), -1)
            for c, outputs in drawn.items():
                table[c, : len(outputs)] = outputs
            drawn = table[label]
            valid = drawn >= 0
            size = self.sizes[label][:, None]
            counts = outputs_stood_for(drawn, 0, size, valid.sum(1, keepdim=True), target)
        else:
            drawn, low, high, n_drawn = self._draw_from_ranges()  # (D,) each
            chosen_logits, drawn_logits = reader.logits(chosen, drawn)
            counts = outputs_stood_for(drawn, low, high, n_drawn, target)
            valid = torch.ones_like(counts, dtype=torch.bool)
            if self.members is None:
                valid = drawn < self.sizes[label][:, None]
            drawn = drawn.expand(len(label), -1)
        drawn_logits = drawn_logits.masked_fill(~valid, -torch.inf)
        return chosen_logits, drawn_logits, drawn, counts.masked_fill(~valid, 0)

    def _draw(self, n_outputs, n_draws=None):
        device = self.labels.device
        return draw_distinct(n_draws or self.n_negatives, int(n_outputs), self.generator, device)

    def _draw_from_ranges(self):
        """Draw outputs of a layer that all rows share, from ranges that end where a class ends.

        Where all classes share local outputs, a class of K has those below K. Each range gets draws
        in proportion to its length over its end. Every class has at least ``n_negatives`` of them
        then, or all its outputs.

        Returns
        -------
        drawn, low, high, n_drawn : Tensor of shape (D,)
            Outputs, the range low, ..., high - 1 that each is from, and the draws from that range.
        """
        ends = [len(self.labels)]
        if self.members is None:
            ends = self.sizes.unique().tolist()
        parts = []
        low = 0
        for high in ends:
            share = (high - low) / high
            # The target may be one of two draws.
            part = self._draw(high - low, max(2, math.ceil(self.n_negatives * share)))
            about = torch.tensor([low, high, len(part)], device=part.device)
            parts.append(torch.cat([part[None] + low, about[:, None].expand(-1, len(part))]))
            low = high
        return torch.cat(parts, 1)

    def _class_mean(self, label, chosen_logits, drawn_logits, drawn, counts):
        """Estimate the mean logit of the other rows of each row's class, (B,), without bias.

        Draws of the class, however many there are, are a uniform sample of it; so is one more row
        where there are none.
        """
        if self.members is None:
            return weighted_mean(drawn_logits, counts)
        mates = counts * (self.labels[drawn[0]] == label[:, None])  # (B, D)
        mean = weighted_mean(drawn_logits, mates)
        return torch.where(mates.any(1), mean, chosen_logits[:, 1])
