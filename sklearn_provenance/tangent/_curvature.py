"""The Fisher matrix of a network in eigenbases of Kronecker factors (EK-FAC).

A layer's gradient is a matrix G. Its Fisher block E[vec(G) vec(G)ᵀ] is taken to be diagonal in the
coordinates Q_Sᵀ G Q_A, one orthogonal basis for each side, with Λ = E[(Q_Sᵀ G Q_A)²] on the
diagonal. Shapes in comments: B examples, T positions, I inputs, O outputs of a layer, Q queries.
"""

from dataclasses import dataclass

import torch
from tqdm.auto import tqdm

from ._batches import as_rows, take
from ._forms import near_one
from ._layers import batch_size_for
from ._rows import restarted

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
        return factor.rotate(self.left, self.right)

    def add_squares(self, factor, roots):
        """Add the squared coordinates of a batch to Λ; rows count ``roots``² (B,)."""
        self.rotate(factor).add_squares(self.moments, roots)

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


class _Sides:
    """Sums of the second moments of both sides of a layer's gradients."""

    def __init__(self, layer, device):
        self.layer, self.device, self.formed = layer, device, False
        self.left, self.right = (
            torch.zeros(n, n, dtype=torch.float64, device=device) if n <= _SIDE else None
            for n in layer.shape
        )
        self.long = self.right is None or self.left is None
        if layer.one_hot:
            # One row at a time is looked up, so the moment of this side is diagonal already.
            self.left, self.long = None, self.right is None

    def add(self, factor, roots):
        """Add a batch, whose examples count ``roots``² (B,)."""
        self.formed = self.formed or not factor.kronecker
        for total, side in zip((self.left, self.right), factor.sides(), strict=True):
            if total is not None and side is not None:
                rows, unit = near_one((side * roots[:, None, None]).flatten(0, 1))
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


@restarted
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
    x, n = as_rows(X, model)
    if not model.planned:
        model.plan(x)
    step = batch_size_for(model, batch_size)
    device = model.device if model.device.type == "cuda" else torch.device("cpu")
    sides, fisher = {}, {}

    def passes(name):
        for i in tqdm(range(0, n, step), desc=name, disable=not verbose):
            rows = slice(i, min(i + step, n))
            batch = model.linearise(take(x, rows), i)
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
        layer.moments /= n
    return fisher
