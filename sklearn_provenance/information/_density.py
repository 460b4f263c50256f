"""Log predictive density of the Gaussian process, for choosing σ².

The scores depend on σ² only through r = σ² / s, where s is the mean of the kernel's diagonal. The
criterion for σ² must therefore not depend on the kernel's scale either. With K_r = K / s + r I,
targets t centred on their training means and n rows of C outputs, the amplitude that maximises the
likelihood is

    a = Σ_c t_c^T K_r^-1 t_c / (n C)

A held-out target has the density N(t_*; k_*^T K_r^-1 t / s, a (v_r + r)), including its
normaliser, with v_r = (k_** - k_*^T (K + σ² I)^-1 k_*) / s. With amplitude 1 in place of a, the
density would increase until r = 0.

One eigendecomposition serves the whole grid of r: :func:`density_system` makes it, and what it
returns gives the density at any r.

References: mathematics of the user guide, "Choosing σ²"; Rasmussen and Williams (2006), Eq. 2.25.
"""

import math
from typing import NamedTuple

import torch

from ._validation import check_kernel, check_query_variance, check_tensor, check_weight_space


class DensitySystem(NamedTuple):
    """What the density needs of the data for any r, rotated to eigenvectors.

    Parameters
    ----------
    values : Tensor of shape (n_values,)
        Eigenvalues of K / s, or of Φ^T Φ / s, which has the same except for zeros.
    targets : Tensor of shape (n_values, n_outputs)
        Centred targets, or Φ^T times them over √s, along the eigenvectors.
    queries : Tensor of shape (n_queries, n_values)
        Kernel k_* / s, or features over √s, along the eigenvectors.
    query_targets : Tensor of shape (n_queries, n_outputs)
        Held-out targets, centred with the training means.
    prior : Tensor of shape (n_queries,) or None
        k_** / s; None where the system was made from features.
    basis, residuals : Tensor or None
        Features along the eigenvectors and targets, compressed to as few rows as keep every ridge
        loss; None where the system was made from a kernel.
    n_targets : int
        n C, training rows times outputs.
    """

    values: torch.Tensor
    targets: torch.Tensor
    queries: torch.Tensor
    query_targets: torch.Tensor
    prior: torch.Tensor | None
    basis: torch.Tensor | None
    residuals: torch.Tensor | None
    n_targets: int

    def log_density(
        self, ratios: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Compute the mean log predictive density of the held-out targets.

        Parameters
        ----------
        ratios : Tensor of shape (n_ratios,)
            r = σ² / s, where s is the mean of the training rows' kernel diagonal.
        weights : Tensor of shape (n_queries,), default=None
            Weights of the held-out rows in the mean, not all zero; None weights them equally.

        Returns
        -------
        log_density : Tensor of shape (n_ratios,)
            In nats per row, summed over outputs.

        Raises
        ------
        ValueError
            If r is not positive, or shapes disagree.
        """
        ratios = check_tensor("ratios", ratios, ("n_ratios",))
        if not len(ratios) or (ratios <= 0).any():
            raise ValueError(
                f"ratios must be positive, at least one of them, got {ratios.tolist()}"
            )
        if weights is None:
            weights = torch.ones_like(self.query_targets[:, 0])
        weights = check_tensor("weights", weights, (len(self.query_targets),))
        weights = weights.to(self.values.device)
        if (weights < 0).any() or not weights.sum() > 0:
            raise ValueError("weights must not be negative, and some must be positive")
        return torch.stack([weights @ self._rows(r) for r in ratios]) / weights.sum()

    def _rows(self, r):
        """Compute the log density of each held-out row."""
        solved = self.targets / (self.values + r)[:, None]
        if self.basis is None:
            fit = (self.targets * solved).sum()
            variance = self.prior - self.queries.square() @ (1 / (self.values + r))
        else:
            # t^T K_r^-1 t is the least ridge loss over r. This form is a sum of squares; in the
            # difference of t^T t and the explained part, digits would cancel.
            residual = self.residuals - self.basis @ solved
            fit = residual.square().sum() / r + solved.square().sum()
            variance = self.queries.square() @ (r / (self.values + r))
        amplitude = fit / self.n_targets
        variance = amplitude * (variance.clamp(min=0.0) + r)[:, None]
        error = self.query_targets - self.queries @ solved
        return -0.5 * (torch.log(2 * math.pi * variance) + error.square() / variance).sum(1)


def density_system(
    kernel: torch.Tensor,
    targets: torch.Tensor,
    cross: torch.Tensor,
    query_variance: torch.Tensor,
    query_targets: torch.Tensor,
) -> DensitySystem:
    """Prepare the density of held-out targets for any r, from kernels.

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

    Returns
    -------
    system : DensitySystem
        ``system.log_density(ratios)`` costs O(n_queries n_train) for each r.

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite, or kernel or targets do not vary.
    """
    kernel = check_kernel(kernel)
    cross = check_tensor("cross", cross, ("n_queries", len(kernel)))
    query_variance = check_query_variance(query_variance, len(cross))
    targets, query_targets = _check_targets(targets, query_targets, len(kernel), len(cross))
    scale = _mean_diagonal(kernel.diagonal())
    values, vectors = torch.linalg.eigh(kernel / scale)
    return DensitySystem(
        values=values.clamp_(min=0.0),  # a kernel has no negative eigenvalues, rounding has
        targets=vectors.mT @ targets,
        queries=(cross / scale) @ vectors,
        query_targets=query_targets,
        prior=query_variance / scale,
        basis=None,
        residuals=None,
        n_targets=targets.numel(),
    )


def density_system_features(
    features: torch.Tensor,
    targets: torch.Tensor,
    query_features: torch.Tensor,
    query_targets: torch.Tensor,
) -> DensitySystem:
    """Prepare the density of held-out targets for any r, from features.

    This costs O(n_train n_features²) instead of O(n_train³), and has more digits at small r.

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

    Returns
    -------
    system : DensitySystem
        ``system.log_density(ratios)`` costs O((n_queries + n_features) n_features) for each r.

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite, or features or targets do not vary.
    """
    features, query_features, _ = check_weight_space(features, query_features, 1.0)
    targets, query_targets = _check_targets(
        targets, query_targets, len(features), len(query_features)
    )
    scale = _mean_diagonal(features.square().sum(1)) ** 0.5
    n_targets = targets.numel()
    features = features / scale
    if len(features) > 2 * (features.shape[1] + targets.shape[1]):
        features, targets = in_fewer_rows([(features, targets)])
    return _from_features(features, targets, query_features / scale, query_targets, n_targets)


def density_system_blocks(points, targets, query_features, query_targets, reduce=None):
    """Prepare the density as :func:`density_system_features`, from rows that are read in blocks.

    Parameters
    ----------
    points : points
        Training rows, which know ``len()``, ``norms()`` and ``_numbered_blocks()``: slices of rows
        and their features in double precision.
    targets, query_features, query_targets : Tensor
        As in :func:`density_system_features`.
    reduce : callable, default=None
        ``reduce(targets, scale)`` gives what :func:`in_fewer_rows` makes of all rows, with features
        divided by the scale. None reads the points here.

    Returns
    -------
    system : DensitySystem
        As :func:`density_system_features`.
    """
    targets, query_targets = _check_targets(
        targets, query_targets, len(points), len(query_features)
    )
    scale = _mean_diagonal(points.norms()) ** 0.5
    if reduce is None:
        blocks = ((block / scale, targets[rows]) for rows, block in points._numbered_blocks())
        features, reduced = in_fewer_rows(blocks)
    else:
        features, reduced = (part.to(targets) for part in reduce(targets, scale.item()))
    query_features = query_features / scale
    return _from_features(features, reduced, query_features, query_targets, targets.numel())


def in_fewer_rows(blocks):
    """Replace Φ and T by R of [Φ T], which has the same residual norms in far fewer rows."""
    joint = None
    for features, targets in blocks:
        both = torch.cat([features, targets], 1)
        if joint is not None:
            both = torch.cat([joint, both])
        joint = torch.linalg.qr(both, mode="r").R
    n_features = features.shape[1]
    return joint[:, :n_features], joint[:, n_features:]


def _from_features(features, targets, query_features, query_targets, n_targets):
    """Make the system of scaled features and centred targets."""
    values, vectors = torch.linalg.eigh(features.mT @ features)
    return DensitySystem(
        values=values.clamp_(min=0.0),
        targets=vectors.mT @ (features.mT @ targets),
        queries=query_features @ vectors,
        query_targets=query_targets,
        prior=None,
        basis=features @ vectors,
        residuals=targets,
        n_targets=n_targets,
    )


def profiled_log_density(
    kernel: torch.Tensor,
    targets: torch.Tensor,
    cross: torch.Tensor,
    query_variance: torch.Tensor,
    query_targets: torch.Tensor,
    ratios: torch.Tensor,
) -> torch.Tensor:
    """Compute the mean log predictive density of held-out targets for every r, from kernels.

    Parameters
    ----------
    kernel, targets, cross, query_variance, query_targets : Tensor
        As in :func:`density_system`.
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
    system = density_system(kernel, targets, cross, query_variance, query_targets)
    return system.log_density(ratios)


def profiled_log_density_features(
    features: torch.Tensor,
    targets: torch.Tensor,
    query_features: torch.Tensor,
    query_targets: torch.Tensor,
    ratios: torch.Tensor,
) -> torch.Tensor:
    """Compute the mean log predictive density of held-out targets for every r, from features.

    Parameters
    ----------
    features, targets, query_features, query_targets : Tensor
        As in :func:`density_system_features`.
    ratios : Tensor of shape (n_ratios,)
        r = σ² / mean squared norm of `features`.

    Returns
    -------
    log_density : Tensor of shape (n_ratios,)
        As :func:`profiled_log_density`.

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite, r is not positive, or features or targets do not
        vary.
    """
    system = density_system_features(features, targets, query_features, query_targets)
    return system.log_density(ratios)


def _mean_diagonal(diagonal):
    """Compute the scale s of a kernel, which must be positive."""
    scale = diagonal.mean()
    if not scale > 0:
        raise ValueError("the kernel of the training rows must have a positive diagonal, got zero")
    return scale


def _check_targets(targets, query_targets, n_train, n_queries):
    """Check targets, and centre both on the training means."""
    targets = check_tensor("targets", targets, (n_train, "n_outputs"))
    shape = (n_queries, targets.shape[1])
    query_targets = check_tensor("query_targets", query_targets, shape)
    means = targets.mean(0)
    targets = targets - means
    if not targets.abs().max() > 0:
        raise ValueError("targets must vary, because constants have no density; got constants")
    return targets, query_targets - means
