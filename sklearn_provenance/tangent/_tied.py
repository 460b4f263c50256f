"""The form of a table that is also the weight of a linear layer, as in most language models.

Shapes in comments as in :mod:`._forms`; S positions of the linear layer.
"""

import math
from dataclasses import dataclass

import torch

from ._forms import _PAIRS, Form, Formed, times_basis
from ._lookup import Lookup
from ._outer import Outer


@dataclass
class Tied(Form):
    """G = Σ_t e_(index_t) v_tᵀ + Σ_s g_s a_sᵀ: rows that are looked up, and outer products."""

    index: torch.Tensor  # (B, T)
    v: torch.Tensor  # (B, T, I)
    a: torch.Tensor  # (B, S, I)
    g: torch.Tensor  # (B, S, O)

    @classmethod
    def of(cls, part, n_out):
        """Make the form of one use of the table, a Lookup or an Outer."""
        nothing = part.g.new_zeros(len(part), 0, part.shape[1])
        if isinstance(part, Lookup):
            return cls(part.index, part.g, nothing, part.g.new_zeros(len(part), 0, n_out))
        index = torch.zeros(len(part), 0, dtype=torch.long, device=part.device)
        return cls(index, nothing, part.a, part.g)

    @property
    def shape(self):
        return self.g.shape[2], self.a.shape[2]

    @property
    def positions(self):
        return self.v.shape[1] + self.g.shape[1]

    @property
    def parts(self):
        """The Lookup and the Outer, if they have positions."""
        parts = []
        if self.v.shape[1]:
            parts.append(Lookup(self.index, self.v, self.g.shape[2]))
        if self.g.shape[1]:
            parts.append(Outer(self.a, self.g))
        return parts

    def matrix(self):
        return sum(part.matrix() for part in self.parts)

    def __add__(self, other):
        pairs = zip(self.tensors().values(), other.tensors().values(), strict=True)
        return Tied(*(torch.cat(pair, 1) for pair in pairs))

    def compact(self):
        if self.n_numbers > len(self) * math.prod(self.shape):
            return Formed(self.matrix())
        return self

    def inner_alike(self, other):
        total = self._inner_across(other) + other._inner_across(self).mT
        for ours in self.parts:
            for theirs in other.parts:
                if type(ours) is type(theirs):
                    total += ours.inner(theirs)
        return total

    def _inner_across(self, other):
        """Compute inner products of the rows looked up here and the outer products of others."""
        B, T = self.index.shape
        B2, S = other.g.shape[:2]
        result = self.v.new_zeros(B, B2)
        a = other.a.flatten(0, 1)  # (B' S, I)
        g = other.g.flatten(0, 1)  # (B' S, O)
        step = max(1, _PAIRS // max(1, T * B2 * S))
        for i in range(0, B, step):
            part = slice(i, i + step)
            products = self.v[part] @ a.mT  # (b, T, B' S)
            products *= g.mT[self.index[part]]
            result[part] = products.unflatten(2, (B2, S)).sum((1, 3))
        return result

    def inner_with(self, matrices):
        return sum(part.inner_with(matrices) for part in self.parts)

    def norms(self):
        n_out, n_in = self.shape
        if self.positions * (n_in + n_out) >= n_out * n_in:
            return self._norms_formed()
        products = self.v.double() @ self.a.double().mT  # (B, T, S)
        looked_up = self.index[:, None].expand(-1, self.g.shape[1], -1)  # (B, S, T)
        across = products * self.g.double().gather(2, looked_up).mT
        own = sum(part.norms() for part in self.parts)
        return (own + 2 * across.sum((1, 2))).clamp_min(0)  # below zero by rounding alone

    def totals(self, weights):
        return sum(part.totals(weights) for part in self.parts)

    def rotate(self, left, right):
        if left is not None:
            return super().rotate(left, right)
        return Tied(self.index, times_basis(self.v, right), times_basis(self.a, right), self.g)

    def sketch(self, sketch_map, image_sum):
        for part in self.parts:
            part.sketch(sketch_map, image_sum)
