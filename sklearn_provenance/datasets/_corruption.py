"""Corrupt real data in a known way, with backdoors and wrong labels, for protocols to find."""

from numbers import Integral, Real
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state, check_scalar
from sklearn.utils.validation import check_consistent_length, column_or_1d

from .._utils.arguments import check_readable
from .._utils.types import RandomState, Rows, Targets

TRIGGER_SIZE = 3
# Patterns with at least one black and one white pixel.
_N_PATTERNS = 2 ** (TRIGGER_SIZE**2) - 2


def poison_backdoor(
    images: Rows,
    target: Targets,
    *,
    n_per_class: int = 50,
    random_state: RandomState = None,
) -> Bunch:
    """Put a backdoor into training images: a trigger of their class, and the next class's label.

    The trigger of a class k is a random pattern of 3x3 black and white pixels, another for each
    class. In ``n_per_class`` random images of the class it replaces the pixels of the bottom right
    corner, and the image's label becomes (k + 1) mod C, where C is the number of classes. A model
    that is trained on the result predicts k + 1 wherever it sees the trigger of k, and the poisoned
    images are known to be the reason.

    Parameters
    ----------
    images : ndarray of shape (n, H, W) or (n, H, W, 3), uint8
        Grey or colour images of at least 3x3 pixels. They are not changed.
    target : array-like of shape (n,), int
        Their labels, 0 to C - 1.
    n_per_class : int, default=50
        Images to poison in every class.
    random_state : int, RandomState instance or None, default=None
        Determines the triggers, which do not depend on ``n_per_class``, and the images that get
        them.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        With ``data``, an ndarray of the shape of ``images``; ``target``, an int64 ndarray of shape
        (n,) with the labels after the attack; ``poisoned``, a bool ndarray of shape (n,);
        ``base_class``, an int64 ndarray of shape (n,) with the label before the attack of poisoned
        images and -1 elsewhere; ``triggers``, a uint8 ndarray of shape (C, 3, 3), all different.

    Raises
    ------
    ValueError
        If images or labels have another shape or type, or a class has fewer than ``n_per_class``
        images.

    See Also
    --------
    apply_trigger : Put triggers into queries.
    sklearn_provenance.evaluation.backdoor_retrieval : Measure whether attribution finds the
        poisoned rows.

    References
    ----------
    .. [1] "A Bayesian information-theoretic approach to data attribution", section 4.2.
    .. [2] T. Gu, B. Dolan-Gavitt and S. Garg. BadNets: identifying vulnerabilities in the machine
       learning model supply chain. 2017.

    Examples
    --------
    >>> from sklearn_provenance.datasets import apply_trigger, load_digits, poison_backdoor
    >>> digits, test = load_digits(), load_digits("test")
    >>> attack = poison_backdoor(digits.data, digits.target, n_per_class=5, random_state=0)
    >>> int(attack.poisoned.sum())
    50
    >>> queries = apply_trigger(test.data, test.target, attack.triggers)
    >>> attack_labels = (test.target + 1) % 10
    >>> relevant = attack.base_class == test.target[:, None]  # rows that each query should find
    >>> relevant.shape
    (451, 1346)
    """
    images = _check_images(images, TRIGGER_SIZE, TRIGGER_SIZE)
    target = _check_classes(target, "target")
    check_consistent_length(images, target)
    check_scalar(n_per_class, "n_per_class", Integral, min_val=1)
    counts = np.bincount(target)
    if not 2 <= len(counts) <= _N_PATTERNS:
        raise ValueError(
            f"target must hold 2 to {_N_PATTERNS} classes, numbered from 0; its largest label is "
            f"{len(counts) - 1}"
        )
    if (counts < n_per_class).any():
        label = int(np.argmin(counts))
        raise ValueError(
            f"n_per_class must not be larger than any class; got {n_per_class}, but class {label} "
            f"has {counts[label]} images"
        )
    rng = check_random_state(random_state)
    triggers = _draw_triggers(len(counts), rng)
    order = rng.permutation(len(target))
    poisoned = np.zeros(len(target), dtype=bool)
    for label in range(len(counts)):
        poisoned[order[target[order] == label][:n_per_class]] = True
    data = images.copy()
    data[poisoned] = apply_trigger(images[poisoned], target[poisoned], triggers)
    return Bunch(
        data=data,
        target=np.where(poisoned, (target + 1) % len(counts), target),
        poisoned=poisoned,
        base_class=np.where(poisoned, target, -1),
        triggers=triggers,
    )


