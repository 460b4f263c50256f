"""Ways of growing sets of rows to a change of a prediction."""

import numpy as np

# Rows that the first attempt removes; each further one takes twice as many.
_FIRST_ATTEMPT = 16


def padded_paths(paths):
    """Return rows (n, k) and margins (n, k + 1) of paths of different lengths."""
    k = max(1, max((len(rows) for rows, _ in paths), default=1))
    indices = np.full((len(paths), k), -1, dtype=np.int64)
    margins = np.full((len(paths), k + 1), np.nan)
    for number, (rows, along) in enumerate(paths):
        indices[number, : len(rows)] = rows
        margins[number, : len(along)] = along
    return indices, margins


def attempts(max_rows):
    """Yield sizes of sets to try: few rows first, at last the most that are allowed."""
    size = _FIRST_ATTEMPT
    while size < max_rows:
        yield size
        size *= 2
    yield max_rows
