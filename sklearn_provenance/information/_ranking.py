"""The largest scores, with ties settled and counted."""

import torch
from torch.nn.functional import pad

from .._utils.budget import block_numbers
from ._selection import TIE

# Scores that are ranked at a time: the work takes nine numbers for each.
NUMBERS = 2**20


def first_of(kinds):
    """Find the place (n,) at which the kind (n,) of each entry comes first."""
    _, inverse = kinds.unique(return_inverse=True)
    places = torch.arange(len(inverse))
    first = torch.full_like(inverse, len(inverse))  # of each kind
    first.scatter_reduce_(0, inverse, places, "amin")
    return first[inverse]


def largest(scores, k):
    """Rank the k largest scores of each query.

    Parameters
    ----------
    scores : Tensor of shape (n_queries, n_rows)
        Scores; -inf marks rows that may not be picked.
    k : int
        Rows to rank; it may be more than there are.

    Returns
    -------
    picks : Tensor of shape (n_queries, k), int64
        Rows, best first, of ties the lowest first; -1 where no rows are left.
    values : Tensor of shape (n_queries, k)
        Their scores; nan where the row is -1.
    n_tied : Tensor of shape (n_queries,), int64
        Number of rows that are not picked, but have the score of the last pick.
    """
    step = max(1, block_numbers(NUMBERS) // max(1, scores.shape[1]))
    parts = [_largest(part, k) for part in scores.split(step)]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _largest(scores, k):
    """Do as :func:`largest` for a few queries."""
    n_rows = scores.shape[1]
    n_picks = min(k, n_rows)
    values, order = scores.sort(dim=1, descending=True, stable=True)
    # Neighbours are apart if they do not tie. A run of ties is put in the order of its rows.
    gaps = values[:, :-1] - values[:, 1:]  # nan between two that are -inf
    apart = ~(gaps <= TIE * values[:, :-1].abs()) & (values[:, :-1] > -torch.inf)
    if bool((~apart & (order[:, :-1] > order[:, 1:])).any()):
        runs = pad(apart.cumsum(1), (1, 0))  # (n_queries, n_rows): number of each place's run
        place = (runs * n_rows + order).argsort(1)
        values = values.gather(1, place)
        order = order.gather(1, place)
    # Ties with the last pick are the places from it to the end of its run.
    is_end = pad(apart, (0, 1), value=True)  # (n_queries, n_rows)
    ends = torch.where(is_end, torch.arange(n_rows, device=scores.device), n_rows)
    ends = ends.flip(1).cummin(1).values.flip(1)  # last place of each place's run
    last_free = (values > -torch.inf).sum(1) - 1
    n_tied = (torch.minimum(ends[:, n_picks - 1], last_free) - (n_picks - 1)).clamp_(min=0)
    values = values[:, :n_picks]
    missing = values == -torch.inf
    picks = order[:, :n_picks].masked_fill(missing, -1)
    values = values.masked_fill(missing, torch.nan)
    more = (0, k - n_picks)
    return pad(picks, more, value=-1), pad(values, more, value=torch.nan), n_tied
