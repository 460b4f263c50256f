"""One greedy selection for every rule: a pivoted partial Cholesky factorisation.

Conditioning on row x changes a matrix G over the rows by a rank-one term,

    G <- G - g g^T / G_xx,  g = G_:x,        c <- c - g c_x / G_xx

where c holds what the rows know about a query. Two matrices make the two directions one:

    adding rows      G = K + σ² I          G_xx = σ² + v_x     c = k_*      gain c²/G_xx
    removing rows    G = (K_DD + σ² I)^-1  G_xx = P_xx         c = u        gain u_x²/P_xx

Only the diagonal of G and the columns of picked rows are ever kept: with l = g / sqrt(G_xx), the
column of the next pick is G_:x - Σ_j l_j l_j[x], the recurrence of fast greedy MAP for
determinantal point processes ([1]_).

The factor rows l_j are read once per pick, so a block of selections whose factors stay in cache is
worked off at a time. A block is worked off by one thread: its steps are too short to share.

References
----------
.. [1] Chen, Zhang, Zhou (2018). Fast greedy MAP inference for determinantal point process to
       improve recommendation diversity.
"""

import contextlib
import threading

import torch

# Gains closer than this are a tie, which the lowest index wins; rounding would decide otherwise.
TIE = 1e-10
# Scores over the first one that are its rounding: squares of covariances that should be zero.
NOTHING = (64 * torch.finfo(torch.float64).eps) ** 2
CACHE_BYTES = 16 * 2**20
DEVICE_BYTES = 2 * 2**30


class KernelConditioning:
    """Columns of G given the picks so far, from the matrix itself.

    Parameters
    ----------
    matrix : Tensor of shape (n_rows, n_rows)
        G; only entries off the diagonal are read.
    diagonal : Tensor of shape (n_rows,)
        Diagonal of G.
    floor : Tensor of shape (n_rows,)
        Bound that no conditioned diagonal entry passes in exact arithmetic.
    n_selections : int
        Selections made side by side.
    n_picks : int
        Most picks that will be made.
    """

    def __init__(self, matrix, diagonal, floor, n_selections, n_picks):
        n_rows = len(diagonal)
        self.matrix, self.floor = matrix, floor
        self.diagonal = diagonal.repeat(n_selections, 1)  # (B, n_rows)
        self.factors = matrix.new_empty(n_selections, n_picks, n_rows)  # (B, t, n_rows)
        self.n_done = 0

    def condition(self, picks):
        """Condition on one row per selection; return l, of shape (B, n_rows), and sqrt(G_xx)."""
        done, factors = self.n_done, self.factors
        column = self.matrix[picks]  # (B, n_rows)
        if done:
            where = picks[:, None, None].expand(-1, done, 1)
            at_pick = factors[:, :done].gather(2, where).mT  # (B, 1, t)
            column = column[:, None].baddbmm_(at_pick, factors[:, :done], alpha=-1)[:, 0]
        return self._push(column, picks, factors)

    def _push(self, column, picks, factors):
        root = self.diagonal.gather(1, picks[:, None]).sqrt_()  # (B, 1)
        scaled = torch.div(column, root, out=factors[:, self.n_done])
        self.diagonal.addcmul_(scaled, scaled, value=-1)
        # Rounding may push σ² + v below σ²: the bound is known, so the entry is put back on it.
        torch.maximum(self.diagonal, self.floor, out=self.diagonal)
        self.n_done += 1
        return scaled, root


