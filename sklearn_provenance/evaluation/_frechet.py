"""Fréchet distance between sets of feature rows."""

import numpy as np
from numpy.typing import ArrayLike

from .._utils.arguments import check_numbers


def frechet_distance(features: ArrayLike, reference: ArrayLike) -> float:
    """Compute the squared Fréchet distance between the Gaussians fitted to two sets of rows.

    With means m and covariances S it is ``|m1 - m2|² + tr(S1 + S2 - 2 (S1 S2)^(1/2))`` [1]_. With
    features of the Inception network it is known as FID [2]_; of other features it is on another
    scale.

    Parameters
    ----------
    features : array-like of shape (n, n_features)
        Rows, at least two.
    reference : array-like of shape (m, n_features)
        Rows, at least two.

    Returns
    -------
    distance : float
        At least 0, in squared units of the features.

    Raises
    ------
    ValueError
        If an array is not two-dimensional and finite, has fewer than two rows, or the numbers of
        features differ.

    Notes
    -----
    The estimate is biased upwards, the more the fewer rows there are [3]_: two samples of one
    distribution are never at distance 0. Compare only estimates from equal numbers of rows.

    The trace of the square root is the sum of the singular values of ``R1 R2^T``, where
    ``S = R^T R`` comes from a QR decomposition of the centred rows, so that no covariance is formed
    and nothing is complex. Covariances may be singular.

    References
    ----------
    .. [1] D. C. Dowson and B. V. Landau. The Fréchet distance between multivariate normal
       distributions. Journal of Multivariate Analysis, 1982.
    .. [2] M. Heusel et al. GANs trained by a two time-scale update rule converge to a local Nash
       equilibrium. NeurIPS 2017.
    .. [3] M. J. Chong and D. Forsyth. Effectively unbiased FID and Inception score and where to
       find them. CVPR 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_provenance.evaluation import frechet_distance
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> round(frechet_distance(X, X + [3, 0, 4]), 6)
    25.0
    """
    first = check_numbers(features, "features", (None, None))
    second = check_numbers(reference, "reference", (None, None))
    for name, rows in (("features", first), ("reference", second)):
        if len(rows) < 2 or not rows.shape[1]:
            raise ValueError(f"{name} must have 2 rows and a column, got shape {rows.shape}")
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"reference must have as many columns as features, {first.shape[1]}; got "
            f"{second.shape[1]}"
        )
    return frechet_of_moments(moments(first), moments(second))


def moments(features):
    """Compute the mean, and R with R^T R the covariance."""
    mean = features.mean(axis=0)
    return mean, np.linalg.qr((features - mean) / np.sqrt(len(features) - 1), mode="r")


def frechet_of_moments(first, second):
    """Return the distance, from what :func:`moments` gives of two sets of rows."""
    mean1, R1 = first
    mean2, R2 = second
    cross = np.linalg.svd(R1 @ R2.T, compute_uv=False).sum()
    distance = np.square(mean1 - mean2).sum() + np.square(R1).sum() + np.square(R2).sum()
    return max(float(distance - 2 * cross), 0.0)
