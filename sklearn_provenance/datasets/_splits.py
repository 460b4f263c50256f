"""Train and test rows for data sets that come without an official split."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state, check_scalar


def check_split(test_size, random_state):
    """Raise unless two calls with these arguments give complementary subsets."""
    check_scalar(test_size, "test_size", Real, min_val=0, max_val=1, include_boundaries="neither")
    if not isinstance(random_state, Integral):
        raise TypeError(
            f"random_state must be an int, got {random_state!r}. With anything else the training "
            "and the test subset, which two calls load, would overlap"
        )


def rank_within(labels):
    """Number the rows of each label 0, 1, 2, ... in the order in which they come."""
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    order = np.argsort(labels, kind="stable")
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) - starts[labels[order]]
    return rank


def split_rows(labels, subset, test_size, random_state):
    """Return the rows of a subset: all in order, or one side of a shuffled stratified split.

    Each label gives the share ``test_size`` of its rows to the test subset, rounded half up, but
    keeps at least one for training.
    """
    if subset == "all":
        return np.arange(len(labels))
    order = check_random_state(random_state).permutation(len(labels))
    counts = np.bincount(labels)
    n_test = np.minimum(np.floor(test_size * counts + 0.5), counts - 1)
    shuffled = labels[order]
    in_test = rank_within(shuffled) < n_test[shuffled]
    if subset == "test":
        return order[in_test]
    return order[~in_test]
