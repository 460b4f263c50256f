"""Greedy subsets for a query, in nats: exact InfoGain, InfoLoss and linear response.

All three are :func:`._selection.select` with a matrix and a ranking:

    rule                 starts from         each round       picks the largest
    "info_gain"          nothing             adds a row       c² / (σ² + v)
    "linear_response"    nothing             adds a row       c²
    "info_loss"          all of D            removes a row    c² / (σ² - v)

The score of a pick is what it changed, 1/2 log(v_*^before / v_*^after) nats or the inverse for a
removal, so the scores of a query add up to I(S; x_*). Linear response only ranks by c²; its picks
are scored exactly.

*What greedy guarantees.* For one query InfoGain is monotone but **not submodular**: with rows
x1 = (1, 1), x2 = (0, 1), query (1, 0) and σ² = 0.1, x2 alone gains 0 nats and after x1 it gains
0.592. What holds is the submodularity-ratio guarantee of [1]_, for the variance explained and not
for the nats. Skipping candidates because their gain was small before is therefore not exact.

References
----------
.. [1] Das, Kempe (2011). Submodular meets spectral: greedy algorithms for subset selection, sparse
       approximation and dictionary selection.
"""

import torch

from ._selection import FeatureConditioning, KernelConditioning, blocks, select
from ._validation import (
    check_function_space,
    check_resolved,
    check_rows,
    check_weight_space,
)
from ._variance import leave_out_system
from ._weight_space import path_reductions, posterior_rows

RULES = ("info_gain", "info_loss", "linear_response")
# Rows up to which the matrix among them may be formed where features are given (1 GB).
MATRIX_ROWS = 11_000


def greedy(
    kernel,
    cross,
    query_variance,
    noise_variance,
    k,
    rule="info_gain",
    candidates=None,
    own=None,
):
    """Pick k rows for each query greedily, from kernels.

    Time is O(n_queries n_candidates k²); "info_loss" adds one factorisation of all rows.

    Parameters
    ----------
    kernel : Tensor of shape (n_train, n_train)
        Kernel of the rows D, shared by the queries.
    cross : Tensor of shape (n_queries, n_train)
        Kernel of queries and rows.
    query_variance : Tensor of shape (n_queries,)
        Prior variances k_**. A query with k_** = 0 has nothing to learn: every pick is 0 nats.
    noise_variance : float
        σ².
    k : int
        Rows to pick per query.
    rule : {"info_gain", "info_loss", "linear_response"}, default="info_gain"
        What is maximised, see the module. "info_loss" conditions on all rows of `kernel`.
    candidates : Tensor of shape (n_train,) or (n_queries, n_train), bool, default=None
        Rows that may be picked, for all queries or for each; None allows all.
    own : Tensor of shape (n_queries,), int64, default=None
        The row of D that each query is, if they are rows of D. It is withheld throughout: neither
        conditioned on nor picked.

    Returns
    -------
    indices : Tensor of shape (n_queries, k), int64
        Rows in order of selection; -1 where a query has run out of candidates. Gains that agree
        to 1e-10 count as a tie, which the lowest index wins.
    nats : Tensor of shape (n_queries, k)
        Information of each pick given the picks before it; nan where the index is -1. Relative
        error about ε k_** / v_*: see :func:`greedy_features` where that is too much.

    Raises
    ------
    ValueError
        If a parameter is out of range, shapes disagree, values are not finite or σ² is lost beside
        the kernel.

    References
    ----------
    [IT] Eqs. 8 (InfoGain), 15 (linear response) and 62 (InfoLoss).

    Examples
    --------
    >>> import torch
    >>> phi = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    >>> query = torch.tensor([[1.0, 0.0]])
    >>> indices, nats = greedy(phi @ phi.T, query @ phi.T, torch.ones(1), 0.1, k=2)
    >>> indices
    tensor([[0, 1]])
    >>> nats
    tensor([[0.3233, 0.5920]], dtype=torch.float64)
    """
    kernel, cross, query_variance, noise_variance = check_function_space(
        kernel, cross, query_variance, noise_variance
    )
    check_rule(rule)
    k = check_count("k", k)
    rows, blocked, own = split_candidates(candidates, *cross.shape, cross.device, own)
    withheld = None
    if rule == "info_loss":
        floor = 1 / (noise_variance + kernel.diagonal()[rows])
        matrix, covariance, variance = leave_out_system(
            kernel, cross, query_variance, noise_variance, rows
        )
        diagonal = matrix.diagonal().clone()
        if own is not None:
            withheld, variance = (own, 1.0), _without_own(variance, diagonal[own], noise_variance)
    else:
        # A matrix of all rows need not be copied.
        matrix = kernel if len(rows) == len(kernel) else kernel[rows[:, None], rows]
        covariance, variance = cross[:, rows], query_variance
        diagonal = matrix.diagonal() + noise_variance
        floor = torch.full_like(diagonal, noise_variance)

    def start(size, n_picks):
        return KernelConditioning(matrix, diagonal, floor, size, n_picks)

    row_bytes = 8 * len(rows)
    picks, gains = _run(start, covariance, blocked, k, rule, row_bytes, withheld)
    nats = _nats_from_gains(gains, variance, rule == "info_loss", query_variance, noise_variance)
    return _pad(_original(picks, rows), nats, k)


