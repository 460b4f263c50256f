"""Forms in which the gradients of a layer are kept, and what can be computed from each.

A layer's parameters are one matrix G of shape (O, I) per row of the data. A form stands for the
matrices of a batch. :class:`Form` answers every question from ``matrix()``; a subclass overrides
the answers that its form gives for less. A new form is one subclass, and no other code knows it.
Shapes in comments: B rows, T positions, I inputs, O outputs of a layer, Q queries; a prime marks a
second batch.
"""

import math
from dataclasses import dataclass

import torch

# Numbers held at once by one block of position pairs, or by some formed gradients.
_PAIRS = 2**24
_FORMED = 2**25
# Numbers of a product that are summed right away: few enough to stay in the processor's cache.
_CACHED = 2**20


class Form:
    """Gradients G (B, O, I) of a batch.

    A subclass is a dataclass whose tensors have rows on their first axis. It must have
    ``matrix()`` and ``shape``.
    """

    # Terms that the gradients of a row are sums of.
    positions = 1
    # Whether ``sides`` are vectors whose outer products are added, not formed gradients.
    kronecker = False

    @property
    def shape(self):
        """(O, I)."""
        raise NotImplementedError

    def matrix(self):
        """Return G itself, (B, O, I)."""
        raise NotImplementedError

    def __len__(self):
        return len(next(iter(self.tensors().values())))

    def __getitem__(self, rows):
        """Select the gradients of some rows: a slice or a tensor of row numbers."""
        return self._with({name: tensor[rows] for name, tensor in self.tensors().items()})

    def __add__(self, other):
        """Add another use of the same parameters, in the same form."""
        return Formed(self.matrix() + other.matrix())

    def tensors(self):
        """Return the tensors by name."""
        return {name: v for name, v in vars(self).items() if isinstance(v, torch.Tensor)}

    @property
    def device(self):
        """Device of the tensors."""
        return next(iter(self.tensors().values())).device

    def _with(self, tensors):
        return type(self)(**vars(self) | tensors)

    @property
    def n_numbers(self):
        """Numbers that are kept."""
        return sum(tensor.numel() for tensor in self.tensors().values())

    @property
    def nbytes(self):
        """Bytes that are kept."""
        return sum(tensor.nbytes for tensor in self.tensors().values())

    @property
    def signature(self):
        """What batches must agree on to be joined by :meth:`concatenate`."""
        return type(self), [tensor.shape[1:] for tensor in self.tensors().values()]

    @classmethod
    def concatenate(cls, parts, shared=None):
        """Join batches of equal signature; ``shared`` is as in :meth:`cast`."""
        if shared is None:
            shared = {}
        joined = {}
        for name in parts[0].tensors():
            tensors = [getattr(part, name) for part in parts]
            key = tuple(id(tensor) for tensor in tensors)
            if key not in shared:
                shared[key] = tensors, torch.cat(tensors)
            joined[name] = shared[key][1]
        return parts[0]._with(joined)

    def cast(self, dtype, shared=None):
        """Convert floats to another precision; numbers of rows stay integers.

        ``shared`` is a dict that is filled: forms that are converted with the same one, and share
        tensors, share them afterwards.
        """
        if shared is None:
            shared = {}
        floats = {n: v for n, v in self.tensors().items() if v.is_floating_point()}
        for tensor in floats.values():
            if id(tensor) not in shared:
                shared[id(tensor)] = tensor, tensor.to(dtype)  # the id is that of a living tensor
        return self._with({name: shared[id(tensor)][1] for name, tensor in floats.items()})

    def shares_input(self, other):
        """Whether another form has other gradients g for the same inputs of the layer."""
        return False

    def compact(self):
        """Return the same gradients in the form that takes least memory."""
        return self

    @property
    def rows_formed(self):
        """Rows whose gradients may be formed at once."""
        return max(1, _FORMED // math.prod(self.shape))

    def flat(self):
        """Yield the gradients (b, O I) of some rows at a time."""
        step = self.rows_formed
        for i in range(0, len(self), step):
            yield self[i : i + step].matrix().flatten(1)

    def inner(self, other):
        """Compute inner products (B, B') with the gradients of another batch, in any form."""
        if type(other) is type(self):
            return self.inner_alike(other)
        return self.inner_formed(other)

    def inner_alike(self, other):
        """Compute inner products with a batch in the same form."""
        return self.inner_formed(other)

    def inner_formed(self, other):
        """Compute inner products by forming the gradients of both batches."""
        rows = [torch.cat([ours @ theirs.T for theirs in other.flat()], 1) for ours in self.flat()]
        return torch.cat(rows)

    def inner_with(self, matrices):
        """Compute inner products (Q, B) with matrices (Q, O, I)."""
        flat = matrices.flatten(1)
        return torch.cat([flat @ gradients.mT for gradients in self.flat()], 1)

    def norms(self):
        """Compute squared norms (B,) in double precision."""
        return self._norms_formed()

    def _norms_formed(self):
        step = max(1, _PAIRS // math.prod(self.shape))
        parts = [self[i : i + step].matrix().double() for i in range(0, len(self), step)]
        return torch.cat([part.square().sum((1, 2)) for part in parts])

    def total(self, weights):
        """Compute the sum Σ_b weights_b G_b over the rows, (O, I)."""
        return self.totals(weights[None])[0]

    def totals(self, weights):
        """Compute the sums Σ_b weights_qb G_b over the rows, (Q, O, I), for weights (Q, B)."""
        parts = zip(self.flat(), weights.split(self.rows_formed, 1), strict=True)
        return sum(w @ flat for flat, w in parts).reshape(-1, *self.shape)

    def rotate(self, left, right):
        """Compute leftᵀ G right, for bases in columns; None leaves a side as it is."""
        matrix = times_basis(self.matrix(), right)
        if left is not None:
            matrix = left.mT @ matrix
        return Formed(matrix)

    def sides(self):
        """Return vectors (B, S, O) and (B, S, I) whose second moments are those of G's two sides.

        None stands for a side whose moment is diagonal.
        """
        matrix = self.matrix()
        return matrix.mT, matrix

    def add_squares(self, moments, scales):
        """Add Σ_b (scales_b G_b)² to ``moments`` (O, I) in double precision."""
        step = self.rows_formed
        for i in range(0, len(self), step):
            scaled = self[i : i + step].matrix() * scales[i : i + step, None, None]
            matrix, largest = divide_by_largest(scaled)
            moments += matrix.square().sum(0).to(moments.device).double() * largest**2

    def sketch(self, sketch_map, image_sum):
        """Add the image under a map of ``_sketch``; see its ``add_formed``."""
        sketch_map.add_formed(image_sum.total, self)


@dataclass
class Formed(Form):
    """G itself: normalisation, grouped convolutions, whatever torch.func differentiated."""

    gradient: torch.Tensor  # (B, O, I)

    @property
    def shape(self):
        return tuple(self.gradient.shape[1:])

    def matrix(self):
        return self.gradient

    def flat(self):
        yield self.gradient.flatten(1)

    def norms(self):
        return self.gradient.double().square().sum((1, 2))

    def totals(self, weights):
        return torch.tensordot(weights, self.gradient, 1)


def inner_over_pairs(left, right):
    """Compute Σ_tt' pairs(t, t') (g_t·g'_t') of two batches of one form, (B, B')."""
    B, T, _ = left.g.shape
    B2, T2, _ = right.g.shape
    result = left.g.new_empty(B, B2)
    columns = max(1, min(B2, _PAIRS // (T * T2)))
    rows = max(1, _PAIRS // (T * columns * T2))
    for i in range(0, B, rows):
        ours = left[i : i + rows]
        for j in range(0, B2, columns):
            theirs = right[j : j + columns]
            products = ours.g.flatten(0, 1) @ theirs.g.flatten(0, 1).T  # (b T, b' T')
            products *= ours.pairs(theirs)
            products = products.view(len(ours), T, len(theirs), T2)
            result[i : i + rows, j : j + columns] = products.sum((1, 3))
    return result


def norms_over_pairs(form):
    """Compute squared norms Σ_tt' own_pairs(t, t') (g_t·g_t'), (B,)."""
    step = max(1, _PAIRS // form.g.shape[1] ** 2)
    norms = []
    for i in range(0, len(form), step):
        part = form[i : i + step]
        g = part.g.double()
        products = (g @ g.mT) * part.own_pairs()  # (b, T, T)
        norms.append(products.sum((1, 2)).clamp_min(0))  # below zero by rounding alone
    return torch.cat(norms)


def cached_rows(n_numbers):
    """Count the rows, of this many numbers each, whose products stay in the processor's cache."""
    return max(1, _CACHED // n_numbers)


def divide_by_largest(values):
    """Divide values by the largest, and return both: squares of small numbers underflow."""
    largest = float(values.abs().max())
    if largest > 0:
        values = values / largest
    else:
        largest = 0.0  # maybe nan
    return values, largest


def times_basis(values, basis):
    """Express values in a basis; None leaves them as they are."""
    return values if basis is None else values @ basis
