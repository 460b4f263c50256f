"""Rows as users give them: checked, and as an Explanation shows them."""

import warnings
from collections.abc import Mapping

import numpy as np
from scipy.sparse import issparse
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import validate_data

from ..._utils.hashing import fingerprint
from ..._utils.rows import n_rows, shown
from ...provenance import ProvenanceClassifier
from ...provenance._input import IMAGE_CHANNELS, image_layout


def check_rows(attributor, X, reset=False):
    """X as something with rows; the model checks what it holds.

    Parameters
    ----------
    attributor : attributor
        Remembers the number and names of features, or compares them.
    X : array-like, tensor, sparse matrix, data frame, list of texts, or mapping of tensors
        Rows.
    reset : bool, default=False
        Whether to remember.

    Returns
    -------
    same kind as X
        An array for a list.

    Raises
    ------
    ValueError
        If X has no rows, or is a single one.
    """
    if issparse(X):
        X = X.tocsr()
    elif not hasattr(X, "shape") and not isinstance(X, Mapping):
        X = np.asarray(X)
    shape = getattr(X, "shape", None)
    if not isinstance(X, Mapping):
        kind = getattr(getattr(X, "dtype", None), "kind", "f" if shape is not None else "O")
        if shape is not None and (len(shape) == 0 or (len(shape) == 1 and kind in "fiubc")):
            raise ValueError(
                f"X must have a row per example, got an array of shape {tuple(shape)}. Reshape "
                "your data with X.reshape(1, -1) if it is one example"
            )
        validate_data(attributor, X, skip_check_array=True, reset=reset)
    if not n_rows(X):
        raise ValueError("Found array with 0 sample(s): X has no rows")
    return X


def content_digest(X, y):
    """Digest of queries and labels, or None for rows whose content cannot be seen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return fingerprint(type(X), X, y)


def shown_rows(estimator, X):
    """Rows as an Explanation shows them, and the shape of images."""
    inner = estimator
    while isinstance(inner, FrozenEstimator):
        inner = inner.estimator
    X = shown(X)
    if not isinstance(inner, ProvenanceClassifier) or inner._user_shape is None:
        return X, image_shape(X)
    return np.asarray(X).reshape(-1, *image_layout(inner._user_shape)[0]), inner.input_shape_


def image_shape(X):
    """Shape (H, W) or (C, H, W) of rows that are images; None where they are not, or may not be."""
    kind = getattr(getattr(X, "dtype", None), "kind", "O")
    if np.ndim(X) not in (3, 4) or kind not in "fiub":
        return None
    try:
        shape, axes = image_layout(X.shape[1:])
    except ValueError:  # channels first or last
        return None
    if axes is not None:
        shape = shape[2], *shape[:2]
    if X.ndim == 3:
        return shape[1:]
    return shape if shape[0] in IMAGE_CHANNELS else None
