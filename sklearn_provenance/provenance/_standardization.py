"""Mean and standard deviation of the training rows, channel by channel ([PN] 7.4.3).

[PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability".
"""

import warnings
from typing import NamedTuple

import numpy as np

# Values of a block, which takes 8 bytes for each of them.
BLOCK = 1 << 20
# Mean over standard deviation from which a deviation is less than 64 steps of single precision.
_DIGITS = 2.0**18


class Standardization(NamedTuple):
    """What turns stored values x of a channel into network input, ``(x - mean) * factor``."""

    mean: np.ndarray  # (n_channels,), float64
    factor: np.ndarray  # (n_channels,), float64


def standardization(rows, shape, axes, scale):
    """Compute mean and standard deviation of every channel, a block of rows at a time.

    The columns of a table are its channels. The mean is subtracted from values as they are
    stored, before any factor, so that a column that is large compared with its spread loses no
    digits.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Rows as they are stored, uint8 or float32.
    shape : tuple of int
        Shape of a row before it was flattened.
    axes : tuple of int or None
        Transposition of a batch of such rows to channels-first order, if they need one.
    scale : float
        The factor of a channel that is constant, or varies by so little that one over its
        standard deviation is no float32.

    Returns
    -------
    Standardization
        In float64, whatever the type of the rows.
    """
    channel = 1 if axes is None else axes[1]
    n_channels = shape[channel - 1]
    others = tuple(axis for axis in range(len(shape) + 1) if axis != channel)
    n_values = len(rows) * (rows.shape[1] // n_channels)  # of a channel
    along = [1] * (len(shape) + 1)
    along[channel] = n_channels

    # Differences from any one value of a channel: those of a constant channel are exactly 0,
    # where a sum of many equal values is rounded.
    first = rows[:1].reshape(-1, *shape).min(others).astype(np.float64)
    total = np.zeros(n_channels)
    for block in _blocks(rows, shape):
        total += (block - first.reshape(along)).sum(others)
    mean = first + total / n_values

    squares = np.zeros(n_channels)
    for block in _blocks(rows, shape):
        squares += np.square(block - mean.reshape(along)).sum(others)
    deviation = np.sqrt(squares / n_values)

    is_constant = deviation < np.finfo(np.float32).tiny
    factor = np.where(is_constant, scale, 1 / np.where(is_constant, 1, deviation))
    _warn_of_lost_digits(mean, np.where(is_constant, np.inf, deviation))
    return Standardization(mean, factor)


def _warn_of_lost_digits(mean, deviation):
    """Warn of channels of which single precision leaves few different values."""
    lost = np.flatnonzero(np.abs(mean) > _DIGITS * deviation)
    if len(lost):
        warnings.warn(
            f"channel {lost[0]} has mean {mean[lost[0]]:.4g} and standard deviation "
            f"{deviation[lost[0]]:.4g}, so that rows in single precision differ in few digits "
            f"({len(lost)} such in all). Put a StandardScaler before, which computes in double "
            "precision",
            UserWarning,
            stacklevel=2,
        )


def _blocks(rows, shape):
    """Yield the rows in their shape, some of them at a time."""
    step = max(BLOCK // rows.shape[1], 1)
    for start in range(0, len(rows), step):
        yield rows[start : start + step].reshape(-1, *shape)
