"""Log predictive density of the Gaussian process, for choosing σ².

The scores depend on σ² only through r = σ² / s, s the mean of the kernel's diagonal, so what judges
a σ² must not depend on the kernel's scale either. With K_r = K / s + r I, targets t centred on
their training means and n rows of C outputs, the amplitude that maximises the likelihood is

    a = Σ_c t_c^T K_r^-1 t_c / (n C)

and a held-out target has the density N(t_*; k_*^T K_r^-1 t / s, a (v_r + r)), normaliser
included, with v_r = (k_** - k_*^T (K + σ² I)^-1 k_*) / s. With amplitude 1 in place of a the
density would rise all the way to r -> 0.

One eigendecomposition serves the whole grid of r.

References: mathematics of the user guide, "Choosing σ²"; Rasmussen and Williams (2006), Eq. 2.25.
"""

import math

import torch

from ._validation import check_kernel, check_query_variance, check_tensor, check_weight_space


def profiled_log_density(kernel, targets, cross, query_variance, query_targets, ratios):
    """Mean log predictive density of held-out targets for every r, from kernels.

    Parameters
    ----------
    kernel : Tensor of shape (n_train, n_train)
        Kernel of the training rows.
    targets : Tensor of shape (n_train, n_outputs)
        Targets, say one-hot labels; centred here.
    cross : Tensor of shape (n_queries, n_train)
        Kernel of held-out and training rows.
    query_variance : Tensor of shape (n_queries,)
        Prior variances k_** of the held-out rows.
    query_targets : Tensor of shape (n_queries, n_outputs)
        Held-out targets; centred with the means of `targets`.
    ratios : Tensor of shape (n_ratios,)
        r = σ² / mean diagonal of `kernel`.

    Returns
    -------
    log_density : Tensor of shape (n_ratios,)
        Mean over held-out rows of the log density of a row's targets, summed over outputs, in
        nats.

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite, r is not positive, or kernel or targets do not
        vary.

    Examples
    --------
    >>> import torch
    >>> x = torch.linspace(-1, 1, 9)[:, None]
    >>> t = 2 * x + torch.tensor([0.1, -0.1, 0]).repeat(3)[:, None]
    >>> profiled_log_density(x @ x.T, t, x @ x.T, x[:, 0] ** 2, t, torch.tensor([0.01, 1, 100]))
    tensor([ 1.0675, -0.1380, -1.5796], dtype=torch.float64)
    """
    kernel = check_kernel(kernel)
    cross = check_tensor("cross", cross, ("n_queries", len(kernel)))
    query_variance = check_query_variance(query_variance, len(cross))
    targets, query_targets, ratios = _check_targets(
        targets, query_targets, ratios, len(kernel), len(cross)
    )
    scale = _mean_diagonal(kernel.diagonal())
    values, vectors = torch.linalg.eigh(kernel / scale)
    values = values.clamp_(min=0.0)  # a kernel has no negative eigenvalues, rounding has
    rotated_targets, rotated_cross = vectors.mT @ targets, cross / scale @ vectors
    densities = []
    for r in ratios:
        weights = 1 / (values + r)
        fit = (rotated_targets.square() * weights[:, None]).sum()
        mean = rotated_cross @ (weights[:, None] * rotated_targets)
        variance = query_variance / scale - rotated_cross.square() @ weights
        densities.append(_mean_density(query_targets - mean, variance, fit / targets.numel(), r))
    return torch.stack(densities)


def profiled_log_density_features(features, targets, query_features, query_targets, ratios):
    """Mean log predictive density of held-out targets for every r, from features.

    Parameters
    ----------
    features : Tensor of shape (n_train, n_features)
        Φ of the training rows.
    targets : Tensor of shape (n_train, n_outputs)
        Targets, say one-hot labels; centred here.
    query_features : Tensor of shape (n_queries, n_features)
        Features of the held-out rows.
    query_targets : Tensor of shape (n_queries, n_outputs)
        Held-out targets; centred with the means of `targets`.
    ratios : Tensor of shape (n_ratios,)
        r = σ² / mean squared norm of `features`.

    Returns
    -------
    log_density : Tensor of shape (n_ratios,)
        As :func:`profiled_log_density`, at O(n_train n_features²) instead of O(n_train³).

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite, r is not positive, or features or targets do not
        vary.
    """
    features, query_features, _ = check_weight_space(features, query_features, 1.0)
    targets, query_targets, ratios = _check_targets(
        targets, query_targets, ratios, len(features), len(query_features)
    )
    scale = _mean_diagonal(features.square().sum(1)) ** 0.5
    features, query_features = features / scale, query_features / scale
    values, vectors = torch.linalg.eigh(features.mT @ features)
    values = values.clamp_(min=0.0)
    rotated_targets = vectors.mT @ (features.mT @ targets)
    rotated_queries = query_features @ vectors
    densities = []
    for r in ratios:
        weights = rotated_targets / (values + r)[:, None]  # ridge weights, rotated
        residual = targets - features @ (vectors @ weights)
        # t^T K_r^-1 t is the least ridge loss over r: a sum of squares, where the difference
        # between t^T t and what is explained would cancel.
        fit = residual.square().sum() / r + weights.square().sum()
        variance = rotated_queries.square() @ (r / (values + r))
        mean = rotated_queries @ weights
        densities.append(_mean_density(query_targets - mean, variance, fit / targets.numel(), r))
    return torch.stack(densities)


def _mean_density(error, variance, amplitude, r):
    """Mean over rows of Σ_c log N(error; 0, amplitude (variance + r))."""
    variance = amplitude * (variance.clamp(min=0.0) + r)[:, None]
    log_density = -0.5 * (torch.log(2 * math.pi * variance) + error.square() / variance)
    return log_density.sum(1).mean()


def _mean_diagonal(diagonal):
    scale = diagonal.mean()
    if not scale > 0:
        raise ValueError("the kernel of the training rows is zero: there is no scale to relate to")
    return scale


def _check_targets(targets, query_targets, ratios, n_train, n_queries):
    targets = check_tensor("targets", targets, (n_train, "n_outputs"))
    shape = (n_queries, targets.shape[1])
    query_targets = check_tensor("query_targets", query_targets, shape)
    ratios = check_tensor("ratios", ratios, ("n_ratios",))
    if not len(ratios) or (ratios <= 0).any():
        raise ValueError(f"ratios must be positive, at least one of them, got {ratios.tolist()}")
    means = targets.mean(0)
    targets = targets - means
    if not targets.abs().max() > 0:
        raise ValueError("targets must vary: with constant targets no density is defined")
    return targets, query_targets - means, ratios
