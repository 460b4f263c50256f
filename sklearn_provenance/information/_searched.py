"""Selection from rows that are too many to visit: by searches for the largest |inner product|.

Linear response ranks by |c| = |φ_x·r| with r = S_A^-1 φ_*. This is an inner product, so each round
is one search with r for a query. Adding row x changes

    r <- r - S_A^-1 φ_x c_x / (σ² + v_x),     S_A^-1 φ_x = φ_x - Σ_j d_j (d_j·φ_x)

with d_j = S^-1 φ_j / sqrt(σ² + v_j) of the rows that were picked before. The exact rule is not an
inner product: it ranks a pool of rows that a search found.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ._greedy import check_count, check_rule, greedy, greedy_features
from ._selection import blocks
from ._validation import check_noise_variance, check_tensor, nats_of
from ._weight_space import path_reductions


def linear_response_by_search(
    search: Callable[[torch.Tensor, int], tuple[Any, Any]],
    features: Any,
    query_features: torch.Tensor,
    noise_variance: float,
    k: int,
    own: Any = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pick k rows for each query greedily by linear response, each round by a search.

    Parameters
    ----------
    search : callable
        ``search(directions, m)`` gives the row numbers (n_queries, m) of the largest absolute
        inner products with directions (n_queries, n_features), best first, and the products.
    features : array of shape (n_train, n_features)
        Φ: an array, a memory map or a tensor, of which only rows that were found are read.
    query_features : Tensor of shape (n_queries, n_features)
        φ_*.
    noise_variance : float
        σ².
    k : int
        Rows to pick per query.
    own : ndarray of shape (n_queries,), default=None
        Row of each query, which may not be picked for it.

    Returns
    -------
    indices : Tensor of shape (n_queries, k), int64
        Rows in order of selection; -1 where no rows are left.
    nats : Tensor of shape (n_queries, k)
        Exact information of each pick given the picks before it; nan where the index is -1.

    Raises
    ------
    ValueError
        If a parameter is out of range, or values are not finite.

    References
    ----------
    [IT] Eq. 15.

    Examples
    --------
    >>> phi = torch.tensor([[1.0, 1.0], [0.0, 1.0], [-2.0, 1.0]])
    >>> def search(directions, m):
    ...     products = directions @ phi.double().T
    ...     order = products.abs().argsort(1, descending=True)[:, :m]
    ...     return order, products.gather(1, order)
    >>> linear_response_by_search(search, phi, torch.tensor([[1.0, 0.0]]), 0.1, k=2)[0]
    tensor([[2, 0]])
    """
    noise_variance = check_noise_variance(noise_variance)
    k = check_count("k", k)
    queries = check_tensor("query_features", query_features, ("n_queries", features.shape[1]))
    n_queries = len(queries)
    excluded = torch.empty(n_queries, 0, dtype=torch.int64)
    if own is not None:
        excluded = torch.as_tensor(own)[:, None]
    n_picks = min(k, len(features) - excluded.shape[1])
    picks = torch.full((n_queries, k), -1, dtype=torch.int64)
    nats = queries.new_full((n_queries, k), torch.nan)
    for block in blocks(n_queries, 8 * n_picks * queries.shape[1], queries.device):
        rows = _search_block(
            search, features, queries[block], noise_variance, n_picks, excluded[block]
        )
        picks[block, :n_picks] = rows
        nats[block, :n_picks] = path_nats(features, queries[block], noise_variance, rows)
    return picks, nats


