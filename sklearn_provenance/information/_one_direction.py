"""The most influential rows of a query where weights move along one direction only."""

import torch
from torch import Tensor

from ._greedy import check_count
from ._ranking import largest
from ._validation import check_tensor

_MOST_ROUNDS = 100


def most_influential_along(
    numerators: Tensor, denominators: Tensor, total: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """Find the k rows with the largest influence where weights move along one direction only.

    If θ may move along H^-1 φ_* alone, the prediction at the query falls by

        total · Σ_S numerators / (total - Σ_S denominators)

    without the rows S, with the numerators u_i r_i, the denominators u_i² and the total
    φ_*^T H^-1 φ_*. Dinkelbach's iteration finds the best set of k rows: it ranks by numerators +
    ratio · denominators, with the ratio of the last set, until the set stays. A few sorts do.

    Parameters
    ----------
    numerators, denominators : Tensor of shape (n_queries, n_rows)
        Of each row; denominators are not negative and add up to less than the total.
    total : Tensor of shape (n_queries,)
        Positive.
    k : int
        Rows to find.

    Returns
    -------
    picks : Tensor of shape (n_queries, k), int64
        The set, largest contribution first; -1 where there are fewer rows.
    drops : Tensor of shape (n_queries,)
        What it lowers predictions by.

    Raises
    ------
    ValueError
        If shapes disagree, or a total is not larger than its denominators.

    References
    ----------
    Finding most influential sets (2026), arXiv:2606.05919.
    """
    numerators = check_tensor("numerators", numerators, ("n_queries", "n_rows"))
    denominators = check_tensor("denominators", denominators, tuple(numerators.shape))
    total = check_tensor("total", total, (len(numerators),))
    k = check_count("k", k)
    if (denominators < 0).any() or not (denominators.sum(1) < total).all():
        raise ValueError(
            "denominators must not be negative and must add up to less than total for each query"
        )
    ratio, last = torch.zeros_like(total), torch.full_like(total, -torch.inf)
    for _ in range(_MOST_ROUNDS):
        picks = largest(numerators + ratio[:, None] * denominators, k)[0]
        there, at = picks >= 0, picks.clamp(min=0)
        above = (numerators.gather(1, at) * there).sum(1)
        below = total - (denominators.gather(1, at) * there).sum(1)
        ratio = above / below
        if (ratio <= last + 1e-14 * last.abs()).all():
            break
        last = ratio
    return picks, total * ratio
