"""Information that rows carry about a query, in nats.

    InfoGain    I_IG(S; x_*) = -1/2 log(v_*^S / k_**)           gained by S alone
    InfoLoss    I_IL(S; x_*) =  1/2 log(v_*^{D\\S} / v_*^D)      lost when S is withheld from D

Both are computed as log1p of the change over the smaller variance: a single row among many changes
the variance so little that the ratio of the two variances is 1 in most digits. About a query with
k_** = 0 nothing can be learnt, so all its scores are 0 nats.

For high noise the two agree, ||k_S*||² / (2 k_** σ²) + O(σ^-4) ([IT] Lemma 1).

References: [IT] Tailor, Felicioni, Ciosek (2026). A Bayesian information-theoretic approach to data
attribution.
"""

import torch

from ._posterior import KernelPosterior
from ._validation import (
    check_function_space,
    check_noise_variance,
    check_query_variance,
    check_resolved,
    check_row_numbers,
    check_row_numbers_or_all,
    check_tensor,
    check_weight_space,
    nats_of,
)
from ._variance import leave_out_system, noise_factor, whiten
from ._weight_space import FeaturePosterior, path_reductions


def pointwise_information_gain(
    row_variance: torch.Tensor,
    cross: torch.Tensor,
    query_variance: torch.Tensor,
    noise_variance: float,
) -> torch.Tensor:
    """Compute the nats that each row alone gives about each query.

    Parameters
    ----------
    row_variance : Tensor of shape (n_train,)
        k_xx, the kernel's diagonal: no other entry is needed.
    cross : Tensor of shape (n_queries, n_train)
        Kernel of queries and rows.
    query_variance : Tensor of shape (n_queries,)
        Prior variances k_**.
    noise_variance : float
        σ².

    Returns
    -------
    nats : Tensor of shape (n_queries, n_train)
        I_IG({x}; x_*) = 1/2 log(1 / (1 - k_x*² / (k_** (σ² + k_xx)))). The absolute error is below
        ε k_xx / σ², and largest if row and query are collinear.

    Raises
    ------
    ValueError
        If shapes disagree or values are not finite.

    References
    ----------
    [IT] Eq. 6.

    Examples
    --------
    >>> import torch
    >>> pointwise_information_gain(torch.ones(1), torch.ones(1, 1), torch.ones(1), 1.0)
    tensor([[0.3466]], dtype=torch.float64)
    """
    noise_variance = check_noise_variance(noise_variance)
    row_variance = check_tensor("row_variance", row_variance, ("n_train",))
    if (row_variance < 0).any():
        raise ValueError(f"row_variance must not be negative, got {row_variance.min().item():.3g}")
    cross = check_tensor("cross", cross, ("n_queries", len(row_variance)))
    query_variance = check_query_variance(query_variance, len(cross))[:, None]
    # (σ² + k_xx) v_*^{x}, in a form that is at least σ² k_**.
    unexplained = (query_variance * row_variance - cross.square()).clamp_(min=0.0)
    return nats_of(cross.square(), unexplained + noise_variance * query_variance)


