"""What inspection shares: the classifier behind a wrapper, its rows as pictures, a canvas."""

import numpy as np

from ..explanation._images import brightness
from ..explanation._rows import as_images
from ..provenance._inference import index_features
from ..provenance._input import image_layout
from ._certainty import open_provenance


def open_classifier(estimator, X=None, name="classifier"):
    """The fitted ProvenanceClassifier in an estimator, and rows as it takes them.

    Parameters
    ----------
    estimator : ProvenanceClassifier
        Or a Pipeline, search or FrozenEstimator around one; fitted.
    X : array-like of shape (n, ...), default=None
        Rows as the estimator takes them.
    name : str, default="classifier"
        What the caller calls the estimator.

    Returns
    -------
    classifier : ProvenanceClassifier
        The same object, not copied.
    X : array-like of shape (n, ...) or None
        Rows that went through the steps in front of it.

    Raises
    ------
    TypeError
        If there is none.
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


def training_labels(classifier):
    """Labels of the training rows of a ProvenanceClassifier, as they were given."""
    return classifier.classes_[classifier._fit_y]


def index_branch_features(classifier, rows):
    """What ``transform`` returns, for rows as the classifier holds them, in double precision.

    In single precision distances would depend on what a row is batched with.
    """
    return index_features(classifier.net_.module_, classifier._index, rows).astype(np.float64)


def pictures(classifier, rows):
    """Rows of a classifier as images.

    Parameters
    ----------
    classifier : ProvenanceClassifier
        Fitted.
    rows : ndarray of shape (n, n_features)
        Rows as it holds them.

    Returns
    -------
    ndarray of shape (n, H, W) or (n, H, W, C), or None
        None if rows are not images, or have a number of channels that cannot be drawn.
    """
    if classifier._user_shape is None or classifier.input_shape_[0] not in (1, 3, 4):
        return None
    shape = image_layout(classifier._user_shape)[0]
    return as_images(rows.reshape(-1, *shape), classifier.input_shape_)


def draw_images(panels, images):
    """Draw images of one range of brightness on panels, without ticks."""
    images, limits = brightness(images)
    for panel, image in zip(panels, images, strict=True):
        panel.imshow(image, cmap="gray", interpolation="nearest", **limits)
        panel.set(xticks=[], yticks=[])
