"""Indicators: which rows are meant, as booleans or as 0 and 1."""

from numbers import Integral

import numpy as np

from .arguments import check_readable
from .numeric import as_ndarray


def as_indicator(values, name):
    """Return which rows are meant, as booleans.

    Parameters
    ----------
    values : array-like of bool, or of the integers 0 and 1
        Indicator.
    name : str
        Name of the caller's argument.

    Returns
    -------
    ndarray of bool
        True where the indicator is 1.

    Raises
    ------
    TypeError
        If they are a Dataset or DataLoader of torch.
    ValueError
        If one of the values is neither a boolean nor an integer 0 or 1.
    """
    check_readable(values, name)
    try:
        array = as_ndarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must have rows of one length: {error}") from error
    if array.dtype == bool:
        return array
    wanted = f"{name} must be bool, or 0 and 1 as integers"
    if array.dtype.kind not in "iuO":
        raise ValueError(f"{wanted}; got {array.dtype} of shape {array.shape}")
    if array.dtype.kind == "O":  # as nullable columns of pandas give them
        fits = np.reshape([_is_0_or_1(value) for value in array.ravel()], array.shape)
    else:
        fits = (array == 0) | (array == 1)
    if not fits.all():
        raise ValueError(f"{wanted}; got {array.dtype} with {array[~fits.astype(bool)][0]!r}")
    return array.astype(bool)


def _is_0_or_1(value):
    """Return whether a value is a boolean, or an integer 0 or 1."""
    return isinstance(value, bool | np.bool_ | Integral) and value in (0, 1)
