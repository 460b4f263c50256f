"""Relative information: how near the sets of InfoGain come to those of greedy InfoLoss.

Images of CIFAR-10's first two classes, a ReLU network with 512 and 256 hidden units, 20 epochs. For
every noise variance the nats that are lost when a set is withheld from all rows, over those lost
with the set of greedy InfoLoss: the mean over queries. Noise variances are absolute, as in the
paper; beside them stands their ratio to the mean kernel diagonal.
"""

import time

import numpy as np
import torch
from _common import DEVICE, Results, parse, parser
from _networks import as_inputs, mlp, train

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor
from sklearn_provenance.datasets import load_cifar10
from sklearn_provenance.evaluation import relative_information

SIZES = [10, 20, 50, 100, 200]
NOISE = ("10", "100", "1000", "1e4", "1e5", "1e6")


def binary(part, size, rng):
    """Images of the first two classes."""
    images, labels = load_cifar10(part, return_X_y=True)
    rows = rng.permutation(np.flatnonzero(labels < 2))[:size]
    return as_inputs(images[rows]), labels[rows]


def main():
    options = parse(parser(__doc__, "4000 images"))
    n_train, n_queries = (4000 if options.quick else 10_000), 20
    results = Results("relative_information", ["n_train", "noise_variance", "method", "size"])
    rng = np.random.default_rng(0)
    X, y = binary("train", n_train, rng)
    queries, _ = binary("test", n_queries, rng)
    network = train(mlp(3 * 32 * 32, 2).to(DEVICE), X.to(DEVICE), torch.as_tensor(y, device=DEVICE))
    for noise in NOISE:
        case = {"n_train": n_train, "noise_variance": noise}
        if results.has(**case, method="linear response", size=SIZES[-1]):
            continue
        start = time.perf_counter()
        common = {"noise_variance": float(noise)}
        relaxed = {
            "InfoGain": InfoGainAttributor(network, **common),
            "linear response": InfoGainAttributor(network, solver="linear_response", **common),
        }
        relaxed = {name: attributor.fit(X, y) for name, attributor in relaxed.items()}
        reference = InfoLossAttributor(network, **common).fit(X, y)
        result = relative_information(relaxed, reference, queries, sizes=SIZES)
        diagonal = InfoGainAttributor(network, noise_variance="1*diagonal").fit(X, y)
        seconds = round(time.perf_counter() - start, 1)
        means, errors = result.means()
        for name, mean, error in zip(result.methods, means, errors, strict=True):
            for size, m, e in zip(result.sizes, mean, error, strict=True):
                results.add(
                    **case,
                    noise_over_scale=f"{float(noise) / diagonal.noise_variance_:.2g}",
                    method=name,
                    size=size,
                    n_queries=n_queries,
                    relative_information=round(float(m), 4),
                    standard_error=round(float(e), 4),
                    seconds=seconds,
                )


if __name__ == "__main__":
    main()
