"""Robustness: do predictions and exemplars survive distortions of the images?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import validate_params
from torch import nn

from .._utils.arguments import ROWS, check_labels, check_weights, whole
from .._utils.displays import PointsDisplay
from .._utils.fitted import check_fitted, predicts_numbers
from .._utils.labels import majority
from .._utils.results import Result
from .._utils.tables import Table, heads, mean_and_error, number_cells, standard_error, text_table
from .._utils.types import RandomState, Targets
from ..datasets import DISTORTIONS, distort
from ..explanation._explain import explain_by_itself, unwrap
from ..provenance._input import image_layout

CLEAN = "clean"


@validate_params(
    {
        "X": [ROWS],
        "y": [ROWS],
        "distortions": [Mapping, None],
        "image_shape": [tuple, list, None],
        "k": [whole()],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=False,
)
def robustness(
    classifiers: Any,
    X: ArrayLike,
    y: Targets,
    *,
    distortions: Mapping[str, Any] | None = None,
    image_shape: Sequence[int] | None = None,
    k: int = 5,
    random_state: RandomState = 0,
) -> Result:
    """Measure classifiers on distorted images, beside the images as they are.

    Every classifier sees the same distorted images. Where a classifier can explain itself, three
    labels of its exemplars are compared with the true label, too: that of the first exemplar, the
    most frequent among the first k (of equally frequent labels, the one that comes first), and any
    among the first k.

    Parameters
    ----------
    classifiers : dict of str to classifier, or classifier
        Fitted, on images of the form of X. Those with an ``explain`` method, such as
        ProvenanceClassifier, alone or in a pipeline, are also measured by their exemplars.
    X : ndarray of shape (n, H, W), (n, H, W, C), (n, C, H, W) or (n, n_features)
        Test images, uint8 or floats from 0 to 1, or such images as flat rows.
    y : array-like of shape (n,)
        True labels.
    distortions : dict of str to tuple or callable, default=None
        By name, the pair of ``kind`` and ``amount`` that
        :func:`~sklearn_provenance.datasets.distort` takes, or a function
        ``f(images, random_state=seed)`` that gets images, with channels last if there are any, and
        returns distorted ones of the same shape. None takes the 14 of the paper,
        :data:`~sklearn_provenance.datasets.DISTORTIONS`, made for 28 x 28 pixels.
    image_shape : tuple of int, default=None
        (H, W), (H, W, C) or (C, H, W), where rows of X are flat.
    k : int, default=5
        Exemplars that are looked at.
    random_state : int, RandomState instance or None, default=0
        Determines the distortions. They all start from one seed, so that the images of one do not
        depend on which others are measured.

    Returns
    -------
    Result
        The images as they are come first, under the name "clean". ``to_frame()`` has a line for
        each classifier, distortion and image: 1 for right, 0 for wrong. ``summary()`` has one for
        each classifier and distortion: shares of the images, and ``drop``, the clean accuracy less
        this one, whose standard error knows that both are of the same images.
        ``plot(what="top1")``, "majority" or "any" draws another measure than the accuracy.
        Attributes:

        classifiers : tuple of str
            Names of the classifiers.
        distortions : tuple of str
            Names of the distortions; the first, "clean", stands for none.
        correct : ndarray of shape (n_classifiers, n_distortions, n_images)
            1 where the predicted label is the true one, 0 elsewhere.
        top1, majority, any : ndarray of shape (n_classifiers, n_distortions, n_images)
            1 where the label of the first exemplar, the most frequent label of the first k, any
            label of the first k is the true one, 0 elsewhere; nan for classifiers that do not
            explain.
        k : int
            Exemplars that were looked at.

    Raises
    ------
    TypeError
        If a classifier cannot predict.
    ValueError
        If shapes do not fit, or no label is among the classes of a classifier.

    Warns
    -----
    UserWarning
        Where a query has fewer candidates than k.

    See Also
    --------
    sklearn_provenance.datasets.distort : The distortions.

    References
    ----------
    .. [1] [PN] "Provenance Networks: End-to-End Exemplar-Based Explainability", sections 5.2 and
       7.8.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.datasets import load_digits
    >>> from sklearn_provenance.evaluation import robustness
    >>> X, y = load_digits(return_X_y=True)
    >>> X_test, y_test = load_digits("test", return_X_y=True)
    >>> X, X_test = (images.reshape(-1, 64) / 255 for images in (X, X_test))
    >>> model = LogisticRegression(max_iter=500).fit(X, y)
    >>> distortions = {"noise": ("gaussian_noise", 0.2), "turned": ("rotation", 15)}
    >>> result = robustness(model, X_test, y_test, distortions=distortions, image_shape=(8, 8))
    >>> result.distortions
    ('clean', 'noise', 'turned')
    >>> result.correct.mean(axis=2).round(1)
    array([[1. , 0.9, 0.8]])
    """
    classifiers = _check_classifiers(classifiers)
    X = np.asarray(X)
    if X.dtype.kind not in "biuf":
        raise ValueError(f"X must hold images, that is numbers, got an array of {X.dtype}")
    y = check_labels(y, "y", len(X))
    for name, classifier in classifiers.items():
        classes = getattr(classifier, "classes_", y)
        if set(y.tolist()).isdisjoint(np.asarray(classes).tolist()):
            raise ValueError(
                f"y must hold classes that {name!r} knows, {classes}; no label of y is among the "
                "classes"
            )
    images, as_given = _as_images(X, image_shape)
    distortions = _check_distortions(DISTORTIONS if distortions is None else distortions)
    for pair in distortions.values():
        if not callable(pair):
            distort(images[:1], *pair, random_state=0)  # refuses what does not fit before the work
    seed = check_random_state(random_state).randint(2**31 - 1)

    right = [_measure(classifiers, X, y, k)]
    for name, distortion in distortions.items():
        if callable(distortion):
            distorted = np.asarray(distortion(images.copy(), random_state=seed))
            if distorted.shape != images.shape:
                raise ValueError(
                    f"distortions must keep the shape of images, {images.shape}, but {name!r} "
                    f"makes images of shape {distorted.shape}"
                )
        else:
            distorted = distort(images, *distortion, random_state=seed)
        right.append(_measure(classifiers, as_given(distorted), y, k))
    measures = np.stack(right).transpose(2, 1, 0, 3)
    return _result(tuple(classifiers), (CLEAN, *distortions), measures, int(k))


def _check_classifiers(classifiers):
    """Return fitted classifiers by name."""
    if not isinstance(classifiers, Mapping):
        classifiers = {type(classifiers).__name__: classifiers}
    if not classifiers:
        raise ValueError("classifiers must hold one or more classifiers, got none")
    for name, classifier in classifiers.items():
        if isinstance(classifier, type) or not hasattr(classifier, "predict"):
            raise TypeError(
                f"classifiers must be fitted classifiers, got {classifier!r} as {name!r}"
            )
        if predicts_numbers(classifier):
            raise TypeError(
                f"classifiers must predict classes, got the regressor {type(classifier).__name__} "
                f"as {name!r}"
            )
        check_fitted(classifier)
        _check_finite(name, classifier)
    return {str(name): classifier for name, classifier in classifiers.items()}


def _check_finite(name, classifier):
    """Raise if the weights of a network of skorch, or of a linear model, are not finite."""
    network = getattr(classifier, "module_", None)
    if isinstance(network, nn.Module):
        check_weights(network, f"the classifier {name!r}")
    coefficients = getattr(classifier, "coef_", None)
    if isinstance(coefficients, np.ndarray) and not np.isfinite(coefficients).all():
        raise ValueError(f"'coef_' of the classifier {name!r} must be finite, got nan or infinity")


def _check_distortions(distortions):
    """Return distortions by name; raise where one is neither a pair nor a function."""
    if CLEAN in distortions:
        raise ValueError(
            f"distortions must not be named {CLEAN!r}, which stands for the images as they are"
        )
    for name, distortion in distortions.items():
        if not callable(distortion) and not (
            isinstance(distortion, tuple | list) and len(distortion) == 2
        ):
            raise TypeError(
                'distortions must be pairs of kind and amount, such as ("rotation", 30), or '
                f"functions; got {distortion!r} as {name!r}"
            )
    return {str(name): distortion for name, distortion in distortions.items()}


def _as_images(X, image_shape):
    """Return images with channels, if any, last, and the way back to the form of X."""
    if image_shape is None:
        if X.ndim == 2:
            raise ValueError(
                "X must hold images where image_shape is None, got flat rows. Pass "
                "image_shape=(H, W)"
            )
        image_shape = X.shape[1:]
        what = "X"
    else:
        what = "image_shape"
    shape = tuple(image_shape)
    if len(shape) not in (2, 3) or not all(map(whole().is_satisfied_by, shape)):
        raise ValueError(
            "image_shape must be two or three positive integers, (H, W), (H, W, C) or (C, H, W), "
            f"got {shape}"
        )
    channels_first = len(shape) == 3 and image_layout(shape)[1] is None
    if (
        X.ndim < 2
        or np.prod(X.shape[1:]) != np.prod(shape)
        or (X.ndim > 2 and X.shape[1:] != shape)
    ):
        raise ValueError(
            f"{what} must fit: rows of X have shape {X.shape[1:]}, which is not an image of shape "
            f"{shape}"
        )
    images = X.reshape(-1, *shape)
    if channels_first:
        images = np.moveaxis(images, 1, -1)

    def as_given(images):
        if channels_first:
            images = np.moveaxis(images, -1, 1)
        return images.reshape(X.shape)

    return images, as_given


def _measure(classifiers, X, y, k):
    """Measure what is right, (n_classifiers, 4, n_images); nan where nothing is explained."""
    right = np.full((len(classifiers), 4, len(y)), np.nan)
    for classifier, own in zip(classifiers.values(), right, strict=True):
        own[0] = classifier.predict(X.copy()) == y  # it may write to its input
        if _explains(classifier):
            explanation = explain_by_itself(classifier, X.copy(), k=k)
            if explanation.exemplar_labels is not None:
                own[1:] = _exemplars_right(explanation, y)
    return right


def _explains(classifier):
    """Whether :func:`explain` finds something in a classifier that explains."""
    try:
        unwrap(classifier)
    except TypeError:
        return False
    return True


def _exemplars_right(explanation, y):
    """Whether the first exemplar, most of them, and any of them have the true label."""
    labels = explanation.exemplar_labels
    valid = explanation.indices >= 0
    match = (labels == y[:, None]) & valid
    return match[:, 0], match[np.arange(len(y)), majority(labels, valid)], match.any(axis=1)


def _result(classifiers, distortions, measures, k):
    """Make the result, with tables, text and figure."""
    correct, top1, of_most, of_any = measures  # (n_classifiers, n_distortions, n_images) each
    columns = {"accuracy": correct, "top1": top1, f"majority@{k}": of_most, f"any@{k}": of_any}
    dims = {"classifier": classifiers, "distortion": distortions}
    n_images = correct.shape[2]
    means = {name: values.mean(axis=2) for name, values in columns.items()}
    means["accuracy_se"] = standard_error(correct, 2)
    means |= mean_and_error("drop", correct[:, :1] - correct, 2)
    width = max(map(len, distortions)) + 2
    return Result(
        text_table(
            f"Accuracy on {n_images} distorted images",
            classifiers,
            number_cells(means["accuracy"], width, 3),
            head=heads(distortions, width),
        ),
        Table(dims | {"image": range(n_images)}, columns),
        _figure,
        summary=Table(dims, means | {"n_images": n_images}),
        classifiers=classifiers,
        distortions=distortions,
        correct=correct,
        top1=top1,
        majority=of_most,
        any=of_any,
        k=k,
    )


def _figure(result, what="accuracy", **style):
    """Draw a measure of each classifier under each distortion; those that lack it are left out."""
    k = result.k
    measures = {
        "accuracy": (result.correct, "accuracy"),
        "top1": (result.top1, "first exemplar has the true label (share of images)"),
        "majority": (result.majority, f"majority of {k} exemplars has the true label (share)"),
        "any": (result.any, f"any of {k} exemplars has the true label (share)"),
    }
    if what not in measures:
        raise ValueError(f"what must be one of {tuple(measures)}, got {what!r}")
    values, label = measures[what]
    known = np.flatnonzero(~np.isnan(values).all(axis=(1, 2)))
    if not len(known):
        raise ValueError(f"no classifier explains itself, so there is no {what!r} to draw")
    between = np.arange(1, len(result.distortions)) - 0.5
    return PointsDisplay(
        values[known].mean(axis=2),
        standard_error(values[known], 2),
        rows=result.distortions,
        names=[result.classifiers[i] for i in known],
        style={"markersize": 4} | style,
        references=[(None, y, {"color": "0.9", "linewidth": 0.8, "zorder": 0}) for y in between],
        axes={"xlabel": label},
        # Above, since points may stand anywhere inside the axes.
        legend={"loc": "lower left", "bbox_to_anchor": (0, 1), "fontsize": "small"},
    )
