"""Which rows a network is examined on.

Shapes in comments: N rows that are looked at, d numbers a row.
"""

import math

import torch

from ._batches import leaves, n_batch_rows

# Rows whose gradients are computed one at a time. Fewer than three would not show that a module
# exchanges rows.
_EXAMINED = 6
_LEAST = 3
# Rows, and numbers, that are searched for rows that differ.
_SEARCHED = 1024
_NUMBERS = 2**24


def examined_rows(x):
    """Choose rows that differ from each other as much as a short search can tell.

    The first, middle and last row are among them, unless they are equal. The others have the most
    and fewest nonzeros (the lengths of padded texts), and the largest and smallest sums.

    Parameters
    ----------
    x : torch.Tensor, OnDemand or a structure of them
        Rows of the data.

    Returns
    -------
    list of int
        Row numbers, at least three; they are repeated if fewer rows differ.
    """
    n = n_batch_rows(x)
    n_numbers = sum(math.prod(leaf.shape[1:]) for leaf in leaves(x))
    n_searched = max(2 * _EXAMINED, min(_SEARCHED, _NUMBERS // max(1, n_numbers)))
    numbers = torch.linspace(0, n - 1, min(n, n_searched), dtype=torch.float64).round().long()
    traits = torch.stack([_traits(leaf[numbers]) for leaf in leaves(x)], 2)
    traits = traits.flatten(1)  # (N, 4 leaves), nonzeros of all leaves first
    middle = len(numbers) // 2
    candidates = [0, middle, len(numbers) - 1]
    candidates += torch.stack([traits.argmax(0), traits.argmin(0)], 1).flatten().tolist()
    candidates += range(len(numbers))
    chosen = []
    seen = set()
    for i in candidates:
        trait = tuple(traits[i].tolist())
        if trait not in seen:
            seen.add(trait)
            chosen.append(int(numbers[i]))
        if len(chosen) == _EXAMINED:
            break
    return (chosen * _LEAST)[: max(_LEAST, len(chosen))]


def _traits(rows):
    """Compute numbers (N, 4) that tell rows apart: nonzeros, sum, squares, weighted sum."""
    flat = rows.reshape(len(rows), -1).cpu().double()  # (N, d)
    ramp = torch.linspace(1, 2, flat.shape[1], dtype=torch.float64)
    parts = [(flat != 0).double(), flat, flat.square(), flat * ramp]
    return torch.stack([part.sum(1) for part in parts], 1)
