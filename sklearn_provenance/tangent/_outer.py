"""The form of gradients that are sums of outer products.

Shapes in comments as in :mod:`._forms`.
"""

import math
from dataclasses import dataclass

import torch

from ._forms import (
    Form,
    Formed,
    cached_rows,
    divide_by_largest,
    inner_over_pairs,
    norms_over_pairs,
    times_basis,
)


@dataclass
class Outer(Form):
    """G = Σ_t g_t a_tᵀ: linear layers and convolutions."""

    a: torch.Tensor  # (B, T, I)
    g: torch.Tensor  # (B, T, O)

    kronecker = True

    @property
    def shape(self):
        return self.g.shape[2], self.a.shape[2]

    @property
    def positions(self):
        return self.g.shape[1]

    def matrix(self):
        return self.g.transpose(1, 2) @ self.a  # (B, O, I)

    def ordered_inputs(self):
        """Return the inputs (B, T, I) and the numbers (I,) of their columns; None for 0, 1, ..."""
        return self.a, None

    @property
    def source(self):
        """The tensor that the inputs follow from."""
        return self.a

    def formed_together(self, forms):
        """Form the gradients of forms that share this one's inputs, some rows at a time.

        Yields
        ------
        rows : slice
            The rows.
        matrices : iterator of torch.Tensor of shape (b, O, I)
            Their gradients, form by form.
        order : torch.Tensor of shape (I,) or None
            Numbers of the columns of the matrices; None for 0, 1, ...
        """
        n_out, n_in = self.shape
        step = cached_rows(4 * n_out * n_in)
        for i in range(0, len(self), step):
            rows = slice(i, i + step)
            yield rows, (form[rows].matrix() for form in forms), None

    def shares_input(self, other):
        return type(other) is type(self) and other.a is self.a

    def __add__(self, other):
        return Outer(torch.cat([self.a, other.a], 1), torch.cat([self.g, other.g], 1))

    def compact(self):
        n_out, n_in = self.shape
        if self.positions * (n_in + n_out) > n_in * n_out:
            return Formed(self.matrix())
        return self

    def inner_alike(self, other):
        B, T = self.g.shape[:2]
        B2, T2 = other.g.shape[:2]
        n_out, n_in = self.shape
        if T == T2 == 1:
            return (self.a[:, 0] @ other.a[:, 0].T) * (self.g[:, 0] @ other.g[:, 0].T)
        # Multiplications over pairs of positions, or to form both batches and multiply them. The
        # other batch is formed once for each part of this one.
        by_pairs = B * T * B2 * T2 * (n_in + n_out)
        n_parts = math.ceil(B / self.rows_formed)
        by_forming = (B * T + n_parts * B2 * T2 + B * B2) * n_in * n_out
        if by_pairs < by_forming:
            return inner_over_pairs(self, other)
        return self.inner_formed(other)

    def pairs(self, other):
        """Compute products a_t·a'_t' of all positions, (B T, B' T')."""
        return self.a.flatten(0, 1) @ other.a.flatten(0, 1).T

    def inner_with(self, matrices):
        if self.positions > 1:
            return super().inner_with(matrices)
        # gᵀ M a: the longer side is summed by a matrix multiplication.
        short = self.a[:, 0]
        long = self.g[:, 0]
        if short.shape[1] < long.shape[1]:
            matrices = matrices.mT
            short, long = long, short
        step = cached_rows(long.numel())
        return torch.cat([(short @ part.mT * long).sum(2) for part in matrices.split(step)])

    def norms(self):
        T = self.positions
        n_out, n_in = self.shape
        if T == 1:
            return self.a[:, 0].double().square().sum(1) * self.g[:, 0].double().square().sum(1)
        if T * T * (n_in + n_out) >= n_out * n_in * T:
            return self._norms_formed()
        return norms_over_pairs(self)

    def own_pairs(self):
        """Compute products a_t·a_t' of the positions of each row, (B, T, T)."""
        a = self.a.double()
        return a @ a.mT

    def totals(self, weights):
        g = self.g * weights[:, :, None, None]  # (Q, B, T, O)
        return g.flatten(1, 2).mT @ self.a.flatten(0, 1)

    def rotate(self, left, right):
        n_out, n_in = self.shape
        if self.positions * (n_in**2 + n_out**2) <= n_out * n_in * (n_out + n_in):
            return Outer(times_basis(self.a, right), times_basis(self.g, left))
        return super().rotate(left, right)

    def sides(self):
        return self.g, self.a

    def add_squares(self, moments, scales):
        if self.positions > 1:
            super().add_squares(moments, scales)
            return
        g, largest = divide_by_largest(self.g[:, 0] * scales[:, None])
        squares = g.square().mT @ self.a[:, 0].square()
        moments += squares.to(moments.device).double() * largest**2

    def sketch(self, sketch_map, image_sum):
        sketch_map.add_outer(image_sum, self)
