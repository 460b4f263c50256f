"""Backdoors and wrong labels: what is changed is what is said to be changed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.stats import chisquare

from sklearn_provenance.datasets import apply_trigger, flip_labels, load_digits, poison_backdoor

COLOUR = [False, True]


def pictures(n_classes=4, n=60, color=False, shape=(5, 6), seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(1, 255, (n, *shape, *(3,) * color), dtype=np.uint8)
    return images, rng.permutation(np.arange(n) % n_classes)


@pytest.mark.parametrize("color", COLOUR)
@given(seed=st.integers(0, 1000), n_classes=st.integers(2, 8), n_per_class=st.integers(1, 7))
def test_poisoned_rows_and_no_others(color, seed, n_classes, n_per_class):
    images, target = pictures(n_classes, color=color, seed=seed)
    before = images.copy(), target.copy()
    attack = poison_backdoor(images, target, n_per_class=n_per_class, random_state=seed)
    assert_array_equal(images, before[0])
    assert_array_equal(target, before[1])

    poisoned = attack.poisoned
    assert_array_equal(np.bincount(target[poisoned]), np.full(n_classes, n_per_class))
    assert_array_equal(attack.base_class, np.where(poisoned, target, -1))
    # Pixels of pictures() are neither black nor white, so that what was changed can be seen.
    assert attack.data.dtype == np.uint8
    changed = attack.data != images
    assert_array_equal(changed.any(axis=tuple(range(1, images.ndim))), poisoned)
    assert changed[poisoned][:, -3:, -3:].all()
    assert not changed[:, :-3].any()
    assert not changed[:, :, :-3].any()
    for row in np.flatnonzero(poisoned):
        assert attack.target[row] == (target[row] + 1) % n_classes
        corner, trigger = attack.data[row, -3:, -3:], attack.triggers[target[row]]
        for channel in np.moveaxis(corner, -1, 0) if color else [corner]:
            assert_array_equal(channel, trigger)
    assert_array_equal(attack.target[~poisoned], target[~poisoned])
    assert attack.target.dtype == attack.base_class.dtype == np.int64


@given(seed=st.integers(0, 1000))
def test_triggers_are_black_and_white_and_different(seed):
    images, target = pictures(30)
    attack = poison_backdoor(images, target, n_per_class=1, random_state=seed)
    assert attack.triggers.shape == (30, 3, 3)
    assert len({trigger.tobytes() for trigger in attack.triggers}) == 30
    for trigger in attack.triggers:
        assert set(trigger.ravel().tolist()) == {0, 255}


def test_every_pattern_comes_up():
    images, target = pictures(510, n=510)
    triggers = poison_backdoor(images, target, n_per_class=1, random_state=0).triggers
    assert len({trigger.tobytes() for trigger in triggers}) == 510


def test_the_seed_determines_everything():
    images, target = pictures()
    first, again, other = (
        poison_backdoor(images, target, n_per_class=4, random_state=seed) for seed in (1, 1, 2)
    )
    for name in first:
        assert_array_equal(first[name], again[name])
    assert (first.triggers != other.triggers).any()
    assert (first.poisoned != other.poisoned).any()
    more = poison_backdoor(images, target, n_per_class=5, random_state=1)
    assert_array_equal(more.triggers, first.triggers)
    assert not (first.poisoned & ~more.poisoned).any()


@pytest.mark.parametrize("color", COLOUR)
def test_triggers_of_queries(color):
    images, target = pictures(color=color)
    attack = poison_backdoor(images, target, n_per_class=3, random_state=0)
    before = images.copy()
    queries = apply_trigger(images, target, attack.triggers)
    assert_array_equal(images, before)
    assert_array_equal(queries[attack.poisoned], attack.data[attack.poisoned])
    assert_array_equal(queries[:, :-3], images[:, :-3])
    wide = np.full((4, 2, 5), 255, np.uint8)
    queries = apply_trigger(images, target, wide)
    assert (queries[:, -2:, -5:] == 255).all()
    assert_array_equal(queries[:, :-2], images[:, :-2])


def test_what_a_query_should_find():
    digits, test = load_digits(), load_digits("test")
    attack = poison_backdoor(digits.data, digits.target, n_per_class=5, random_state=0)
    relevant = attack.base_class == test.target[:, None]
    assert_array_equal(relevant.sum(1), 5)
    for query, row in np.argwhere(relevant)[::50]:
        assert attack.poisoned[row]
        assert digits.target[row] == test.target[query]
        assert attack.target[row] == (test.target[query] + 1) % 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.ma.masked_less(pictures()[0], 9)}, "images must not be a masked array"),
        ({"target": np.ma.masked_less(pictures()[1], 1)}, "target must not be a masked array"),
        ({"images": pictures()[0] / 255}, "uint8"),
        ({"images": pictures()[0][:, None]}, "shape"),
        ({"images": pictures()[0][0]}, "shape"),
        ({"images": pictures(shape=(2, 9))[0]}, "fit"),
        ({"images": pictures()[0][:-1]}, "inconsistent"),
        ({"target": pictures()[1] - 1}, "from -1"),
        ({"target": pictures()[1] / 2}, "float64"),
        ({"target": np.zeros(60, int)}, "2 to 510 classes"),
        ({"target": pictures()[1] + 1}, "class 0 has 0"),
        ({"n_per_class": 16}, "class 0 has 15"),
        ({"n_per_class": 0}, "n_per_class"),
    ],
)
def test_bad_backdoors(change, message):
    images, target = pictures()
    arguments = {"images": images, "target": target, "n_per_class": 3} | change
    with pytest.raises(ValueError, match=message):
        poison_backdoor(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": np.full(60, 4)}, "no trigger for class 4"),
        ({"classes": np.zeros(0, int)}, "classes as integers numbered from 0, got no labels"),
        ({"triggers": np.ones((4, 3, 3))}, "uint8"),
        ({"triggers": np.zeros((4, 3), np.uint8)}, "shape"),
        ({"triggers": np.zeros((4, 6, 3), np.uint8)}, "fit"),
    ],
)
def test_bad_triggers(change, message):
    images, target = pictures()
    triggers = np.zeros((4, 3, 3), np.uint8)
    with pytest.raises(ValueError, match=message):
        apply_trigger(**({"images": images, "classes": target, "triggers": triggers} | change))


@given(
    n=st.integers(4, 60),
    n_classes=st.integers(2, 4),
    share=st.floats(0, 1),
    seed=st.integers(0, 100),
    kind=st.sampled_from(["uniform", "cyclic"]),
    names=st.booleans(),
)
def test_flipped_labels_are_wrong_and_others_are_not(n, n_classes, share, seed, kind, names):
    target = np.arange(n) % n_classes
    if names:
        target = np.array(["ant", "bee", "cat", "dog"])[target]
    before = target.copy()
    labels, flipped = flip_labels(target, share, seed, kind)
    assert_array_equal(target, before)
    assert_array_equal(labels != target, flipped)
    assert flipped.sum() == int(share * n + 0.5)
    assert labels.dtype == target.dtype
    assert set(labels.tolist()) <= set(target.tolist())
    again, _ = flip_labels(target, share, seed, kind)
    assert_array_equal(labels, again)
    if kind == "cyclic":
        classes = sorted(set(target.tolist()))
        for old, new in zip(target[flipped], labels[flipped], strict=True):
            assert classes.index(new) == (classes.index(old) + 1) % n_classes


def test_new_labels_are_uniform():
    target = np.repeat([0, 1, 2, 3], 5000)
    labels, flipped = flip_labels(target, 0.4, 0)
    assert chisquare(np.bincount(target[flipped])).pvalue > 1e-3
    for k in range(4):
        counts = np.bincount(labels[flipped & (target == k)], minlength=4)
        assert chisquare(np.delete(counts, k)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 1.1}, "share"),
        ({"kind": "pair"}, "cyclic"),
        ({"target": [3, 3]}, r"\[3\]"),
        ({"target": np.ma.masked_less([0, 1], 1)}, "target must not be a masked array"),
    ],
)
def test_bad_flips(change, message):
    with pytest.raises(ValueError, match=message):
        flip_labels(**({"target": [0, 1], "share": 0.5} | change))
