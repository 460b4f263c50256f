"""A pattern that is stamped on rows, for backdoors and shortcuts."""

import numpy as np

from ._base import NotMeasured

_SIZE = 3  # pixels in each direction
_MOST = 16  # columns; with 9, linear models do not follow the shortcut


class Trigger:
    """Places in rows, and patterns of a smallest and a largest value for these places.

    In images, rows of two dimensions or three, the places are 3 x 3 pixels in the bottom right
    corner; the last two dimensions longer than 4 are height and width. In flat rows they are up to
    16 columns that vary, at most half of these, drawn at random.

    Parameters
    ----------
    X : ndarray of shape (n_rows, ...)
        Rows that say which columns vary, and between which values.
    n_patterns : int
        Different patterns to draw.
    rng : numpy Generator
        Draws them.

    Raises
    ------
    NotMeasured
        If there are too few columns for so many patterns.
    """

    def __init__(self, X, n_patterns, rng):
        flat = X.reshape(len(X), -1)
        if X.ndim > 2:
            self.places = _corner(X.shape[1:])
            low = np.full(len(self.places), flat.min())
            high = np.full(len(self.places), flat.max())
        else:
            varies = np.flatnonzero(np.ptp(flat, axis=0) > 0)
            n_places = min(_MOST, len(varies) // 2)
            self.places = np.sort(rng.choice(varies, n_places, replace=False))
            low = flat[:, self.places].min(0)
            high = flat[:, self.places].max(0)
        n_places = len(self.places)
        if 2**n_places - 2 < n_patterns:
            raise NotMeasured(
                f"a trigger takes half of the columns that vary, {n_places} here, which are too "
                f"few for {n_patterns} different patterns"
            )
        # Each has a small value and a large one.
        codes = 1 + rng.choice(2**n_places - 2, n_patterns, replace=False)
        bits = codes[:, None] >> np.arange(n_places) & 1  # (n_patterns, n_places)
        self.patterns = np.where(bits, high, low).astype(X.dtype)

    def stamp(self, X, pattern):
        """Return rows with a pattern, or each with its own.

        Parameters
        ----------
        X : ndarray of shape (n, ...)
            Rows; they are not changed.
        pattern : int or ndarray of shape (n,), int
            Number of the pattern.
        """
        flat = X.reshape(len(X), -1).copy()
        flat[:, self.places] = self.patterns[pattern]
        return flat.reshape(X.shape)


def _corner(shape):
    """Return places of the bottom right corner in a flattened image."""
    if len(shape) == 3 and shape[0] > 4 >= shape[2]:  # channels last
        corner = np.s_[-_SIZE:, -_SIZE:]
    else:
        corner = np.s_[..., -_SIZE:, -_SIZE:]
    return np.arange(np.prod(shape)).reshape(shape)[corner].ravel()