def pointwise_information_loss(
    kernel: torch.Tensor,
    cross: torch.Tensor,
    query_variance: torch.Tensor,
    noise_variance: float,
    rows: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute the nats about each query that are lost when one row is withheld from all.

    Parameters
    ----------
    kernel : Tensor of shape (n_train, n_train)
        Kernel of all rows D.
    cross : Tensor of shape (n_queries, n_train)
        Kernel of queries and rows.
    query_variance : Tensor of shape (n_queries,)
        Prior variances k_**.
    noise_variance : float
        σ².
    rows : Tensor of shape (n_rows,), default=None
        Rows that are scored; None for all. All are conditioned on.

    Returns
    -------
    nats : Tensor of shape (n_queries, n_rows)
        I_IL({x}; x_*) = 1/2 log(1 + c² / (v_*^D (σ² - v_x^D))).

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite or σ² is lost beside the kernel.

    References
    ----------
    [IT] Eqs. 4 and 81.
    """
    kernel, cross, query_variance, noise_variance = check_function_space(
        kernel, cross, query_variance, noise_variance
    )
    rows = check_row_numbers_or_all(rows, len(kernel), kernel.device)
    return KernelPosterior(kernel, noise_variance).loss((cross, query_variance), rows)


def pointwise_information_loss_features(
    features: torch.Tensor,
    query_features: torch.Tensor,
    noise_variance: float,
    rows: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute the nats about each query that are lost when one row is withheld, from features.

    Parameters
    ----------
    features : Tensor of shape (n_train, n_features)
        Φ, all rows D.
    query_features : Tensor of shape (n_queries, n_features)
        φ_*.
    noise_variance : float
        σ².
    rows : Tensor of shape (n_rows,), default=None
        Rows that are scored; None for all. All are conditioned on.

    Returns
    -------
    nats : Tensor of shape (n_queries, n_rows)
        I_IL({x}; x_*). The relative error is about ε k_xx / σ² for a row that alone spans a
        direction (σ² - v_x is a difference here), and much less for others.

    Raises
    ------
    ValueError
        If shapes disagree or values are not finite.

    References
    ----------
    [IT] Eqs. 4, 12-13 and 81.
    """
    features, query_features, noise_variance = check_weight_space(
        features, query_features, noise_variance
    )
    rows = check_row_numbers_or_all(rows, len(features), features.device)
    return FeaturePosterior(features, noise_variance).loss(query_features, rows)


def joint_information_gain(
    kernel: torch.Tensor,
    cross: torch.Tensor,
    query_variance: torch.Tensor,
    noise_variance: float,
    subset: torch.Tensor,
) -> torch.Tensor:
    """Compute the nats that a subset alone gives about each query.

    Parameters
    ----------
    kernel : Tensor of shape (n_train, n_train)
        Kernel of the rows.
    cross : Tensor of shape (n_queries, n_train)
        Kernel of queries and rows.
    query_variance : Tensor of shape (n_queries,)
        Prior variances k_**.
    noise_variance : float
        σ².
    subset : Tensor of shape (n_subset,) or (n_queries, n_subset)
        Distinct rows S, for all queries or for each; -1 pads.

    Returns
    -------
    nats : Tensor of shape (n_queries,)
        I_IG(S; x_*).

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite or σ² is lost beside the kernel.

    References
    ----------
    [IT] Eq. 6.
    """
    kernel, cross, query_variance, noise_variance = check_function_space(
        kernel, cross, query_variance, noise_variance
    )
    subset = _check_subset(subset, *cross.shape, cross.device)
    gain = torch.zeros_like(query_variance)
    for query, rows in enumerate(subset):
        picked = rows[rows >= 0]
        factor = noise_factor(kernel[picked[:, None], picked], noise_variance)
        gain[query] = whiten(factor, cross[query, picked][:, None]).square().sum()
    check_resolved(query_variance - gain, query_variance, noise_variance)
    return nats_of(gain, query_variance - gain)


def joint_information_gain_features(
    features: torch.Tensor,
    query_features: torch.Tensor,
    noise_variance: float,
    subset: torch.Tensor,
) -> torch.Tensor:
    """Compute the nats that a subset alone gives about each query, from features.

    Parameters
    ----------
    features : Tensor of shape (n_train, n_features)
        Φ.
    query_features : Tensor of shape (n_queries, n_features)
        φ_*.
    noise_variance : float
        σ².
    subset : Tensor of shape (n_subset,) or (n_queries, n_subset)
        Distinct rows S, for all queries or for each; -1 pads.

    Returns
    -------
    nats : Tensor of shape (n_queries,)
        I_IG(S; x_*), with a relative error of about ε sqrt(k / σ²).

    Raises
    ------
    ValueError
        If shapes disagree or values are not finite.

    References
    ----------
    [IT] Eqs. 6 and 12-13.
    """
    features, query_features, noise_variance = check_weight_space(
        features, query_features, noise_variance
    )
    subset = _check_subset(subset, len(query_features), len(features), features.device)
    reductions, after = path_reductions(features, query_features, noise_variance, subset)
    return nats_of(reductions, after).sum(1)


def joint_information_loss(
    kernel: torch.Tensor,
    cross: torch.Tensor,
    query_variance: torch.Tensor,
    noise_variance: float,
    subset: torch.Tensor,
) -> torch.Tensor:
    """Compute the nats about each query that are lost when a subset is withheld from all rows.

    Parameters
    ----------
    kernel : Tensor of shape (n_train, n_train)
        Kernel of all rows D.
    cross : Tensor of shape (n_queries, n_train)
        Kernel of queries and rows.
    query_variance : Tensor of shape (n_queries,)
        Prior variances k_**.
    noise_variance : float
        σ².
    subset : Tensor of shape (n_subset,) or (n_queries, n_subset)
        Distinct rows S, for all queries or for each; -1 pads.

    Returns
    -------
    nats : Tensor of shape (n_queries,)
        I_IL(S; x_*).

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite or σ² is lost beside the kernel.

    References
    ----------
    [IT] Eq. 4 and Appendix A.1.
    """
    kernel, cross, query_variance, noise_variance = check_function_space(
        kernel, cross, query_variance, noise_variance
    )
    subset = _check_subset(subset, *cross.shape, cross.device)
    # Places of the rows in ``wanted``. The padding -1, if there is any, comes first there: one is
    # subtracted, and it is -1 again.
    wanted, place = torch.unique(subset, return_inverse=True)
    place = place - (wanted < 0).sum()
    precision, weights, variance = leave_out_system(
        kernel, cross, query_variance, noise_variance, wanted[wanted >= 0]
    )
    gain = torch.zeros_like(variance)
    for query, rows in enumerate(place):
        picked = rows[rows >= 0]
        factor = noise_factor(precision[picked[:, None], picked], 0.0)
        gain[query] = whiten(factor, weights[query, picked][:, None]).square().sum()
    return nats_of(gain, variance)


def _check_subset(subset, n_queries, n_train, device):
    """Check rows per query, (n_queries, n_subset), which are distinct except for the padding."""
    subset = check_row_numbers("subset", subset, n_train, device, padded=True)
    if subset.ndim not in (1, 2) or (subset.ndim == 2 and len(subset) != n_queries):
        raise ValueError(
            f"subset must have shape (n_subset,) or ({n_queries}, n_subset), "
            f"got {tuple(subset.shape)}"
        )
    ordered = subset.sort(-1).values
    if ((ordered[..., 1:] == ordered[..., :-1]) & (ordered[..., 1:] >= 0)).any():
        raise ValueError("subset must hold distinct rows, got one twice")
    return subset.expand(n_queries, -1)
