"""Inner products of gradients, divided among the positions of a sequence where layers act.

A layer that acts at each position of a sequence alone has a gradient that is a sum over positions.
So is the inner product with another gradient. Shapes in comments: B rows, T positions, B' rows of
the other batch.
"""

from typing import Any, NamedTuple

import torch
from torch import nn

from .._utils.modules import evaluation
from ._elementwise import ElementwiseLayer
from ._layer_kinds import EmbeddingLayer, LinearLayer, NormalisationLayer, TiedLayer
from ._linearisation import Linearisation
from ._lookup import Lookup
from ._network_layers import sums_of_calls
from ._outputs import check_finite
from ._routes import restarted
from ._stream import linearised
from ._tied import Tied

# Layers whose output at a position depends on their input at this position alone.
_PER_POSITION = (LinearLayer, EmbeddingLayer, TiedLayer)
_NORMS = (nn.LayerNorm, nn.RMSNorm)


class LabelledRows(NamedTuple):
    """A batch of rows, and how it is measured.

    Parameters
    ----------
    model : TangentModel
        The network as it measures the rows.
    X : mapping, or torch.Tensor of shape (B, ...)
        Rows, as tensors on the network's device.
    labels : torch.Tensor of shape (B,)
        What the rows are measured at.
    """

    model: Any
    X: Any
    labels: torch.Tensor


@restarted
@torch.inference_mode(False)
def position_products(rows, other, n_positions):
    """Divide inner products of gradients among the positions of the first rows.

    Parameters
    ----------
    rows, other : LabelledRows
        B rows, and B' rows that they are multiplied with.
    n_positions : int
        T, the length of the sequences.

    Returns
    -------
    parts : torch.Tensor of shape (B, T, B')
        float64. Of layers that act at each position alone.
    rest : torch.Tensor of shape (B, B')
        float64. Of all other layers, such as those behind a pooling.
    """
    n = len(rows.labels)
    n_other = len(other.labels)
    *_, others = linearised(
        other.model, other.X, slice(0, n_other), other.labels, dtype=torch.float64, norms=False
    )
    options = {"dtype": torch.float64, "device": rows.model.device}
    parts = torch.zeros(n * n_positions, n_other, **options)
    rest = torch.zeros(n, n_other, **options)
    for number, by_position, together in _forms(*rows, n_positions):
        if number not in others.forms:
            continue
        theirs = others.forms[number]
        if by_position is not None:
            parts += _inner(by_position.cast(torch.float64), theirs)
        if together is not None:
            rest += together.cast(torch.float64).inner(theirs)
    check_finite(parts, "inner products")
    return parts.reshape(n, n_positions, n_other), rest


def _inner(by_position, theirs):
    """Compute inner products (B T, B') of gradients at each position with those of others."""
    if isinstance(by_position, Lookup | Tied):  # whose matrices would be large
        return by_position.inner(theirs)
    return by_position.inner_with(theirs.matrix()).mT


def _forms(model, X, labels, n_positions):
    """Yield numbers of layers, and the forms of gradients at each position and of all others."""
    n = len(labels)
    with evaluation(model.module, model.draws_on):
        batch = Linearisation(model, X, held=True)
        target = batch.labelled(labels)[0]
        batch._prepared(target)  # what is not compared with autograd yet is compared now
        calls, ready, gradients = batch._prepared(target)
        for layer in model.layers:
            number = layer.number
            if number in gradients:
                yield number, None, layer.join(gradients[number])
            elif number in ready:
                yield number, None, ready[number]
            elif number in calls:
                at_positions = [c for c in calls[number] if _acts_on(layer, c, n, n_positions)]
                others = [c for c in calls[number] if not _acts_on(layer, c, n, n_positions)]
                yield (
                    number,
                    _sum(layer, at_positions, n * n_positions),
                    _sum(layer, others, n),
                )


def _acts_on(layer, call, n, n_positions):
    """Whether a call of a layer acts at each position alone."""
    module, x, g = call
    kind = isinstance(layer, _PER_POSITION)
    if isinstance(layer, ElementwiseLayer):
        kind = True  # a number of a parameter acts on one feature, at each position
    elif isinstance(layer, NormalisationLayer):
        kind = isinstance(module, _NORMS) and len(module.normalized_shape) == 1
    return kind and _are_positions(x, n, n_positions) and _are_positions(g, n, n_positions)


def _are_positions(x, n, n_positions):
    """Whether the first axes of a tensor are rows and positions, maybe joined to one."""
    return x.shape[:2] == (n, n_positions) or x.shape[:1] == (n * n_positions,)


def _sum(layer, calls, n_rows):
    """Make the form of some calls; None where there are none."""
    if not calls:
        return None
    return sums_of_calls(layer, [calls], n_rows)[0]
