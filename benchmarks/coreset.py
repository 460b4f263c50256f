"""Coresets: test accuracy of networks trained on nothing but the rows that a method selects.

Protocol of the paper: 500 test images are the queries, accuracy is that on the other test images;
copies start from the weights from which the network that is explained started. Information is that
about the margin, without NTK parameterisation, from sketches of K = 1024 features. `r` is the noise
variance over the mean kernel diagonal. Features of queries are scaled to length 1, other than in
the paper's Eq. 94; the methods that end in "as written" leave them as they are. `--quick`: 15000
Fashion-MNIST images and the 784-512-256-10 network, trained for 60 epochs of the selected rows. In
full: CIFAR-10 and ResNet-9 as well, for which a GPU is wanted.

Every seed has a network of its own, which each method explains; `--store FOLDER` keeps copies that
are trained, so that the script may be stopped and started again. `--sizes` and `--methods` measure
these alone.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from _common import DEVICE, Results, parse, parser
from _methods import baselines, sketch
from _networks import MLP_RECIPE, RESNET_RECIPE, as_colour, as_inputs, mlp, resnet9, train

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor
from sklearn_provenance.datasets import load_cifar10, load_fashion_mnist
from sklearn_provenance.evaluation import coreset_selection

SIZES = [100, 200, 500, 1000, 2000, 5000]
K = 1024
CASES = {
    "fashion_mnist": (
        load_fashion_mnist,
        15_000,
        as_inputs,
        mlp,
        MLP_RECIPE,
        replace(MLP_RECIPE, max_epochs=60, batches="own"),
        SIZES[:4],
    ),
    "cifar10": (
        load_cifar10,
        50_000,
        as_colour,
        resnet9,
        RESNET_RECIPE,
        replace(RESNET_RECIPE, batches="own"),
        SIZES,
    ),
}
N_QUERIES = 500
AS_WRITTEN = ", as written"  # end of the names of methods that leave queries as long as they are


def studied(network, seed):
    common = {"candidates": "all"}
    compared = baselines(network, seed, **common)
    compared["RelatIF"].set_params(measurement="margin")
    common |= {"measurement": "margin", "features": sketch(K)}
    for r in ("0.01", "1", "10"):
        noise = {"noise_variance": f"{r}*diagonal"}
        compared[f"InfoGain r={r}"] = InfoGainAttributor(network, **noise, **common)
    for r in ("0.01", "10"):
        noise = {"noise_variance": f"{r}*diagonal"}
        compared[f"InfoLoss r={r}"] = InfoLossAttributor(network, **noise, **common)
    compared["linear response r=0.01"] = InfoGainAttributor(
        network, solver="linear_response", noise_variance="0.01*diagonal", **common
    )
    for r in ("0.01", "10"):
        compared[f"InfoGain r={r}{AS_WRITTEN}"] = InfoGainAttributor(
            network, noise_variance=f"{r}*diagonal", **common
        )
    return compared


def main():
    arguments = parser(__doc__, "Fashion-MNIST alone")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--store", type=Path, default=None)
    arguments.add_argument("--sizes", type=int, nargs="+", default=None)
    arguments.add_argument("--methods", nargs="+", default=None)
    options = parse(arguments)
    results = Results("coreset", ["data", "method", "balanced", "size", "seed"])
    for data in ("fashion_mnist", "cifar10")[: 1 if options.quick else None]:
        load, n_train, as_tensor, make, recipe, small_recipe, sizes = CASES[data]
        sizes = options.sizes or sizes
        images, y = load("train", return_X_y=True)
        X, y = as_tensor(images[:n_train]).to(DEVICE), y[:n_train]
        images, labels = load("test", return_X_y=True)
        rows = np.random.default_rng(0).permutation(len(labels))
        queries, rest = as_tensor(images[rows[:N_QUERIES]]), rows[N_QUERIES:]
        for seed in range(options.seeds):
            network = train(
                make(seed=seed).to(DEVICE), X, torch.as_tensor(y, device=DEVICE), recipe, seed
            )
            for name, attributor in studied(network, seed).items():
                case = {"data": data, "method": name, "seed": seed}
                if results.has(**case, balanced=True, size=sizes[-1]):
                    continue
                if name not in (options.methods or [name]):
                    continue
                start = time.perf_counter()
                result = coreset_selection(
                    {name: attributor.fit(X, y)},
                    X,
                    y,
                    queries,
                    as_tensor(images[rest]),
                    labels[rest],
                    model=make(seed=seed),
                    sizes=sizes,
                    recipe=small_recipe,
                    seeds=seed,
                    normalize=False if name.endswith(AS_WRITTEN) else None,
                    store=options.store and options.store / f"{data}-{name}-{seed}",
                )
                seconds = round(time.perf_counter() - start, 1)
                for line in result.to_frame().to_dict("records"):
                    results.add(
                        **case,
                        balanced=line["balanced"],
                        size=line["size"],
                        accuracy=round(line["accuracy"], 4),
                        classes=len(
                            set(y[result.subsets[name, line["balanced"], line["size"]][0]])
                        ),
                        seconds_with_training=seconds,
                    )


if __name__ == "__main__":
    main()
