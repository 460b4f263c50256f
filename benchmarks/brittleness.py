"""Leave-subset-out brittleness on Fashion-MNIST: name rows, remove them, train again.

`--study methods`: every method. `--study noise`: InfoGain and InfoLoss over the noise variance, in
units of the mean kernel diagonal, and what the log predictive density of 2000 test images says of
the same values. `--study ridge`: InfluenceAttributor over λ, picking jointly and by scores alone.
`--study record`: the methods that matter, over more queries and seeds. Compare numbers of one query
and seed only with each other: on another machine the same training ends a little differently.

Protocol of the paper: 15000 training images, 784-512-256-10 ReLU network without biases, 20 epochs
of SGD from the same weights in the same order of rows. Test images that the network gets right are
the queries. The paper has 100 queries and sizes 50 100 150 200 250 300, which takes a GPU; queries,
sizes and seeds that come later add to the file. What is finished is in the CSV file, a method at a
time, and with `--store FOLDER` every single copy: the script may be stopped and started again.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from _common import DEVICE, Results, parse, parser
from _methods import influence
from _networks import MLP_RECIPE, as_inputs, mlp, train

from sklearn_provenance import (
    InfluenceAttributor,
    InfoGainAttributor,
    InfoLossAttributor,
    TangentFeatures,
)
from sklearn_provenance import attribution as methods
from sklearn_provenance.datasets import load_fashion_mnist
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
}


def main():
    arguments = parser(__doc__, "2000 training images, 5 epochs, 6 queries")
    arguments.add_argument("--study", choices=STUDIES, default="methods")
    arguments.add_argument("--queries", type=int, default=10)
    arguments.add_argument("--sizes", type=int, nargs="+", default=None)
    arguments.add_argument("--seed", type=int, default=0, help="of weights and order of rows")
    arguments.add_argument("--methods", nargs="+", default=None, help="default: all of the study")
    arguments.add_argument("--store", type=Path, default=None)
    options = parse(arguments)
    n_train, epochs, n_queries = (2000, 5, 6) if options.quick else (15_000, 20, options.queries)
    study, sizes = STUDIES[options.study]
    sizes = options.sizes or ([30] if options.quick else sizes)
    recipe = replace(MLP_RECIPE, max_epochs=epochs)
    results = Results(
        f"brittleness_{options.study}", ["method", "seed", "n_train", "epochs", "query", "size"]
    )
    images, y = load_fashion_mnist("train", return_X_y=True)
    X, y = as_inputs(images[:n_train]).to(DEVICE), y[:n_train]
    images, labels = load_fashion_mnist("test", return_X_y=True)
    seed = options.seed
    network = train(
        mlp(seed=seed).to(DEVICE), X, torch.as_tensor(y, device=DEVICE), recipe, seed=seed
    )
    # The same queries for every study: the first of a shuffle that the network gets right.
    order = np.random.default_rng(0).permutation(len(labels))[: 3 * n_queries]
    with torch.no_grad():
        predicted = network(as_inputs(images[order]).to(DEVICE)).argmax(1).cpu().numpy()
    queries = order[predicted == labels[order]][:n_queries]
    studied = study(network)
    for name in options.methods or studied:
        attributor = studied[name]
        case = {"method": name, "seed": seed, "n_train": n_train, "epochs": epochs}
        missing = [
            q for q in queries if not all(results.has(**case, query=q, size=s) for s in sizes)
        ]
        if not missing:
            continue
        result = brittleness(
            {name: attributor.fit(X, y)},
            X,
            y,
            as_inputs(images[missing]),
            labels[missing],
            model=mlp(seed=seed),
            sizes=sizes,
            recipe=recipe,
            seeds=seed,
            early_stop=False,
            store=options.store and options.store / f"{n_train}-{epochs}-{seed}-{missing[0]}",
            verbose=True,
        )
        for row in result.to_frame().to_dict("records"):
            line = case | {"query": missing[row["query"]], "size": row["size"]}
            if not results.has(**line):
                results.add(
                    **line,
                    flipped=int(row["flipped"]),
                    margin_drop=round(row["margin_drop"], 4),
                )
    if options.study == "noise":
        log_densities(network, X, y, as_inputs(images[:2000]), labels[:2000])


if __name__ == "__main__":
    main()
