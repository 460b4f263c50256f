"""The loss of a classifier whose index branch is trained on outputs that are drawn.

Shapes in comments: B rows of a batch, D outputs that are drawn, T outputs that a row has alone.
"""

import torch

from ._drawn_outputs import draw_distinct, mean_of, sampled_cross_entropy
from ._index import sample_local_targets
from ._training import ProvenanceLoss


class SampledProvenanceLoss(ProvenanceLoss):
    """The loss of :class:`ProvenanceLoss` with sampled softmax in the index branch.

    Its value estimates that of the full softmax; it is the same where all outputs are drawn.

    Parameters
    ----------
    n_negatives : int
        Outputs to draw, at least 2. In a class-conditional network each class of a batch draws as
        many of its own.
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
        chosen_logits, drawn_logits, drawn = self._read(reader, label, chosen)

        place = 1 if is_drawn else 0  # of the target
        others = (drawn >= 0) & (drawn != chosen[:, [place]])  # (B, D)
        mixed = {}
        if self.alpha > 0 and not is_drawn:
            mixed["alpha"] = self.alpha
            mixed["mixes"] = self.sizes[label] > 1
            mixed["class_mean"] = self._class_mean(
                label, chosen_logits, drawn_logits, drawn, others
            )
        losses = sampled_cross_entropy(
            chosen_logits[:, place],
            drawn_logits,
            others,
            self._n_outputs(label),
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
        return self.members[label].gather(1, local[:, None])[:, 0]

    def _n_outputs(self, label):
        """Count the outputs that the branch ranges over for rows of a class, (B,)."""
        if self.members is None:
            return self.sizes[label]
        return torch.full_like(label, len(self.labels))

    def _draw_targets(self, target, alpha):
        label = target["label"]
        local = sample_local_targets(target["local"], self.sizes[label], alpha, self.generator)
        return self._outputs(label, local)

    def _read(self, reader, label, chosen):
        """Draw outputs, and compute logits of these (B, D) and of chosen ones (B, T).

        Returns the logits of chosen outputs, of drawn ones, and the latter's numbers (B, D), of
        which -1 pads.
        """
        if self.members is not None:
            drawn = self._draw(len(self.labels), label.device)  # (D,)
            return *reader.logits(chosen, drawn), drawn.expand(len(label), -1)
        drawn = {c: self._draw(int(self.sizes[c]), label.device) for c in label.unique().tolist()}
        logits = reader.logits_per_class(label, chosen, drawn)
        table = torch.full((len(self.sizes), logits[1].shape[1]), -1, device=label.device)
        for c, outputs in drawn.items():
            table[c, : len(outputs)] = outputs
        return *logits, table[label]

    def _draw(self, n_outputs, device):
        return draw_distinct(self.n_negatives, n_outputs, self.generator, device)

    def _class_mean(self, label, chosen_logits, drawn_logits, drawn, others):
        """Estimate the mean logit of the other rows of each row's class, (B,), without bias.

        Draws of the class, however many there are, are a uniform sample of it; so is one more row
        where there are none.
        """
        if self.members is None:
            return mean_of(drawn_logits, others)
        mates = others & (self.labels[drawn[0]] == label[:, None])  # (B, D)
        return torch.where(mates.any(1), mean_of(drawn_logits, mates), chosen_logits[:, 1])
