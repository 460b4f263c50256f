"""How a provenance network is trained: the skorch net, its callbacks and its loop.

skorch takes a while to import, so nothing imports this file before a network is built.
"""

import copy
import math
from itertools import islice

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, LRScheduler
from torch.optim.lr_scheduler import LambdaLR
from tqdm.auto import tqdm

from .._utils.arguments import check_weights
from ._layers import recompute_batch_norm
from ._training import ShuffledBatches, WarmupStepDecay, batch_sizes


class EpochLog(Callback):
    """Write losses, accuracies and the first learning rate of each epoch to the history."""

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
    """Show a progress bar over epochs."""

    def on_train_begin(self, net, **kwargs):
        self.bar_ = tqdm(total=net.max_epochs, desc="epochs", unit="epoch")

    def on_epoch_end(self, net, **kwargs):
        last = net.history[-1]
        shown = {}
        for name in ("class_accuracy", "output_loss", "index_accuracy"):
            if name in last:
                shown[name] = f"{last[name]:.3f}"
        self.bar_.set_postfix(shown)
        self.bar_.update()

    def on_train_end(self, net, **kwargs):
        self.bar_.close()
        del self.bar_  # holds a lock, which does not pickle


def _diverged(net, what):
    """Build the error of a training whose weights or losses are no longer finite."""
    lr = net.optimizer_.param_groups[-1]["initial_lr"]
    return ValueError(
        f"training diverged: {what}. Scale the features, or take a smaller lr than {lr:g}"
    )


@torch.no_grad()
def _check_last_step(net, inputs, target):
    """Raise unless weights and the loss of a batch are finite after the last step."""
    loss = float(net.criterion_(net.module_(**inputs), target))
    n_epochs = len(net.history)
    try:
        check_weights(net.module_, "the network")
    except ValueError as error:
        raise _diverged(net, f"weights were NaN or infinite after epoch {n_epochs}") from error
    if not math.isfinite(loss):
        raise _diverged(net, f"the loss was {loss} after epoch {n_epochs}")


def build_net(estimator, module, network, criterion, loss, optimizer, options, device):
    """Build an initialised skorch net for a provenance estimator.

    Parameters
    ----------
    estimator : ProvenanceEstimator
        Has the parameters of training.
    module, criterion, optimizer : type
        Classes of the network, the loss and the optimiser.
    network, loss, options : dict
        Their arguments.
    device : torch.device
        Where to train.

    Returns
    -------
    net : NeuralNet
        With fresh weights.
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
        # With many outputs the plain optimiser takes a third of a step on CPU.
        optimizer__fused=True,
        **{f"optimizer__{name}": value for name, value in options.items()},
    )
    return net.initialize()


def update_training(net, estimator):
    """Give a net the hyperparameters of training that may change between warm starts."""
    net.max_epochs = estimator.max_epochs
    net.batch_size = _batch_size(estimator)
    net.callbacks = _with_log(estimator.callbacks)
    net.initialize_callbacks()


def _batch_size(estimator):
    if estimator.batch_size == "auto":
        return min(max(len(estimator._fit_X) // 10, 16), 128)
    return estimator.batch_size


def _with_log(callbacks):
    """Return copies of a user's callbacks, after the one that writes the history."""
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
    rows : TrainingDataset
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
    net.module_.draws_outputs = net.criterion_.draws_outputs
    try:
        net.partial_fit(rows)
        batches = ShuffledBatches(rows, net.batch_size)
        recompute_batch_norm(net.module_, (inputs for inputs, _ in islice(batches, 10)))
        net.module_.eval()
        _check_last_step(net, *next(iter(batches)))
    finally:
        net.module_.set_generator(None)
        net.criterion_.generator = None
        net.module_.draws_outputs = False
        net.criterion_.pop_means()
        net.callbacks_ = net.callbacks_[: -len(extra)]
    interrupted = len(net.history) > 0 and "train_loss" not in net.history[-1]
    if interrupted:
        net.history.pop()
    return interrupted
