"""One greedy selection for every rule: a pivoted partial Cholesky factorisation.

Conditioning on row x changes a matrix G over the rows by a rank-one term,

    G <- G - g g^T / G_xx,  g = G_:x,        c <- c - g c_x / G_xx

where c are the covariances of the rows with a query. Two matrices G give the two directions:

    adding rows      G = K + σ² I          G_xx = σ² + v_x     c = k_*      gain c²/G_xx
    removing rows    G = (K_DD + σ² I)^-1  G_xx = P_xx         c = u        gain u_x²/P_xx

Only the diagonal of G and the columns of picked rows are kept: with l = g / sqrt(G_xx), the column
of the next pick is G_:x - Σ_j l_j l_j[x], the recurrence of fast greedy MAP for determinantal point
processes ([1]_).

The factor rows l_j are read once per pick, so selections are made in blocks whose factors stay in
the cache. One thread makes a block: its steps are too short to share.

References
----------
.. [1] Chen, Zhang, Zhou (2018). Fast greedy MAP inference for determinantal point process to
       improve recommendation diversity.
"""

import contextlib
import threading

import torch

# Gains closer than this are a tie, and the lowest row wins; otherwise rounding would decide.
TIE = 1e-10
# Share of the largest covariance that may be rounding where it is 0, and of its square.
ROUNDING = 64 * torch.finfo(torch.float64).eps
NOTHING = ROUNDING**2
CACHE_BYTES = 16 * 2**20
DEVICE_BYTES = 2 * 2**30


def tie_with(best, slack=0.0):
    """Compute the scores from which rows tie with the best ones, whose rounding is ``slack``."""
    return best - (TIE * best.abs()).clamp(min=slack)


def score_scale(variance, noise_variance, divide):
    """Compute how large scores Σ c² / G_xx, or Σ c², of queries with a variance (n,) may be."""
    return variance if divide else noise_variance * variance


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
        self.matrix = matrix
        self.floor = floor
        self.diagonal = diagonal.repeat(n_selections, 1)  # (B, n_rows)
        self.factors = matrix.new_empty(n_selections, n_picks, n_rows)  # (B, t, n_rows)
        self.n_done = 0

    def condition(self, picks):
        """Condition on one row per selection; return l, of shape (B, n_rows), and sqrt(G_xx)."""
        before = self.factors[:, : self.n_done]  # (B, t, n_rows)
        column = self.matrix[picks]  # (B, n_rows)
        if self.n_done:
            where = picks[:, None, None].expand(-1, self.n_done, 1)
            at_pick = before.gather(2, where).mT  # (B, 1, t)
            column = column[:, None].baddbmm_(at_pick, before, alpha=-1)[:, 0]
        root = self.diagonal.gather(1, picks[:, None]).sqrt_()  # (B, 1)
        scaled = torch.div(column, root, out=self.factors[:, self.n_done])
        self.diagonal.addcmul_(scaled, scaled, value=-1)
        # Rounding may lower σ² + v below σ²: the bound is known, so the entry is set to it.
        torch.maximum(self.diagonal, self.floor, out=self.diagonal)
        self.n_done += 1
        return scaled, root


