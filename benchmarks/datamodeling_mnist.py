"""Linear datamodeling score on 5000 MNIST images: a linear model and a network.

Models are trained on 100 random halves of the images, five times each (with `--quick` the MLP
twice) with other weights and order of rows; the margin of a half is their mean. Methods explain
models trained on all images, the first with seed 0; TRAK also several. "logistic regression" is one
linear layer, trained for 20 epochs; "MLP" has 128 and 64 hidden units and is trained for 50. SGD
with a learning rate of 0.01, momentum 0.9, batches of 64, no weight decay.

`--store FOLDER` keeps models that are trained, so that the script may be stopped and started again.
`--halves 40` trains on the first 40 halves only, once each; `--model NAME ...` and `--methods NAME
...` measure these alone. "EK-FAC, 10 iterations" goes on by conjugate gradients. "influence" has
its defaults, which compute exact gradients of 5000 rows; "softmax" has that curvature.
"""

import tempfile
from pathlib import Path

import torch
from _common import DEVICE, Results, load, parse, parser
from _methods import baselines, information, sketch
from _networks import as_inputs, logistic_regression, small_mlp, train

from sklearn_provenance import InfluenceAttributor, InfoGainAttributor
from sklearn_provenance import attribution as methods
from sklearn_provenance.evaluation import Recipe, linear_datamodeling_score

# Network, epochs, trainings of each half: in full, with --quick
MODELS = {"logistic regression": (logistic_regression, 20, 5, 5), "MLP": (small_mlp, 50, 5, 2)}
ENSEMBLES = (1, 10, 50)
N_HALVES = 100


def studied(models):
    """Methods by name, as far as the models go."""
    every = {"candidates": "all"}
    compared = baselines(models[0], **every) | information(models[0], **every)
    compared["InfoGain, margin"] = InfoGainAttributor(models[0], measurement="margin", **every)
    compared["EK-FAC, 10 iterations"] = methods.EKFACAttributor(models[0], n_iterations=10, **every)
    compared["influence"] = InfluenceAttributor(models[0], **every)
    compared["influence, K = 4096"] = InfluenceAttributor(models[0], features=sketch(), **every)
    for name, ridge in (("", 1.0), (", ridge 3", 3.0)):
        compared[f"influence, softmax{name}"] = InfluenceAttributor(
            models[0],
            curvature="softmax",
            ridge=ridge,
            features="exact",
            memory_limit=2e10,
            **every,
        )
    compared.pop("TRAK")
    for n_models in (n for n in ENSEMBLES if n <= len(models)):
        for n_components in (512, 4096):
            name = f"TRAK-{n_models}, K = {n_components}"
            compared[name] = methods.TRAKAttributor(
                models[:n_models], n_components=n_components, memory_limit=2e10, **every
            )
    return compared


def main():
    arguments = parser(__doc__, "100 queries, 10 models for TRAK; in full 500 and 50")
    arguments.add_argument("--store", type=Path, default=None)
    arguments.add_argument("--halves", type=int, default=N_HALVES)
    arguments.add_argument("--models", type=int, default=None, help="for TRAK, if fewer")
    arguments.add_argument("--model", nargs="+", choices=MODELS, default=None)
    arguments.add_argument("--methods", nargs="+", default=None)
    options = parse(arguments)
    n_queries, n_models = (100, 10) if options.quick else (500, 50)
    n_models = options.models or n_models
    keys = ["model", "method", "n_queries", "n_masks"]
    results = Results("datamodeling_mnist", keys)
    images, y, test_images, labels = load("mnist_5000", 0)
    X, queries, labels = as_inputs(images), as_inputs(test_images[:n_queries]), labels[:n_queries]
    place = X.to(DEVICE), torch.as_tensor(y, device=DEVICE)
    with tempfile.TemporaryDirectory() as temporary:
        store = options.store or Path(temporary)
        for model, (make, epochs, *n_repeats) in MODELS.items():
            n_repeats = n_repeats[options.quick]
            folder = f"{model}-{n_queries}"
            if model not in (options.model or [model]):
                continue
            if options.halves < N_HALVES:
                n_repeats = 1
                folder = f"{folder}-{options.halves}-1"
            recipe = Recipe(lr=0.01, weight_decay=0, max_epochs=epochs, batches="own")
            models = [
                train(make(seed).to(DEVICE), *place, recipe, seed) for seed in range(n_models)
            ]
            for name, attributor in studied(models).items():
                case = {"model": model, "method": name, "n_queries": n_queries}
                case["n_masks"] = options.halves
                if results.has(**case) or name not in (options.methods or [name]):
                    continue
                attributor.fit(X, y)
                result = linear_datamodeling_score(
                    {name: attributor},
                    X,
                    y,
                    queries,
                    labels,
                    model=make,
                    n_masks=options.halves,
                    n_repeats=n_repeats,
                    recipe=recipe,
                    store=store / folder,
                    verbose=True,
                )
                results.add(
                    **case,
                    n_repeats=n_repeats,
                    lds=round(float(result.scores[0]), 4),
                    standard_error=round(float(result.standard_errors[0]), 4),
                )


if __name__ == "__main__":
    main()
