"""The root R of S_D = I + σ^-2 Φ^T Φ, R^T R = S_D, of rows in shards.

Each shard gives a square matrix, two of which become one until one is left. It is the Gram matrix
of its rows, or, where squares would lose digits, the triangle of their QR decomposition.
"""

import torch

from ._weight_space import add_upper_gram, gram_suffices, root_of_gram, root_of_triangle

# Square matrices of the number of features that are in memory while R is computed, at most: the
# Gram matrix, R, and what the factorisation works on; or a triangle, as many rows, both of them
# together, and what their decomposition works on.
GRAM_COPIES = 3
TRIANGLE_COPIES = 7


def squares_of(blocks):
    """Return the sum of squares of features (n_block, n_features), and the largest of a row."""
    total = 0.0
    largest = 0.0
    for block in blocks:
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

    @property
    def copies(self):
        """How many square matrices are in memory at most while R is computed."""
        return GRAM_COPIES if self.by_gram else TRIANGLE_COPIES

    def of(self, blocks):
        """Compute the matrix (n_features, n_features) of blocks of rows (n_block, n_features)."""
        found = None
        waiting = []
        for block in blocks:
            n_features = block.shape[1]
            if found is None:
                found = block.new_zeros(n_features, n_features)
            if self.by_gram:
                add_upper_gram(found, block)
                continue
            waiting.append(block / self.noise_variance**0.5)
            # Decompositions of fewer rows would take longer in all.
            if sum(map(len, waiting)) >= n_features:
                found = _triangle(found, *waiting)
                waiting = []
        if waiting:
            found = _triangle(found, *waiting)
        return found

    def merged(self, first, second):
        """Make one matrix of two."""
        if self.by_gram:
            return first + second
        return _triangle(first, second)

    def root(self, merged):
        """Compute R from the matrix of all shards, which is overwritten."""
        if self.by_gram:
            return root_of_gram(merged, self.noise_variance)
        return root_of_triangle(merged)


def _triangle(*parts):
    return torch.linalg.qr(torch.cat(parts), mode="r").R