class FeatureConditioning:
    """Columns of G = σ² I + s Ψ Ψ^T given the picks so far, from features.

    A column costs O(n_rows n_features) and each pick keeps n_features numbers, so this costs less
    than :class:`KernelConditioning` if n_features is below the number of rows.

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
        self.features = features
        self.sign = sign
        self.floor = floor
        self.diagonal = diagonal.repeat(n_selections, 1)  # (B, n_rows)
        shape = (n_selections, n_picks, n_features)
        self.directions = features.new_empty(shape)  # (B, t, n_features)
        self.n_done = 0

    def condition(self, picks):
        """Condition on one row per selection; return l, of shape (B, n_rows), and sqrt(G_xx)."""
        point = self.features[picks][:, None]  # (B, 1, n_features)
        if self.n_done:
            before = self.directions[:, : self.n_done]  # (B, t, n_features)
            point = point - self.sign * (point @ before.mT) @ before
        root = self.diagonal.gather(1, picks[:, None]).sqrt_()  # (B, 1)
        direction = torch.div(point[:, 0], root, out=self.directions[:, self.n_done])
        scaled = (self.sign * direction) @ self.features.mT
        self.diagonal.addcmul_(scaled, scaled, value=-1)
        torch.maximum(self.diagonal, self.floor, out=self.diagonal)
        self.n_done += 1
        return scaled, root


def select(
    conditioning,
    covariance,
    blocked,
    n_picks,
    *,
    scale=0.0,
    divide=True,
    quotas=None,
    copies=None,
):
    """Pick rows greedily, one per round and selection.

    Parameters
    ----------
    conditioning : KernelConditioning or FeatureConditioning
        G, not conditioned on anything yet; it is changed.
    covariance : Tensor of shape (n_selections, n_queries, n_rows)
        c of every query that a selection serves; overwritten.
    blocked : Tensor of shape (n_selections, n_rows), bool
        Rows that may not be picked.
    n_picks : int
        Rounds.
    scale : float or Tensor of shape (n_selections,), default=0.0
        How large a score may be, see :func:`score_scale`; that of a row without effect is its
        rounding.
    divide : bool, default=True
        Whether to rank by Σ c² / G_xx, or by Σ c² (linear response).
    quotas : tuple of (labels, counts), default=None
        Label of each row, and how many rows of each label may be picked.
    copies : Tensor of shape (n_rows,), default=None
        The first row that each row is a copy of, see :mod:`._systems`. Of copies the first that
        is free is picked, however rounding changed their scores.

    Returns
    -------
    picks : Tensor of shape (n_selections, n_picks), int64
        Rows in order; -1 when none is left.
    gains : Tensor of shape (n_selections, n_picks)
        Σ c_x² / G_xx of each pick, also if it was ranked by Σ c²; nan when none is left.
    n_tied : Tensor of shape (n_selections,), int64
        Number of rows that were not picked, but had the score of the last pick in its round.
    """
    n_selections, n_queries, n_rows = covariance.shape
    # Added to scores: -inf for rows that may not be picked, or not again.
    penalty = torch.zeros_like(covariance[:, 0]).masked_fill_(blocked, -torch.inf)  # (B, n_rows)
    score = torch.empty_like(penalty)
    squares = torch.empty_like(covariance)
    picks = torch.empty(n_selections, n_picks, dtype=torch.int64, device=covariance.device)
    gains = covariance.new_empty(n_selections, n_picks)
    n_tied = picks.new_zeros(n_selections)
    # Selections without rows go on with any, and their numbers may become nan.
    exhausted = torch.zeros_like(n_tied, dtype=torch.bool)
    scale = torch.as_tensor(scale).to(penalty).reshape(-1, 1)
    if quotas is not None:
        labels, counts = quotas
        left = counts.clone()
        penalty[:, left[labels] == 0] = -torch.inf
    for done in range(n_picks):
        torch.mul(covariance, covariance, out=squares)
        if n_queries == 1:
            score = squares[:, 0]
        else:
            torch.sum(squares, 1, out=score)
        if divide:
            score.div_(conditioning.diagonal)
        score.add_(penalty)
        best = score.amax(1, keepdim=True)
        if not done:
            nothing = NOTHING * torch.maximum(best, scale)
        # Scores far below the first one may be rounding alone: then all rows tie.
        tied = score >= torch.where(best > nothing, best * (1 - TIE), 0.0)
        pick = tied.max(1).indices
        if copies is not None:
            pick = ((copies == copies[pick, None]) & (penalty == 0)).max(1).indices
        scaled, root = conditioning.condition(pick)
        at_pick = covariance.gather(2, pick[:, None, None].expand(-1, n_queries, 1))
        at_pick /= root[:, None]  # (B, n_queries, 1): c_x / sqrt(G_xx)
        covariance.addcmul_(scaled[:, None], at_pick, value=-1)
        exhausted |= best[:, 0] == -torch.inf
        picks[:, done] = pick.masked_fill(exhausted, -1)
        gains[:, done] = at_pick.square().sum((1, 2)).masked_fill(exhausted, torch.nan)
        penalty.scatter_(1, pick[:, None], -torch.inf)
        if done == n_picks - 1:
            n_tied = (tied.sum(1) - 1).clamp_(min=0).masked_fill_(exhausted, 0)
        if quotas is not None:
            label = labels[pick[0]]
            left[label] -= 1
            if left[label] == 0:
                penalty[:, labels == label] = -torch.inf
    return picks, gains, n_tied


def select_each(
    start,
    covariance,
    blocked,
    n_picks,
    bytes_per_selection,
    *,
    scale=0.0,
    withheld=None,
    divide=True,
    copies=None,
):
    """Pick rows for each query by :func:`select`, for as many at once as stay in the cache.

    Parameters
    ----------
    start : callable
        ``start(n_selections, n_picks)`` gives G, not conditioned on anything.
    covariance : Tensor of shape (n_queries, n_rows)
        c of each query.
    blocked : Tensor of shape (n_queries, n_rows), bool
        Rows that may not be picked.
    n_picks : int
        Rounds.
    bytes_per_selection : int
        Bytes that G keeps for a selection.
    scale : float or Tensor of shape (n_queries,), default=0.0
        As in :func:`select`.
    withheld : tuple of (rows, unit), default=None
        If the queries are rows: the row (n_queries,) of each, which is removed before anything is
        picked, and the factor of its covariances with the others. c is then not read.
    divide, copies
        As in :func:`select`.

    Returns
    -------
    picks, gains, n_tied
        As of :func:`select`.
    """
    n_queries = len(covariance)
    picks = torch.empty(n_queries, n_picks, dtype=torch.int64, device=covariance.device)
    gains = covariance.new_empty(n_queries, n_picks)
    n_tied = picks.new_zeros(n_queries)
    scale = torch.as_tensor(scale).expand(n_queries)
    for block in blocks(n_queries, bytes_per_selection, covariance.device):
        conditioning = start(block.stop - block.start, n_picks + (withheld is not None))
        if withheld is None:
            c = covariance[block].clone()
        else:
            # When row i is removed, its column has the covariances of the others: -P_xi / P_ii.
            rows, unit = withheld
            scaled, root = conditioning.condition(rows[block])
            c = -scaled * (unit / root)
        picks[block], gains[block], n_tied[block] = select(
            conditioning,
            c[:, None],
            blocked[block],
            n_picks,
            scale=scale[block],
            divide=divide,
            copies=copies,
        )
    return picks, gains, n_tied


def blocks(n_selections, bytes_per_selection, device):
    """Yield slices of the selections that are made at once, so that their factors stay in cache.

    On a CPU, torch runs one thread for a slice of several selections. A step takes microseconds,
    and on a busy machine threads that wait for each other take ten times as long.
    """
    on_cpu = device.type == "cpu"
    budget = CACHE_BYTES if on_cpu else DEVICE_BYTES
    size = max(1, budget // max(1, bytes_per_selection))
    with contextlib.ExitStack() as stack:
        if on_cpu and size > 1:
            stack.enter_context(one_thread())
        for start in range(0, n_selections, size):
            yield slice(start, min(start + size, n_selections))


class _Threads:
    """How many callers run torch on one thread now, and how many threads it had before."""

    lock = threading.Lock()
    n_users = 0
    before = 1


@contextlib.contextmanager
def one_thread():
    """Run torch on one thread, for chains of steps that are too short to share.

    There may be callers on several threads of Python: the last one restores the number.
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
