"""The digits of scikit-learn as images with a split."""

import numpy as np
import pytest
import sklearn.datasets
from numpy.testing import assert_array_equal

from sklearn_provenance.datasets import load_digits


def test_pixels_are_scaled_to_the_full_range():
    original = sklearn.datasets.load_digits()
    bunch = load_digits("all")
    assert bunch.data.shape == (1797, 8, 8)
    assert bunch.data.dtype == np.uint8
    assert (bunch.data.min(), bunch.data.max()) == (0, 255)
    # 256 levels are finer than 17: nothing is lost.
    assert_array_equal(np.rint(bunch.data / 255 * 16), original.images)
    assert_array_equal(bunch.target, original.target)
    assert bunch.target.dtype == np.int64
    assert_array_equal(bunch.index, np.arange(1797))


@pytest.mark.parametrize("test_size", [0.1, 0.25, 0.5])
def test_split_is_complementary_and_stratified(test_size):
    everything = load_digits("all")
    train = load_digits(test_size=test_size)
    test = load_digits("test", test_size=test_size)
    assert sorted(np.concatenate([train.index, test.index])) == list(range(1797))
    for part in (train, test):
        assert_array_equal(part.data, everything.data[part.index])
        assert_array_equal(part.target, everything.target[part.index])
    share = np.bincount(test.target) / np.bincount(everything.target)
    assert np.abs(share - test_size).max() < 0.5 / 174 + 1e-12


def test_split_follows_the_seed():
    first, again, other = (load_digits("test", random_state=seed) for seed in (3, 3, 4))
    assert_array_equal(first.index, again.index)
    assert set(first.index) != set(other.index)


def test_arrays_belong_to_the_caller():
    first = load_digits("all")
    first.data[:] = 1
    first.target[:] = 1
    second = load_digits("all")
    assert second.data.max() == 255
    assert second.target.max() == 9
    X, y = load_digits(return_X_y=True)
    assert len(X) == len(y) == 1797 - 451


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"subset": "both"}, ValueError),
        ({"test_size": 0.0}, ValueError),
        ({"random_state": np.random.RandomState(0)}, TypeError),
    ],
)
def test_bad_arguments(arguments, error):
    with pytest.raises(error, match=next(iter(arguments))):
        load_digits(**arguments)
