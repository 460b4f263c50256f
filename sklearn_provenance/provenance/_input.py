"""Rows and images as users give them: checked, flattened, never reordered."""

import math
import numbers
import warnings

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils.validation import validate_data

from .._utils.numeric import as_given
from .._utils.rows import image_layout

_LARGE = 2**31  # bytes


def validate_rows(estimator, X, y="no_validation", *, reset, **y_checks):
    """Check input and bring it to flat rows of uint8 or float32.

    On ``reset`` the layout is learned: ``estimator._user_shape`` is the shape of an image as the
    user gives it (None for rows) and ``estimator._input_scale`` the factor for values: 1/255 for
    images of uint8; for rows one over the root mean square of all values, so that the unit of
    measurement does not matter (batch normalisation adds a constant to the variance);
    ``estimator._fit_flat`` is whether X was two-dimensional.

    Parameters
    ----------
    estimator : BaseEstimator
        Has the parameter ``input_shape``.
    X : array-like or sparse matrix
        (n, n_features), (n, H, W), (n, C, H, W) or (n, H, W, C). A sparse matrix becomes dense,
        which takes four bytes for each value, zeros included, and warns above 2 GiB.
    y : array-like of shape (n,), default="no_validation"
        Labels, checked along with X.
    reset : bool
        True in fit.
    **y_checks
        Further arguments of scikit-learn's ``validate_data``, about ``y``.

    Returns
    -------
    rows : ndarray of shape (n, n_features)
        A copy, uint8 for images that fit saw as uint8, else float32; images flattened in the
        user's own order.
    y : ndarray of shape (n,)
        Only if y was given.

    Raises
    ------
    ValueError
        If the shape is wrong or ambiguous, or the range disagrees with the one seen in fit.
    """
    X = given = _as_array(as_given(X))
    ndim = getattr(X, "ndim", 2)
    if reset and estimator.input_shape is not None:
        _check_input_shape(estimator.input_shape)
    if ndim in (3, 4):
        user_shape = X.shape[1:]
        if reset and estimator.input_shape is not None:
            _check_same_image(tuple(estimator.input_shape), user_shape, "input_shape")
        X = X.reshape(len(X), -1) if len(X) else X.reshape(0, math.prod(user_shape))
    elif reset and estimator.input_shape is not None:
        user_shape = tuple(estimator.input_shape)
    else:
        user_shape = None

    if not reset and user_shape is not None:
        if estimator._user_shape is None:
            raise ValueError(
                f"fit saw rows of {estimator.n_features_in_} features; got images of shape "
                f"{user_shape}. Pass rows, or fit on images"
            )
        _check_same_image(estimator._user_shape, user_shape, "fit")

    is_bytes = _is_uint8(X) and (user_shape if reset else estimator._user_shape) is not None
    _check_not_one_image(estimator, X, reset)
    kwargs = {"dtype": np.uint8 if is_bytes else np.float32, "order": "C"}
    without_y = isinstance(y, str) and y == "no_validation"
    checked = validate_data(estimator, X, y, reset=reset, **kwargs, **y_checks)
    X, y = (checked, None) if without_y else checked
    if reset and np.may_share_memory(X, np.asarray(given)):
        X = X.copy()

    if reset:
        if user_shape is not None and X.shape[1] != math.prod(user_shape):
            raise ValueError(
                f"input_shape={estimator.input_shape} asks for {math.prod(user_shape)} values per "
                f"row; X has {X.shape[1]}"
            )
        estimator._user_shape = user_shape
        estimator._fit_flat = ndim == 2
        if user_shape is None:
            estimator._input_scale = unit_scale(X)
        else:
            image_layout(user_shape)
            estimator._input_scale = 1 / 255 if is_bytes else 1.0
        estimator._fit_max = float(X.max())
        X.flags.writeable = False  # warm starts and explanations rely on it
    elif estimator._user_shape is not None:
        _check_range(estimator, X, is_bytes)
        if is_bytes and estimator._input_scale == 1:
            X = X.astype(np.float32) / np.float32(255)
        elif not is_bytes and estimator._input_scale != 1:
            X = X * np.float32(255)

    return X if without_y else (X, y)


def unit_scale(X):
    """The factor that brings the root mean square of all values to 1."""
    size = float(np.sqrt(np.mean(np.square(X, dtype=np.float64))))
    return 1 / size if size > 0 else 1.0


def _as_array(X):
    if isinstance(X, torch.Tensor):
        return X.cpu().numpy()
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


def _check_input_shape(shape):
    sizes = [s for s in shape if isinstance(s, numbers.Integral) and s > 0]
    if len(sizes) != len(shape) or len(shape) not in (2, 3):
        raise ValueError(
            f"input_shape must be (H, W), (C, H, W) or (H, W, C), positive integers; got {shape!r}"
        )


def _check_not_one_image(estimator, X, reset):
    shape = None if reset else estimator._user_shape
    if shape is not None and getattr(X, "shape", None) == shape[:2] != (1, math.prod(shape)):
        raise ValueError(
            f"expected a batch of images of shape {shape}; got one image. Pass X[None]"
        )


def _is_uint8(X):
    if hasattr(X, "dtypes") and hasattr(X, "columns"):
        return len(X.columns) > 0 and all(str(dtype).lower() == "uint8" for dtype in X.dtypes)
    return getattr(X, "dtype", None) == np.uint8


def _check_same_image(expected, given, source):
    if tuple(expected) != tuple(given):
        what = "input_shape is" if source == "input_shape" else "fit saw images of shape"
        raise ValueError(f"images must have one size: {what} {tuple(expected)}, got {tuple(given)}")


def _check_range(estimator, X, is_bytes):
    if is_bytes and estimator._input_scale == 1 and estimator._fit_max > 1:
        raise ValueError(
            f"fit saw floating-point values up to {estimator._fit_max:g}; uint8 values, which "
            "are divided by 255, do not compare with them. Convert X to the type used in fit"
        )
    if not is_bytes and estimator._input_scale != 1 and len(X) and X.max() > 1:
        raise ValueError(
            f"fit saw uint8 values, which are divided by 255; got floating-point values up to "
            f"{X.max():g}. Pass uint8, or values in [0, 1]"
        )
