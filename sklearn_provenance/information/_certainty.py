"""How sure rows of probabilities are: confidence and entropy where they round to certainty."""

import torch


def certainty(log_p):
    """Compute the log-confidence and entropy of rows of probabilities.

    Both are computed from all probabilities except the largest. The largest rounds to 1 long before
    the others round to 0, so that rows would be tied although they differ.

    Parameters
    ----------
    log_p : Tensor of shape (n, n_outcomes)
        Log-probabilities in nats, -inf for impossible outcomes.

    Returns
    -------
    log_confidence : Tensor of shape (n,), float64
        Log of the largest probability, at most 0.
    entropy : Tensor of shape (n,), float64
        In nats.
    """
    top, at = log_p.max(1, keepdim=True)
    ratio = (log_p - top).exp().scatter_(1, at, 0.0)  # p_j / p_top of all others
    # With r_j = p_j / p_top and R their sum: log p_top = -log(1 + R), and the entropy is
    # log(1 + R) - sum_j r_j log r_j / (1 + R).
    rest = ratio.sum(1, dtype=torch.float64)
    spread = torch.special.entr(ratio).sum(1, dtype=torch.float64)
    return -rest.log1p(), rest.log1p() + spread / (1 + rest)
