"""The network of the attribution benchmarks, and its training: section 4 of the paper."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

RECIPE = {"lr": 0.03, "momentum": 0.9, "weight_decay": 1e-3}


def mlp(n_classes=10, seed=0):
    """784-512-256-10 ReLU network without biases."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(784, 512, bias=False),
        nn.ReLU(),
        nn.Linear(512, 256, bias=False),
        nn.ReLU(),
        nn.Linear(256, n_classes, bias=False),
    )


def as_inputs(images):
    """Flat rows in [0, 1], single precision."""
    return torch.as_tensor(images.reshape(len(images), -1)).float() / 255


def train(network, X, y, epochs, batch_size=64, seed=0):
    """SGD with momentum, in the order of rows in which the retraining engine takes them."""
    optimiser = torch.optim.SGD(network.parameters(), **RECIPE)
    network.train()
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(X))
        for rows in torch.from_numpy(order).split(batch_size):
            optimiser.zero_grad()
            F.cross_entropy(network(X[rows]), y[rows]).backward()
            optimiser.step()
    return network.eval()
