"""Images of the paper on attribution by information, and the networks that it trains on them."""

from dataclasses import dataclass
from functools import partial

import torch
from _common import DEVICE
from _networks import MLP_RECIPE, RESNET_RECIPE, as_colour, as_inputs, mlp, resnet9

from sklearn_provenance.datasets import load_cifar10, load_fashion_mnist

N_TRAIN = {"fashion_mnist": 15_000, "cifar10": 50_000}


@dataclass
class Images:
    """The first `n_train` training images and all test images of a set, as bytes.

    `as_tensor` makes what the network takes, `make(seed=)` makes the network, and copies follow
    `recipe`.
    """

    data: str
    n_train: int | None = None
    width: int = 64  # of ResNet-9's first layer

    def __post_init__(self):
        self.n_train = self.n_train or N_TRAIN[self.data]
        if self.data == "cifar10":
            load, self.as_tensor, self.recipe = load_cifar10, as_colour, RESNET_RECIPE
            self.make = partial(resnet9, width=self.width, channels_last=True)
            self.network = f"ResNet-9, {self.width}"
        else:
            load, self.as_tensor, self.recipe = load_fashion_mnist, as_inputs, MLP_RECIPE
            self.make, self.network = mlp, "MLP"
        images, y = load("train", return_X_y=True)
        self.images, self.y = images[: self.n_train], y[: self.n_train]
        self.test_images, self.test_y = load("test", return_X_y=True)

    def inputs(self):
        """Training images and labels on the device."""
        y = torch.as_tensor(self.y, device=DEVICE)
        return self.as_tensor(self.images).to(DEVICE), y

    def checkpoint(self, folder, study, seed, epochs=None):
        """File in a folder that keeps the network of a study; None without a folder."""
        if folder is None:
            return None
        epochs = epochs or self.recipe.max_epochs
        return folder / f"{study}-{self.data}-{self.n_train}-{self.network}-{epochs}-{seed}.pt"


def add_arguments(arguments):
    arguments.add_argument("--data", nargs="+", choices=N_TRAIN, default=list(N_TRAIN))
    arguments.add_argument("--n-train", type=int, default=None, help="default: 15000 and 50000")
    arguments.add_argument("--width", type=int, default=64, help="of ResNet-9's first layer")


def predict(network, X):
    """Classes of images on any device."""
    with torch.no_grad():
        logits = [network(part.to(DEVICE)) for part in X.split(1000)]
    return torch.cat(logits).argmax(1).cpu().numpy()
