"""Predicted and realised falls of margins of networks, for sets of 1 to 100 rows.

Digits (1200 rows, 64-32-10) and breast cancer (400 rows, 30-32-2), ReLU networks trained from four
seeds. For 10 test rows sets are picked greedily among the rows of the predicted class by
InfluenceAttributor of all four networks, and random rows of the class are drawn; then networks are
trained again without the first 1, 3, 10, 30 and 100 of them, from the same seeds. "falls" says
what is compared: of one network the fall that it predicts with that of the training from the
same seed; or the means of both over the four.

"own weights" is the mean over the four with each row's own weight w = p (1 - p) and ridge
10 n times the weight decay of training, in place of the mean weight and ridge 1 ×.

With the falls p predicted and q realised: `r2` is 1 - Σ(q - p)² / Σ(q - mean q)², `slope` that of
q on p through 0, `rank` Spearman's correlation, `r2_scaled` is r2 after p was multiplied by the
slope. `error` is the root mean square of q - p, `noise` what seeds alone contribute to it: the
standard deviation of q - p over seeds for the same set (of means: divided by the root of their
number). What is left, √(error² - noise²), is bias.
"""

import numpy as np
import torch
from _common import Results, load, parse, parser
from _networks import train
from scipy.stats import spearmanr
from torch import nn
from torch.func import functional_call, grad, vmap

from sklearn_provenance import InfluenceAttributor
from sklearn_provenance.information import joint_influence
from sklearn_provenance.retraining import Recipe
from sklearn_provenance.retraining._removals import Removals
from sklearn_provenance.tangent import measure

SEEDS = (0, 1, 2, 3)
SIZES = (1, 3, 10, 30, 100)
N_QUERIES = 10
DECAY = 1e-3
# Data, training rows, classes, epochs
CASES = {
    "breast cancer": ("breast_cancer", 400, 2, 40),
    "digits": ("digits_flat", 1200, 10, 40),
}


def made(n_in, n_classes):
    """A function that makes the network, with weights of torch's global seed."""

    def make():
        return nn.Sequential(nn.Linear(n_in, 32), nn.ReLU(), nn.Linear(32, n_classes))

    return make


def problem(data, n_train):
    X, y, X_test, y_test = load(data, 0)
    if data.startswith("digits"):
        X, X_test = X / 255.0, X_test / 255.0
    X, y = torch.as_tensor(X[:n_train]).float(), y[:n_train].astype(np.int64)
    return X, y, torch.as_tensor(X_test).float(), y_test


def gradients(network, X, y):
    """Gradients (n, n_parameters) of margins at labels, and the margins."""
    parameters = {name: value.detach() for name, value in network.named_parameters()}

    def margin(parameters, x, label):
        logits = functional_call(network, parameters, (x[None],))
        return measure(logits, label[None], "margin")[0]

    labels = torch.as_tensor(y)
    parts = vmap(grad(margin), in_dims=(None, 0, 0))(parameters, X, labels)
    with torch.no_grad():
        margins = measure(network(X).double(), labels, "margin")
    return torch.cat([part.flatten(1) for part in parts.values()], 1).double(), margins


def falls_of_own_weights(network, X, y, queries, labels, sets):
    """Falls (n_queries, k) by a system in which each row has its own weight."""
    phi, margins = gradients(network, X, y)
    weights = (margins.sigmoid() * (-margins).sigmoid()).clamp(min=1e-12)
    ridge = 10 * DECAY * len(y)
    residuals = 1 / margins.sigmoid()  # (1 - p) / w
    asked = gradients(network, queries, labels)[0]
    kernel, cross = phi @ phi.mT, asked @ phi.mT
    variance = asked.square().sum(1)
    rows = torch.as_tensor(sets)
    return joint_influence(kernel, cross, variance, residuals, ridge, rows, weights).cumsum(1)


