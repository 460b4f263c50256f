"""The form of the gradients of a table, of which a row of the data looks up few rows.

Shapes in comments as in :mod:`._forms`.
"""

from dataclasses import dataclass

import torch

from ._forms import (
    Form,
    cached_rows,
    divide_by_largest,
    inner_over_pairs,
    norms_over_pairs,
    times_basis,
)


@dataclass
class Lookup(Form):
    """Row index_t of G receives g_t: embeddings."""

    index: torch.Tensor  # (B, T)
    g: torch.Tensor  # (B, T, I)
    n_rows: int

    kronecker = True

    @property
    def shape(self):
        return self.n_rows, self.g.shape[2]

    def matrix(self):
        zeros = self.g.new_zeros(len(self.g), *self.shape)
        return zeros.scatter_add_(1, self.index[:, :, None].expand_as(self.g), self.g)

    def summed(self):
        """Add up positions that look up the same row: one position for each row of G."""
        index = torch.arange(self.n_rows, device=self.index.device)
        return Lookup(index.expand(len(self.index), -1), self.matrix(), self.n_rows)

    def __add__(self, other):
        index = torch.cat([self.index, other.index], 1)
        return Lookup(index, torch.cat([self.g, other.g], 1), self.n_rows)

    def inner_alike(self, other):
        return inner_over_pairs(self, other)

    def pairs(self, other):
        """Compare which positions look up the same row, (B T, B' T')."""
        return self.index.flatten()[:, None] == other.index.flatten()

    def inner_with(self, matrices):
        B, T = self.index.shape
        step = cached_rows(len(matrices) * T * matrices.shape[2])
        parts = [self[i : i + step] for i in range(0, B, step)]
        return torch.cat([(matrices[:, p.index] * p.g).sum((2, 3)) for p in parts], 1)

    def norms(self):
        T = self.index.shape[1]
        n_out, n_in = self.shape
        if T * T * n_in >= n_out * n_in:
            return self._norms_formed()
        return norms_over_pairs(self)

    def own_pairs(self):
        """Compare which positions of a row look up the same row of G, (B, T, T)."""
        return self.index[:, :, None] == self.index[:, None, :]

    def totals(self, weights):
        g = (self.g * weights[:, :, None, None]).flatten(1, 2)  # (Q, B T, I)
        return g.new_zeros(len(weights), *self.shape).index_add_(1, self.index.flatten(), g)

    def rotate(self, left, right):
        if left is not None:
            return super().rotate(left, right)
        return Lookup(self.index, times_basis(self.g, right), self.n_rows)

    def sides(self):
        # One row at a time is looked up, so the moment of this side is diagonal already.
        return None, self.g

    def add_squares(self, moments, scales):
        # Positions of one row of the data that look up the same row of G are added before they are
        # squared: a key for each pair of these rows.
        rows = torch.arange(len(self), device=self.index.device)[:, None]
        keys, place = (self.index + self.n_rows * rows).flatten().unique(return_inverse=True)
        g = (self.g * scales[:, None, None]).flatten(0, 1)  # (B T, I)
        g = g.new_zeros(len(keys), g.shape[1]).index_add_(0, place, g)
        g, largest = divide_by_largest(g)
        squares = g.square().to(moments.device).double() * largest**2
        moments.index_add_(0, (keys % self.n_rows).to(moments.device), squares)

    def sketch(self, sketch_map, image_sum):
        sketch_map.add_lookup(image_sum.total, self)
