"""Comparing two ways of computing the same gradients."""

import torch

from ._outputs import all_finite


def random_weights(n):
    """Draw weights (n,) that tell sums of gradients apart: if one is wrong, or changes place."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, generator=generator, dtype=torch.float64)


def close(values, expected, size=None):
    """Compare up to rounding.

    Parameters
    ----------
    values, expected : torch.Tensor
        What is compared. Entries that are not finite must be so in both.
    size : float, default=None
        Norm of the whole that ``expected`` is a part of; None takes the norm of ``expected``.

    Returns
    -------
    bool
        Whether the difference is small beside ``expected``, or tiny beside the whole.
    """
    if values.shape != expected.shape:
        return False
    if not (all_finite(values) and all_finite(expected)):
        finite = expected.isfinite()
        if not torch.equal(values.isfinite(), finite):
            return False
        values = values[finite]
        expected = expected[finite]
    relative, floor = 1e-2, 1e-6
    if expected.dtype == torch.float64:
        relative, floor = 1e-6, 1e-12
    expected_norm = norm(expected)
    if size is None:
        size = expected_norm
    return norm(values - expected) <= relative * expected_norm + floor * size


def norm(values):
    """Compute the norm in double precision: squares of single precision underflow."""
    return float(torch.linalg.vector_norm(values, dtype=torch.float64))
