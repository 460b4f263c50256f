"""The mean of parts.

Shapes in comments: P parts, K outputs of a part.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Mean:
    """The weighted mean of the outputs of parts.

    Parameters
    ----------
    shares : ndarray of shape (P,)
        Weights of the parts, which add up to one.
    columns : list of ndarray, default=None
        Columns of the mean that the outputs of each part are; other columns get 0 from it. None
        stands for all of them, in their order.
    n_columns : int, default=None
        Columns of the mean, where ``columns`` are given.
    """

    shares: np.ndarray
    columns: list | None = None
    n_columns: int | None = None

    def __call__(self, outputs):
        """Return the mean (..., n_columns) of outputs (..., K)."""
        if self.columns is None:
            return sum(s * output for s, output in zip(self.shares, outputs, strict=True))
        mean = np.zeros((*outputs[0].shape[:-1], self.n_columns))
        for share, own, output in zip(self.shares, self.columns, outputs, strict=True):
            mean[..., own] += share * output
        return mean


def equal(n_parts):
    """Compute shares (P,) of parts that count alike."""
    return np.full(n_parts, 1 / n_parts)
