"""The Fisher matrix of a network in eigenbases of Kronecker factors (EK-FAC).

A layer's gradient is a matrix G. Its Fisher block E[vec(G) vec(G)ᵀ] is taken to be diagonal in the
coordinates Q_Sᵀ G Q_A, one orthogonal basis for each side, with Λ = E[(Q_Sᵀ G Q_A)²] on the
diagonal. Shapes in comments: B examples, T positions, I inputs, O outputs of a layer, Q queries.
"""

from dataclasses import dataclass

import torch
from tqdm.auto import tqdm

from ._batches import as_batch, batch_size_for
from ._kernel import rows_formed
from ._layers import Formed, Lookup, Outer, rows_of

# Longest side that is rotated: the eigenvectors of a longer one take many minutes.
_SIDE = 2**13


@dataclass
class LayerFisher:
    """Fisher matrix of one layer.

    Parameters
    ----------
    names : tuple of str
        The layer's parameters.
    treatment : {"kronecker", "formed", "diagonal"}
        Where the bases come from. ``"kronecker"``: E[a aᵀ] and E[g gᵀ] over positions; linear,
        convolution and embedding layers. ``"formed"``: E[Gᵀ G] and E[G Gᵀ], for gradients that
        have no factors. ``"diagonal"``: a side of more than 8192 coordinates is left as it is.
    left : torch.Tensor of shape (O, O) or None
        Basis of the output side in columns; None leaves it as it is.
    right : torch.Tensor of shape (I, I) or None
        Basis of the input side.
    moments : torch.Tensor of shape (O, I)
        Λ in double precision: the eigenvalues.
    """

    names: tuple
    treatment: str
    left: torch.Tensor | None
    right: torch.Tensor | None
    moments: torch.Tensor

    def rotate(self, factor):
        """The gradients in the eigenbases: factors are rotated before they are multiplied."""
        if isinstance(factor, Outer):
            T, (n_out, n_in) = factor.g.shape[1], factor.shape
            if T * (n_in**2 + n_out**2) <= n_out * n_in * (n_out + n_in):
                return Outer(_times(factor.a, self.right), _times(factor.g, self.left))
        elif isinstance(factor, Lookup) and self.left is None:
            return Lookup(factor.index, _times(factor.g, self.right), factor.n_rows)
        matrix = _times(factor.matrix(), self.right)
        return Formed(matrix if self.left is None else self.left.mT @ matrix)

    def add_squares(self, factor, roots):
        """Add the squared coordinates of a batch to Λ; examples count ``roots``² (B,)."""
        rotated, roots = self.rotate(factor), roots[:, None, None]
        if isinstance(rotated, Outer) and rotated.g.shape[1] == 1:
            g, unit = _near_one((rotated.g * roots)[:, 0])
            self._add(g.square().mT @ rotated.a[:, 0].square(), unit)
        elif isinstance(rotated, Lookup):
            examples = torch.arange(len(rotated), device=rotated.index.device)[:, None]
            keys = (rotated.index + rotated.n_rows * examples).flatten()
            keys, place = keys.unique(return_inverse=True)
            g = (rotated.g * roots).flatten(0, 1)
            g = g.new_zeros(len(keys), g.shape[1]).index_add_(0, place, g)
            g, unit = _near_one(g)
            self._add(g.square(), unit, keys % rotated.n_rows)
        else:
            step = rows_formed(rotated)
            for i in range(0, len(rotated), step):
                matrix = rows_of(rotated, i, i + step).matrix() * roots[i : i + step]
                matrix, unit = _near_one(matrix)
                self._add(matrix.square().sum(0), unit)

    def _add(self, squares, unit, rows=None):
        squares = squares.to(self.moments.device).double() * unit**2
        if rows is None:
            self.moments += squares
        else:
            self.moments.index_add_(0, rows.to(self.moments.device), squares)

    def precondition(self, factor, damping):
        """λ (F + λ)⁻¹ G of every example (B, O, I) in the eigenbases.

        The λ in front keeps single precision from overflowing where the network is certain.
        """
        matrix = self.rotate(factor).matrix()
        return matrix * (damping / (self.moments + damping)).to(matrix)

    def restore(self, matrix):
        """Matrices (B, O, I) in the layer's own coordinates."""
        matrix = matrix if self.left is None else self.left @ matrix
        return matrix if self.right is None else matrix @ self.right.mT

    def whiten(self, factor, damping):
        """Coordinates (B, O, I) of (F + λ)^-1/2 G in the eigenbases, in double precision."""
        matrix = self.rotate(factor).matrix().to(self.moments.device).double()
        return matrix * (self.moments + damping).rsqrt()


def _times(values, basis):
    return values if basis is None else values @ basis


def _near_one(values):
    """Values divided by the largest, and that: squares of small numbers underflow."""
    unit = float(values.abs().max())
    return (values / unit, unit) if unit > 0 else (values, 0.0)