class FeatureConditioning:
    """Columns of G = σ² I + s Ψ Ψ^T given the picks so far, from features.

    A column costs O(n_rows n_features) and the store of picks O(n_features) each, so this is the
    cheaper one when n_features is below the number of rows.

    Parameters
    ----------
    features : Tensor of shape (n_rows, n_features)
        Ψ.
    sign : {1, -1}
        s: 1 adds rows, -1 removes them.
    diagonal, floor, n_selections, n_picks
        As in :class:`KernelConditioning`.
    """

    def __init__(self, features, sign, diagonal, floor, n_selections, n_picks):
        n_rows, n_features = features.shape
        self.features, self.sign, self.floor = features, sign, floor
        self.diagonal = diagonal.repeat(n_selections, 1)  # (B, n_rows)
        self.directions = features.new_empty(
            n_selections, n_picks, n_features
        )  # (B, t, n_features)
        self.n_done = 0

    def condition(self, picks):
        """Condition on one row per selection; return l, of shape (B, n_rows), and sqrt(G_xx)."""
        done, directions = self.n_done, self.directions
        point = self.features[picks][:, None]  # (B, 1, n_features)
        if done:
            known = directions[:, :done]
            point = point - self.sign * (point @ known.mT) @ known
        root = self.diagonal.gather(1, picks[:, None]).sqrt_()  # (B, 1)
        direction = torch.div(point[:, 0], root, out=directions[:, done])
        scaled = (self.sign * direction) @ self.features.mT
        self.diagonal.addcmul_(scaled, scaled, value=-1)
        torch.maximum(self.diagonal, self.floor, out=self.diagonal)
        self.n_done += 1
        return scaled, root


def select(conditioning, covariance, blocked, n_picks, *, divide=True, quotas=None, copies=None):
    """Pick rows greedily, one per round and selection.

    Parameters
    ----------
    conditioning : KernelConditioning or FeatureConditioning
        G, not conditioned on anything yet; used up.
    covariance : Tensor of shape (n_selections, n_queries, n_rows)
        c of every query that a selection serves; overwritten.
    blocked : Tensor of shape (n_selections, n_rows), bool
        Rows that may not be picked.
    n_picks : int
        Rounds.
    divide : bool, default=True
        Rank by Σ c² / G_xx; else by Σ c² (linear response).
    quotas : tuple of (labels, counts), default=None
        Label of each row, and how many rows of each label may be picked.
    copies : Tensor of shape (n_rows,), default=None
        The first row that each row is a copy of, see :mod:`._systems`: of copies the first that
        is free is picked, whatever rounding makes of their scores.

    Returns
    -------
    picks : Tensor of shape (n_selections, n_picks), int64
        Rows in order; -1 once none is left.
    gains : Tensor of shape (n_selections, n_picks)
        Σ c_x² / G_xx of each pick, whatever ranked it; nan once none is left.
    n_tied : Tensor of shape (n_selections,), int64
        Rows left out that score as the last pick did in its round.
    """
    n_selections, n_queries, n_rows = covariance.shape
    barred = torch.zeros_like(covariance[:, 0]).masked_fill_(blocked, -torch.inf)  # (B, n_rows)
    score, squares = torch.empty_like(barred), torch.empty_like(covariance)
    picks = torch.empty(n_selections, n_picks, dtype=torch.int64, device=covariance.device)
    gains = covariance.new_empty(n_selections, n_picks)
    n_tied = picks.new_zeros(n_selections)
    if quotas is not None:
        labels, left = quotas[0], quotas[1].clone()
        barred[:, left[labels] == 0] = -torch.inf
    for done in range(n_picks):
        torch.mul(covariance, covariance, out=squares)
        if n_queries == 1:
            score = squares[:, 0]
        else:
            torch.sum(squares, 1, out=score)
        if divide:
            score.div_(conditioning.diagonal)
        score.add_(barred)
        best = score.amax(1, keepdim=True)
        if not done:
            nothing = NOTHING * best.clamp(min=0)
        # Beside the first score the rest may be rounding alone: nothing tells these rows apart.
        tied = score >= torch.where(best > nothing, best * (1 - TIE), 0.0)
        pick = tied.max(1).indices
        if copies is not None:
            pick = ((copies == copies[pick, None]) & (barred == 0)).max(1).indices
        scaled, root = conditioning.condition(pick)
        at_pick = covariance.gather(2, pick[:, None, None].expand(-1, n_queries, 1))
        at_pick /= root[:, None]  # (B, n_queries, 1): c_x / sqrt(G_xx)
        covariance.addcmul_(scaled[:, None], at_pick, value=-1)
        exhausted = best[:, 0] == -torch.inf
        picks[:, done] = pick.masked_fill(exhausted, -1)
        gains[:, done] = at_pick.square().sum((1, 2)).masked_fill(exhausted, torch.nan)
        barred.scatter_(1, pick[:, None], -torch.inf)
        if done == n_picks - 1:
            n_tied = (tied.sum(1) - 1).clamp_(min=0).masked_fill_(exhausted, 0)
        if quotas is not None:
            label = labels[pick[0]]
            left[label] -= 1
            if left[label] == 0:
                barred[:, labels == label] = -torch.inf
    return picks, gains, n_tied


