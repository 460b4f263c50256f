"""What inspection shares: the classifier inside a wrapper, and its rows as images."""

import numpy as np

from .._utils.rows import image_layout
from ..explanation._images import brightness
from ..explanation._rows import as_images
from ._certainty import open_provenance


def open_classifier(estimator, X=None, name="classifier"):
    """Return the fitted ProvenanceClassifier in an estimator, and rows as it takes them.

    Parameters
    ----------
    estimator : ProvenanceClassifier
        Fitted classifier, or a Pipeline, search or FrozenEstimator around one.
    X : array-like of shape (n, ...), default=None
        Rows as the estimator takes them.
    name : str, default="classifier"
        Name of the caller's argument, for error messages.

    Returns
    -------
    classifier : ProvenanceClassifier
        The same object, not copied.
    X : array-like of shape (n, ...) or None
        Rows after the steps in front of the classifier.

    Raises
    ------
    TypeError
        If there is no ProvenanceClassifier.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    classifier, pipelines = open_provenance(estimator)
    if classifier is None:
        raise TypeError(
            f"{name} must be a fitted ProvenanceClassifier, alone or inside a Pipeline, search or "
            f"FrozenEstimator; got {type(estimator).__name__}"
        )
    if X is not None:
        for pipeline in pipelines:
            X = pipeline.transform(X)
    return classifier, X


def check_some_known(y_test, classes):
    """Raise a ValueError where no true label is one of the classes that the model knows."""
    classes = np.asarray(classes).tolist()
    labels = y_test.tolist()
    if classes and set(labels).isdisjoint(classes):
        raise ValueError(
            f"y_test must have labels that the model knows, such as {classes[0]!r}, got only "
            f"others, such as {labels[0]!r}"
        )


def index_branch_features(classifier, X):
    """Compute the features of the index branch in double precision, as an array.

    In single precision, distances would depend on the other rows of a batch.
    """
    return np.asarray(classifier.transform(X), dtype=np.float64)


def pictures(classifier, X):
    """Return rows of a classifier as images.

    Parameters
    ----------
    classifier : ProvenanceClassifier
        Fitted.
    X : array-like of shape (n, ...)
        Rows as in its ``training_``.

    Returns
    -------
    ndarray of shape (n, H, W) or (n, H, W, C), or None
        None if rows are not images, or have a number of channels that cannot be drawn.
    """
    channels, *size = classifier.input_shape_
    if len(size) != 2 or channels not in (1, 3, 4):
        return None
    shape, _ = image_layout(classifier.training_.row_shape)
    return as_images(np.asarray(X).reshape(-1, *shape), classifier.input_shape_)


def draw_images(panels, images):
    """Draw images on panels without ticks, over one range of brightness."""
    images, limits = brightness(images)
    for panel, image in zip(panels, images, strict=True):
        panel.imshow(image, cmap="gray", interpolation="nearest", **limits)
        panel.set(xticks=[], yticks=[])