def _search_block(search, features, queries, noise_variance, n_picks, excluded):
    """Pick rows (n_queries, n_picks) for a block of queries, but none of ``excluded``."""
    n_queries, n_features = queries.shape
    n_excluded = excluded.shape[1]
    directions = queries.new_empty(n_queries, n_picks, n_features)  # d
    response = queries.clone()  # r
    for done in range(n_picks):
        # The search may return rows that are excluded, so as many more are asked for.
        found, _ = search(response, min(len(features), excluded.shape[1] + 1))
        found = torch.as_tensor(found, dtype=torch.int64)
        free = ~(found[:, :, None] == excluded[:, None]).any(2)  # (n_queries, m)
        pick = found.gather(1, free.max(1, keepdim=True).indices)  # the first that is free
        excluded = torch.cat([excluded, pick], 1)
        row = take_rows(features, pick[:, 0], queries)  # (n_queries, n_features)
        before = directions[:, :done]
        solved = row - ((row[:, None] @ before.mT) @ before)[:, 0]  # S_A^-1 φ_x
        root = (noise_variance + (row * solved).sum(1, keepdim=True).clamp_(min=0.0)).sqrt()
        direction = torch.div(solved, root, out=directions[:, done])
        response -= direction * (row * response).sum(1, keepdim=True) / root
    return excluded[:, n_excluded:]


def select_in_pools(
    features: Any,
    query_features: torch.Tensor,
    noise_variance: float,
    k: int,
    pools: torch.Tensor,
    rule: str = "info_gain",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pick k rows for each query greedily, from a pool for each query.

    With pools of the rows with the largest ``|c|``, this ranks the results of a search by the exact
    rule.

    Parameters
    ----------
    features : array of shape (n_train, n_features)
        Φ: an array, a memory map or a tensor, of which only rows in pools are read.
    query_features : Tensor of shape (n_queries, n_features)
        φ_*.
    noise_variance : float
        σ².
    k : int
        Rows to pick per query.
    pools : Tensor of shape (n_queries, n_pool), int64
        Distinct rows that each query may pick; -1 pads.
    rule : {"info_gain", "linear_response"}, default="info_gain"
        What is maximised.

    Returns
    -------
    indices : Tensor of shape (n_queries, k), int64
        As :func:`greedy`.
    nats : Tensor of shape (n_queries, k)
        As :func:`greedy`.

    Raises
    ------
    ValueError
        If a parameter is out of range, or values are not finite.

    References
    ----------
    [IT] Eqs. 8 and 15.

    Examples
    --------
    >>> phi = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    >>> select_in_pools(phi, torch.tensor([[1.0, 0.0]]), 0.1, 2, torch.tensor([[1, 2]]))[0]
    tensor([[2, 1]])
    """
    check_rule(rule)
    if rule == "info_loss":
        raise ValueError(
            "rule must be 'info_gain' or 'linear_response', because info_loss conditions on all "
            "rows; got 'info_loss'"
        )
    noise_variance = check_noise_variance(noise_variance)
    k = check_count("k", k)
    queries = check_tensor("query_features", query_features, ("n_queries", features.shape[1]))
    picks = torch.full((len(queries), k), -1, dtype=torch.int64)
    nats = queries.new_full((len(queries), k), torch.nan)
    for i, pool in enumerate(torch.as_tensor(pools)):
        rows = pool[pool >= 0].sort().values  # in order, so that the lowest row wins a tie
        if not len(rows):
            continue
        points = take_rows(features, rows, queries)
        query = queries[i : i + 1]
        if points.shape[1] < len(points):
            found, nats[i] = greedy_features(points, query, noise_variance, k, rule)
        else:
            found, nats[i] = greedy(
                points @ points.mT,
                query @ points.mT,
                query.square().sum(1),
                noise_variance,
                k,
                rule,
            )
        picks[i] = torch.where(found >= 0, rows[found], -1)[0]
    return picks, nats


def take_rows(features, rows, like):
    """Read rows as a tensor of the precision and device of another."""
    if isinstance(features, torch.Tensor):
        return features[rows.to(features.device)].to(like)
    return torch.as_tensor(np.asarray(features[rows.cpu().numpy()])).to(like)


def path_nats(features, queries, noise_variance, picks):
    """Compute the exact nats of each pick given those before it."""
    distinct, places = picks.unique(return_inverse=True)
    points = take_rows(features, distinct, queries)
    reductions, after = path_reductions(points, queries, noise_variance, places)
    return nats_of(reductions, after)