class _Sides:
    """Sums of the second moments of both sides of a layer's gradients."""

    def __init__(self, layer, device):
        self.layer, self.device, self.formed = layer, device, False
        self.left, self.right = (
            torch.zeros(n, n, dtype=torch.float64, device=device) if n <= _SIDE else None
            for n in layer.shape
        )
        self.long = self.right is None or self.left is None
        if layer.kind == "lookup":
            # One row at a time is looked up, so the moment of this side is diagonal already.
            self.left, self.long = None, self.right is None

    def add(self, factor, roots):
        """Add a batch, whose examples count ``roots``² (B,)."""
        roots = roots[:, None, None]
        if isinstance(factor, Formed):
            self.formed = True
            matrix = factor.gradient * roots
            left, right = matrix.mT, matrix
        elif isinstance(factor, Lookup):
            left, right = None, factor.g * roots
        else:
            left, right = factor.g * roots, factor.a * roots
        for total, side in ((self.left, left), (self.right, right)):
            if total is not None:
                rows, unit = _near_one(side.flatten(0, 1))
                total += (rows.mT @ rows).to(total.device).double() * unit**2

    def fisher(self, model):
        """LayerFisher with Λ = 0."""
        treatment = "diagonal" if self.long else "formed" if self.formed else "kronecker"
        left, right = (
            None if side is None else self._eigenvectors(side).to(model.device, model.dtype)
            for side in (self.left, self.right)
        )
        moments = torch.zeros(self.layer.shape, dtype=torch.float64, device=self.device)
        return LayerFisher(tuple(self.layer.weights), treatment, left, right, moments)

    def _eigenvectors(self, moment):
        if not torch.isfinite(moment).all():
            raise ValueError(
                f"The gradients of log p in {self.layer.key!r} are not finite, so they have no "
                "second moments. Are all logits finite?"
            )
        return torch.linalg.eigh(moment).eigenvectors


def given_labels(labels):
    """Targets of the empirical Fisher matrix, for :func:`fit_fisher`: labels of the rows (n,)."""
    labels = torch.as_tensor(labels)

    def draw(logits, rows):
        yield labels[rows], logits.new_ones(len(logits))

    return draw


def expected_labels(logits, rows):
    """Targets of the Fisher matrix itself: every label, weighted by its probability."""
    for label, p in enumerate(logits.softmax(1).mT):
        yield torch.full((len(logits),), label), p


def random_signs(signs):
    """Targets whose mean is the Fisher matrix, from signs ±1 (n_samples, n, C).

    Directions Σ_c ±√p_c (e_c - p) have the second moment of e_y - p for a label y drawn from p.
    They are less noisy: where p_c is near 1, few labels drawn would be another.
    """
    signs = torch.as_tensor(signs)

    def draw(logits, rows):
        p = logits.cpu().double().softmax(1)
        others = 1 - torch.eye(p.shape[1], dtype=p.dtype)  # 1 - p keeps its digits as a sum
        for own in signs[:, rows]:
            w = own * p.sqrt()
            directions = w * (p @ others) - p * (w @ others)
            yield directions, logits.new_full((len(logits),), 1 / len(signs))

    return draw


@torch.inference_mode(False)
def fit_fisher(model, X, draw, *, batch_size="auto", verbose=False):
    """Fisher matrix of every layer that has an influence.

    Parameters
    ----------
    model : TangentModel
        The network, linearised for the log probability.
    X : array-like or torch.Tensor of shape (n_samples, ...)
        Examples that the expectation is over.
    draw : callable
        ``draw(logits, rows)`` yields targets of a batch, the slice ``rows`` of ``X``, and the
        weights (B,) that its examples have with them. Targets are labels (B,), of which the log
        probability is differentiated, or directions in the logits (B, C). It is called twice for
        each batch and must yield the same both times.
    batch_size : int or "auto", default="auto"
        Examples per pass.
    verbose : bool, default=False
        Whether to show progress.

    Returns
    -------
    dict
        LayerFisher by number of the layer.

    Raises
    ------
    ValueError
        If gradients are not finite.

    References
    ----------
    .. [1] T. George, C. Laurent, X. Bouthillier, N. Ballas, P. Vincent, "Fast approximate natural
       gradient descent in a Kronecker-factored eigenbasis", NeurIPS 2018, section 3.
    """
    x = as_batch(X, model)
    if not model.planned:
        model.plan(x)
    step = batch_size_for(model, batch_size)
    device = model.device if model.device.type == "cuda" else torch.device("cpu")
    sides, fisher = {}, {}

    def passes(name):
        for i in tqdm(range(0, len(x), step), desc=name, disable=not verbose):
            rows = slice(i, min(i + step, len(x)))
            batch = model.linearise(x[rows])
            for targets, weights in draw(batch.logits.detach(), rows):
                roots = weights.sqrt().to(model.device, model.dtype)
                for layer, factor in batch.factors(targets):
                    yield layer, factor, roots

    for layer, factor, roots in passes("Kronecker factors"):
        if layer.number not in sides:
            sides[layer.number] = _Sides(layer, device)
        sides[layer.number].add(factor, roots)
    for number in list(sides):
        fisher[number] = sides.pop(number).fisher(model)
    for layer, factor, roots in passes("eigenvalues"):
        fisher[layer.number].add_squares(factor, roots)
    for layer in fisher.values():
        layer.moments /= len(x)
    return fisher
