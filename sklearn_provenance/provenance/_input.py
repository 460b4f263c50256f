"""Rows and images as users give them: checked, flattened, never reordered."""

import math
import warnings

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils.validation import validate_data

from .._utils.arguments import whole
from .._utils.numeric import as_ndarray
from .._utils.rows import as_given, image_layout

_LARGE = 2**31  # bytes


def learn_rows(estimator, X, y, **y_checks):
    """Check the rows and targets given to fit, and learn how rows are laid out.

    The estimator learns ``_user_shape``, the shape of an image as the user gives it (None for
    rows); ``_fit_flat``, whether X was two-dimensional; ``_fit_max``, the largest value; and
    ``_input_scale``, the factor for values. The factor is 1/255 for images of uint8 and 1 for other
    images. For rows it is one over the root mean square of all values, so that their unit does not
    matter: batch normalisation adds a constant to the variance.

    Parameters
    ----------
    estimator : BaseEstimator
        Has the parameter ``input_shape``.
    X : array-like or sparse matrix
        (n, n_features), (n, H, W), (n, C, H, W) or (n, H, W, C). A sparse matrix becomes dense,
        which takes four bytes for each value, zeros included, and warns above 2 GiB.
    y : array-like of shape (n,)
        Targets, checked along with X.
    **y_checks
        Further arguments of scikit-learn's ``validate_data``, about ``y``.

    Returns
    -------
    rows : ndarray of shape (n, n_features)
        A read-only copy, uint8 for images of uint8, else float32; images are flattened in the
        order in which they were given.
    y : ndarray of shape (n,)
        Targets.

    Raises
    ------
    ValueError
        If the shape is wrong or ambiguous.
    """
    given = _as_array(X)
    user_shape = _image_shape(given)
    is_flat = user_shape is None
    if estimator.input_shape is not None:
        input_shape = _check_input_shape(estimator.input_shape)
        if user_shape is None:
            user_shape = input_shape
        elif user_shape != input_shape:
            raise ValueError(
                f"images must have one size: input_shape is {input_shape}, got {user_shape}"
            )
    is_uint8 = user_shape is not None and _is_uint8(given)
    X, y = validate_data(
        estimator,
        _flattened(given),
        y,
        dtype=np.uint8 if is_uint8 else np.float32,
        order="C",
        **y_checks,
    )
    if user_shape is not None and X.shape[1] != math.prod(user_shape):
        raise ValueError(
            f"input_shape={estimator.input_shape} asks for {math.prod(user_shape)} values per "
            f"row; X has {X.shape[1]}"
        )
    if np.may_share_memory(X, np.asarray(given)):
        X = X.copy()

    estimator._user_shape = user_shape
    estimator._fit_flat = is_flat
    estimator._fit_max = float(X.max())
    if user_shape is None:
        estimator._input_scale = unit_scale(X)
    else:
        image_layout(user_shape)  # raises if it is ambiguous
        estimator._input_scale = 1 / 255 if is_uint8 else 1.0
    X.flags.writeable = False  # warm starts and explanations rely on it
    return X, y


def read_rows(estimator, X):
    """Check the rows given to a method, by what fit learned, and bring them to the type of fit.

    Parameters
    ----------
    estimator : BaseEstimator
        Fitted.
    X : array-like or sparse matrix
        As in :func:`learn_rows`.

    Returns
    -------
    rows : ndarray of shape (n, n_features)
        uint8, or float32 in the unit of the rows given to fit; images are flattened.

    Raises
    ------
    ValueError
        If the shape is wrong, or the range disagrees with the one seen in fit.
    """
    X = _as_array(X)
    fit_shape = estimator._user_shape
    user_shape = _image_shape(X)
    if user_shape is not None:
        if fit_shape is None:
            raise ValueError(
                f"fit saw rows of {estimator.n_features_in_} features; got images of shape "
                f"{user_shape}. Pass rows, or fit on images"
            )
        if user_shape != fit_shape:
            raise ValueError(
                f"images must have one size: fit saw images of shape {fit_shape}, got {user_shape}"
            )
    elif fit_shape is not None:
        _check_not_one_image(X, fit_shape)
    is_uint8 = fit_shape is not None and _is_uint8(X)
    dtype = np.uint8 if is_uint8 else np.float32
    X = validate_data(estimator, _flattened(X), reset=False, dtype=dtype, order="C")
    if fit_shape is None:
        return X
    return _in_unit_of_fit(estimator, X)


