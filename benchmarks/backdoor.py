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
from pathlib import Path

import numpy as np
import torch
from _common import DEVICE, Results, parse, parser
from _images import Images, add_arguments, predict
from _methods import baselines, information, sketch
from _networks import train

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor
from sklearn_provenance.datasets import apply_trigger, poison_backdoor
from sklearn_provenance.evaluation import backdoor_retrieval

FEATURES = {"fashion_mnist": {}, "cifar10": {"features": sketch()}}
N_PER_CLASS, N_QUERIES = 50, 100


def main():
    arguments = parser(__doc__, "Fashion-MNIST alone")
    add_arguments(arguments)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--methods", nargs="+", default=None, help="default: all")
    arguments.add_argument("--store", type=Path, default=None)
    options = parse(arguments)
    results = Results("backdoor", ["data", "n_train", "network", "method", "seed"])
    for data in ["fashion_mnist"] if options.quick else options.data:
        case = Images(data, options.n_train, options.width)
        test_labels = case.test_y
        for seed in options.seeds:
            attack = poison_backdoor(
                case.images, case.y, n_per_class=N_PER_CLASS, random_state=seed
            )
            X, y = case.as_tensor(attack.data).to(DEVICE), attack.target
            network = case.make(seed=seed).to(DEVICE)
            labels = torch.as_tensor(y, device=DEVICE)
            kept = case.checkpoint(options.store, "backdoor", seed)
            network = train(network, X, labels, case.recipe, seed, kept)
            clean = np.mean(predict(network, case.as_tensor(case.test_images)) == test_labels)
            rows = np.random.default_rng(seed).permutation(len(test_labels))[:N_QUERIES]
            base = test_labels[rows]
            queries = case.as_tensor(apply_trigger(case.test_images[rows], base, attack.triggers))
            relevant = attack.base_class == base[:, None]
            for name, attributor in studied(network, seed, FEATURES[data]).items():
                line = {"data": data, "n_train": case.n_train, "network": case.network}
                line |= {"method": name, "seed": seed}
                if results.has(**line) or name not in (options.methods or [name]):
                    continue
                start, cpu = time.perf_counter(), time.process_time()
                result = backdoor_retrieval(
                    {name: attributor.fit(X, y)}, queries, (base + 1) % 10, relevant
                )
                results.add(
                    **line,
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


if __name__ == "__main__":
    main()
