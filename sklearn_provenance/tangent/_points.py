"""Rows whose features are there already: explicit, sparse, outer products, of several models.

They answer as :class:`TangentRows` do. Shapes in comments: n points, d columns of x, O outputs.
"""

import math

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.preprocessing import normalize

# Rows of a product of sparse matrices that are dense at a time.
_BLOCK = 512
# Rows of explicit features that are held in double precision at a time.
_ROWS = 4096


class ExplicitPoints:
    """Points whose φ are stored as rows of an array.

    Parameters
    ----------
    array : ndarray or numpy.memmap of shape (n, n_components)
        φ, in any precision.
    labels : Tensor of shape (n,), int64
        Label of each.
    logits : Tensor of shape (n, n_classes), default=None
        Logits of each.
    sketched : Tensor of shape (n,), default=None
        Squared norms of what φ is a sketch of.
    device : torch.device, default="cpu"
        Where products are computed.
    """

    most_components = math.inf  # φ are there: products of few components always pay

    def __init__(self, array, labels, logits=None, sketched=None, device="cpu"):
        self.array, self.labels, self.logits = array, labels, logits
        self.sketched, self.device = sketched, device

    def __len__(self):
        return len(self.array)

    @property
    def x(self):
        """φ, as points that are outer products call their rows."""
        return self.array

    @property
    def n_components(self):
        """Columns of φ."""
        return self.array.shape[1]

    def take(self, rows):
        """Some of the points."""
        rows = torch.as_tensor(rows)
        logits, sketched = (None if v is None else v[rows] for v in (self.logits, self.sketched))
        array, labels = self.array[rows.numpy()], self.labels[rows]
        return ExplicitPoints(array, labels, logits, sketched, self.device)

    def equalise(self, copies):
        """Give each row φ of the first row that it is a copy of; files stay as they are."""
        if not isinstance(self.array, np.memmap):
            self.array = self.array[copies.numpy()]

    def identity(self):
        """Arrays that tell these points from others, for results kept on disk."""
        return (self.array,)

    def matrix(self):
        """φ (n, n_components) in double precision."""
        return torch.tensor(np.asarray(self.array), dtype=torch.float64, device=self.device)

    def blocks(self):
        """φ in double precision, some rows at a time."""
        for start in range(0, len(self), _ROWS):
            block = np.asarray(self.array[start : start + _ROWS])
            yield torch.as_tensor(block, device=self.device).double()

    def norms(self):
        """Squared norms (n,)."""
        return self.matrix().square().sum(1)

    def combine(self, weights):
        """Sums (m, n_components) of φ, weighted by the columns of weights (n, m)."""
        return weights.mT @ self.matrix()

    def times(self, weights):
        """Inner products (n, m) of φ and weights (m, n_components)."""
        return self.matrix() @ weights.mT.to(self.device)

    def unit(self):
        """Points with rows divided by their norms; zeros stay zeros."""
        phi = self.matrix()
        phi = torch.nn.functional.normalize(phi, dim=1, eps=torch.finfo(phi.dtype).tiny)
        return ExplicitPoints(phi.cpu().numpy(), self.labels, self.logits, device=self.device)

    def inner(self, other=None):
        """Kernel (n, n_other); of the points with themselves without other."""
        phi = self.matrix()
        return phi @ (phi if other is None else other.matrix()).mT


