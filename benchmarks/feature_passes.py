"""What a pass for sketched features costs, at one class and at all ten, in CPU seconds and epochs.

ResNet-9 of a quarter of its width on images of 32 x 32, and the 784-512-256-10 network, on random
rows: costs do not depend on what is in them. K = 4096, one thread. An epoch is one of the same rows
by SGD; each step is repeated, in turn with the others, and the least CPU time of each counts.
"""

import sys
import time

import numpy as np
import torch
from _common import Results, parse, parser
from _networks import mlp, resnet9
from torch.nn import functional as F

from sklearn_provenance import TangentFeatures

K = 4096
N_CLASSES = 10


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


def measure(network, X, y, batch_size, repeats):
    """Least CPU seconds of each step."""
    features = TangentFeatures(network, K).fit(X)
    classes = [np.full(len(X), label) for label in range(N_CLASSES)]
    steps = {
        "epoch": lambda: epoch(network, X, y, batch_size),
        "one class": lambda: features.transform(X, y),
        "ten classes together": lambda: features._measured_at(X, classes),
        "ten classes one by one": lambda: [features.transform(X, label) for label in classes],
    }
    seconds = dict.fromkeys(steps, np.inf)
    for _ in range(repeats):
        for step, run in steps.items():
            seconds[step] = min(seconds[step], cpu_seconds(run))
    return seconds


def networks(n_images, n_rows):
    torch.manual_seed(0)
    images = torch.randn(n_images, 3, 32, 32)
    yield "resnet9 / 4", resnet9(width=16), images, 512
    yield "784-512-256-10", mlp(), torch.randn(n_rows, 784), 64


def main():
    options = parse(parser(__doc__, "64 images, 256 rows, one repeat"))
    torch.set_num_threads(options.threads or 1)
    n_images, n_rows, repeats = (64, 256, 1) if options.quick else (256, 4096, 2)
    results = Results("feature_passes", ["network", "n_rows", "step"])
    for name, network, X, batch_size in networks(n_images, n_rows):
        if results.has(network=name, n_rows=len(X), step="epoch"):
            continue
        y = torch.arange(len(X)) % N_CLASSES
        seconds = measure(network, X, y, batch_size, repeats)
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
