"""Index targets of a regression: which training rows may stand for a row beside itself.

[PN] Eq. 1 mixes the index of a row with those of its class. A regression has no
classes; here the rows whose targets are nearest take their place. The neighbours of row i are the
rows j with |y_i - y_j| <= r_i, where r_i is the distance from y_i to the target of its n-th nearest
other row. All rows within r_i count, so that ties are not cut by row number: with targets that take
few values, each shared by more than n rows, the neighbours are the other rows of the same value,
which is Eq. 1.

[PN] is "Provenance Networks: End-to-End Exemplar-Based Explainability". Shapes in comments: B rows
of a batch, N outputs, T targets per row.
"""

import numpy as np
import torch
from torch import nn

_BLOCK = 4096  # rows whose nearest targets are looked up at a time
_ROUNDING = 1e-9  # a target this much farther, relatively, is a tie


def neighbour_radii(targets, n_neighbours):
    """Compute the distance from each target to that of its n-th nearest other row.

    Parameters
    ----------
    targets : ndarray of shape (n_outputs, n_targets), float64
        Targets of the rows that have an output.
    n_neighbours : int
        Which neighbour, from 1; there are at most ``n_outputs - 1``.

    Returns
    -------
    radii : ndarray of shape (n_outputs,)
        Distances, in the units of the targets; -1 where there is no other row.
    """
    n_outputs, n_targets = targets.shape
    n_neighbours = min(n_neighbours, n_outputs - 1)
    if n_neighbours < 1:
        return np.full(n_outputs, -1.0)
    if n_targets == 1:
        return _radii_on_a_line(targets[:, 0], n_neighbours)
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=n_neighbours + 1, algorithm="kd_tree").fit(targets)
    radii = np.empty(n_outputs)
    for start in range(0, n_outputs, _BLOCK):
        block = slice(start, start + _BLOCK)
        distances, _ = search.kneighbors(targets[block])  # the nearest is the row itself
        radii[block] = distances[:, -1]
    return radii


