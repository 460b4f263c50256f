"""The Fisher matrix of a network in eigenbases of Kronecker factors (EK-FAC).

A layer's gradient is a matrix G. Its Fisher block E[vec(G) vec(G)ᵀ] is taken to be diagonal in the
coordinates Q_Sᵀ G Q_A, one orthogonal basis for each side, with Λ = E[(Q_Sᵀ G Q_A)²] on the
diagonal. Shapes in comments: B rows, T positions, I inputs, O outputs of a layer, C classes.
"""

from dataclasses import dataclass

import torch
from tqdm.auto import tqdm

from ._batches import as_rows, take_batch
from ._forms import divide_by_largest
from ._network_layers import batch_size_for
from ._routes import restarted

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
        What the bases are computed from. ``"kronecker"``: E[a aᵀ] and E[g gᵀ] over positions;
        linear, convolution and embedding layers. ``"formed"``: E[Gᵀ G] and E[G Gᵀ], for gradients
        that have no factors. ``"diagonal"``: a side of more than 8192 coordinates is left as it is.
    left : torch.Tensor of shape (O, O) or None
        Basis of the output side in columns; None leaves the side as it is.
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
        """Express gradients in the eigenbases: factors are rotated before they are multiplied."""
        return factor.rotate(self.left, self.right)

    def add_squares(self, factor, scales):
        """Add the squared coordinates of a batch to Λ; gradients are multiplied by scales (B,)."""
        self.rotate(factor).add_squares(self.moments, scales)

    def precondition(self, factor, damping):
        """Compute λ (F + λ)⁻¹ G of every row (B, O, I) in the eigenbases.

        The λ in front keeps single precision from overflowing where the network is certain.
        """
        matrix = self.rotate(factor).matrix()
        return matrix * (damping / (self.moments + damping)).to(matrix)

    def restore(self, matrix):
        """Express matrices (B, O, I) in the layer's coordinates again."""
        if self.left is not None:
            matrix = self.left @ matrix
        if self.right is not None:
            matrix = matrix @ self.right.mT
        return matrix

    def whiten(self, factor, damping):
        """Compute (F + λ)^-1/2 G of every row (B, O, I) in the eigenbases, in double precision."""
        matrix = self.rotate(factor).matrix().to(self.moments.device).double()
        return matrix * (self.moments + damping).rsqrt()


def fisher_bytes(layers):
    """Count the bytes that :func:`fit_fisher` takes for layers: moments of both sides, and Λ."""
    numbers = 0
    for layer in layers:
        n_out, n_in = layer.shape
        numbers += n_out * n_in + sum(n**2 for n in layer.shape if n <= _SIDE)
    return 8 * numbers


class _SideMoments:
    """Sums of the second moments of both sides of a layer's gradients.

    Parameters
    ----------
    layer : Layer
        The layer.
    device : torch.device
        Where the sums are kept.
    """

    def __init__(self, layer, device):
        self.layer = layer
        self.device = device
        self.treatment = "kronecker"
        # One row of a table is looked up at a time: the moment of that side is diagonal already.
        self.left = None if layer.one_hot else self._zeros(layer.shape[0])
        self.right = self._zeros(layer.shape[1])

    def _zeros(self, size):
        """Make the sum of a side; None leaves a long side as it is."""
        if size > _SIDE:
            self.treatment = "diagonal"
            return None
        return torch.zeros(size, size, dtype=torch.float64, device=self.device)

    def add(self, factor, scales):
        """Add a batch, whose gradients are multiplied by scales (B,)."""
        if self.treatment == "kronecker" and not factor.kronecker:
            self.treatment = "formed"
        for total, side in zip((self.left, self.right), factor.sides(), strict=True):
            if total is not None and side is not None:
                rows, largest = divide_by_largest((side * scales[:, None, None]).flatten(0, 1))
                total += (rows.mT @ rows).to(total.device).double() * (largest * largest)

    def fisher(self, model):
        """Make a LayerFisher with Λ = 0."""
        like = {"dtype": model.dtype, "device": model.device}
        return LayerFisher(
            names=tuple(self.layer.weights),
            treatment=self.treatment,
            left=self._eigenvectors(self.left, like),
            right=self._eigenvectors(self.right, like),
            moments=torch.zeros(self.layer.shape, dtype=torch.float64, device=self.device),
        )

    def _eigenvectors(self, moment, like):
        if moment is None:
            return None
        if not torch.isfinite(moment).all():
            raise ValueError(
                f"gradients of log p must be finite, got others in {self.layer.key!r}; look for "
                "logits that are not finite, or very large"
            )
        return torch.linalg.eigh(moment).eigenvectors.to(**like)