def select_each(
    start,
    covariance,
    blocked,
    n_picks,
    bytes_per_selection,
    *,
    withheld=None,
    divide=True,
    copies=None,
):
    """Pick rows for every query alone: :func:`select`, as many side by side as stay in cache.

    Parameters
    ----------
    start : callable
        ``start(n_selections, n_picks)`` gives G, not conditioned on anything.
    covariance : Tensor of shape (n_queries, n_rows)
        c.
    blocked : Tensor of shape (n_queries, n_rows), bool
        Rows that may not be picked.
    n_picks : int
        Rounds.
    bytes_per_selection : int
        What G keeps for a selection.
    withheld : tuple of (rows, unit), default=None
        The row (n_queries,) that each query is, to be removed before anything is picked, and the
        factor of what the rest knows of it. c is then not read.
    divide, copies
        As in :func:`select`.

    Returns
    -------
    picks, gains, n_tied
        As of :func:`select`.
    """
    n_queries = len(covariance)
    picks = torch.empty(n_queries, n_picks, dtype=torch.int64, device=covariance.device)
    gains, n_tied = covariance.new_empty(n_queries, n_picks), picks.new_zeros(n_queries)
    for block in blocks(n_queries, bytes_per_selection, covariance.device):
        conditioning = start(block.stop - block.start, n_picks + (withheld is not None))
        if withheld is None:
            known = covariance[block].clone()
        else:
            # Once row i is removed, what the rest knows of it is its column: -P_xi / P_ii.
            rows, unit = withheld
            scaled, root = conditioning.condition(rows[block])
            known = -scaled * (unit / root)
        picks[block], gains[block], n_tied[block] = select(
            conditioning, known[:, None], blocked[block], n_picks, divide=divide, copies=copies
        )
    return picks, gains, n_tied


def blocks(n_selections, bytes_per_selection, device):
    """Slices of the selections that are made side by side, so that their factors stay in cache.

    While a slice of several selections is worked off on a CPU, torch runs one thread: a step takes
    microseconds, and threads that wait for each other cost ten times that on a busy machine.
    """
    budget = CACHE_BYTES if device.type == "cpu" else DEVICE_BYTES
    size = max(1, budget // max(1, bytes_per_selection))
    alone = device.type == "cpu" and size > 1
    with one_thread() if alone else contextlib.nullcontext():
        for start in range(0, n_selections, size):
            yield slice(start, min(start + size, n_selections))


class _Threads:
    """Who runs torch on one thread now, and how many threads it had before the first did."""

    lock, n_users, before = threading.Lock(), 0, 1


@contextlib.contextmanager
def one_thread():
    """Run torch on one thread, for chains of steps too short to share.

    Callers on several threads of Python count as one: the last to leave restores the number.
    """
    with _Threads.lock:
        if not _Threads.n_users:
            _Threads.before = torch.get_num_threads()
            torch.set_num_threads(1)
        _Threads.n_users += 1
    try:
        yield
    finally:
        with _Threads.lock:
            _Threads.n_users -= 1
            if not _Threads.n_users:
                torch.set_num_threads(_Threads.before)
