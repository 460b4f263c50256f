"""The root R of S_D = I + σ^-2 Φ^T Φ, R^T R = S_D, of rows in shards.

Each shard gives a square matrix, two of which become one until one is left. It is the Gram matrix
of its rows, or, where squares would lose digits, the triangle of their QR decomposition.
"""

import torch

from ._shards import blocks_of
from ._weight_space import gram_suffices, root_of_gram, root_of_triangle, upper_gram


def squares_of(features):
    """Return the sum of squares of features (n_rows, n_features), and the largest of a row."""
    total = 0.0
    largest = 0.0
    for _, block in blocks_of(features):
        squares = block.square().sum(1)
        total += squares.sum().item()
        largest = max(largest, squares.max().item())
    return total, largest


class ShardRoots:
    """How the roots of shards are computed and put together.

    Parameters
    ----------
    squares : float
        Sum of squares of the features of all rows.
    noise_variance : float
        σ².
    """

    def __init__(self, squares, noise_variance):
        self.noise_variance = noise_variance
        self.by_gram = gram_suffices(squares, noise_variance)

    def of(self, features):
        """Compute the matrix (n_features, n_features) of a shard (n_rows, n_features)."""
        n_features = features.shape[1]
        found = torch.zeros(n_features, n_features, dtype=torch.float64)
        for _, block in blocks_of(features):
            part = block / self.noise_variance**0.5
            if self.by_gram:
                part = upper_gram(block)
            found = self.merged(found, part)
        return found

    def merged(self, first, second):
        """Make one matrix of two."""
        if self.by_gram:
            return first + second
        return torch.linalg.qr(torch.cat([first, second]), mode="r").R

    def root(self, merged):
        """Compute R from the matrix of all shards."""
        if self.by_gram:
            return root_of_gram(merged.clone(), self.noise_variance)
        return root_of_triangle(merged)
