"""Constraints of arguments beside scikit-learn's, and checks of arrays that name the argument."""

from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._missing import is_pandas_na, is_scalar_nan
from sklearn.utils._param_validation import HasMethods, Interval, InvalidParameterError
from sklearn.utils.validation import _num_samples
from torch import nn
from torch.utils.data import DataLoader, Dataset


class NoBool(Interval):
    """An interval without True and False, which Python counts among the integers."""

    def is_satisfied_by(self, val):
        return not isinstance(val, bool | np.bool_) and super().is_satisfied_by(val)


def whole(least=1, most=None):
    """Return the constraint of an integer of at least `least`, and at most `most` unless None."""
    closed = "left" if most is None else "both"
    return NoBool(Integral, least, most, closed=closed)


def real(least=0, most=np.inf, closed="left"):
    """Return the constraint of a number in an interval, by default finite and not negative."""
    return NoBool(Real, least, most, closed=closed)


class Instance(HasMethods):
    """Constraint of an object, not a class, that has some methods."""

    def is_satisfied_by(self, val):
        return not isinstance(val, type) and super().is_satisfied_by(val)


class Rows(HasMethods):
    """Constraint of rows in any form, at least one."""

    def __init__(self):
        super().__init__("__len__")

    def is_satisfied_by(self, val):
        if isinstance(val, str | bytes | set | Mapping):
            return isinstance(val, Mapping) and len(val) > 0
        if is_loader(val) or is_masked(val):
            return False
        try:
            return _num_samples(val) > 0
        except TypeError:
            return False

    def __str__(self):
        return (
            "an array-like without a mask, data frame, sparse matrix or tensor with at least one "
            "row (of a Dataset or DataLoader the rows themselves)"
        )


ROWS = Rows()


def is_loader(values):
    """Return whether values are a DataLoader or Dataset, which give rows and are none."""
    return isinstance(values, DataLoader | Dataset)


def is_masked(values):
    """Return whether values are a masked array, or a list of some; `np.asarray` drops masks."""
    if isinstance(values, list | tuple):
        return any(isinstance(row, np.ma.MaskedArray) for row in values)
    return isinstance(values, np.ma.MaskedArray)


def check_readable(values, name):
    """Raise where reading values as an array would drop a part of them.

    Parameters
    ----------
    values : object
        Rows, labels or numbers.
    name : str
        Name of the caller's argument.

    Raises
    ------
    TypeError
        If they are a Dataset or DataLoader of torch.
    ValueError
        If they are a masked array.
    """
    if is_loader(values):
        raise TypeError(
            f"{name} must hold the rows; got a {type(values).__name__}. Pass the rows themselves, "
            "for instance torch.stack([x for x, _ in dataset])"
        )
    if is_masked(values):
        raise ValueError(
            f"{name} must not be a masked array, because its mask would be ignored. Fill it with "
            f"{name}.filled(value), or impute"
        )