class OuterPoints:
    """Points φ = g ⊗ [x; 1], never multiplied out.

    Parameters
    ----------
    x : ndarray or csr matrix of shape (n, d)
        Rows.
    gradient : Tensor of shape (n, O)
        g.
    scale : float
        Factor of x·x'.
    bias : float
        What the 1 of the intercept adds to it: 1, or 0 without.
    labels, logits : Tensor
        As :class:`ExplicitPoints`.
    """

    most_components = 1024  # more of them are dearer to multiply out than their kernel

    def __init__(self, x, gradient, scale, bias, labels, logits):
        self.x, self.gradient, self.scale, self.bias = x, gradient, scale, bias
        self.labels, self.logits = labels, logits

    def __len__(self):
        return self.x.shape[0]

    @property
    def n_components(self):
        """Weights of the model."""
        return self.gradient.shape[1] * (self.x.shape[1] + bool(self.bias))

    def take(self, rows):
        """Some of the points."""
        rows = torch.as_tensor(rows)
        logits = None if self.logits is None else self.logits[rows]
        x, gradient = self.x[rows.numpy()], self.gradient[rows]
        return OuterPoints(x, gradient, self.scale, self.bias, self.labels[rows], logits)

    def equalise(self, copies):
        """Nothing: everything is in double precision."""

    def identity(self):
        """Arrays that tell these points from others, for results kept on disk."""
        return self.x, self.gradient, self.scale, self.bias

    def norms(self):
        """Squared norms (n,)."""
        x = self.x.multiply(self.x) if issparse(self.x) else np.square(self.x)
        squares = torch.as_tensor(np.asarray(x.sum(1)).ravel())
        return (self.scale * squares + self.bias) * self.gradient.square().sum(1)

    def pair_factors(self, other, picks):
        """What products of features are multiplied by in inner products of pairs.

        The inner product of a pair is the sum of ``factor * x[j] * other.x[j]`` over the columns j,
        and the part of the intercept.

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
        """Kernel (n, n_other)."""
        other = self if other is None else other
        kernel = torch.empty(len(self), len(other), dtype=torch.float64)
        transposed = other.x.T
        # Products of sparse rows are nearly full, and take more than the kernel where sparse.
        step = _BLOCK if issparse(self.x) else len(self)
        mirrored = other is self and step < len(self)  # half of a symmetric kernel is computed
        for start in range(0, len(self), max(1, step)):
            rows = slice(start, start + step)
            first = start if mirrored else 0
            products = self.x[rows] @ transposed[:, first:]
            products = products.toarray() if issparse(products) else products
            block = torch.as_tensor(products).mul_(self.scale).add_(self.bias)
            block *= self.gradient[rows] @ other.gradient[first:].mT
            kernel[rows, first:] = block
            if mirrored:
                kernel[start:, rows] = block.mT
        return kernel

    def times(self, weights):
        """Inner products (n, m) of x and weights (m, d)."""
        return torch.as_tensor(np.asarray(self.x @ weights.numpy().T))

    def combine(self, weights):
        """Sums (m, d) of the rows x, weighted by the columns of weights (n, m)."""
        return torch.as_tensor(np.asarray(self.x.T @ weights.numpy()).T)

    def matrix(self):
        """φ (n, n_components): weights output by output, then intercepts."""
        x = torch.as_tensor(self.x.toarray() if issparse(self.x) else np.array(self.x))
        parts = [(self.gradient[:, :, None] * (x * self.scale**0.5)[:, None]).flatten(1)]
        if self.bias:
            parts.append(self.gradient)
        return torch.cat(parts, 1)


class SparsePoints(OuterPoints):
    """Sparse rows φ of the user's own.

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

    def take(self, rows):
        """Some of the points."""
        rows = torch.as_tensor(rows)
        logits = None if self.logits is None else self.logits[rows]
        return SparsePoints(self.x[rows.numpy()], self.labels[rows], logits)

    def unit(self):
        """Points with rows divided by their norms; zeros stay zeros."""
        return SparsePoints(normalize(self.x), self.labels, self.logits)


class JoinedPoints:
    """The same rows as points of several models.

    Parameters
    ----------
    parts : list of ExplicitPoints
        One for each model.
    """

    def __init__(self, parts):
        self.parts, self.labels = parts, parts[0].labels

    def __len__(self):
        return len(self.labels)

    def take(self, rows):
        """Some of the points."""
        return JoinedPoints([part.take(rows) for part in self.parts])

    def equalise(self, copies):
        """Give each row the features of the first row that it is a copy of."""
        for part in self.parts:
            part.equalise(copies)

    def matrix(self):
        """Features of all models side by side."""
        return torch.cat([part.matrix() for part in self.parts], 1)
