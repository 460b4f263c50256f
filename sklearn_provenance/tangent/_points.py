"""Points of rows whose features are arrays: dense, sparse, outer products, of several models.

They have the methods of :class:`TangentRows`. Shapes in comments: n points, d columns of x, O
outputs.
"""

import math
from copy import copy

import numpy as np
import torch
from scipy.sparse import issparse

from .._utils.budget import block_numbers
from .._utils.row_arrays import RowArray, on_disk

# Rows of a product of sparse matrices that are dense at a time.
_BLOCK = 512
# Numbers of explicit features that are held in double precision at a time: 8 MB.
_NUMBERS = 2**20


class ExplicitPoints:
    """Points whose φ are stored as rows of an array.

    Parameters
    ----------
    array : ndarray or RowArray of shape (n, n_components)
        φ, in any precision. A read-only memory map stays on disk.
    labels : Tensor of shape (n,), int64
        Label of each.
    logits : Tensor of shape (n, n_classes), default=None
        Logits of each.
    device : torch.device, default="cpu"
        Where products are computed.
    squares : Tensor of shape (n,), default=None
        Squared norms, where they are known; None computes them.
    """

    most_components = math.inf  # φ is an array already: it costs nothing to write it out

    def __init__(self, array, labels, logits=None, device="cpu", squares=None):
        self.array = on_disk(array)
        self.labels = labels
        self.logits = logits
        self.device = device
        self.squares = squares

    def __len__(self):
        return len(self.array)

    @property
    def x(self):
        """φ, under the name that outer products have for their rows."""
        return self.array

    @property
    def n_components(self):
        """Columns of φ."""
        return self.array.shape[1]

    def take(self, rows):
        """Select some of the points."""
        rows = torch.as_tensor(rows)
        if isinstance(self.array, RowArray):
            array = self.array.taken(rows.numpy())
        else:
            array = self.array[rows.numpy()]
        return ExplicitPoints(
            array,
            self.labels[rows],
            _take_or_none(self.logits, rows),
            self.device,
            _take_or_none(self.squares, rows),
        )

    def equalise(self, copies):
        """Give each row the φ of the first row that it is a copy of; files are not changed."""
        if not isinstance(self.array, RowArray):
            self.array = self.array[copies.numpy()]

    def identity(self):
        """Return arrays that tell these points from others, for results kept on disk."""
        return (self.array,)

    def matrix(self):
        """Return φ (n, n_components) in double precision."""
        return torch.tensor(np.asarray(self.array), dtype=torch.float64, device=self.device)

    def blocks(self):
        """Yield φ in double precision, some rows at a time."""
        for _, block in self._numbered_blocks():
            yield block

    def _numbered_blocks(self):
        """Yield rows as a slice, and their φ in double precision."""
        step = max(1, block_numbers(_NUMBERS) // max(1, self.n_components))
        for start in range(0, len(self), step):
            rows = slice(start, min(start + step, len(self)))
            block = np.asarray(self.array[rows])
            # A copy, because files are read-only, of which torch warns.
            yield rows, torch.tensor(block, dtype=torch.float64, device=self.device)

    def norms(self):
        """Compute squared norms (n,)."""
        if self.squares is not None:
            return self.squares.to(self.device)
        # Results are not made between blocks, where they would keep freed memory from its reuse.
        norms = self._empty(len(self))
        for rows, block in self._numbered_blocks():
            norms[rows] = block.square().sum(1)
        return norms

    def combine(self, weights):
        """Compute sums (m, n_components) of φ, weighted by the columns of weights (n, m)."""
        total = torch.zeros(weights.shape[1], self.n_components, dtype=torch.float64)
        for rows, block in self._numbered_blocks():
            total.addmm_(weights[rows].mT, block.cpu())
        return total

    def times(self, weights):
        """Compute inner products (n, m) of φ and weights (m, n_components)."""
        columns = weights.mT.to(self.device)
        products = self._empty(len(self), columns.shape[1])
        for rows, block in self._numbered_blocks():
            products[rows] = block @ columns
        return products

    def inner(self, other=None):
        """Compute the kernel (n, n_other); without other, of the points with themselves."""
        phi = self.matrix()
        if other is None:
            return phi @ phi.mT
        kernel = self._empty(len(self), len(other))
        for rows, block in other._numbered_blocks():
            kernel[:, rows] = phi @ block.mT
        return kernel

    def inner_sum(self, other):
        """Compute the sums (n_other,) of the kernel over these points."""
        ones = torch.ones(len(self), 1, dtype=torch.float64)
        return other.times(self.combine(ones))[:, 0]

    def _empty(self, *shape):
        """Make a tensor for results, where products are computed."""
        return torch.empty(shape, dtype=torch.float64, device=self.device)


class OuterPoints:
    """Points φ = g ⊗ [x; 1], which are not multiplied out.

    Parameters
    ----------
    x : ndarray or csr matrix of shape (n, d)
        Rows.
    gradient : Tensor of shape (n, O)
        g.
    scale : float
        Factor of x·x'.
    bias : float
        What the 1 of the intercept adds to it: 1, or 0 without an intercept.
    labels, logits : Tensor
        As in :class:`ExplicitPoints`.
    """

    most_components = 1024  # with more, φ costs more to multiply out than the kernel

    def __init__(self, x, gradient, scale, bias, labels, logits):
        self.x = x
        self.gradient = gradient
        self.scale = scale
        self.bias = bias
        self.labels = labels
        self.logits = logits

    def __len__(self):
        return self.x.shape[0]

    @property
    def n_components(self):
        """Weights of the model."""
        return self.gradient.shape[1] * (self.x.shape[1] + bool(self.bias))

    def take(self, rows):
        """Select some of the points."""
        rows = torch.as_tensor(rows)
        taken = copy(self)
        taken.x = self.x[rows.numpy()]
        taken.gradient = self.gradient[rows]
        taken.labels = self.labels[rows]
        taken.logits = _take_or_none(self.logits, rows)
        return taken

    def equalise(self, copies):
        """Do nothing: in double precision equal rows have equal features."""

    def identity(self):
        """Return arrays that tell these points from others, for results kept on disk."""
        return self.x, self.gradient, self.scale, self.bias

    def norms(self):
        """Compute squared norms (n,)."""
        squared = self.x.multiply(self.x) if issparse(self.x) else np.square(self.x)
        squares = torch.as_tensor(np.asarray(squared.sum(1)).ravel())
        return (self.scale * squares + self.bias) * self.gradient.square().sum(1)

    def pair_factors(self, other, picks):
        """Compute what products of features are multiplied by in inner products of pairs.

        The inner product of a pair is the sum of ``factor * x[j] * other.x[j]`` over the columns j,
        plus the part of the intercept.

        Parameters
        ----------
        other : OuterPoints
            Points of training rows.
        picks : Tensor of shape (n, k), int64
            Rows of ``other`` that each of the points is paired with; -1 for none.

        Returns
        -------
        Tensor of shape (n, k)
            Factors; undefined where picks is -1.
        """
        gradients = other.gradient[picks.clamp(min=0)]  # (n, k, O)
        return self.scale * (gradients @ self.gradient[:, :, None])[:, :, 0]

    def inner(self, other=None):
        """Compute the kernel (n, n_other)."""
        if other is None:
            other = self
        kernel = torch.empty(len(self), len(other), dtype=torch.float64)
        transposed = other.x.T
        step = max(1, len(self))
        if issparse(self.x):
            # A product of sparse rows has few zeros, and takes more memory than the dense kernel.
            step = _BLOCK
        mirrored = other is self and step < len(self)  # half of a symmetric kernel is computed
        for start in range(0, len(self), step):
            rows = slice(start, start + step)
            first = start if mirrored else 0
            products = self.x[rows] @ transposed[:, first:]
            if issparse(products):
                products = products.toarray()
            block = torch.as_tensor(products).mul_(self.scale).add_(self.bias)
            block *= self.gradient[rows] @ other.gradient[first:].mT
            kernel[rows, first:] = block
            if mirrored:
                kernel[start:, rows] = block.mT
        return kernel

    def inner_sum(self, other):
        """Compute the sums (n_other,) of the kernel over these points."""
        products = self.scale * other.times(self.combine(self.gradient))  # (n_other, O)
        return ((products + self.bias * self.gradient.sum(0)) * other.gradient).sum(1)

    def times(self, weights):
        """Compute inner products (n, m) of x and weights (m, d)."""
        return torch.as_tensor(np.asarray(self.x @ weights.numpy().T))

    def combine(self, weights):
        """Compute sums (m, d) of the rows x, weighted by the columns of weights (n, m)."""
        return torch.as_tensor(np.asarray(self.x.T @ weights.numpy()).T)

    def matrix(self):
        """Write φ (n, n_components) out: weights output by output, then intercepts."""
        if issparse(self.x):
            x = torch.as_tensor(self.x.toarray())
        else:
            x = torch.as_tensor(np.array(self.x))
        x = x * self.scale**0.5
        phi = (self.gradient[:, :, None] * x[:, None]).flatten(1)  # (n, O d)
        if self.bias:
            phi = torch.cat([phi, self.gradient], 1)
        return phi


class SparsePoints(OuterPoints):
    """Points whose φ are rows of a sparse matrix.

    Parameters
    ----------
    x : csr matrix of shape (n, n_components)
        φ.
    labels : Tensor of shape (n,), int64
        Label of each.
    logits : Tensor of shape (n, n_classes), default=None
        Logits of each.
    """

    def __init__(self, x, labels, logits=None):
        ones = torch.ones(x.shape[0], 1, dtype=torch.float64)
        super().__init__(x, ones, 1.0, 0.0, labels, logits)


class JoinedPoints:
    """The same rows as points of several models.

    Parameters
    ----------
    parts : list of ExplicitPoints
        One for each model.
    """

    def __init__(self, parts):
        self.parts = parts
        self.labels = parts[0].labels

    def __len__(self):
        return len(self.labels)

    def take(self, rows):
        """Select some of the points."""
        return JoinedPoints([part.take(rows) for part in self.parts])

    def equalise(self, copies):
        """Give each row the features of the first row that it is a copy of."""
        for part in self.parts:
            part.equalise(copies)

    def matrix(self):
        """Return the features of all models side by side."""
        return torch.cat([part.matrix() for part in self.parts], 1)


def _take_or_none(values, rows):
    """Select rows of values, if there are any values."""
    if values is None:
        return None
    return values[rows]