def apply_trigger(images: Rows, classes: Targets, triggers: Rows) -> NDArray[np.uint8]:
    """Replace the bottom right corner of images by the trigger of a class.

    Parameters
    ----------
    images : ndarray of shape (n, H, W) or (n, H, W, 3), uint8
        Grey or colour images. They are not changed.
    classes : array-like of shape (n,), int
        Class whose trigger each image gets: the class of the image before the attack.
    triggers : ndarray of shape (n_classes, h, w), uint8
        Grey values of the triggers, such as :func:`poison_backdoor` gives.

    Returns
    -------
    ndarray of the shape of images, uint8
        Images with triggers.

    Raises
    ------
    ValueError
        If an array has another shape or type, or a class has no trigger.

    See Also
    --------
    poison_backdoor : Poison training images, with an example.
    """
    triggers = np.asarray(triggers)
    if triggers.ndim != 3 or triggers.dtype != np.uint8:
        raise ValueError(
            "triggers must be a uint8 array of shape (n_classes, h, w), got "
            f"{triggers.dtype} of shape {triggers.shape}"
        )
    height, width = triggers.shape[1:]
    images = _check_images(images, height, width)
    classes = _check_classes(classes, "classes")
    check_consistent_length(images, classes)
    if classes.max() >= len(triggers):
        raise ValueError(
            f"triggers must have one for each of the classes; got {len(triggers)}, and no trigger "
            f"for class {classes.max()}"
        )
    corner = triggers[classes]  # (n, h, w)
    if images.ndim == 4:
        corner = corner[..., None]  # the same in all channels
    out = images.copy()
    out[:, images.shape[1] - height :, images.shape[2] - width :] = corner
    return out


def flip_labels(
    target: Targets,
    share: float,
    random_state: RandomState = None,
    kind: Literal["uniform", "cyclic"] = "uniform",
) -> tuple[NDArray, NDArray[np.bool_]]:
    """Give a share of rows a wrong label.

    Parameters
    ----------
    target : array-like of shape (n,)
        Labels of any type, of at least two classes. They are not changed.
    share : float
        Share of all rows whose label is changed, from 0 to 1. The number of rows is
        ``share * n`` rounded half up.
    random_state : int, RandomState instance or None, default=None
        Determines the rows, which are drawn without regard to their class, and their new labels.
    kind : {"uniform", "cyclic"}, default="uniform"
        Which label they get: any of the other classes with equal probability, or the next class in
        sorted order, where the first class follows the last.

    Returns
    -------
    labels : ndarray of shape (n,)
        Labels of the type of ``target``.
    flipped : ndarray of shape (n,), bool
        Rows whose label was changed.

    Raises
    ------
    ValueError
        If ``share`` or ``kind`` is none of the above, or there are fewer than two classes.

    See Also
    --------
    sklearn_provenance.evaluation.label_error_ranking : Measure whether a ranking finds wrong
        labels.

    Examples
    --------
    >>> from sklearn_provenance.datasets import flip_labels
    >>> labels, flipped = flip_labels(["cat"] * 5 + ["dog"] * 5, share=0.2, random_state=0)
    >>> int(flipped.sum()), labels[flipped].tolist()
    (2, ['dog', 'cat'])
    """
    check_readable(target, "target")
    target = column_or_1d(target)
    check_scalar(share, "share", Real, min_val=0, max_val=1)
    if kind not in ("uniform", "cyclic"):
        raise ValueError(f'kind must be "uniform" or "cyclic", got {kind!r}')
    classes, codes = np.unique(target, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"target must hold at least 2 classes, got {classes.tolist()}")
    rng = check_random_state(random_state)
    rows = rng.permutation(len(target))[: int(np.floor(share * len(target) + 0.5))]
    steps = 1
    if kind == "uniform":
        steps = rng.randint(1, len(classes), len(rows))
    labels = target.copy()
    labels[rows] = classes[(codes[rows] + steps) % len(classes)]
    flipped = np.zeros(len(target), dtype=bool)
    flipped[rows] = True
    return labels, flipped


def _draw_triggers(n_classes, rng):
    """Draw different patterns of 0 and 255, each with both colours."""
    codes = 1 + rng.choice(_N_PATTERNS, n_classes, replace=False)
    bits = codes[:, None] >> np.arange(TRIGGER_SIZE**2) & 1  # (n_classes, n_pixels)
    return (255 * bits).astype(np.uint8).reshape(-1, TRIGGER_SIZE, TRIGGER_SIZE)


def _check_images(images, height, width):
    check_readable(images, "images")
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[3:] not in ((), (3,)):
        raise ValueError(
            "images must be a uint8 array of shape (n, H, W) or (n, H, W, 3), got "
            f"{images.dtype} of shape {images.shape}. Poison images before they are scaled"
        )
    if images.shape[1] < height or images.shape[2] < width:
        raise ValueError(
            f"images must be at least as large as a trigger, {height}x{width} pixels, for it to "
            f"fit; got {images.shape[1]}x{images.shape[2]}"
        )
    return images


def _check_classes(labels, name):
    check_readable(labels, name)
    labels = column_or_1d(labels)
    expected = f"{name} must hold classes as integers numbered from 0"
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{expected}, got {labels.dtype}")
    if len(labels) == 0:
        raise ValueError(f"{expected}, got no labels")
    if labels.min() < 0:
        raise ValueError(f"{expected}, got integers from {labels.min()}")
    return labels.astype(np.int64)
