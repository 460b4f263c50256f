"""Coresets: test accuracy of networks trained on nothing but the rows that a method selects.

Protocol of the paper: 500 test images are the queries, accuracy is that on the other test images;
copies start from the weights from which the network that is explained started. Information is that
about the margin, without NTK parameterisation, from sketches of K = 1024 features. `r` is the noise
variance over the mean kernel diagonal. Features of queries are scaled to length 1, other than in
the paper's Eq. 94; the methods that end in "as written" leave them as they are. `--quick`: 15000
Fashion-MNIST images and the 784-512-256-10 network, trained for 60 epochs of the selected rows. In
full: CIFAR-10 and ResNet-9 as well, for which a GPU is wanted; two cores carry `--data cifar10
--n-train 7500 --width 16`.

Every seed has a network of its own, which each method explains; `--store FOLDER` keeps networks
that are trained, so that the script may be stopped and started again. `--sizes` and `--methods`
measure these alone.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from _common import DEVICE, Results, parse, parser
from _images import Images, add_arguments
from _methods import baselines, sketch
from _networks import MLP_RECIPE, RESNET_RECIPE, train

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor
from sklearn_provenance.evaluation import coreset_selection

SIZES = [100, 200, 500, 1000, 2000, 5000]
K = 1024
RECIPES = {
    "fashion_mnist": (replace(MLP_RECIPE, max_epochs=60, batches="own"), SIZES[:4]),
    "cifar10": (replace(RESNET_RECIPE, batches="own"), SIZES),
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
    add_arguments(arguments)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--store", type=Path, default=None)
    arguments.add_argument("--sizes", type=int, nargs="+", default=None)
    arguments.add_argument("--methods", nargs="+", default=None)
    options = parse(arguments)
    keys = ["data", "n_train", "network", "method", "balanced", "size", "seed"]
    results = Results("coreset", keys)
    for data in ["fashion_mnist"] if options.quick else options.data:
        case = Images(data, options.n_train, options.width)
        small_recipe, sizes = RECIPES[data]
        sizes = options.sizes or sizes
        X, y = case.inputs()
        rows = np.random.default_rng(0).permutation(len(case.test_y))
        queries, rest = (
            case.as_tensor(case.test_images[part]) for part in (rows[:N_QUERIES], rows[N_QUERIES:])
        )
        for seed in options.seeds:
            kept = case.checkpoint(options.store, "coreset", seed)
            network = train(case.make(seed=seed).to(DEVICE), X, y, case.recipe, seed, kept)
            for name, attributor in studied(network, seed).items():
                line = {"data": data, "n_train": case.n_train, "network": case.network}
                line |= {"method": name, "seed": seed}
                if results.has(**line, balanced=True, size=sizes[-1]):
                    continue
                if name not in (options.methods or [name]):
                    continue
                start = time.perf_counter()
                result = coreset_selection(
                    {name: attributor.fit(X, case.y)},
                    X,
                    case.y,
                    queries,
                    rest,
                    case.test_y[rows[N_QUERIES:]],
                    model=case.make(seed=seed),
                    sizes=sizes,
                    recipe=small_recipe,
                    seeds=seed,
                    normalize=False if name.endswith(AS_WRITTEN) else None,
                    store=options.store and options.store / f"{data}-{case.n_train}-{name}-{seed}",
                )
                seconds = round(time.perf_counter() - start, 1)
                for found in result.to_frame().to_dict("records"):
                    subset = result.subsets[name, found["balanced"], found["size"]][0]
                    results.add(
                        **line,
                        balanced=found["balanced"],
                        size=found["size"],
                        accuracy=round(found["accuracy"], 4),
                        classes=len(set(case.y[subset])),
                        seconds_with_training=seconds,
                    )


if __name__ == "__main__":
    main()
