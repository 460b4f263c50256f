"""Backdoor retrieval: does attribution find the training images that carry the trigger?

Protocol of the paper: every class k has a trigger, 3 x 3 black and white pixels in the bottom right
corner, in 50 of its training images, whose label becomes k + 1; 100 test images with the trigger of
their class are explained at k + 1 and should find the 50. `--quick`: 15000 Fashion-MNIST images and
the 784-512-256-10 network. In full: CIFAR-10 and ResNet-9 as well, for which a GPU is wanted.
Two cores carry `--data cifar10 --n-train 7500 --width 16`, a quarter of ResNet-9's channels.

Poisoning, weights and order of training have the seed of the line. "NTK" is the parameterisation of
that name, which the paper applies to trained networks for attribution. InfoLoss and, for ResNet-9,
InfoGain work on sketched features, K = 4096; RelatIF with K = 2048. `--store FOLDER` keeps the
trained networks, so that the script may be stopped and started again.
"""

import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _common import DEVICE, Results, parse, parser
from _methods import baselines, information, sketch
from _networks import MLP_RECIPE, RESNET_RECIPE, as_colour, as_inputs, mlp, resnet9, train

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor
from sklearn_provenance.datasets import (
    apply_trigger,
    load_cifar10,
    load_fashion_mnist,
    poison_backdoor,
)
from sklearn_provenance.evaluation import backdoor_retrieval

CASES = {
    "fashion_mnist": (load_fashion_mnist, 15_000, as_inputs, MLP_RECIPE, {}),
    "cifar10": (load_cifar10, 50_000, as_colour, RESNET_RECIPE, {"features": sketch()}),
}
N_PER_CLASS, N_QUERIES = 50, 100


def main():
    arguments = parser(__doc__, "Fashion-MNIST alone")
    arguments.add_argument("--data", nargs="+", choices=CASES, default=list(CASES))
    arguments.add_argument("--n-train", type=int, default=None, help="default: 15000 and 50000")
    arguments.add_argument("--width", type=int, default=64, help="of ResNet-9's first layer")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--methods", nargs="+", default=None, help="default: all")
    arguments.add_argument("--store", type=Path, default=None)
    options = parse(arguments)
    results = Results("backdoor", ["data", "n_train", "network", "method", "seed"])
    for data in ["fashion_mnist"] if options.quick else options.data:
        load, n_train, as_tensor, recipe, features = CASES[data]
        n_train = options.n_train or n_train
        if data == "cifar10":
            network_name, make = f"ResNet-9, {options.width}", partial(resnet9, width=options.width)
        else:
            network_name, make = "MLP", mlp
        images, labels = load("train", return_X_y=True)
        test_images, test_labels = load("test", return_X_y=True)
        for seed in options.seeds:
            attack = poison_backdoor(
                images[:n_train], labels[:n_train], n_per_class=N_PER_CLASS, random_state=seed
            )
            X, y = as_tensor(attack.data).to(DEVICE), attack.target
            path = options.store and options.store / f"{data}-{n_train}-{network_name}-{seed}.pt"
            network = trained(make(seed=seed).to(DEVICE), X, y, recipe, seed, path)
            with torch.no_grad():
                logits = [network(part.to(DEVICE)) for part in as_tensor(test_images).split(1000)]
            clean = np.mean(torch.cat(logits).argmax(1).cpu().numpy() == test_labels)
            rows = np.random.default_rng(seed).permutation(len(test_labels))[:N_QUERIES]
            base = test_labels[rows]
            queries = as_tensor(apply_trigger(test_images[rows], base, attack.triggers))
            relevant = attack.base_class == base[:, None]
            for name, attributor in studied(network, seed, features).items():
                case = {"data": data, "n_train": n_train, "network": network_name}
                case |= {"method": name, "seed": seed}
                if results.has(**case) or name not in (options.methods or [name]):
                    continue
                start, cpu = time.perf_counter(), time.process_time()
                result = backdoor_retrieval(
                    {name: attributor.fit(X, y)}, queries, (base + 1) % 10, relevant
                )
                results.add(
                    **case,
                    recall=round(float(result.recall.mean()), 4),
                    mrr=round(float(result.reciprocal_rank.mean()), 4),
                    attack_success=round(float(result.attack_success[0]), 4),
                    clean_accuracy=round(float(clean), 4),
                    seconds=round(time.perf_counter() - start, 1),
                    cpu_seconds=round(time.process_time() - cpu, 1),
                )


def studied(network, seed, features):
    ntk = {"ntk_parameterization": True}
    if features:
        informed = information(network, sketched=False, **features)
    else:
        informed = information(network)
    return {
        **baselines(network, seed),
        **informed,
        "InfoGain, NTK": InfoGainAttributor(network, **ntk, **features),
        "InfoLoss, NTK": InfoLossAttributor(network, **ntk, features=sketch()),
    }


def trained(network, X, y, recipe, seed, path):
    """The network of `path`, else trained, and kept there if there is a path."""
    if path is not None and path.exists():
        network.load_state_dict(torch.load(path, weights_only=True))
        return network.eval()
    network = train(network, X, torch.as_tensor(y, device=DEVICE), recipe, seed)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), path)
    return network


if __name__ == "__main__":
    main()
