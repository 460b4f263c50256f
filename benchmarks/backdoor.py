"""Backdoor retrieval: does attribution find the training images that carry the trigger?

Protocol of the paper: every class k has a trigger, 3 x 3 black and white pixels in the bottom right
corner, in 50 of its training images, whose label becomes k + 1; 100 test images with the trigger of
their class are explained at k + 1 and should find the 50. `--quick`: 15000 Fashion-MNIST images and
the 784-512-256-10 network. In full: CIFAR-10 and ResNet-9 as well, for which a GPU is wanted.

Poisoning, weights and order of training have the seed of the line. "NTK" is the parameterisation of
that name, which the paper applies to trained networks for attribution. InfoLoss and, for ResNet-9,
InfoGain work on sketched features, K = 4096; RelatIF with K = 2048.
"""

import time

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
    "fashion_mnist": (load_fashion_mnist, 15_000, as_inputs, mlp, MLP_RECIPE, {}),
    "cifar10": (
        load_cifar10,
        50_000,
        as_colour,
        resnet9,
        RESNET_RECIPE,
        {"features": sketch()},
    ),
}
N_PER_CLASS, N_QUERIES = 50, 100


def main():
    arguments = parser(__doc__, "Fashion-MNIST alone")
    arguments.add_argument("--seeds", type=int, default=3)
    options = parse(arguments)
    results = Results("backdoor", ["data", "method", "seed"])
    for data in ("fashion_mnist", "cifar10")[: 1 if options.quick else None]:
        load, n_train, as_tensor, make, recipe, features = CASES[data]
        images, labels = load("train", return_X_y=True)
        test_images, test_labels = load("test", return_X_y=True)
        for seed in range(options.seeds):
            attack = poison_backdoor(
                images[:n_train], labels[:n_train], n_per_class=N_PER_CLASS, random_state=seed
            )
            X, y = as_tensor(attack.data).to(DEVICE), attack.target
            network = train(
                make(seed=seed).to(DEVICE), X, torch.as_tensor(y, device=DEVICE), recipe, seed
            )
            with torch.no_grad():
                logits = [network(part.to(DEVICE)) for part in as_tensor(test_images).split(1000)]
            clean = np.mean(torch.cat(logits).argmax(1).cpu().numpy() == test_labels)
            rows = np.random.default_rng(seed).permutation(len(test_labels))[:N_QUERIES]
            base = test_labels[rows]
            queries = as_tensor(apply_trigger(test_images[rows], base, attack.triggers))
            relevant = attack.base_class == base[:, None]
            ntk = {"ntk_parameterization": True}
            compared = baselines(network, seed)
            if features:
                compared |= information(network, sketched=False, **features)
            else:
                compared |= information(network)
            compared |= {
                "InfoGain, NTK": InfoGainAttributor(network, **ntk, **features),
                "InfoLoss, NTK": InfoLossAttributor(network, **ntk, features=sketch()),
            }
            for name, attributor in compared.items():
                case = {"data": data, "method": name, "seed": seed}
                if results.has(**case):
                    continue
                start = time.perf_counter()
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
                )


if __name__ == "__main__":
    main()
