"""Batches of rows, losses and learning rates, by which a provenance network is trained.

[PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability".
"""

import torch
from torch import nn
from torch.utils.data import Dataset

from ._index import index_cross_entropy, sample_local_targets


class TrainingDataset(Dataset):
    """Rows and targets on the device.

    Parameters
    ----------
    inputs : dict of str to Tensor of shape (n, ...)
        Arguments of the network's forward pass; "x" holds the rows as stored.
    target : dict of str to Tensor of shape (n, ...)
        What the loss compares with.
    device : torch.device
        Where training runs.
    generator : torch.Generator
        Source of the order of rows.
    """

    def __init__(self, inputs, target, device, generator):
        self.inputs = {name: values.to(device) for name, values in inputs.items()}
        self.target = {name: values.to(device) for name, values in target.items()}
        self.device = device
        self.generator = generator

    def __len__(self):
        return len(self.inputs["x"])

    def __getitem__(self, rows):
        inputs = {name: values[rows] for name, values in self.inputs.items()}
        target = {name: values[rows] for name, values in self.target.items()}
        return inputs, target


class ShuffledBatches:
    """Batches of a :class:`TrainingDataset` in a new random order every epoch."""

    def __init__(self, dataset, batch_size):
        self.dataset = dataset
        self.batch_size = batch_size

    def __iter__(self):
        order = torch.randperm(len(self.dataset), generator=self.dataset.generator)
        order = order.to(self.dataset.device)
        for rows in order.split(batch_sizes(len(order), self.batch_size)):
            yield self.dataset[rows]


def batch_sizes(n_rows, batch_size):
    """Return the sizes of the batches of an epoch.

    A last batch of one row, which batch normalisation cannot use, goes into the one before.
    """
    n_full, rest = divmod(n_rows, batch_size)
    sizes = [batch_size] * n_full
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest > 0:
        sizes.append(rest)
    return sizes


class TrackedLoss(nn.Module):
    """A loss that adds up its terms, and the accuracies of its heads, over an epoch.

    Attributes
    ----------
    generator : torch.Generator or None
        Source of randomness in a step.
    index_accuracy : str
        What the accuracy of the index branch is called.
    """

    index_accuracy = "index_accuracy"
    draws_outputs = False  # whether the index loss reads outputs that it draws

    def __init__(self):
        super().__init__()
        self.generator = None
        self._totals = {}

    def pop_means(self):
        """Return mean losses in nats and accuracies since the last call."""
        means = {}
        for name, (total, count) in self._totals.items():
            if count:
                means[name] = float(total) / float(count)
        self._totals = {}
        return means

    def class_loss(self, logits, label):
        """Compute the mean cross entropy of classes."""
        loss = nn.functional.cross_entropy(logits, label)
        self.add("class_loss", loss.detach() * len(label), len(label))
        self.add("class_accuracy", (logits.detach().argmax(1) == label).sum(), len(label))
        return loss

    def index_loss(self, losses, guess, own, drawn=None):
        """Compute the mean index loss of the rows that have an output.

        Parameters
        ----------
        losses : Tensor of shape (n,)
            Index loss of each row in nats.
        guess : Tensor of shape (n,)
            Position of the largest logit.
        own : Tensor of shape (n,)
            Position of the row itself; -1 for a row without an output.
        drawn : Tensor of shape (n,), default=None
            Position of the sampled target, if targets were drawn.

        Returns
        -------
        loss : Tensor of shape ()
            0 if no row has an output.
        """
        indexed = own >= 0
        n_indexed = indexed.sum()
        losses = losses.masked_fill(~indexed, 0)
        self.add("index_loss", losses.detach().sum(), n_indexed)
        self.add(self.index_accuracy, ((guess == own) & indexed).sum(), n_indexed)
        if drawn is not None:
            self.add("sampled_target_accuracy", ((guess == drawn) & indexed).sum(), n_indexed)
        return losses.sum() / n_indexed.clamp(min=1)

    def add(self, name, total, count):
        """Add to the sum of a term and to the number of rows that it is over."""
        old_total, old_count = self._totals.get(name, (0, 0))
        self._totals[name] = (old_total + total, old_count + count)


class ProvenanceLoss(TrackedLoss):
    """Weighted sum of class and index cross entropy, in nats ([PN] Eq. 2).

    Parameters
    ----------
    members : Tensor of shape (n_classes, M) or None
        Outputs of each class, -1 pads; None where index logits are local.
    sizes : Tensor of shape (n_classes,)
        Outputs of each class.
    alpha, mixing, lambda_class, lambda_index, label_smoothing
        As in :class:`ProvenanceClassifier`.
    """

    def __init__(self, members, sizes, alpha, mixing, lambda_class, lambda_index, label_smoothing):
        super().__init__()
        self.register_buffer("members", members)
        self.register_buffer("sizes", sizes)
        self.alpha = alpha
        self.mixing = mixing
        self.lambda_class = lambda_class
        self.lambda_index = lambda_index
        self.label_smoothing = label_smoothing

    def forward(self, output, target):
        loss = self.lambda_index * self._index_loss(output.index_logits, target)
        if output.class_logits is not None:
            loss = loss + self.lambda_class * self.class_loss(output.class_logits, target["label"])
        return loss

    def _index_loss(self, logits, target):
        label = target["label"]  # (B,), as all that follow
        own = target["output"]
        local = target["local"]
        sizes = self.sizes[label]
        members = None
        if self.members is not None:
            members = self.members[label]  # (B, M)
        targets = None
        if self.mixing == "sampled":
            targets = sample_local_targets(local, sizes, self.alpha, self.generator)
        losses = index_cross_entropy(
            logits, local, sizes, self.alpha, self.label_smoothing, targets, members
        )
        # Positions of the largest logit, of the row itself and of its target are compared: all are
        # local, or all are outputs.
        drawn = targets
        if members is None:
            own = local.where(own >= 0, -1)
        elif targets is not None:
            drawn = members.gather(1, targets[:, None])[:, 0]
        return self.index_loss(losses, logits.detach().argmax(1), own, drawn)


class WarmupStepDecay:
    """Factor of the learning rate: linear warm-up, then a step decay ([PN] 7.1.2)."""

    def __init__(self, steps_per_epoch, warmup_epochs, steps_done=0, factor=0.6, every=8):
        self.steps_per_epoch = steps_per_epoch
        self.warmup_epochs = warmup_epochs
        self.steps_done = steps_done
        self.factor = factor
        self.every = every

    def __call__(self, step):
        step += self.steps_done
        warmup = self.warmup_epochs * self.steps_per_epoch
        if step < warmup:
            return (step + 1) / warmup
        return self.factor ** ((step - warmup) // (self.every * self.steps_per_epoch))
