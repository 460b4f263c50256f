"""Definitions, written out, that fast paths are compared with."""

import torch


def expected_targets(local, sizes, alpha, max_size):
    """Compute the expectation of the sampled target, as a dense matrix.

    Parameters
    ----------
    local, sizes : Tensor of shape (n,)
        Position of each row inside its class, and the size of that class.
    alpha : float
        Mixing probability.
    max_size : int
        Number of columns, M.

    Returns
    -------
    targets : Tensor of shape (n, max_size)
        (1 - alpha) at the row's position, alpha / (K_y - 1) at the others of the class.
    """
    positions = torch.arange(max_size, device=local.device)
    own = positions == local[:, None]  # (n, M)
    valid = positions < sizes[:, None]  # (n, M)
    alpha = torch.where(sizes > 1, alpha, 0.0)[:, None]
    others = (sizes - 1).clamp(min=1)[:, None]
    return torch.where(own, 1 - alpha, alpha / others) * valid
