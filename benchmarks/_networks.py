"""Networks of the attribution benchmarks and their training, as the papers describe them."""

import os

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_provenance.evaluation import Recipe
from sklearn_provenance.retraining._schedule import compute_logits

MLP_RECIPE = Recipe(lr=0.03, momentum=0.9, weight_decay=1e-3, batch_size=64, max_epochs=20)
PEAK = 5 / 24  # of the triangle: the learning rate rises for 5 of 24 epochs
RESNET_RECIPE = Recipe(
    lr=0.5,
    momentum=0.9,
    weight_decay=5e-4,
    batch_size=512,
    max_epochs=24,
    schedule=lambda step, n: min(step / n / PEAK, (1 - step / n) / (1 - PEAK)),
    precision="bfloat16",
)


def mlp(n_in=784, n_classes=10, seed=0):
    """ReLU network with 512 and 256 hidden units and no biases."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(n_in, 512, bias=False),
        nn.ReLU(),
        nn.Linear(512, 256, bias=False),
        nn.ReLU(),
        nn.Linear(256, n_classes, bias=False),
    )


def small_mlp(seed=None):
    """ReLU network with 128 and 64 hidden units; without a seed the caller has set one."""
    if seed is not None:
        torch.manual_seed(seed)
    layers = nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    return nn.Sequential(*layers)


def logistic_regression(seed=None):
    """One linear layer, as :func:`small_mlp`."""
    if seed is not None:
        torch.manual_seed(seed)
    return nn.Linear(784, 10)


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def resnet9(n_classes=10, seed=0, width=64, channels_last=False):
    """ResNet-9 for images of 32 x 32; of full width it has 6.57 million weights.

    As usual for this network, logits are multiplied by 0.2, here before the last layer, without
    which the learning rate of the paper is too large for it.

    With `channels_last` weights, and what the layers compute, lie so in memory: numbers are the
    same, and training is faster.
    """
    n1, n2, n3, n4 = width, 2 * width, 4 * width, 8 * width
    torch.manual_seed(seed)

    def block(n_in, n_out, pool):
        layers = [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out)]
        return nn.Sequential(*layers, nn.ReLU(), *[nn.MaxPool2d(2)] * pool)

    network = nn.Sequential(
        block(3, n1, 0),
        block(n1, n2, 1),
        Residual(nn.Sequential(block(n2, n2, 0), block(n2, n2, 0))),
        block(n2, n3, 1),
        block(n3, n4, 1),
        Residual(nn.Sequential(block(n4, n4, 0), block(n4, n4, 0))),
        nn.MaxPool2d(4),
        nn.Flatten(),
        Scale(0.2),
        nn.Linear(n4, n_classes, bias=False),
    )
    if channels_last:
        return network.to(memory_format=torch.channels_last)
    return network


def as_inputs(images):
    """Flat rows in [0, 1], single precision."""
    return torch.as_tensor(images.reshape(len(images), -1)).float() / 255


def as_colour(images):
    """Images with channels first, standardised with the pair in common use for CIFAR-10."""
    mean, std = torch.tensor([[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]])
    return ((torch.as_tensor(images).float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def train(network, X, y, recipe=MLP_RECIPE, seed=0, checkpoint=None):
    """SGD with momentum, in the order of rows in which the retraining engine takes them.

    After each epoch the state of training is kept in the file `checkpoint`, if given, from which
    training goes on when it is called again.
    """
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    n_batches = -(-len(X) // recipe.batch_size)
    step, n_steps, first = 0, recipe.max_epochs * n_batches, 0
    if checkpoint is not None and checkpoint.exists():
        kept = torch.load(checkpoint, map_location=X.device, weights_only=True)
        network.load_state_dict(kept["network"])
        optimiser.load_state_dict(kept["optimiser"])
        first = kept["epochs"]
        step = first * n_batches
    network.train()
    for epoch in range(first, recipe.max_epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(X))
        for rows in torch.from_numpy(order).to(X.device).split(recipe.batch_size):
            if recipe.schedule != "constant":
                optimiser.param_groups[0]["lr"] = recipe.lr * recipe.schedule(step, n_steps)
            optimiser.zero_grad()
            F.cross_entropy(compute_logits(recipe, network, X[rows]), y[rows]).backward()
            optimiser.step()
            step += 1
        if checkpoint is not None:
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            state = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
            torch.save(state | {"epochs": epoch + 1}, f"{checkpoint}.new")
            os.replace(f"{checkpoint}.new", checkpoint)
    return network.eval()