def greedy_features(
    features, query_features, noise_variance, k, rule="info_gain", candidates=None, own=None
):
    """Pick k rows for each query greedily, from features.

    Time is O(n_queries n_candidates n_features k), or with many picks that of :func:`greedy` beside
    O(n_candidates² n_features) once. The cheaper form when there are fewer features than rows to
    condition on, and the accurate one always: scores of rules that add come from an orthonormal
    basis of the picks (relative error about ε sqrt(k_xx / σ²)); ranking, and the scores of
    "info_loss", from the recurrence (about ε k_xx / σ²).

    Parameters
    ----------
    features : Tensor of shape (n_train, n_features)
        Φ, the rows D.
    query_features : Tensor of shape (n_queries, n_features)
        φ_*.
    noise_variance : float
        σ².
    k : int
        Rows to pick per query.
    rule : {"info_gain", "info_loss", "linear_response"}, default="info_gain"
        What is maximised. "info_loss" conditions on all rows of `features`.
    candidates : Tensor of shape (n_train,) or (n_queries, n_train), bool, default=None
        Rows that may be picked, for all queries or for each; None allows all.
    own : Tensor of shape (n_queries,), int64, default=None
        As :func:`greedy`.

    Returns
    -------
    indices : Tensor of shape (n_queries, k), int64
        As :func:`greedy`.
    nats : Tensor of shape (n_queries, k)
        As :func:`greedy`.

    Raises
    ------
    ValueError
        If a parameter is out of range, shapes disagree or values are not finite.

    References
    ----------
    [IT] Eqs. 8, 12-13, 15 and 62.

    Examples
    --------
    >>> import torch
    >>> phi = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    >>> indices, nats = greedy_features(phi, torch.tensor([[1.0, 0.0]]), 0.1, k=2, rule="info_loss")
    >>> indices  # without row 1 nothing separates the two axes
    tensor([[1, 0]])
    >>> nats
    tensor([[0.7112, 0.0112]], dtype=torch.float64)
    """
    features, query_features, noise_variance = check_weight_space(
        features, query_features, noise_variance
    )
    check_rule(rule)
    k = check_count("k", k)
    n_queries, n_train = len(query_features), len(features)
    rows, blocked, own = split_candidates(candidates, n_queries, n_train, features.device, own)
    start, row_bytes, covariance, variance, margin = feature_system(
        features, query_features, noise_variance, rows, rule, n_queries * min(k, len(rows))
    )
    withheld = None
    if rule == "info_loss" and own is not None:
        withheld, variance = (own, noise_variance), variance * (noise_variance / margin[own])
    picks, gains = _run(start, covariance, blocked, k, rule, row_bytes, withheld)
    prior = query_features.square().sum(1)
    picks = _original(picks, rows)
    if rule == "info_loss":
        nats = _nats_from_gains(gains, variance, True, prior, noise_variance)
    else:
        reductions, after = path_reductions(features, query_features, noise_variance, picks)
        nats = 0.5 * torch.log1p(ratio(reductions, after))
        nats = nats.masked_fill(picks < 0, torch.nan)
    return _pad(picks, nats, k)


def feature_system(features, query_features, noise_variance, rows, rule, n_picks):
    """What :func:`._selection.select` needs to work on features, for n_picks picks in all.

    Returns
    -------
    start : callable
        (n_selections, n_picks) -> FeatureConditioning or KernelConditioning.
    row_bytes : int
        What one pick of one selection takes.
    covariance : Tensor of shape (n_queries, n_rows)
        c at the start.
    variance : Tensor of shape (n_queries,)
        v_* at the start.
    diagonal : Tensor of shape (n_rows,)
        G_xx at the start.
    """
    points, queries, sign = features[rows], query_features, 1
    diagonal = noise_variance + points.square().sum(1)
    floor = torch.full_like(diagonal, noise_variance)
    if rule == "info_loss":
        sign, floor = -1, noise_variance * (noise_variance / diagonal)
        points, queries, diagonal = posterior_rows(features, query_features, noise_variance, rows)

    n_rows, n_features = points.shape
    system = queries @ points.mT, queries.square().sum(1), diagonal
    # A pick costs n_rows n_features from features and n_rows k from the matrix among the rows,
    # which costs n_rows² n_features once, in one product that is several times as fast.
    if n_rows < min(8 * n_picks, MATRIX_ROWS):
        matrix = sign * (points @ points.mT)

        def start(n_selections, n_picks):
            return KernelConditioning(matrix, diagonal, floor, n_selections, n_picks)

        return start, 8 * n_rows, *system

    def start(n_selections, n_picks):
        return FeatureConditioning(points, sign, diagonal, floor, n_selections, n_picks)

    return start, 8 * n_features, *system


