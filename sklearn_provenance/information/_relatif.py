"""RelatIF: the posterior correlation of a query and a row, which has a sign.

References: [IT] Tailor, Felicioni, Ciosek (2026). A Bayesian information-theoretic approach to data
attribution.
"""

import torch

from ._posterior import KernelPosterior
from ._validation import check_function_space, check_row_numbers_or_all, check_weight_space
from ._weight_space import FeaturePosterior


def relatif_cosine(
    kernel: torch.Tensor,
    cross: torch.Tensor,
    query_variance: torch.Tensor,
    noise_variance: float,
    rows: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute RelatIF with a Gauss-Newton Hessian: the posterior correlation of row and query.

    It has a sign, unlike the information, and does not depend on labels. Up to the signs of the
    residuals it is the cosine of Barshan et al.

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
    cosine : Tensor of shape (n_queries, n_rows)
        v_{x*}^D / sqrt(v_x^D v_*^D), in [-1, 1]; 0 for a row or query with no variance.

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite or σ² is lost beside the kernel.

    References
    ----------
    [IT] Eq. 86; Barshan, Brunet, Dziugaite (2020). RelatIF: identifying explanatory training
    samples via relative influence.
    """
    kernel, cross, query_variance, noise_variance = check_function_space(
        kernel, cross, query_variance, noise_variance
    )
    rows = check_row_numbers_or_all(rows, len(kernel), kernel.device)
    return KernelPosterior(kernel, noise_variance).cosine((cross, query_variance), rows)


def relatif_cosine_features(
    features: torch.Tensor,
    query_features: torch.Tensor,
    noise_variance: float,
    rows: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute RelatIF with a Gauss-Newton Hessian, from features.

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
    cosine : Tensor of shape (n_queries, n_rows)
        As :func:`relatif_cosine`, with an absolute error of about ε sqrt(k / σ²).

    Raises
    ------
    ValueError
        If shapes disagree or values are not finite.

    References
    ----------
    [IT] Eq. 86.
    """
    features, query_features, noise_variance = check_weight_space(
        features, query_features, noise_variance
    )
    rows = check_row_numbers_or_all(rows, len(features), features.device)
    return FeaturePosterior(features, noise_variance).cosine(query_features, rows)
