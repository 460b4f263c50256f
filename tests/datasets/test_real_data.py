"""The real data, where a machine has them: published sizes, counts and pixel statistics."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_provenance import datasets


def _need(home, *folders):
    if home is None or not any((home / folder).is_dir() for folder in folders):
        pytest.skip(f"SKLEARN_PROVENANCE_DATA names no folder with {folders[0]}")


def test_fashion_mnist(real_home):
    if not Path("/usr/share/datasets/fashion-mnist").is_dir():
        _need(real_home, "fashion-mnist", "FashionMNIST/raw")
    train, test = datasets.load_fashion_mnist(), datasets.load_fashion_mnist("test")
    assert train.data.shape == (60_000, 28, 28)
    assert test.data.shape == (10_000, 28, 28)
    assert np.bincount(train.target).tolist() == [6000] * 10
    assert np.bincount(test.target).tolist() == [1000] * 10
    assert_allclose(train.data.mean() / 255, 0.2860, atol=5e-5)
    assert_allclose(train.data.std() / 255, 0.3530, atol=5e-5)
    # Trousers are narrow, T-shirts are not.
    assert train.target_names[:2].tolist() == ["T-shirt/top", "Trouser"]
    columns = (train.data > 128).any(axis=1).sum(axis=1)
    assert columns[train.target == 1].mean() < columns[train.target == 0].mean() - 5


def test_mnist(real_home):
    _need(real_home, "mnist", "MNIST/raw")
    train, test = datasets.load_mnist(), datasets.load_mnist("test")
    assert train.data.shape == (60_000, 28, 28)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(train.target).tolist() == counts
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(test.target).tolist() == counts
    assert_allclose(train.data.mean() / 255, 0.1307, atol=5e-5)
    assert_allclose(train.data.std() / 255, 0.3081, atol=5e-5)


def test_mnist_is_not_taken_for_fashion_mnist(real_home):
    _need(real_home, "mnist")
    for subset in ("train", "test"):
        with pytest.raises(ValueError, match="load_mnist"):
            datasets.load_fashion_mnist(subset, data_home=real_home / "mnist")


def test_fashion_mnist_is_not_taken_for_mnist(real_home):
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    for subset in ("train", "test"):
        with pytest.raises(ValueError, match="load_fashion_mnist"):
            datasets.load_mnist(subset, data_home=folder)


def test_cifar10(real_home):
    _need(real_home, "cifar10", "cifar-10-batches-bin", "cifar-10-batches-py")
    bunch = datasets.load_cifar10("all")
    assert bunch.data.shape == (60_000, 32, 32, 3)
    assert np.bincount(bunch.target[:50_000]).tolist() == [5000] * 10
    assert np.bincount(bunch.target[50_000:]).tolist() == [1000] * 10
    # The official order starts with a frog, trucks and a deer, and the test set with a cat.
    assert bunch.target[:5].tolist() == [6, 9, 9, 4, 1]
    assert bunch.target[50_000:50_005].tolist() == [3, 8, 8, 0, 6]
    means = [bunch.data[:50_000, ..., channel].mean() / 255 for channel in range(3)]
    assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=1e-4)
    deviations = [bunch.data[:50_000, ..., channel].std() / 255 for channel in range(3)]
    assert_allclose(deviations, [0.2470, 0.2435, 0.2616], atol=5e-5)
    # Another triple is often stated: means of the deviations inside single images.
    inside = [bunch.data[:50_000, ..., c].std((1, 2)).mean() / 255 for c in range(3)]
    assert_allclose(inside, [0.2023, 0.1994, 0.2010], atol=2e-4)


def test_faces(real_home):
    _need(real_home, "lfw")
    grey = datasets.load_faces("all")
    assert grey.data.shape == (13_233, 32, 32)
    counts = np.bincount(grey.target)
    assert len(counts) == len(grey.target_names) == 5749
    assert (counts == 1).sum() == 4069
    assert grey.target_names[counts.argmax()] == "George W Bush"
    assert counts.max() == 530
    color = datasets.load_faces("all", color=True)
    assert color.data.shape == (3023, 32, 32, 3)
    same = datasets.load_faces("all", min_images_per_person=20)
    assert same.target_names.tolist() == color.target_names.tolist()
    assert same.image_number.tolist() == color.image_number.tolist()
    # ITU-R 601 luma, up to the rounding of two ways of scaling down.
    luma = color.data[:200] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(luma - same.data[:200]).mean() < 1.5


def test_rte(real_home):
    _need(real_home, "rte", "RTE")
    train, test = datasets.load_rte(), datasets.load_rte("test")
    assert train.data.shape == (2490, 2)
    assert np.bincount(train.target).tolist() == [1249, 1241]
    assert np.bincount(test.target).tolist() == [146, 131]
    assert all(isinstance(sentence, str) and sentence for sentence in train.data.ravel())
