"""Rows that queries may pick, and which of them are copies of each other."""

from itertools import pairwise

import torch

from ._validation import check_row_numbers

# Squared distance of copies over their squared norm, of which a kernel keeps no more digits.
COPY = 8 * torch.finfo(torch.float64).eps


def numbers_of(picks, rows):
    """Return the row numbers of picks, which are positions among rows; -1 stays."""
    if not len(rows):
        return picks
    return torch.where(picks >= 0, rows[picks], -1)


def split_candidates(candidates, n_queries, n_train, device, own=None):
    """Return rows that some query may pick, which each may not, and each query's own row.

    Queries' own rows are among the rows in any case, and never may be picked by them.
    """
    if candidates is None:
        candidates = torch.ones(n_train, dtype=torch.bool)
    allowed = torch.as_tensor(candidates, device=device)
    fits = tuple(allowed.shape) in ((n_train,), (n_queries, n_train))
    if allowed.dtype != torch.bool or not fits:
        raise ValueError(
            f"candidates must be bool of shape ({n_train},) or ({n_queries}, {n_train}), "
            f"got {allowed.dtype} of shape {tuple(allowed.shape)}"
        )
    allowed = allowed.expand(n_queries, n_train)
    if own is None:
        rows = allowed.any(0).nonzero()[:, 0]
        return rows, ~allowed[:, rows], None
    own = check_row_numbers("own", own, n_train, device)
    if own.shape != (n_queries,):
        raise ValueError(f"own must have shape ({n_queries},), got {tuple(own.shape)}")
    allowed = allowed.clone()
    needed = allowed.any(0)
    needed[own] = True
    allowed[torch.arange(n_queries, device=device), own] = False
    rows = needed.nonzero()[:, 0]
    return rows, ~allowed[:, rows], torch.searchsorted(rows, own)


def find_copies(probe, same):
    """Find the first row that each row is a copy of, up to rounding; None where all rows differ.

    Copies are rows x and y with |φ_x - φ_y|² <= 8 ε |φ_x|².

    Parameters
    ----------
    probe : Tensor of shape (n_rows,)
        An inner product of each φ with one direction: copies have about the same.
    same : callable
        ``same(row, others)`` says which of the others (m,) are copies of a row.

    Returns
    -------
    Tensor of shape (n_rows,), int64, or None
        Row numbers.
    """
    if len(probe) < 2:
        return None
    order = probe.argsort(stable=True)
    ascending = probe[order]
    near = torch.diff(ascending) <= 1e-12 * probe.abs().max()  # rounding alone parts copies
    if not near.any():
        return None
    edges = torch.nn.functional.pad(~near, (1, 1), value=True).nonzero()[:, 0].tolist()
    copies = torch.arange(len(probe), device=probe.device)
    found = False
    for start, stop in pairwise(edges):
        left = order[start:stop].sort().values
        while len(left) > 1:  # rows of one run that are no copies of its first form another run
            first = left[0]
            others = left[1:]
            equal = same(first, others)
            copies[others[equal]] = first
            found |= bool(equal.any())
            left = others[~equal]
    if not found:
        return None
    return copies


class CopyTable:
    """Rows that are copies of each other, which are found by one of them.

    Parameters
    ----------
    copies : Tensor of shape (n_rows,), int64
        The same number for rows that are copies of each other.
    """

    def __init__(self, copies):
        self.copies = copies
        self.kinds, self.order = copies.sort(stable=True)  # of a kind rows ascend

    def first_free(self, pick, excluded, free=None):
        """Replace picks by the first of their copies that may be picked.

        Parameters
        ----------
        pick : Tensor of shape (n_selections,)
            Rows that may be picked; -1 stays.
        excluded : Tensor of shape (n_selections, m)
            Rows that each selection may not pick.
        free : Tensor of shape (n_rows,), bool, default=None
            Rows that all may pick; None allows all.

        Returns
        -------
        Tensor of shape (n_selections,)
            Rows.
        """
        first = pick.clone()
        for selection, row in enumerate(pick.tolist()):
            if row < 0:
                continue
            kind = self.copies[row]
            ends = torch.searchsorted(self.kinds, torch.stack([kind, kind + 1]))
            same = self.order[ends[0] : ends[1]]
            allowed = ~torch.isin(same, excluded[selection])
            if free is not None:
                allowed &= free[same]
            first[selection] = same[allowed.int().argmax()]
        return first
