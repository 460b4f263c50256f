import dataclasses
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets

from sklearn_provenance.datasets import _mnist

VARIABLE = "SKLEARN_PROVENANCE_DATA"


@pytest.fixture
def real_home():
    """The folder of the real data, if the user's environment names one."""
    return Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path, request):
    """Cut off OpenML and, except for tests of real data, whatever the machine has."""

    def refuse(**kwargs):
        raise AssertionError(f"a test went to OpenML with {kwargs}")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", refuse)
    if "real_home" not in request.fixturenames:
        monkeypatch.delenv(VARIABLE, raising=False)
        elsewhere = dataclasses.replace(
            _mnist.FASHION_MNIST, system_folders=(str(tmp_path / "debian"),)
        )
        monkeypatch.setattr(_mnist, "FASHION_MNIST", elsewhere)


@pytest.fixture
def write_idx():
    """Writer of idx files: header by hand, so that the reader has something to agree with."""

    def write(path, array):
        header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = header + array.astype(np.uint8).tobytes()
        path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)

    return write


@pytest.fixture
def write_mnist(write_idx):
    """Writer of a small data set in the four idx files; returns its arrays."""

    def write(folder, suffix=".gz", seed=0):
        rng = np.random.default_rng(seed)
        arrays = {}
        for part, prefix, n in (("train", "train", 30), ("test", "t10k", 20)):
            X = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
            y = np.arange(n) % 10
            write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", X)
            write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", y)
            arrays[part] = X, y
        return arrays

    return write
