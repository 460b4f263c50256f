"""Influence in ridge regression: by how much a prediction falls when rows are left out.

θ minimises Σ_i w_i (t_i - φ_i^T θ)² + λ |θ|², with residuals r_i = t_i - φ_i^T θ. With
H = Φ^T W Φ + λ I, M = W^½ Φ H^-1 Φ^T W^½ and u = W^½ Φ H^-1 φ_*, leaving the rows S out lowers the
prediction at a query by

    u_S^T (I - M_SS)^-1 W_S^½ r_S                  one row: u_i √w_i r_i / (1 - M_ii)

This is exact for ridge regression. For a generalised linear model it is one Newton step of the
problem without S, with the weights w = ℓ'' and the working residuals r = -ℓ' / w. For a network φ
are the tangent features of what is measured.

InfoLoss counts by how much the *variance* of the prediction rises, λ u_S^T (I - M_SS)^-1 u_S, and
so has no sign and does not see the targets.

References
----------
.. [1] Cook, Weisberg (1982). Residuals and influence in regression.
.. [2] Hu, Hu, Zhao, Ma (2024). Most influential subset selection: Challenges, promises, and beyond.
       NeurIPS, arXiv:2409.18153.
"""

import math

import torch
from torch import Tensor

from ._greedy import check_count
from ._mean_selection import pick_mean
from ._mean_system import MeanSystem
from ._validation import (
    check_function_space,
    check_row_numbers,
    check_tensor,
    check_weight_space,
)


def pointwise_influence(
    kernel: Tensor,
    cross: Tensor,
    query_variance: Tensor,
    residuals: Tensor,
    ridge: float,
    weights: Tensor | None = None,
) -> Tensor:
    """Compute by how much predictions fall without each row alone, from kernels.

    Parameters
    ----------
    kernel : Tensor of shape (n_train, n_train)
        Kernel of the rows.
    cross : Tensor of shape (n_queries, n_train)
        Kernel of queries and rows.
    query_variance : Tensor of shape (n_queries,)
        Kernel of each query with itself.
    residuals : Tensor of shape (n_train,)
        Working residuals r.
    ridge : float
        λ.
    weights : Tensor of shape (n_train,), default=None
        w; None for 1.

    Returns
    -------
    drops : Tensor of shape (n_queries, n_train)
        u_i √w_i r_i / (1 - M_ii).

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite or λ is lost beside the kernel.
    """
    system, queries = _kernel_system(kernel, cross, query_variance, residuals, ridge, weights)
    return system.drops(queries, torch.arange(len(kernel), device=cross.device))


def pointwise_influence_features(
    features: Tensor,
    query_features: Tensor,
    residuals: Tensor,
    ridge: float,
    weights: Tensor | None = None,
) -> Tensor:
    """Compute by how much predictions fall without each row alone, from features.

    Parameters
    ----------
    features : Tensor of shape (n_train, n_features)
        Φ.
    query_features : Tensor of shape (n_queries, n_features)
        φ_* of the queries.
    residuals : Tensor of shape (n_train,)
        Working residuals r.
    ridge : float
        λ.
    weights : Tensor of shape (n_train,), default=None
        w; None for 1.

    Returns
    -------
    drops : Tensor of shape (n_queries, n_train)
        u_i √w_i r_i / (1 - M_ii).

    Raises
    ------
    ValueError
        If shapes disagree or values are not finite.
    """
    system, queries = _feature_system(features, query_features, residuals, ridge, weights)
    return system.drops(queries, torch.arange(len(features), device=queries.device))


