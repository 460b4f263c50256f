"""The largest scores, with ties settled and counted."""

import torch

from ._selection import TIE


def first_of(kinds):
    """Place (n,) where the kind (n,) of each entry is met first."""
    _, inverse = kinds.unique(return_inverse=True)
    places = torch.arange(len(inverse))
    return torch.full_like(inverse, len(inverse)).scatter_reduce_(0, inverse, places, "amin")[
        inverse
    ]


def largest(scores, k):
    """Rank the k largest scores of each query.

    Parameters
    ----------
    scores : Tensor of shape (n_queries, n_rows)
        Scores; those of -inf are padding.
    k : int
        Rows to rank, maybe more than there are.

    Returns
    -------
    picks : Tensor of shape (n_queries, k), int64
        Rows, best first, of ties the lowest first; -1 where there are no more.
    values : Tensor of shape (n_queries, k)
        Their scores; nan where the row is -1.
    n_tied : Tensor of shape (n_queries,), int64
        Rows left out that score as the last pick does.
    """
    values, order = scores.sort(dim=1, descending=True, stable=True)
    # Runs of ties, each in the order of its rows.
    gaps = values[:, :-1] - values[:, 1:]  # nan between two that are -inf
    apart = ~(gaps <= TIE * values[:, :-1].abs()) & (values[:, :-1] > -torch.inf)
    if bool((~apart & (order[:, :-1] > order[:, 1:])).any()):
        runs = torch.nn.functional.pad(apart.cumsum(1), (1, 0))
        place = (runs * scores.shape[1] + order).argsort(1)
        values, order = values.gather(1, place), order.gather(1, place)
    n_free = (values > -torch.inf).sum(1)
    n_rows, n_picks = scores.shape[1], min(k, scores.shape[1])
    # Ties with the k-th: how far its run goes on.
    padded = torch.nn.functional.pad(apart, (0, 1), value=True)  # (n_queries, n_rows)
    ends = torch.where(padded, torch.arange(n_rows, device=scores.device), n_rows)
    ends = ends.flip(1).cummin(1).values.flip(1)  # last place of each place's run
    n_tied = (torch.minimum(ends[:, n_picks - 1], n_free - 1) - (n_picks - 1)).clamp_(min=0)
    picks, values = order[:, :n_picks], values[:, :n_picks]
    missing = values == -torch.inf
    picks, values = picks.masked_fill(missing, -1), values.masked_fill(missing, torch.nan)
    pad = (0, k - n_picks)
    pads = torch.nn.functional.pad
    return pads(picks, pad, value=-1), pads(values, pad, value=torch.nan), n_tied