def sets_of(attributor, networks, queries, labels, y):
    """Rows (n_queries, k) picked greedily and at random, and their falls, for each kind.

    Falls are (n_networks, n_queries, k), without the first 1 to k rows: those of the attributor
    and those of own weights.
    """
    k = min(max(SIZES), min(np.bincount(y)[labels]) - 1)
    rng = np.random.default_rng(0)
    rows = {
        "greedy": attributor.explain(queries, labels, k=k).indices,
        "random": np.stack(
            [rng.choice(np.flatnonzero(y == label), k, replace=False) for label in labels]
        ),
    }
    falls = {kind: ([], []) for kind in rows}
    X = attributor.training_.X
    for network in networks:
        alone = InfluenceAttributor(network).fit(X, y)
        asked = alone._network._queries(queries, labels)
        for kind, sets in rows.items():
            margins = alone._network.margins_along(asked, sets)
            falls[kind][0].append(margins[:, :1] - margins[:, 1:])
            own = falls_of_own_weights(network, X, y, queries, labels, sets)
            falls[kind][1].append(own.numpy())
    return rows, {kind: np.array(values) for kind, values in falls.items()}


def margins_of(logits, labels):
    return np.stack(
        [
            measure(torch.as_tensor(values).double(), torch.as_tensor(labels), "margin").numpy()
            for values in logits
        ]
    )


def realised_falls(removals, sets, labels):
    """Falls (n_seeds, n_queries) in networks trained without the rows of each query."""
    n_seeds = len(SEEDS)
    removed = [rows for rows in sets for _ in SEEDS]
    outputs = removals.without(removed, list(range(n_seeds)) * len(sets))
    after = margins_of(outputs, labels).reshape(len(sets), n_seeds, len(sets))
    own = np.arange(len(sets))
    before = margins_of(removals.full, labels)  # (n_seeds, n_queries)
    return before - after[own, :, own].T


def figures(predicted, realised, n_averaged):
    """How falls (n_seeds, n_sets) agree, one by one or averaged over seeds."""
    apart = realised - predicted
    noise = apart.std(0, ddof=1)
    if n_averaged > 1:
        noise = noise / np.sqrt(len(apart))
        predicted, realised = predicted.mean(0), realised.mean(0)
    p, q = predicted.ravel(), realised.ravel()
    slope = (p @ q) / (p @ p)
    spread = ((q - q.mean()) ** 2).sum()
    error = np.sqrt(np.mean((q - p) ** 2))
    noise = np.sqrt(np.mean(noise**2))
    values = {
        "r2": 1 - ((q - p) ** 2).sum() / spread,
        "rank": spearmanr(p, q)[0],
        "slope": slope,
        "r2_scaled": 1 - ((q - slope * p) ** 2).sum() / spread,
        "predicted": p.mean(),
        "realised": q.mean(),
        "error": error,
        "noise": noise,
        "bias": np.sqrt(max(0.0, error**2 - noise**2)),
    }
    return {name: round(float(value), 4) for name, value in values.items()}


def main():
    options = parse(parser(__doc__, "breast cancer only"))
    results = Results("influence_certificates", ["data", "sets", "size", "falls"])
    for name, (data, n_train, n_classes, n_epochs) in CASES.items():
        if options.quick and name != "breast cancer":
            continue
        if results.has(data=name, sets="random", size="all", falls="own weights"):
            continue
        X, y, X_test, y_test = problem(data, n_train)
        recipe = Recipe(
            lr=0.05, momentum=0.9, weight_decay=DECAY, batch_size=64, max_epochs=n_epochs
        )
        make = made(X.shape[1], n_classes)
        networks = []
        for seed in SEEDS:
            torch.manual_seed(seed)
            networks.append(train(make(), X, torch.as_tensor(y), recipe, seed))
        attributor = InfluenceAttributor(networks).fit(X, y)
        labels = attributor.predict(X_test)
        chosen = np.flatnonzero(labels == y_test)[:N_QUERIES]
        queries, labels = X_test[chosen], labels[chosen]
        rows, predicted = sets_of(attributor, networks, queries, labels, y)
        removals = Removals(make, X, y, queries, SEEDS, recipe=recipe)
        for kind, sets in rows.items():
            every = []
            for size in SIZES:
                if size > sets.shape[1]:
                    continue
                falls = realised_falls(removals, list(sets[:, :size]), labels)
                every.append((size, predicted[kind][..., size - 1], falls))
            _, expected, falls = zip(*every, strict=True)
            every.append(("all", np.concatenate(expected, 2), np.concatenate(falls, 1)))
            for size, (expected, own), falls in every:
                found = {
                    "one network": figures(expected, falls, 1),
                    "mean of four": figures(expected, falls, len(SEEDS)),
                    "own weights": figures(own, falls, len(SEEDS)),
                }
                for what, values in found.items():
                    results.add(data=name, sets=kind, size=size, falls=what, **values)


if __name__ == "__main__":
    main()