def _radii_on_a_line(values, n_neighbours):
    """Compute the same for one target: the narrowest window of sorted values around each value.

    A window holds ``n_neighbours + 1`` consecutive sorted values from ``start`` on, among them the
    value of the row. As a window moves up, its lower end comes nearer to this value and its upper
    end moves away. The narrowest window is where the two distances meet, which a bisection finds.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    place = np.arange(len(values))
    low = np.maximum(place - n_neighbours, 0)
    high = np.minimum(place, len(values) - 1 - n_neighbours)
    lowest = low.copy()

    def ends(start):
        return ordered - ordered[start], ordered[start + n_neighbours] - ordered

    while (low < high).any():
        middle = (low + high) // 2
        below, above = ends(middle)
        crossed = above >= below
        high = np.where(crossed, middle, high)
        low = np.where(crossed, low, np.minimum(middle + 1, high))
    # The first window whose upper end is the farther one, or the one before it.
    best = np.maximum(*ends(low))
    before = np.maximum(*ends(np.maximum(low - 1, lowest)))
    radii = np.empty(len(values))
    radii[order] = np.minimum(best, before)
    return radii


def neighbour_mask(targets, radii, own, among=None):
    """Find the outputs that are neighbours of the rows of a batch.

    Parameters
    ----------
    targets : Tensor of shape (n_outputs, n_targets), float64
        Targets of the rows that have an output.
    radii : Tensor of shape (n_outputs,), float64
        From :func:`neighbour_radii`.
    own : Tensor of shape (n,)
        Output of each row.
    among : Tensor of shape (n_among,), default=None
        Outputs to find them among; None takes all.

    Returns
    -------
    mask : Tensor of shape (n, n_outputs) or (n, n_among), bool
        True for the neighbours; a row is not its own neighbour.
    """
    others = targets
    if among is None:
        among = torch.arange(len(targets), device=own.device)
    else:
        others = targets[among]
    squares = 0
    for column, compared in zip(targets.T, others.T, strict=True):
        squares = squares + (column[own][:, None] - compared).square_()  # (B, N)
    limit = radii[own] * (1 + _ROUNDING)
    return (squares <= limit.square()[:, None]) & (among != own[:, None])


def sample_neighbours(own, mask, alpha, generator=None):
    """Draw target outputs: that of the row itself, or with probability alpha of a neighbour.

    Parameters
    ----------
    own : Tensor of shape (n,)
        Output of each row.
    mask : Tensor of shape (n, n_outputs), bool
        From :func:`neighbour_mask`.
    alpha : float
        Probability of drawing a neighbour, uniformly.
    generator : torch.Generator, default=None
        Source of randomness.

    Returns
    -------
    drawn : Tensor of shape (n,)
        Outputs. A row without neighbours keeps its own.
    """
    uniform = torch.rand(2, len(own), generator=generator, device=own.device)
    counts = mask.sum(1)
    # float32 rounding can reach the count itself beyond 2^24 neighbours.
    number = torch.minimum((uniform[1] * counts).long(), (counts - 1).clamp(min=0))
    passed = mask.cumsum(1) > number[:, None]
    neighbour = passed.to(torch.uint8).argmax(1)  # the first that is True
    mixed = (uniform[0] < alpha) & (counts > 0)
    return torch.where(mixed, neighbour, own)


class TargetNeighbours(nn.Module):
    """Draw neighbours of rows, where there is one target without comparing it with all others.

    Parameters
    ----------
    targets : Tensor of shape (n_outputs, n_targets), float64
        Targets of the rows that have an output.
    """

    def __init__(self, targets):
        super().__init__()
        # With one target, the neighbours of a row are consecutive in the order of targets.
        ordered, order = targets[:, 0].sort(stable=True)
        self.register_buffer("targets", targets)
        self.register_buffer("ordered", ordered)
        self.register_buffer("order", order)
        self.register_buffer("place", order.argsort())

    def draw(self, own, radii, generator=None):
        """Draw a neighbour of each row, uniformly.

        Parameters
        ----------
        own : Tensor of shape (n,)
            Output of each row.
        radii : Tensor of shape (n_outputs,), float64
            From :func:`neighbour_radii`.
        generator : torch.Generator, default=None
            Source of randomness.

        Returns
        -------
        drawn : Tensor of shape (n,)
            Outputs. A row without neighbours keeps its own.
        exists : Tensor of shape (n,), bool
            Whether the row has neighbours.
        """
        if self.targets.shape[1] > 1:
            mask = neighbour_mask(self.targets, radii, own)  # (B, N)
            return sample_neighbours(own, mask, 1.0, generator), mask.any(1)
        value = self.targets[own, 0]  # (B,), as all that follow
        limit = radii[own] * (1 + _ROUNDING)
        low = torch.searchsorted(self.ordered, value - limit)
        counts = torch.searchsorted(self.ordered, value + limit, right=True) - low - 1
        exists = (counts > 0) & (radii[own] >= 0)
        uniform = torch.rand(len(own), generator=generator, device=own.device).double()
        number = low + (uniform * counts.clamp(min=1)).long()
        number = number + (number >= self.place[own])  # skips the row itself
        drawn = self.order[number.clamp(max=len(self.order) - 1)]
        return torch.where(exists, drawn, own), exists


def neighbour_cross_entropy(logits, own, mask, alpha=0.0, label_smoothing=0.0, drawn=None):
    """Compute the cross entropy of index logits with mixed, smoothed targets, one value per row.

    The expected target of a row is ``1 - alpha`` at the output of the row and ``alpha`` in equal
    shares at those of its neighbours; for a row without neighbours it is 1 at the output of the
    row.

    Parameters
    ----------
    logits : Tensor of shape (n, n_outputs)
        Logits of all outputs.
    own : Tensor of shape (n,)
        Output of each row.
    mask : Tensor of shape (n, n_outputs), bool, or None
        From :func:`neighbour_mask`; not read where ``alpha`` is 0 or targets were drawn.
    alpha : float, default=0
        Mixing probability.
    label_smoothing : float, default=0
        Share of the target spread evenly over all outputs.
    drawn : Tensor of shape (n,), default=None
        Sampled targets; None uses the expected target.

    Returns
    -------
    loss : Tensor of shape (n,)
        Cross entropy in nats.
    """
    output = own
    if drawn is not None:
        output = drawn
    target_logit = logits.gather(1, output[:, None])[:, 0]  # (B,)
    # The loss is logsumexp minus the expectation of the logit under the target.
    expectation = target_logit
    if drawn is None and alpha > 0:
        counts = mask.sum(1)
        neighbours = logits.masked_fill(~mask, 0).sum(1) / counts.clamp(min=1)
        mixed = (1 - alpha) * target_logit + alpha * neighbours
        expectation = torch.where(counts > 0, mixed, target_logit)
    if label_smoothing > 0:
        expectation = (1 - label_smoothing) * expectation + label_smoothing * logits.mean(1)
    return logits.logsumexp(1) - expectation