def joint_influence(
    kernel: Tensor,
    cross: Tensor,
    query_variance: Tensor,
    residuals: Tensor,
    ridge: float,
    subset: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """Compute by how much predictions fall without a set of rows, from kernels.

    Parameters
    ----------
    kernel : Tensor of shape (n_train, n_train)
        Kernel of the rows.
    cross : Tensor of shape (n_queries, n_train)
        Kernel of queries and rows.
    query_variance : Tensor of shape (n_queries,)
        Kernel of each query with itself.
    residuals : Tensor of shape (n_train,)
        Working residuals r.
    ridge : float
        λ.
    subset : Tensor of shape (n_subset,) or (n_queries, n_subset), int64
        Rows that are left out, different ones; -1 is none.
    weights : Tensor of shape (n_train,), default=None
        w; None for 1.

    Returns
    -------
    falls : Tensor of shape (n_queries, n_subset)
        Falls with each row after those before it, which add up to that without all of them.

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite or a row is there twice.
    """
    system, queries = _kernel_system(kernel, cross, query_variance, residuals, ridge, weights)
    return system.path(queries, _checked_sets(subset, len(cross), len(kernel), cross.device))


def joint_influence_features(
    features: Tensor,
    query_features: Tensor,
    residuals: Tensor,
    ridge: float,
    subset: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """Compute by how much predictions fall without a set of rows, from features.

    Parameters
    ----------
    features : Tensor of shape (n_train, n_features)
        Φ.
    query_features : Tensor of shape (n_queries, n_features)
        φ_* of the queries.
    residuals : Tensor of shape (n_train,)
        Working residuals r.
    ridge : float
        λ.
    subset : Tensor of shape (n_subset,) or (n_queries, n_subset), int64
        Rows that are left out, different ones; -1 is none.
    weights : Tensor of shape (n_train,), default=None
        w; None for 1.

    Returns
    -------
    falls : Tensor of shape (n_queries, n_subset)
        Falls with each row after those before it, which add up to that without all of them.

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite or a row is there twice.
    """
    system, queries = _feature_system(features, query_features, residuals, ridge, weights)
    return system.path(queries, _checked_sets(subset, len(queries), len(features), queries.device))


def greedy_influence(
    kernel: Tensor,
    cross: Tensor,
    query_variance: Tensor,
    residuals: Tensor,
    ridge: float,
    k: int,
    weights: Tensor | None = None,
    sign: int = 1,
    candidates: Tensor | None = None,
    own: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Pick k rows for each query greedily whose removal moves its prediction most, from kernels.

    Parameters
    ----------
    kernel : Tensor of shape (n_train, n_train)
        Kernel of the rows.
    cross : Tensor of shape (n_queries, n_train)
        Kernel of queries and rows.
    query_variance : Tensor of shape (n_queries,)
        Kernel of each query with itself.
    residuals : Tensor of shape (n_train,)
        Working residuals r.
    ridge : float
        λ.
    k : int
        Rows to pick.
    weights : Tensor of shape (n_train,), default=None
        w; None for 1.
    sign : {1, -1}, default=1
        1 lowers predictions, -1 raises them.
    candidates : Tensor of shape (n_train,) or (n_queries, n_train), bool, default=None
        Rows that may be picked; None allows all.
    own : Tensor of shape (n_queries,), int64, default=None
        The row that each query is, which is left out before anything is picked.

    Returns
    -------
    picks : Tensor of shape (n_queries, k), int64
        Rows in order of selection; -1 where a query has run out of candidates.
    falls : Tensor of shape (n_queries, k)
        By how much each pick lowers the prediction, after those before it; nan at -1.

    Raises
    ------
    ValueError
        If a parameter is out of range, shapes disagree or values are not finite.
    """
    system, queries = _kernel_system(kernel, cross, query_variance, residuals, ridge, weights)
    k, sign = check_count("k", k), _checked_sign(sign)
    return pick_mean([system], [queries], k, sign, candidates, own)[:2]


def greedy_influence_features(
    features: Tensor,
    query_features: Tensor,
    residuals: Tensor,
    ridge: float,
    k: int,
    weights: Tensor | None = None,
    sign: int = 1,
    candidates: Tensor | None = None,
    own: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Pick k rows for each query greedily whose removal moves its prediction most, from features.

    Parameters
    ----------
    features : Tensor of shape (n_train, n_features)
        Φ.
    query_features : Tensor of shape (n_queries, n_features)
        φ_* of the queries.
    residuals : Tensor of shape (n_train,)
        Working residuals r.
    ridge : float
        λ.
    k : int
        Rows to pick.
    weights : Tensor of shape (n_train,), default=None
        w; None for 1.
    sign : {1, -1}, default=1
        1 lowers predictions, -1 raises them.
    candidates : Tensor of shape (n_train,) or (n_queries, n_train), bool, default=None
        Rows that may be picked; None allows all.
    own : Tensor of shape (n_queries,), int64, default=None
        The row that each query is, which is left out before anything is picked.

    Returns
    -------
    picks : Tensor of shape (n_queries, k), int64
        Rows in order of selection; -1 where a query has run out of candidates.
    falls : Tensor of shape (n_queries, k)
        By how much each pick lowers the prediction, after those before it; nan at -1.

    Raises
    ------
    ValueError
        If a parameter is out of range, shapes disagree or values are not finite.
    """
    system, queries = _feature_system(features, query_features, residuals, ridge, weights)
    k, sign = check_count("k", k), _checked_sign(sign)
    return pick_mean([system], [queries], k, sign, candidates, own)[:2]


def _kernel_system(kernel, cross, query_variance, residuals, ridge, weights):
    """Make the system of a kernel, and queries as it takes them."""
    ridge = _checked_ridge(ridge)
    kernel, cross, query_variance, _ = check_function_space(kernel, cross, query_variance, ridge)
    residuals = check_tensor("residuals", residuals, (len(kernel),))
    weights = _checked_weights(weights, len(kernel))
    system = MeanSystem.from_kernel(kernel, residuals, ridge, weights)
    if weights is not None:
        cross = cross * weights.sqrt()
    return system, (cross, query_variance)


def _feature_system(features, query_features, residuals, ridge, weights):
    """Make the system of features, and queries as it takes them."""
    ridge = _checked_ridge(ridge)
    features, queries, _ = check_weight_space(features, query_features, ridge)
    residuals = check_tensor("residuals", residuals, (len(features),))
    weights = _checked_weights(weights, len(features))
    return MeanSystem.from_features(features, residuals, ridge, weights), queries


def _checked_ridge(ridge):
    ridge = float(ridge)
    if not 0 < ridge < math.inf:
        raise ValueError(f"ridge must be a positive finite number, got {ridge!r}")
    return ridge


def _checked_weights(weights, n_rows):
    if weights is None:
        return None
    weights = check_tensor("weights", weights, (n_rows,))
    if (weights < 0).any():
        raise ValueError(f"weights must not be negative, got {weights.min().item():.3g}")
    return weights


def _checked_sets(subset, n_queries, n_rows, device):
    """Return rows (n_queries, n_subset), different ones for each query."""
    sets = check_row_numbers("subset", subset, n_rows, device, padded=True)
    if sets.ndim == 1:
        sets = sets.expand(n_queries, -1)
    if sets.ndim != 2 or len(sets) != n_queries:
        raise ValueError(
            f"subset must have shape (n_subset,) or ({n_queries}, n_subset), got "
            f"{tuple(sets.shape)}"
        )
    ordered = sets.sort(1).values
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise ValueError("subset must hold different rows, got one twice")
    return sets


def _checked_sign(sign):
    if sign not in (1, -1):
        raise ValueError(f"sign must be 1 or -1, got {sign!r}")
    return sign
