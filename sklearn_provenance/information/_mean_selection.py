"""Greedy selection of rows without which predictions fall or rise most; see :mod:`._mean_system`.

Shapes in comments: B selections at a time, m rows.
"""

import torch

from ._candidates import split_candidates
from ._ranking import first_of
from ._selection import ROUNDING, blocks, tie_with


def pick_mean(systems, queries, k, sign=1, candidates=None, own=None):
    """Pick k rows for each query greedily, whose removal moves the mean prediction most.

    Parameters
    ----------
    systems : sequence of MeanSystem
        The same rows as several models see them.
    queries : sequence of Tensor or of tuple of Tensor
        The queries as each system takes them.
    k : int
        Rows to pick.
    sign : {1, -1}, default=1
        1 lowers predictions, -1 raises them.
    candidates : Tensor of shape (n_rows,) or (n_queries, n_rows), bool, default=None
        Rows that may be picked; None allows all.
    own : Tensor of shape (n_queries,), int64, default=None
        The row that each query is, which is left out before anything is picked.

    Returns
    -------
    picks : Tensor of shape (n_queries, k), int64
        Rows in order of selection; -1 where there are no more.
    falls : Tensor of shape (n_queries, k)
        By how much each pick lowers the mean prediction, after those before it; nan at -1.
    n_tied : Tensor of shape (n_queries,), int64
        Rows left out that tie with the last pick.
    """
    first = systems[0].system
    n_queries = first._n_queries(queries[0])
    split = split_candidates(candidates, n_queries, first.n_rows, first.device, own)
    rows, blocked, own = split
    n_picks = min(k, len(rows))
    picks = torch.full((n_queries, k), -1, dtype=torch.int64, device=first.device)
    falls = torch.full((n_queries, k), torch.nan, dtype=torch.float64, device=first.device)
    n_tied = torch.zeros(n_queries, dtype=torch.int64, device=first.device)
    if not n_picks:
        return picks, falls, n_tied
    copies = common_copies([system.copies for system in systems])
    if copies is not None:
        copies = copies[rows]
    n_conditioned = n_picks + (own is not None)
    parts = [
        system.prepare(asked, rows, n_queries * n_picks)
        for system, asked in zip(systems, queries, strict=True)
    ]
    row_bytes = sum(part[1] for part in parts)
    slack = sum(part[4] for part in parts)
    for block in blocks(n_queries, n_conditioned * row_bytes, first.device):
        size = block.stop - block.start
        states = [
            MeanState(start(size, n_conditioned), covariance[block].clone(), residuals)
            for start, _, covariance, residuals, _ in parts
        ]
        if own is not None:
            for state in states:
                state.remove(own[block])
        found = _select(states, blocked[block], n_picks, sign, copies, slack[block])
        picks[block, :n_picks], falls[block, :n_picks], n_tied[block] = found
    picks = torch.where(picks >= 0, rows[picks], -1)
    if n_picks < k:
        n_tied.zero_()
    return picks, falls, n_tied


class MeanState:
    """One model's G, c and r of the selections of a block, given what has gone."""

    def __init__(self, conditioning, covariance, residuals):
        self.conditioning = conditioning
        self.covariance = covariance  # (B, m)
        self.residuals = residuals.repeat(len(covariance), 1)  # (B, m)

    def gains(self):
        """Compute falls (B, m) of predictions without each row that is left."""
        return self.covariance * self.residuals / self.conditioning.diagonal

    def remove(self, picks):
        """Leave one row (B,) out of each selection; return by how much predictions fall (B,)."""
        scaled, root = self.conditioning.condition(picks)  # l (B, m), sqrt(G_jj) (B, 1)
        covariance = self.covariance.gather(1, picks[:, None]) / root
        residual = self.residuals.gather(1, picks[:, None]) / root
        self.covariance.addcmul_(scaled, covariance, value=-1)
        self.residuals.addcmul_(scaled, residual, value=-1)
        return (covariance * residual)[:, 0]


def _select(states, blocked, n_picks, sign, copies, slack):
    """Return picks, their falls (B, n_picks), and rows (B,) that tie with the last one."""
    size = len(blocked)
    barred = torch.zeros_like(states[0].covariance).masked_fill_(blocked, -torch.inf)
    picks = torch.empty(size, n_picks, dtype=torch.int64, device=barred.device)
    falls = barred.new_empty(size, n_picks)
    n_tied = picks.new_zeros(size)
    # Selections without rows go on with any, and their numbers may become nan.
    exhausted = torch.zeros_like(n_tied, dtype=torch.bool)
    for done in range(n_picks):
        score = sum(state.gains() for state in states)
        score.mul_(sign).add_(barred)
        best = score.amax(1, keepdim=True)
        tied = score >= tie_with(best, slack[:, None])
        pick = tied.max(1).indices
        if copies is not None:
            pick = ((copies == copies[pick, None]) & (barred == 0)).max(1).indices
        exhausted |= best[:, 0] == -torch.inf
        fall = sum(state.remove(pick) for state in states) / len(states)
        picks[:, done] = pick.masked_fill(exhausted, -1)
        falls[:, done] = fall.masked_fill(exhausted, torch.nan)
        barred.scatter_(1, pick[:, None], -torch.inf)
        if done == n_picks - 1:
            n_tied = (tied.sum(1) - 1).clamp_(min=0).masked_fill_(exhausted, 0)
    return picks, falls, n_tied


def rounding_of_falls(variance, residuals, ridge):
    """Compute how large a fall (n_queries,) of one model may be from rounding alone.

    A fall is c r / G_xx with |c| ≤ sqrt(λ v). A row that is orthogonal to a query has c = 0, of
    which a sum of products may leave digits: their signs would rank the rows without effect.

    Parameters
    ----------
    variance : Tensor of shape (n_queries,)
        v given all rows.
    residuals : Tensor of shape (n_rows,)
        r before any row goes.
    ridge : float
        λ.
    """
    largest = residuals.abs().max() if len(residuals) else 0.0
    return ROUNDING * (variance.clamp(min=0) / ridge).sqrt() * largest


def with_residuals(copies, residuals):
    """Find the first row (n,) with the same number in ``copies`` (n,) and the same residual.

    None stands for rows that all differ.
    """
    if copies is None:
        return None
    pairs = torch.stack([copies.double(), residuals], 1).cpu()
    return first_of(pairs.unique(dim=0, return_inverse=True)[1]).to(copies.device)


def common_copies(of_models):
    """Find the first row (n,) that is the same to every model; None if rows all differ to one.

    Models may have further rows at the end, which never go.
    """
    if any(copies is None for copies in of_models):
        return None
    if len(of_models) == 1:
        return of_models[0]
    n = min(map(len, of_models))
    kinds = (
        torch.stack([copies[:n] for copies in of_models], 1)
        .cpu()
        .unique(dim=0, return_inverse=True)[1]
    )
    return first_of(kinds).to(of_models[0].device)
