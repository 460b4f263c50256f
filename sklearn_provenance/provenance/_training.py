"""How a provenance network is trained: the skorch net and its parts.

[PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability".
"""

import copy
import math
from itertools import islice

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, LRScheduler
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from .._utils.arguments import check_weights
from ._index import index_cross_entropy, sample_local_targets
from ._layers import settle_statistics


class DeviceRows(Dataset):
    """Rows and targets, moved to the device once.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
        Rows as stored.
    label, output, local : Tensor of shape (n,)
        Encoded class, output that stands for the row (-1 for none), and its position in the class.
    device : torch.device
        Where training runs.
    generator : torch.Generator
        Source of the order of rows.
    """

    def __init__(self, x, label, output, local, device, generator):
        self.x, self.label, self.output, self.local = (
            t.to(device) for t in (x, label, output, local)
        )
        self.generator = generator

    def __len__(self):
        return len(self.x)

    def __getitem__(self, rows):
        label = self.label[rows]
        inputs = {"x": self.x[rows], "label": label}
        return inputs, {"label": label, "output": self.output[rows], "local": self.local[rows]}


class ShuffledBatches:
    """Batches of a :class:`DeviceRows` in a new random order every epoch."""

    def __init__(self, dataset, batch_size):
        self.dataset = dataset
        self.batch_size = batch_size

    def __iter__(self):
        order = torch.randperm(len(self.dataset), generator=self.dataset.generator)
        order = order.to(self.dataset.x.device)
        for rows in order.split(batch_sizes(len(order), self.batch_size)):
            yield self.dataset[rows]


def batch_sizes(n_rows, batch_size):
    """Sizes of the batches of an epoch; batch normalisation cannot use a last one of one row."""
    full, rest = divmod(n_rows, batch_size)
    sizes = [batch_size] * full + [rest] * (rest > 0)
    if sizes[-1] == 1 and len(sizes) > 1:
        sizes[-2:] = [sizes[-2] + 1]
    return sizes


class TrackedLoss(nn.Module):
    """A loss that adds up its terms, and the accuracies of its heads, over an epoch.

    Attributes
    ----------
    generator : torch.Generator or None
        Source of randomness in a step.
    """

    def __init__(self):
        super().__init__()
        self.generator = None
        self._totals = {}

    def pop_means(self):
        """Mean losses in nats and accuracies since the last call."""
        means = {name: float(total) / float(n) for name, (total, n) in self._totals.items() if n}
        self._totals = {}
        return means

    def class_loss(self, logits, label):
        """Mean cross entropy of classes."""
        loss = nn.functional.cross_entropy(logits, label)
        self.add("class_loss", loss.detach() * len(label), len(label))
        self.add("class_accuracy", (logits.detach().argmax(1) == label).sum(), len(label))
        return loss

    def add(self, name, total, count):
        """Add to the sum of a term and to the number of rows that it is over."""
        old_total, old_count = self._totals.get(name, (0, 0))
        self._totals[name] = (old_total + total, old_count + count)


