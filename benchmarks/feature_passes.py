"""What passes for sketched features cost, and attribution from them, in CPU seconds and epochs.

ResNet-9 of a quarter, of half and of all of its width on images of 32 x 32, in both layouts of
memory, and the 784-512-256-10 network, on random rows: costs do not depend on what is in them.
K = 4096, one thread. An epoch is one of the same rows by SGD; each step is repeated, in turn with
the others, and the least CPU time of each counts. With `--attribution`, InfoGain and InfoLoss of 20
queries of all classes too, fit and explanation, beside an epoch of as many rows.
"""

import sys
import time

import numpy as np
import torch
from _common import Results, parse, parser
from _networks import mlp, resnet9
from torch.nn import functional as F

from sklearn_provenance import TangentFeatures
from sklearn_provenance.attribution import InfoGainAttributor, InfoLossAttributor

K = 4096
N_CLASSES = 10
N_QUERIES = 20


def epoch(network, X, y, batch_size):
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-4)
    network.train()
    for rows in torch.arange(len(X)).split(batch_size):
        optimiser.zero_grad()
        F.cross_entropy(network(X[rows]), y[rows]).backward()
        optimiser.step()
    network.eval()


def cpu_seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def explained(attributor, network, X, y):
    """Name ten rows for each of 20 queries, two of each class."""
    fitted = attributor(network, features=TangentFeatures(n_components=K)).fit(X, y.numpy())
    queries = torch.randn(N_QUERIES, *X.shape[1:])
    return fitted.explain(queries, np.arange(N_QUERIES) % N_CLASSES, k=10)


def passes(network, X, y, batch_size):
    """List the steps without attribution."""
    features = TangentFeatures(network, K).fit(X)
    classes = [np.full(len(X), label) for label in range(N_CLASSES)]
    return {
        "epoch": lambda: epoch(network, X, y, batch_size),
        "one class": lambda: features.transform(X, y),
        "ten classes together": lambda: features._measured_at(X, classes),
        "ten classes one by one": lambda: [features.transform(X, label) for label in classes],
    }


def attributions(network, X, y, batch_size):
    """List the steps of attribution."""
    return {
        "epoch": lambda: epoch(network, X, y, batch_size),
        "InfoGain, 20 queries": lambda: explained(InfoGainAttributor, network, X, y),
        "InfoLoss, 20 queries": lambda: explained(InfoLossAttributor, network, X, y),
    }


def measure(steps, repeats):
    """Least CPU seconds of each step."""
    seconds = dict.fromkeys(steps, np.inf)
    for _ in range(repeats):
        for step, run in steps.items():
            seconds[step] = min(seconds[step], cpu_seconds(run))
    return seconds


def networks(n_images, n_rows):
    torch.manual_seed(0)
    images = torch.randn(n_images, 3, 32, 32)
    for width, name in ((16, "resnet9 / 4"), (32, "resnet9 / 2"), (64, "resnet9")):
        yield name, resnet9(width=width), images, 512
        last = resnet9(width=width, channels_last=True)
        yield f"{name}, channels last", last, images, 512
    yield "784-512-256-10", mlp(), torch.randn(n_rows, 784), 64


def main():
    arguments = parser(__doc__, "64 images, 256 rows, one repeat")
    arguments.add_argument("--attribution", type=int, default=0, help="number of images")
    arguments.add_argument("--network", default="resnet9 / 4", help="of attribution")
    options = parse(arguments)
    torch.set_num_threads(options.threads or 1)
    n_images, n_rows, repeats = (64, 256, 1) if options.quick else (256, 4096, 3)
    listed = passes
    if options.attribution:
        n_images, n_rows, repeats, listed = options.attribution, 0, 1, attributions
    results = Results("feature_passes", ["network", "n_rows", "step"])
    for name, network, X, batch_size in networks(n_images, n_rows):
        if results.has(network=name, n_rows=len(X), step="epoch"):
            continue
        if options.attribution and not name.startswith(options.network):
            continue
        y = torch.arange(len(X)) % N_CLASSES
        seconds = measure(listed(network, X, y, batch_size), repeats)
        for step, value in seconds.items():
            results.add(
                network=name,
                n_rows=len(X),
                step=step,
                repeats=repeats,
                cpu_seconds=round(value, 3),
                epochs=round(value / seconds["epoch"], 2),
            )


if __name__ == "__main__":
    sys.exit(main())
