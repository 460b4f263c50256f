"""Rows that queries may pick, and which of them are copies of each other."""

from itertools import pairwise
from typing import NamedTuple

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


class SameClass(NamedTuple):
    """Candidates of queries: the rows of their own classes.

    Parameters
    ----------
    labels : Tensor of shape (n_rows,), int
        Class of each row.
    asked : Tensor of shape (n_queries,), int
        Class of each query.
    """

    labels: torch.Tensor
    asked: torch.Tensor

    def masks(self):
        """Return which rows each query may pick (n_queries, n_rows)."""
        return self.asked[:, None] == self.labels

    def most(self):
        """Count the rows that the query with the most candidates may pick."""
        classes, counts = self.labels.unique(return_counts=True)
        return int((counts * torch.isin(classes, self.asked)).max()) if len(counts) else 0


def mask_of(rows, n_rows):
    """Make a mask (n_rows,) of the numbers of some rows; leave None and :class:`SameClass`."""
    if not isinstance(rows, torch.Tensor):
        return rows
    return torch.zeros(n_rows, dtype=torch.bool).index_fill(0, rows, True)


class Free(NamedTuple):
    """Rows that selections may pick at all.

    Parameters
    ----------
    rows : Tensor of shape (n_rows,)
        Which rows all selections may pick, bool; or a number of each row.
    numbers : Tensor of shape (B,), default=None
        The number that rows have which a selection may pick.
    """

    rows: torch.Tensor
    numbers: torch.Tensor | None = None

    @classmethod
    def of(cls, candidates, n_rows, device):
        """Take a mask (n_rows,), :class:`SameClass`, or None, which allows all rows."""
        if candidates is None:
            return cls(torch.ones(n_rows, dtype=torch.bool, device=device))
        if isinstance(candidates, SameClass):
            return cls(*(one.to(device) for one in candidates))
        return cls(candidates.to(device))

    def most(self):
        """Count the rows that the selection with the most of them may pick."""
        if self.numbers is None:
            return int(self.rows.sum())
        return SameClass(*self).most()

    def queries(self, some):
        """Restrict to a slice of the selections."""
        return self if self.numbers is None else self._replace(numbers=self.numbers[some])

    def part(self, rows):
        """Restrict to a slice of the rows."""
        return self._replace(rows=self.rows[rows])

    def less(self, mask):
        """Leave rows (n_rows,) out, where all selections may pick the same."""
        return self._replace(rows=self.rows & ~mask)

    def allows(self, selection, rows):
        """Return which of some rows (m,) a selection may pick."""
        if self.numbers is None:
            return self.rows[rows]
        return self.rows[rows] == self.numbers[selection]

    def bar(self, score):
        """Set scores (B, n_rows) of other rows to -inf."""
        if self.numbers is None:
            score[:, ~self.rows] = -torch.inf
        else:
            score.masked_fill_(self.rows != self.numbers[:, None], -torch.inf)


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

    def first_free(self, pick, excluded, free):
        """Replace picks by the first of their copies that may be picked.

        Parameters
        ----------
        pick : Tensor of shape (n_selections,)
            Rows that may be picked; -1 stays.
        excluded : Tensor of shape (n_selections, m)
            Rows that each selection may not pick.
        free : Free
            Rows that each selection may pick at all.

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
            allowed = free.allows(selection, same) & ~torch.isin(same, excluded[selection])
            first[selection] = same[allowed.int().argmax()]
        return first