def check_flag(value, name):
    """Raise unless an argument is True or False; other values would count as one of them."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False; got {value!r}")


def check_labels(y, name, n_rows, of="X"):
    """Return labels as an array with one label for each row.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or (n_rows, 1)
        Labels.
    name : str
        Name of the caller's argument.
    n_rows : int
        Number of rows.
    of : str, default="X"
        Name of the caller's argument with the rows.

    Returns
    -------
    ndarray of shape (n_rows,)
        Labels.

    Raises
    ------
    ValueError
        If the number of labels differs, or some are missing.
    """
    check_readable(y, name)
    if isinstance(y, torch.Tensor):
        y = y.detach().cpu()
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (n_rows,):
        raise ValueError(
            f"{name} must have one label for each of the {n_rows} rows of {of}, got an array of "
            f"shape {labels.shape}"
        )
    missing = missing_labels(labels)
    if missing.any():
        raise ValueError(
            f"{name} must have a label for every row of {of}, but {missing.sum()} of {n_rows} are "
            "missing (nan or None)"
        )
    return labels


def missing_labels(labels):
    """Return which labels are nan, None or NA."""
    if labels.dtype.kind == "f":
        return np.isnan(labels)
    if labels.dtype.kind != "O":
        return np.zeros(labels.shape, dtype=bool)
    absent = [v is None or is_scalar_nan(v) or is_pandas_na(v) for v in labels.ravel()]
    return np.reshape(absent, labels.shape).astype(bool)


def check_numbers(values, name, shape, infinite=False):
    """Return finite numbers of a shape, as float64.

    Parameters
    ----------
    values : array-like
        Numbers.
    name : str
        Name of the caller's argument.
    shape : tuple of int or None
        Shape that they must have; None stands for any length.
    infinite : bool, default=False
        Whether they may be infinite.

    Returns
    -------
    ndarray of that shape, float64
        Numbers.

    Raises
    ------
    ValueError
        If the values are no numbers, have another shape, or some are nan or infinite.
    """
    check_readable(values, name)
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers of shape {shape}: {error}") from error
    fits = numbers.ndim == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(shape, numbers.shape, strict=True)
    )
    kind = "finite numbers"
    refused = "nan or infinite"
    is_refused = ~np.isfinite(numbers)
    if infinite:
        kind = "numbers"
        refused = "nan"
        is_refused = np.isnan(numbers)
    if not fits or is_refused.any():
        sizes = str(shape).replace("None", "any")
        raise ValueError(
            f"{name} must be {kind} of shape {sizes}, got shape {numbers.shape} with "
            f"{is_refused.sum()} that are {refused}"
        )
    return numbers


def check_weights(module, what="the module"):
    """Raise a ValueError unless a torch module has finite weights.

    Parameters
    ----------
    module : torch.nn.Module
        Module to check. Its buffers may be infinite, because masks of logits hold -inf.
    what : str
        Name of the module in error messages.
    """
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if isinstance(value, nn.parameter.UninitializedTensorMixin):
            raise ValueError(
                f"{name!r} of {what} has no shape yet. Call the module on one batch first"
            )
        if value.is_meta:
            raise ValueError(f"{name!r} of {what} is on the meta device, which holds no values")
        is_bad = value.isnan()
        if isinstance(value, nn.Parameter):
            is_bad = ~value.isfinite()
        if is_bad.any():
            raise ValueError(
                f"{name!r} of {what} must be finite, got {int(is_bad.sum())} values that are NaN "
                "or infinite. Its training may have diverged: train it again, with a smaller lr"
            )


def as_device(device):
    """Return a torch device that can compute; "auto" is CUDA where there is a GPU."""
    if isinstance(device, str) and device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InvalidParameterError(
            f'device must be "auto" or a device of torch, such as "cpu" or "cuda:0", got {device!r}'
        ) from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={str(found)!r}, but torch finds no CUDA device; use 'auto'")
    try:
        usable = found.type != "meta"
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError):
        usable = False
    if not usable:
        raise InvalidParameterError(f"device={str(found)!r} cannot be computed on; use 'auto'")
    return found


def check_sizes(sizes, most):
    """Return sizes of subsets as an ascending array.

    Parameters
    ----------
    sizes : int or sequence of int
        Numbers of rows.
    most : int
        The largest that is allowed.

    Returns
    -------
    ndarray of shape (n_sizes,), int64
        Sizes.

    Raises
    ------
    ValueError
        If they are not whole numbers from 1 to ``most`` that increase.
    """
    sizes = np.atleast_1d(sizes)
    are_whole = sizes.ndim == 1 and sizes.dtype.kind in "iu" and len(sizes) > 0
    if not are_whole or sizes[0] < 1 or (np.diff(sizes) <= 0).any() or sizes[-1] > most:
        raise ValueError(
            f"sizes must be whole numbers that increase, from 1 to {most}; got {sizes.tolist()}"
        )
    return sizes.astype(np.int64)


def as_seeds(seeds):
    """Return seeds of repetitions as a tuple; None is one repetition without a seed."""
    each = (seeds,)
    if seeds is not None and np.ndim(seeds) > 0:
        each = tuple(seeds)
    are_seeds = all(seed is None or whole(0).is_satisfied_by(seed) for seed in each)
    if not each or not are_seeds or len(set(each)) < len(each) or None in each[1:]:
        raise ValueError(
            f"seeds must be an integer of at least 0, several different ones or None, got {seeds!r}"
        )
    return each


def store_arguments(arguments):
    """Store the arguments of a constructor as attributes of the same names.

    Parameters
    ----------
    arguments : dict
        ``locals()`` of the constructor, before anything else is assigned.
    """
    own = arguments.pop("self")
    vars(own).update(arguments)


def check_k(k, n_train):
    """Return k as an int, or raise where it is no number of training rows."""
    if not isinstance(k, Integral) or isinstance(k, bool):
        raise TypeError(f"k must be an integer, got {k!r}")
    if not 1 <= k <= n_train:
        raise ValueError(f"k must be between 1 and {n_train}, the number of training rows; got {k}")
    return int(k)


def labels_and_k(y, k, n_train, default=5):
    """Read ``explain(X, 3)`` as k=3, which it means for provenance networks.

    Parameters
    ----------
    y : array-like of shape (n_queries,), int or None
        Second argument of ``explain``.
    k : int
        Its third argument.
    n_train : int
        Training rows, of which k may be all.
    default : int, default=5
        Default of k, by which to tell that k was not given.

    Returns
    -------
    y : array-like of shape (n_queries,) or None
        Labels.
    k : int
        Rows per query.

    Raises
    ------
    TypeError
        If both are numbers, or k is no integer.
    ValueError
        If k is larger than the number of training rows.
    """
    if isinstance(y, Integral) and not isinstance(y, bool):
        if k != default:
            raise TypeError(
                f"y must be labels, one for each query, where k is given too; got {y!r}"
            )
        k = y
        y = None
    return y, check_k(k, n_train)