def unit_scale(X):
    """Compute the factor that brings the root mean square of all values to 1."""
    size = float(np.sqrt(np.mean(np.square(X, dtype=np.float64))))
    if size == 0:
        return 1.0
    return 1 / size


def _as_array(X):
    """Return tensors, sparse matrices and lists of images as arrays, and other rows as they are."""
    X = as_given(X)
    if isinstance(X, torch.Tensor):
        return as_ndarray(X)
    if issparse(X):
        return _densified(X)
    if isinstance(X, list | tuple) and len(X) and np.ndim(X[0]) in (2, 3):
        shapes = {np.shape(image) for image in X}
        if len(shapes) > 1:
            raise ValueError(f"images must have one size; got {sorted(shapes)}")
        return np.asarray(X)
    return X


def _densified(X):
    if X.dtype.kind in "bfiu" and X.dtype != np.uint8:
        X = X.astype(np.float32)  # before zeros are written out
    size = math.prod(X.shape) * X.dtype.itemsize
    if size > _LARGE:
        warnings.warn(
            f"X is sparse and becomes dense: {X.shape[0]} rows of {X.shape[1]} features take "
            f"{size / 2**30:.1f} GiB. TruncatedSVD or feature selection before makes them fewer",
            UserWarning,
            stacklevel=5,
        )
    return X.toarray()


def _image_shape(X):
    """Return the shape of one image, or None if X holds flat rows."""
    if getattr(X, "ndim", 2) in (3, 4):
        return X.shape[1:]
    return None


def _flattened(X):
    image_shape = _image_shape(X)
    if image_shape is None:
        return X
    return X.reshape(len(X), math.prod(image_shape))


def _is_uint8(X):
    if hasattr(X, "dtypes") and hasattr(X, "columns"):  # a data frame
        return len(X.columns) > 0 and all(str(dtype).lower() == "uint8" for dtype in X.dtypes)
    return getattr(X, "dtype", None) == np.uint8


def _check_input_shape(shape):
    side = whole()
    if len(shape) not in (2, 3) or not all(side.is_satisfied_by(size) for size in shape):
        raise ValueError(
            f"input_shape must be (H, W), (C, H, W) or (H, W, C), positive integers; got {shape!r}"
        )
    return tuple(shape)


def _check_not_one_image(X, image_shape):
    shape = getattr(X, "shape", None)
    # A batch of one image of one row has the shape of the image.
    is_batch = shape == (1, math.prod(image_shape))
    if shape == image_shape and not is_batch:
        raise ValueError(
            f"expected a batch of images of shape {image_shape}; got one image. Pass X[None]"
        )


def _in_unit_of_fit(estimator, X):
    """Bring values of images in uint8 to floats from 0 to 1, or back, where fit saw the other."""
    is_uint8 = X.dtype == np.uint8
    fit_saw_uint8 = estimator._input_scale != 1
    if is_uint8 and not fit_saw_uint8:
        if estimator._fit_max > 1:
            raise ValueError(
                f"fit saw floating-point values up to {estimator._fit_max:g}; uint8 values, which "
                "are divided by 255, do not compare with them. Convert X to the type used in fit"
            )
        return X.astype(np.float32) / np.float32(255)
    if fit_saw_uint8 and not is_uint8:
        if len(X) and X.max() > 1:
            raise ValueError(
                f"fit saw uint8 values, which are divided by 255; got floating-point values up to "
                f"{X.max():g}. Pass uint8, or values in [0, 1]"
            )
        return X * np.float32(255)
    return X
