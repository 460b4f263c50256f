"""Gradients of the same rows in several directions of the outputs, layer by layer.

Shapes in comments: B rows, T positions, D directions, I inputs, O outputs of a layer, Q vectors.
"""

from dataclasses import dataclass

import torch

from ._forms import Formed, times_basis
from ._outer import Outer

# Positions for each direction from which on gradients are formed: products then take less.
_FORMED_FROM = 4


def rotated_directions(fisher, forms):
    """Express gradients of a layer in its eigenbases.

    Parameters
    ----------
    fisher : LayerFisher
        The layer's eigenbases.
    forms : list of Form
        Gradients of the same rows, one form for each direction; None where they are zero.

    Returns
    -------
    SharedInputs or Directions
        The gradients.
    """
    first = next(form for form in forms if form is not None)
    if _share_inputs(forms) and not pays_to_form(first.positions, len(forms)):
        g = torch.stack([form.g for form in forms], 2)  # (B, T, D, O)
        return SharedInputs(times_basis(first.a, fisher.right), times_basis(g, fisher.left))
    rotated = []
    for form in forms:
        if form is None:
            rotated.append(Formed(torch.zeros_like(first.matrix())))
            continue
        form = fisher.rotate(form)
        if isinstance(form, Outer) and pays_to_form(form.positions, len(forms)):
            form = Formed(form.matrix())
        rotated.append(form)
    return Directions(rotated)


def pays_to_form(positions, n_directions):
    """Whether products with formed gradients take far less than with sums over positions."""
    return positions >= _FORMED_FROM * n_directions


def _share_inputs(forms):
    """Whether gradients are sums of outer products with the same inputs in each direction."""
    first = forms[0]
    if not all(isinstance(form, Outer) and form.g.shape == first.g.shape for form in forms):
        return False
    return all(torch.equal(form.a, first.a) for form in forms[1:])


@dataclass
class Directions:
    """Gradients of the same rows in several directions, in forms of their own.

    Parameters
    ----------
    forms : list of Form
        One for each direction.
    """

    forms: list

    @property
    def nbytes(self):
        """Bytes that are kept."""
        return sum(form.nbytes for form in self.forms)

    @property
    def n_temporary(self):
        """Numbers that products with one vector hold for a while."""
        return max(len(form) * form.positions * max(form.shape) for form in self.forms)

    def inner(self, matrices):
        """Compute inner products (B, Q, D) with matrices (Q, O, I)."""
        return torch.stack([form.inner_with(matrices).mT for form in self.forms], 2)

    def totals(self, weights):
        """Compute sums (Q, O, I) over rows and directions, for weights (B, Q, D)."""
        parts = zip(self.forms, weights.unbind(2), strict=True)
        return sum(form.totals(weight.mT) for form, weight in parts)


@dataclass
class SharedInputs:
    """Gradients G_d = Σ_t g_td a_tᵀ, whose inputs a are the same in each direction d.

    A product with a matrix costs what the layer itself costs, however many directions there are.
    """

    a: torch.Tensor  # (B, T, I)
    g: torch.Tensor  # (B, T, D, O)

    @property
    def nbytes(self):
        """Bytes that are kept."""
        return self.a.nbytes + self.g.nbytes

    @property
    def n_temporary(self):
        """Numbers that products with one vector hold for a while."""
        B, T, _, n_out = self.g.shape
        return B * T * n_out

    def inner(self, matrices):
        """Compute inner products (B, Q, D) with matrices (Q, O, I)."""
        B, T, D, n_out = self.g.shape
        outputs = self.a.flatten(0, 1) @ matrices.flatten(0, 1).mT  # (B T, Q O)
        outputs = outputs.view(B * T, -1, n_out)
        products = outputs @ self.g.flatten(0, 1).mT  # (B T, Q, D)
        return products.view(B, T, -1, D).sum(1)

    def totals(self, weights):
        """Compute sums (Q, O, I) over rows and directions, for weights (B, Q, D)."""
        B, T, _, n_out = self.g.shape
        outputs = weights[:, None] @ self.g  # (B, T, Q, O)
        sums = outputs.view(B * T, -1).mT @ self.a.flatten(0, 1)  # (Q O, I)
        return sums.view(-1, n_out, sums.shape[1])