def given_labels(labels):
    """Make targets of the empirical Fisher matrix, for :func:`fit_fisher`, from labels (n,)."""
    labels = torch.as_tensor(labels)

    def draw(logits, rows):
        yield labels[rows], logits.new_ones(len(logits))

    return draw


def only_output(weights=None):
    """Yield targets for a network with one output: the output itself, weighted by row (n,)."""

    def draw(logits, rows):
        first = torch.zeros(len(logits), dtype=torch.long)
        yield first, logits.new_ones(len(logits)) if weights is None else weights[rows].to(logits)

    return draw


def expected_labels(logits, rows):
    """Yield targets of the Fisher matrix itself: every label, weighted by its probability."""
    for label, p in enumerate(logits.softmax(1).mT):
        yield torch.full((len(logits),), label), p


def random_signs(signs):
    """Make targets whose mean is the Fisher matrix, from signs ±1 (n_samples, n, C).

    Directions Σ_c ±√p_c (e_c - p) have the second moment of e_y - p for a label y drawn from p.
    They are less noisy: where p_c is near 1, almost all labels that are drawn would be c.
    """
    signs = torch.as_tensor(signs)

    def draw(logits, rows):
        p = logits.cpu().double().softmax(1)  # (B, C)
        others = 1 - torch.eye(p.shape[1], dtype=p.dtype)  # 1 - p keeps its digits as a sum
        weights = logits.new_full((len(logits),), 1 / len(signs))
        for sample in signs[:, rows]:
            w = sample * p.sqrt()  # (B, C)
            yield w * (p @ others) - p * (w @ others), weights

    return draw


@restarted
@torch.inference_mode(False)
def fit_fisher(model, X, draw, *, batch_size="auto", verbose=False):
    """Compute the Fisher matrix of every layer that has an influence.

    Parameters
    ----------
    model : TangentModel
        The network, linearised for the log probability.
    X : array-like or torch.Tensor of shape (n_samples, ...)
        Rows that the expectation is over.
    draw : callable
        ``draw(logits, rows)`` yields targets of a batch, the slice ``rows`` of ``X``, and the
        weights (B,) of its rows, from the logits, or from what a
        callable measurement takes. Targets are labels (B,), whose log probability is measured, or
        directions in the logits (B, C). It is called twice for each batch and must yield the same
        both times.
    batch_size : int or "auto", default="auto"
        Rows per pass.
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

    def factors(progress):
        """Yield layers, their factors and what these are multiplied by, in one pass over X."""
        for i in tqdm(range(0, n, step), desc=progress, disable=not verbose):
            rows = slice(i, min(i + step, n))
            batch = model.linearise(take_batch(x, rows), i)
            for targets, weights in draw(batch.outputs.detach(), rows):
                scales = weights.sqrt().to(model.device, model.dtype)
                for layer, factor in batch.factors(targets):
                    yield layer, factor, scales

    sides: dict = {}
    for layer, factor, scales in factors("Kronecker factors"):
        if layer.number not in sides:
            sides[layer.number] = _SideMoments(layer, model.double_device)
        sides[layer.number].add(factor, scales)
    fisher = {}
    for number in list(sides):  # the sums of a layer are freed before the next layer's turn
        fisher[number] = sides.pop(number).fisher(model)
    for layer, factor, scales in factors("eigenvalues"):
        fisher[layer.number].add_squares(factor, scales)
    for layer in fisher.values():
        layer.moments /= n
    return fisher