class ProvenanceLoss(TrackedLoss):
    """Weighted sum of class and index cross entropy, in nats ([PN] Eq. 2).

    Parameters
    ----------
    members : Tensor of shape (n_classes, M) or None
        Outputs of each class, -1 pads; None where index logits are local already.
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
        label, own, local = target["label"], target["output"], target["local"]
        indexed = own >= 0
        n_indexed = indexed.sum()
        sizes = self.sizes[label]
        targets = None
        if self.mixing == "sampled":
            targets = sample_local_targets(local, sizes, self.alpha, self.generator)
        members = None if self.members is None else self.members[label]  # (B, M)
        losses = index_cross_entropy(
            logits, local, sizes, self.alpha, self.label_smoothing, targets, members
        ).masked_fill(~indexed, 0)

        self.add("index_loss", losses.detach().sum(), n_indexed)
        guess = logits.detach().argmax(1)
        right = guess == (local if self.members is None else own)
        self.add("index_accuracy", (right & indexed).sum(), n_indexed)
        if targets is not None:
            drawn = targets if members is None else members.gather(1, targets[:, None])[:, 0]
            self.add("sampled_target_accuracy", ((guess == drawn) & indexed).sum(), n_indexed)
        return losses.sum() / n_indexed.clamp(min=1)


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


class EpochLog(Callback):
    """Writes losses, accuracies and the first learning rate of each epoch to the history."""

    def on_epoch_begin(self, net, **kwargs):
        # The last group is the one that lr_index does not concern.
        net.history.record("lr", net.optimizer_.param_groups[-1]["lr"])

    def on_epoch_end(self, net, **kwargs):
        for name, value in net.criterion_.pop_means().items():
            net.history.record(name, value)
        loss = net.history[-1]["train_loss"]
        if not math.isfinite(loss):
            raise _diverged(net, f"the loss was {loss} in epoch {len(net.history)}")


class Progress(Callback):
    """A progress bar over epochs."""

    def on_train_begin(self, net, **kwargs):
        self.bar_ = tqdm(total=net.max_epochs, desc="epochs", unit="epoch")

    def on_epoch_end(self, net, **kwargs):
        last = net.history[-1]
        names = [name for name in ("class_accuracy", "index_accuracy") if name in last]
        self.bar_.set_postfix({name: f"{last[name]:.3f}" for name in names})
        self.bar_.update()

    def on_train_end(self, net, **kwargs):
        self.bar_.close()
        del self.bar_  # holds a lock, which does not pickle


def _diverged(net, what):
    lr = net.optimizer_.param_groups[-1]["initial_lr"]
    return ValueError(
        f"training diverged: {what}. Scale the features, or take a smaller lr than {lr:g}"
    )


@torch.no_grad()
def _check_last_step(net, inputs, target):
    """Raise unless weights and the loss of a batch are finite after the last step."""
    net.module_.eval()
    loss = float(net.criterion_(net.module_(**inputs), target))
    try:
        check_weights(net.module_, "the network")
    except ValueError as error:
        raise _diverged(net, f"after epoch {len(net.history)}, {error}") from error
    if not math.isfinite(loss):
        raise _diverged(net, f"the loss was {loss} after epoch {len(net.history)}")


def build_net(estimator, module, network, criterion, loss, optimizer, options, device):
    """An initialised skorch net for a provenance estimator.

    ``network``, ``loss`` and ``options`` are arguments of the module, the criterion and the
    optimiser.
    """
    net = NeuralNet(
        module,
        criterion=criterion,
        optimizer=optimizer,
        iterator_train=ShuffledBatches,
        train_split=None,  # every row has an index: none may be held out
        batch_size=_batch_size(estimator),
        max_epochs=estimator.max_epochs,
        callbacks=_with_log(estimator.callbacks),
        callbacks__print_log=None,
        callbacks__valid_loss=None,
        device=device,
        verbose=0,
        **{f"module__{name}": value for name, value in network.items()},
        **{f"criterion__{name}": value for name, value in loss.items()},
        # Fused: a third of a step on CPU goes to the plain optimiser when there are many outputs.
        **{f"optimizer__{name}": value for name, value in {**options, "fused": True}.items()},
    )
    return net.initialize()


def update_training(net, estimator):
    """Bring hyperparameters of training that may change between warm starts to a net."""
    net.max_epochs, net.batch_size = estimator.max_epochs, _batch_size(estimator)
    net.callbacks = _with_log(estimator.callbacks)
    net.initialize_callbacks()


def _batch_size(estimator):
    if estimator.batch_size == "auto":
        return min(max(len(estimator._fit_X) // 10, 16), 128)
    return estimator.batch_size


def _with_log(callbacks):
    """Copies of a user's callbacks behind our own."""
    callbacks = callbacks or []
    if not all(isinstance(callback, Callback) for callback in callbacks):
        raise TypeError(f"callbacks must be instances of skorch callbacks; got {callbacks!r}")
    return [EpochLog(), *copy.deepcopy(callbacks)]


def train(net, rows, step_generator, warmup_epochs, decay_epochs, progress):
    """Train for ``net.max_epochs`` from where the net stands.

    Parameters
    ----------
    net : NeuralNet
        From :func:`build_net`.
    rows : DeviceRows
        Training data.
    step_generator : torch.Generator
        Source of dropout and sampled targets, on the net's device.
    warmup_epochs : int
        Epochs of the warm-up.
    decay_epochs : int or inf
        Epochs between decays of the learning rate.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    interrupted : bool
        Whether training stopped inside an epoch, which is then not in the history.
    """
    steps = len(batch_sizes(len(rows), net.batch_size))
    done = len(net.history)
    schedule = LRScheduler(
        policy=LambdaLR,
        lr_lambda=WarmupStepDecay(steps, warmup_epochs, done * steps, every=decay_epochs),
        step_every="batch",
        event_name=None,
    )
    extra = [("schedule", schedule.initialize())]
    if progress:
        extra.append(("progress", Progress().initialize()))
    net.callbacks_ = net.callbacks_ + extra
    net.module_.set_generator(step_generator)
    net.criterion_.generator = step_generator
    try:
        net.partial_fit(rows)
        batches = ShuffledBatches(rows, net.batch_size)
        settle_statistics(net.module_, (inputs for inputs, _ in islice(batches, 10)))
        _check_last_step(net, *next(iter(batches)))
    finally:
        net.module_.set_generator(None)
        net.criterion_.generator = None
        net.module_.eval()
        net.criterion_.pop_means()
        net.callbacks_ = net.callbacks_[: -len(extra)]
    interrupted = len(net.history) > 0 and "train_loss" not in net.history[-1]
    if interrupted:
        net.history.pop()
    return interrupted
