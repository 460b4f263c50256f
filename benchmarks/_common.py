"""What the benchmark scripts share: data, and results that survive being interrupted."""

import argparse
import csv
import fcntl
import platform
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.model_selection import train_test_split

from sklearn_provenance.datasets import (
    load_cifar10,
    load_digits,
    load_fashion_mnist,
    load_mnist,
)

LOADERS = {"mnist": load_mnist, "fashion": load_fashion_mnist, "cifar10": load_cifar10}
RESULTS = Path(__file__).parent / "results"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Results:
    """A CSV file that grows by a line per run; runs that it holds are not repeated.

    Scripts that run at the same time may write the same file.
    """

    def __init__(self, name, keys):
        self.path = RESULTS / f"{name}.csv"
        self.keys = keys
        self.rows = []
        if self.path.exists():
            with self.path.open(newline="") as file:
                self.rows = list(csv.DictReader(file))

    def has(self, **run):
        return any(all(row[k] == str(run[k]) for k in self.keys) for row in self.rows)

    def add(self, **row):
        row = {**row, **environment()}
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("a+", newline="") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
            file.seek(0)
            self.rows = [*csv.DictReader(file), {k: str(v) for k, v in row.items()}]
            file.truncate(0)
            writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        print("  ".join(f"{k}={v}" for k, v in row.items() if k not in environment()), flush=True)


def environment():
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__.split("+")[0],
        "sklearn": sklearn.__version__,
        "python": platform.python_version(),
    }


def memory_mb(field):
    """Memory of this process from Linux: VmRSS is what it holds, VmHWM its peak.

    Not getrusage: its ru_maxrss is inherited from the parent, through exec too.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {field}")


def reset_peak():
    Path("/proc/self/clear_refs").write_text("5")


def parser(description, quick="fewer seeds and configurations"):
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--quick", action="store_true", help=quick)
    arguments.add_argument("--threads", type=int, default=None, help="of torch; default: its own")
    return arguments


def parse(arguments):
    options = arguments.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    return options


def standardise(X, X_test):
    mean, scale = X.mean(0), X.std(0)
    return (X - mean) / scale, (X_test - mean) / scale


def subset(X, y, size, seed):
    if size == len(y):  # which train_test_split refuses
        return X, y
    rows = train_test_split(np.arange(len(y)), train_size=size, random_state=seed, stratify=y)[0]
    return X[rows], y[rows]


def load(name, seed):
    """Training rows, training labels, test rows, test labels.

    Tabular sets are standardised with the training rows' figures and split 75/25; images are
    uint8. A number at the end of a name is the size of a stratified training subset.
    """
    if name in ("breast_cancer", "wine"):
        X, y = {"breast_cancer": load_breast_cancer, "wine": load_wine}[name](return_X_y=True)
        X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, random_state=seed, stratify=y)
        return (*interleave(standardise(X, X_test), (y, y_test)),)
    if name.startswith("digits"):
        X, y = load_digits("train", random_state=seed, return_X_y=True)
        X_test, y_test = load_digits("test", random_state=seed, return_X_y=True)
    else:
        loader = LOADERS[name.split("_")[0]]
        X, y = subset(*loader("train", return_X_y=True), int(name.split("_")[1]), seed)
        X_test, y_test = loader("test", return_X_y=True)
    if name.endswith("flat"):
        X, X_test = X.reshape(len(X), -1), X_test.reshape(len(X_test), -1)
    return X, y, X_test, y_test


def interleave(data, labels):
    for X, y in zip(data, labels, strict=True):
        yield X
        yield y
