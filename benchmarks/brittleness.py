"""Leave-subset-out brittleness: name rows, remove them, train again.

`--study methods`: every method. `--study noise`: InfoGain and InfoLoss over the noise variance, in
units of the mean kernel diagonal, and what the log predictive density of 2000 test images says of
the same values. `--study ridge`: InfluenceAttributor over λ, picking jointly and by scores alone.
`--study record`: the methods that matter, over more queries and seeds. `--study cifar10`: some of
them on CIFAR-10 and ResNet-9, which two cores carry with `--n-train 5000 --width 16 --epochs 12`.
Compare numbers of one query and seed only with each other: on another machine the same training
ends a little differently.

Protocol of the paper: 15000 Fashion-MNIST images, 784-512-256-10 ReLU network without biases, 20
epochs of SGD from the same weights in the same order of rows. Test images that the network gets
right are the queries. The paper has 100 queries and sizes 50 100 150 200 250 300, which takes a
GPU; queries, sizes and seeds that come later add to the file. What is finished is in the CSV file,
a method at a time, and with `--store FOLDER` every single network: the script may be stopped and
started again.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from _common import DEVICE, Results, parse, parser
from _images import Images, predict
from _methods import influence
from _networks import train

from sklearn_provenance import (
    InfluenceAttributor,
    InfoGainAttributor,
    InfoLossAttributor,
    TangentFeatures,
)
from sklearn_provenance import attribution as methods
from sklearn_provenance.evaluation import brittleness

SKETCH = TangentFeatures(n_components=4096)
RATIOS = ("10", "1", "3", "30", "0.1", "100")


def noise_study(network):
    studied = {"Random": methods.RandomAttributor(network, random_state=0)}
    for r in RATIOS:
        studied[f"InfoGain r={r}"] = InfoGainAttributor(network, noise_variance=f"{r}*diagonal")
        studied[f"InfoLoss r={r}"] = InfoLossAttributor(
            network, noise_variance=f"{r}*diagonal", features=SKETCH
        )
    return studied


def methods_study(network):
    return {
        "Random": methods.RandomAttributor(network, random_state=0),
        "InfoGain": InfoGainAttributor(network),
        "InfoLoss": InfoLossAttributor(network),
        "EK-FAC": methods.EKFACAttributor(network),
        "EK-FAC, 10 iterations": methods.EKFACAttributor(network, n_iterations=10),
        "TRAK": methods.TRAKAttributor(network),
        "TRAK, K = 4096": methods.TRAKAttributor(network, n_components=4096),
        "TRAK, K = 4096, ridge 1e-6": methods.TRAKAttributor(
            network, n_components=4096, ridge=1e-6
        ),
        "RepSim": methods.RepSimAttributor(network),
        "GradDot": methods.GradDotAttributor(network),
        "InfoGain, NTK": InfoGainAttributor(network, ntk_parameterization=True),
        "InfoLoss, NTK": InfoLossAttributor(network, ntk_parameterization=True),
        "RelatIF": methods.RelatIFAttributor(network, features=SKETCH),
        "linear response": InfoGainAttributor(network, solver="linear_response"),
        "last layer": methods.LastLayerAttributor(network),
        **influence(network),
    }


def record_study(network):
    return {
        **influence(network),
        "EK-FAC": methods.EKFACAttributor(network),
        "TRAK": methods.TRAKAttributor(network, n_components=4096),
        "RelatIF": methods.RelatIFAttributor(network, features=SKETCH),
        "InfoLoss": InfoLossAttributor(network),
        "InfoGain": InfoGainAttributor(network),
        "TRAK, ridge 1e-6": methods.TRAKAttributor(network, n_components=4096, ridge=1e-6),
        "Random": methods.RandomAttributor(network, random_state=0),
    }


def cifar10_study(network):
    return {
        "Random": methods.RandomAttributor(network, random_state=0),
        "influence": InfluenceAttributor(network),
        "EK-FAC": methods.EKFACAttributor(network),
        "TRAK": methods.TRAKAttributor(network, n_components=4096),
        "InfoLoss": InfoLossAttributor(network, features=SKETCH),
        "InfoGain": InfoGainAttributor(network, features=SKETCH),
    }


def ridge_study(network):
    studied = {}
    for selection in ("greedy", "additive"):
        for ridge in (0.01, 0.1, 1.0, 10.0):
            studied[f"{selection} λ={ridge}"] = InfluenceAttributor(
                network, ridge=ridge, selection=selection
            )
    return studied


def log_densities(network, X, y, X_test, y_test):
    """Score of every noise variance, from features of every class's logit."""
    n_train, n_components = len(X), 2048
    results = Results("noise_log_density", ["noise_over_scale", "n_train", "n_components"])
    with tempfile.TemporaryDirectory() as memory:
        for r in (*RATIOS, "0.01", "0.001"):
            case = {"noise_over_scale": r, "n_train": n_train, "n_components": n_components}
            if results.has(**case):
                continue
            attributor = InfoGainAttributor(
                network,
                noise_variance=f"{r}*diagonal",
                features=TangentFeatures(n_components=n_components),
                memory=memory,
            )
            score = attributor.fit(X, y).score(X_test, y_test)
            results.add(**case, n_test=len(X_test), log_density=round(score, 4))