def check_rule(rule):
    """Refuse a rule that does not exist."""
    if rule not in RULES:
        raise ValueError(f"rule must be one of {RULES}, got {rule!r}")


def check_count(name, value):
    """Return a positive int."""
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


def split_candidates(candidates, n_queries, n_train, device, own=None):
    """Rows that some query may pick, which of them each may not, and each query's own among them.

    Queries' own rows are among the rows in any case, and never may be picked by them.
    """
    if candidates is None:
        candidates = torch.ones(n_train, dtype=torch.bool)
    allowed = torch.as_tensor(candidates, device=device)
    fits = tuple(allowed.shape) in ((n_train,), (n_queries, n_train))
    if allowed.dtype != torch.bool or not fits:
        raise ValueError(
            f"candidates must be bool of shape ({n_train},) or ({n_queries}, {n_train}), "
            f"got {allowed.dtype} of shape {tuple(allowed.shape)}"
        )
    allowed = allowed.expand(n_queries, n_train)
    if own is None:
        rows = allowed.any(0).nonzero()[:, 0]
        return rows, ~allowed[:, rows], None
    own = check_rows("own", own, n_train, device)
    if own.shape != (n_queries,):
        raise ValueError(f"own must have shape ({n_queries},), got {tuple(own.shape)}")
    allowed = allowed.clone()
    needed = allowed.any(0)
    needed[own] = True
    allowed[torch.arange(n_queries, device=device), own] = False
    rows = needed.nonzero()[:, 0]
    return rows, ~allowed[:, rows], torch.searchsorted(rows, own)


def ratio(gain, variance):
    """Gain over variance; 0 where a query has neither."""
    return torch.where((gain == 0) & (variance == 0), 0.0, gain / variance)


def _without_own(variance, precision, noise_variance):
    """v_i given D without i, from v_i given D and P_ii: 1 / P_ii - σ², or v_i / (σ² P_ii).

    The form is taken that does not cancel.
    """
    explained = noise_variance * precision  # σ² P_ii = (σ² - v_i) / σ²
    return torch.where(explained < 0.5, 1 / precision - noise_variance, variance / explained)


def _run(start, covariance, blocked, k, rule, row_bytes, withheld=None):
    """Run the selection block by block; gains are (n_queries, n_picks).

    ``withheld`` is each query's own row, to be removed before the first round, and the unit of c.
    """
    n_queries, n_rows = covariance.shape
    n_picks = min(k, n_rows)
    picks = torch.empty(n_queries, n_picks, dtype=torch.int64, device=covariance.device)
    gains = covariance.new_empty(n_queries, n_picks)
    for block in blocks(n_queries, n_picks * row_bytes, covariance.device):
        size = block.stop - block.start
        conditioning = start(size, n_picks + (withheld is not None))
        if withheld is None:
            known = covariance[block].clone()
        else:
            # Once row i is removed, what the rest knows of it is its column: -P_xi / P_ii.
            own, unit = withheld
            scaled, root = conditioning.condition(own[block])
            known = -scaled * (unit / root)
        picks[block], gains[block] = select(
            conditioning,
            known[:, None],
            blocked[block],
            n_picks,
            divide=rule != "linear_response",
        )
    return picks, gains


def _nats_from_gains(gains, variance, removes, prior, noise_variance):
    """1/2 log1p(gain / smaller variance of the two), with variance the one at the start."""
    total = gains.nan_to_num(0.0).cumsum(1)
    if removes:  # a removal's gain raises the variance that came before it
        smaller = variance[:, None] + total - gains
    else:
        smaller = variance[:, None] - total
        check_resolved(smaller, prior[:, None].expand_as(smaller), noise_variance)
    return 0.5 * torch.log1p(ratio(gains, smaller))


def _original(picks, rows):
    """Positions among the candidates -> rows; -1 stays."""
    if not len(rows):
        return picks
    return torch.where(picks >= 0, rows[picks], -1)


def _pad(picks, nats, k):
    missing = (0, k - picks.shape[1])
    pad = torch.nn.functional.pad
    return pad(picks, missing, value=-1), pad(nats, missing, value=torch.nan)
