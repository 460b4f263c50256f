"""The largest scores of rows that come in chunks; of equal ones the first."""

import torch


def merge_largest(scores, numbers, products, start, tie):
    """Take the n best of the rows that were found before and of a chunk.

    Parameters
    ----------
    scores, numbers : Tensor of shape (n_queries, n)
        The best rows before row `start`; -inf and -1 where there are fewer.
    products : Tensor of shape (n_queries, n_chunk)
        Scores of the rows from `start` on.
    start : int
        Number of the first row of the chunk.
    tie : float
        Scores that differ from the n-th by no more than this count as equal to it. The lowest
        numbers are taken.

    Returns
    -------
    scores, numbers : Tensor of shape (n_queries, n)
        The best rows, in ascending order of their numbers.
    """
    largest = products.amax(1)
    if not (largest < torch.inf).all():  # NaN, too, is the maximum
        raise ValueError(
            "rows must not change after build, got inner products that are not finite; call build "
            "again"
        )
    # In most chunks no row is among the best of a query.
    concerned = (largest >= scores.amin(1) - tie).nonzero()[:, 0]
    if not len(concerned):
        return scores, numbers
    if len(concerned) == len(scores):
        return _merge(scores, numbers, products, start, tie)
    merged = _merge(scores[concerned], numbers[concerned], products[concerned], start, tie)
    return scores.index_copy(0, concerned, merged[0]), numbers.index_copy(0, concerned, merged[1])


def _merge(scores, numbers, products, start, tie):
    n = scores.shape[1]
    n_chunk = products.shape[1]
    top = products.topk(min(n + 1, n_chunk))
    columns = top.indices[:, :n].sort(1).values
    all_scores = torch.cat([scores, products.gather(1, columns)], 1)
    all_numbers = torch.cat([numbers, columns + start], 1)
    kept, last = _largest(all_scores, n, tie)
    best_scores = all_scores.gather(1, kept)
    best_numbers = all_numbers.gather(1, kept)
    if n_chunk > n:
        # topk left rows of the chunk out. Where the best of them ties with the n-th, all rows of
        # the chunk are compared, because the lowest numbers win.
        crowded = top.values[:, n] >= last - tie
        if crowded.any():
            all_scores = torch.cat([scores[crowded], products[crowded]], 1)
            kept, _ = _largest(all_scores, n, tie)
            best_scores[crowded] = all_scores.gather(1, kept)
            before = numbers[crowded].gather(1, kept.clamp(max=n - 1))
            best_numbers[crowded] = torch.where(kept < n, before, kept - n + start)
    return best_scores, best_numbers


def _largest(scores, n, tie):
    """Find the positions of the n largest scores, in ascending order, and the n-th largest."""
    last = scores.topk(n).values[:, -1]
    above = scores > last[:, None] + tie
    equal = (scores >= last[:, None] - tie) & ~above
    room = n - above.sum(1, keepdim=True)
    above |= equal & (equal.cumsum(1) <= room)
    return above.nonzero()[:, 1].view(len(scores), n), last
