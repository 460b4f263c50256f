"""Forms in which the gradients of a layer are kept, and what can be computed from each.

A layer's parameters are one matrix G of shape (O, I) per row of the data. A form stands for the
matrices of a batch and answers for itself; :class:`Form` gives every answer from ``matrix()``,
and a subclass overrides what it can do for less. :class:`Gradients` are the forms of all layers.
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

    @property
    def shape(self):
        """(O, I)."""
        raise NotImplementedError

    def matrix(self):
        """G itself, (B, O, I)."""
        raise NotImplementedError

    def __len__(self):
        return len(next(iter(self.tensors().values())))

    def __getitem__(self, rows):
        """Gradients of some rows: a slice or a tensor of numbers."""
        return self._with({name: value[rows] for name, value in self.tensors().items()})

    def __add__(self, other):
        """Sum of two uses of the same parameters."""
        return Formed(self.matrix() + other.matrix())

    def tensors(self):
        """Tensors by name."""
        return {name: v for name, v in vars(self).items() if isinstance(v, torch.Tensor)}

    @property
    def device(self):
        """Where the tensors are."""
        return next(iter(self.tensors().values())).device

    def _with(self, tensors):
        return type(self)(**vars(self) | tensors)

    # Terms that the gradients of a row are sums of.
    positions = 1

    @property
    def n_numbers(self):
        """Numbers that are kept."""
        return sum(value.numel() for value in self.tensors().values())

    @property
    def nbytes(self):
        """Bytes that are kept."""
        return sum(value.numel() * value.element_size() for value in self.tensors().values())

    @property
    def signature(self):
        """What batches must agree on to be joined by :meth:`concatenate`."""
        return type(self), [value.shape[1:] for value in self.tensors().values()]

    @classmethod
    def concatenate(cls, parts):
        """Join batches of equal signature."""
        names = parts[0].tensors()
        return parts[0]._with({n: torch.cat([getattr(part, n) for part in parts]) for n in names})

    def cast(self, dtype):
        """The same with its numbers in another precision."""
        tensors = self.tensors().items()
        return self._with({n: v.to(dtype) if v.is_floating_point() else v for n, v in tensors})

    def compact(self):
        """The same gradients in the form that takes least memory."""
        return self

    @property
    def rows_formed(self):
        """Rows whose gradients may be formed at once."""
        return max(1, _FORMED // math.prod(self.shape))

    def flat(self):
        """Give the gradients (b, O I) of some rows at a time."""
        step = self.rows_formed
        for i in range(0, len(self), step):
            yield self[i : i + step].matrix().flatten(1)

    def inner(self, other):
        """Inner products (B, B') with the gradients of another batch, in any form."""
        return torch.cat(
            [torch.cat([ours @ theirs.T for theirs in other.flat()], 1) for ours in self.flat()]
        )

    def inner_with(self, matrices):
        """Inner products (Q, B) with matrices (Q, O, I)."""
        flat = matrices.flatten(1)
        return torch.cat([flat @ gradients.mT for gradients in self.flat()], 1)

    def norms(self):
        """Squared norms (B,) in double precision."""
        return self._norms_formed()

    def _norms_formed(self):
        step = max(1, _PAIRS // math.prod(self.shape))
        parts = [self[i : i + step].matrix().double() for i in range(0, len(self), step)]
        return torch.cat([part.square().sum((1, 2)) for part in parts])

    def total(self, weights):
        """Sum Σ_b weights_b G_b over the rows, (O, I)."""
        parts = zip(self.flat(), weights.split(self.rows_formed), strict=True)
        return sum(w @ flat for flat, w in parts).reshape(self.shape)

    def rotate(self, left, right):
        """Leftᵀ G right, for bases in columns; None leaves a side as it is."""
        matrix = times_basis(self.matrix(), right)
        return Formed(matrix if left is None else left.mT @ matrix)

    def sides(self):
        """Vectors (B, S, O) and (B, S, I) whose second moments are those of the two sides of G.

        None for a side whose moment is diagonal.
        """
        matrix = self.matrix()
        return matrix.mT, matrix

    # Whether the sides are those of vectors, not of formed gradients.
    kronecker = False

    def add_squares(self, moments, roots):
        """Add Σ_b (roots_b G_b)² to ``moments`` (O, I) in double precision."""
        step = self.rows_formed
        for i in range(0, len(self), step):
            matrix, unit = near_one(self[i : i + step].matrix() * roots[i : i + step, None, None])
            moments += matrix.square().sum(0).to(moments.device).double() * unit**2

    def sketch(self, sketch_map, total, spectrum):
        """Add the image under a map of ``_sketch``; see its ``add_formed``."""
        sketch_map.add_formed(total, self)


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

    def __add__(self, other):
        return Outer(torch.cat([self.a, other.a], 1), torch.cat([self.g, other.g], 1))

    def compact(self):
        n_out, n_in = self.shape
        if self.positions * (n_in + n_out) > n_in * n_out:
            return Formed(self.matrix())
        return self

    def inner(self, other):
        if not isinstance(other, Outer):
            return super().inner(other)
        B, T = self.g.shape[:2]
        B2, T2 = other.g.shape[:2]
        n_out, n_in = self.shape
        if T == T2 == 1:
            return (self.a[:, 0] @ other.a[:, 0].T) * (self.g[:, 0] @ other.g[:, 0].T)
        # Multiplications over pairs of positions, or to form both and multiply them.
        pairs = B * T * B2 * T2 * (n_in + n_out)
        times = math.ceil(B / self.rows_formed)
        if pairs < (B * T + times * B2 * T2 + B * B2) * n_in * n_out:
            return over_pairs(self, other)
        return super().inner(other)

    def pairs(self, other):
        """Products a_t·a'_t' of all positions, (B T, B' T')."""
        return self.a.flatten(0, 1) @ other.a.flatten(0, 1).T

    def inner_with(self, matrices):
        if self.positions > 1:
            return super().inner_with(matrices)
        a, g = self.a[:, 0], self.g[:, 0]
        if a.shape[1] < g.shape[1]:  # the longer side is summed by matrix multiplication
            matrices, a, g = matrices.mT, g, a
        step = max(1, _CACHED // g.numel())
        return torch.cat([(a @ part.mT * g).sum(2) for part in matrices.split(step)])

    def norms(self):
        T = self.positions
        n_out, n_in = self.shape
        if T == 1:
            a, g = self.a[:, 0].double(), self.g[:, 0].double()
            return a.square().sum(1) * g.square().sum(1)
        if T * T * (n_in + n_out) >= n_out * n_in * T:
            return self._norms_formed()
        return norms_over_pairs(self)

    def own_pairs(self):
        """Products a_t·a_t' of the positions of each row, (B, T, T)."""
        a = self.a.double()
        return a @ a.mT

    def total(self, weights):
        g = self.g * weights[:, None, None]
        return g.flatten(0, 1).mT @ self.a.flatten(0, 1)

    def rotate(self, left, right):
        n_out, n_in = self.shape
        if self.positions * (n_in**2 + n_out**2) <= n_out * n_in * (n_out + n_in):
            return Outer(times_basis(self.a, right), times_basis(self.g, left))
        return super().rotate(left, right)

    def sides(self):
        return self.g, self.a

    def add_squares(self, moments, roots):
        if self.positions > 1:
            super().add_squares(moments, roots)
            return
        g, unit = near_one(self.g[:, 0] * roots[:, None])
        squares = g.square().mT @ self.a[:, 0].square()
        moments += squares.to(moments.device).double() * unit**2

    def sketch(self, sketch_map, total, spectrum):
        sketch_map.add_outer(total, spectrum, self)


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

    def total(self, weights):
        return torch.tensordot(weights, self.gradient, 1)


class Gradients:
    """Gradients of rows in all layers of a network that have an influence.

    Parameters
    ----------
    forms : dict
        Form by number of the layer.
    norms : torch.Tensor of shape (B,), default=None
        Squared norms in double precision, where they are known.

    Attributes
    ----------
    nbytes : int
        Bytes that the forms take.
    """

    def __init__(self, forms, norms=None):
        self.forms, self.norms = forms, norms
        self.nbytes = sum(form.nbytes for form in forms.values())

    @classmethod
    def compact(cls, forms, n_rows=None, dtype=None):
        """Note the norms of forms, which are emptied layer by layer, and keep what takes least.

        Parameters
        ----------
        forms : dict
            Form by number of the layer.
        n_rows : int, default=None
            B, of which norms are noted; None notes none.
        dtype : torch.dtype, default=None
            Precision to keep; None keeps nothing but the norms.
        """
        norms = None if n_rows is None else torch.zeros(n_rows, dtype=torch.float64)
        kept = {}
        for number in list(forms):
            form = forms.pop(number).compact()
            if norms is not None:
                norms = norms.to(form.device)
                norms += form.norms()
            if dtype is not None:
                kept[number] = form.cast(dtype)
        return cls(kept, norms)

    @classmethod
    def concatenate(cls, parts):
        """Join batches of equal signature, which are emptied layer by layer."""
        joined = {}
        for number in list(parts[0].forms):
            forms = [part.forms.pop(number) for part in parts]
            joined[number] = type(forms[0]).concatenate(forms)
        return cls(joined)

    def __getitem__(self, rows):
        """Gradients of some rows: a slice or a tensor of numbers on the CPU."""
        if isinstance(rows, slice):
            return Gradients({number: form[rows] for number, form in self.forms.items()})
        return Gradients({n: form[rows.to(form.device)] for n, form in self.forms.items()})

    @property
    def signature(self):
        """What batches must agree on to be joined."""
        return {number: form.signature for number, form in self.forms.items()}

    @property
    def n_numbers(self):
        """Numbers that are kept."""
        return sum(form.n_numbers for form in self.forms.values())

    def matrices(self):
        """Gradients (B, O, I) of each layer by number."""
        return {number: form.matrix() for number, form in self.forms.items()}

    def cast(self, dtype):
        """The same in another precision."""
        return Gradients({number: form.cast(dtype) for number, form in self.forms.items()})

    def copy_rows(self, source, to):
        """Write the gradients of some rows over those of others, in place."""
        for form in self.forms.values():
            for tensor in form.tensors().values():
                tensor[to.to(tensor.device)] = tensor[source.to(tensor.device)]

    def inner(self, other, result):
        """Add inner products (B, B') with the gradients of other rows to ``result``."""
        for number in sorted(self.forms.keys() & other.forms.keys()):
            result += self.forms[number].inner(other.forms[number])
        return result


def over_pairs(left, right):
    """Σ_tt' pairs(t, t') (g_t·g'_t') of two batches of one form, (B, B')."""
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
    """Squared norms Σ_tt' own_pairs(t, t') (g_t·g_t'), (B,)."""
    step = max(1, _PAIRS // form.g.shape[1] ** 2)
    norms = []
    for i in range(0, len(form), step):
        part = form[i : i + step]
        g = part.g.double()
        products = (g @ g.mT) * part.own_pairs()  # (b, T, T)
        norms.append(products.sum((1, 2)).clamp_min(0))  # below zero by rounding alone
    return torch.cat(norms)


def near_one(values):
    """Values divided by the largest, and that: squares of small numbers underflow."""
    unit = float(values.abs().max())
    return (values / unit, unit) if unit > 0 else (values, 0.0)


def times_basis(values, basis):
    """Values in a basis; None leaves them as they are."""
    return values if basis is None else values @ basis