STUDIES = {
    "noise": (noise_study, [150]),
    "methods": (methods_study, [50, 150, 300]),
    "ridge": (ridge_study, [150, 300]),
    "record": (record_study, [150, 300]),
    "cifar10": (cifar10_study, [200, 400, 600, 800, 1000, 1200]),
}


def main():
    arguments = parser(__doc__, "2000 training images, 5 epochs, 6 queries")
    arguments.add_argument("--study", choices=STUDIES, default="methods")
    arguments.add_argument("--queries", type=int, default=10)
    arguments.add_argument("--sizes", type=int, nargs="+", default=None)
    arguments.add_argument("--n-train", type=int, default=None, help="default: 15000 and 50000")
    arguments.add_argument("--width", type=int, default=64, help="of ResNet-9's first layer")
    arguments.add_argument("--epochs", type=int, default=None, help="default: 20 and 24")
    arguments.add_argument("--seed", type=int, default=0, help="of weights and order of rows")
    arguments.add_argument("--methods", nargs="+", default=None, help="default: all of the study")
    arguments.add_argument("--store", type=Path, default=None)
    options = parse(arguments)
    n_train, epochs, n_queries = options.n_train, options.epochs, options.queries
    study, sizes = STUDIES[options.study]
    sizes = options.sizes or sizes
    if options.quick:
        n_train, epochs, n_queries, sizes = 2000, 5, 6, options.sizes or [30]
    data = "cifar10" if options.study == "cifar10" else "fashion_mnist"
    case = Images(data, n_train, options.width)
    recipe = replace(case.recipe, max_epochs=epochs or case.recipe.max_epochs)
    seed = options.seed
    run = {"seed": seed, "n_train": case.n_train, "epochs": recipe.max_epochs}
    if data == "cifar10":
        run["network"] = case.network
    results = Results(f"brittleness_{options.study}", ["method", *run, "query", "size"])
    X, labels = case.inputs()
    kept = case.checkpoint(options.store, "brittleness", seed, recipe.max_epochs)
    network = train(case.make(seed=seed).to(DEVICE), X, labels, recipe, seed, kept)
    # The same queries for every study: the first of a shuffle that the network gets right.
    order = np.random.default_rng(0).permutation(len(case.test_y))[: 3 * n_queries]
    predicted = predict(network, case.as_tensor(case.test_images[order]))
    queries = order[predicted == case.test_y[order]][:n_queries]
    studied = study(network)
    for name in options.methods or studied:
        attributor = studied[name]
        line = {"method": name, **run}
        missing = [
            q for q in queries if not all(results.has(**line, query=q, size=s) for s in sizes)
        ]
        if not missing:
            continue
        result = brittleness(
            {name: attributor.fit(X, case.y)},
            X,
            case.y,
            case.as_tensor(case.test_images[missing]),
            case.test_y[missing],
            model=case.make(seed=seed),
            sizes=sizes,
            recipe=recipe,
            seeds=seed,
            early_stop=False,
            store=options.store and options.store / f"{name}-{seed}-{missing[0]}",
            verbose=True,
        )
        for row in result.to_frame().to_dict("records"):
            found = line | {"query": missing[row["query"]], "size": row["size"]}
            if not results.has(**found):
                results.add(
                    **found,
                    flipped=int(row["flipped"]),
                    margin_drop=round(row["margin_drop"], 4),
                )
    if options.study == "noise":
        test_images = case.as_tensor(case.test_images[:2000])
        log_densities(network, X, case.y, test_images, case.test_y[:2000])


if __name__ == "__main__":
    main()
