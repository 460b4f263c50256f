"""How many directions the tangent features use at a noise variance."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigvalsh, svdvals


def effective_dimension(
    features: ArrayLike, noise_variance: ArrayLike, *, kernel: bool = False
) -> Any:
    """Compute the effective dimension tr(K (K + σ² I)⁻¹) of a set of rows.

    This is the number of directions in which the rows vary more than the noise. Sketches need
    about 10 to 20 times as many components.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_components)
        Tangent features φ, or their kernel if ``kernel`` is true.
    noise_variance : float or array-like of float
        Noise variance σ², in the kernel's units.
    kernel : bool, default=False
        Whether ``features`` is the kernel K = φ φᵀ, of shape (n_samples, n_samples).

    Returns
    -------
    float or ndarray
        Effective dimension, between 0 and the rank of K, one for each noise variance.

    Raises
    ------
    ValueError
        If a noise variance is not positive, or the kernel is not square.

    References
    ----------
    .. [1] T. Zhang, "Learning bounds for kernel regression using effective data dimensionality",
       Neural Computation 17, 2005.

    Examples
    --------
    >>> from sklearn_provenance.tangent import effective_dimension
    >>> effective_dimension([[3.0, 0.0], [0.0, 1.0]], noise_variance=1.0)
    1.4
    """
    values = np.asarray(features, dtype=np.float64)
    noise = np.asarray(noise_variance, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"features must have two dimensions, got shape {values.shape}")
    if kernel and values.shape[0] != values.shape[1]:
        raise ValueError(f"a kernel must be square, got shape {values.shape}")
    if not (noise > 0).all():
        raise ValueError(f"noise_variance must be positive, got {noise_variance!r}")
    # Singular values, not eigenvalues of a Gram matrix, which would square the rounding errors.
    spectrum = eigvalsh(values).clip(0) if kernel else svdvals(values) ** 2
    dimension = (spectrum / (spectrum + noise[..., None])).sum(-1)
    if dimension.ndim == 0:
        return float(dimension)
    return dimension
