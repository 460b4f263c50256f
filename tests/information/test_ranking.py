"""The largest scores of each query, where rounding does not decide."""

import pytest
import torch

from sklearn_provenance.information import _ranking
from sklearn_provenance.information._ranking import first_of, largest

INF = torch.inf


def ranked(scores, k):
    """Rows, scores and ties of one query, as lists."""
    picks, values, n_tied = largest(torch.tensor([scores], dtype=torch.float64), k)
    assert n_tied.shape == (1,)
    return picks[0].tolist(), values[0].tolist(), n_tied.item()


def test_larger_scores_come_first():
    assert ranked([1.0, 3.0, 2.0, -4.0], 3) == ([1, 2, 0], [3.0, 2.0, 1.0], 0)
    assert ranked([-1.0, -3.0, -2.0], 2) == ([0, 2], [-1.0, -2.0], 0)


def test_scores_that_rounding_parts_tie():
    """The lowest row goes first, and keeps its score."""
    near = 1 + 1e-13
    assert ranked([1.0, near, 0.5], 1) == ([0], [1.0], 1)
    assert ranked([0.5, 1.0, near], 2) == ([1, 2], [1.0, near], 0)
    assert ranked([-near, -1.0, -2.0], 1) == ([0], [-near], 1)
    assert ranked([1.0, 1 + 1e-7], 1) == ([1], [1 + 1e-7], 0)


def test_ties_are_counted_beyond_the_last_pick():
    assert ranked([2.0, 1.0, 1.0, 1.0, 0.0], 2) == ([0, 1], [2.0, 1.0], 2)
    assert ranked([2.0, 1.0, 1.0, 1.0, 0.0], 4) == ([0, 1, 2, 3], [2.0, 1.0, 1.0, 1.0], 0)
    assert ranked([0.0, 0.0, 0.0], 1) == ([0], [0.0], 2)


def test_rows_that_may_not_be_named():
    picks, values, n_tied = ranked([-INF, 1.0, -INF, 1.0], 1)
    assert (picks, values, n_tied) == ([1], [1.0], 1)
    picks, values, n_tied = ranked([-INF, 1.0, -INF], 2)
    assert picks == [1, -1]
    assert values[0] == 1.0
    assert values[1] != values[1]  # nan
    assert n_tied == 0
    picks, _, n_tied = ranked([-INF, -INF], 1)
    assert (picks, n_tied) == ([-1], 0)
    picks, values, n_tied = ranked([1.0], 3)
    assert (picks, n_tied) == ([0, -1, -1], 0)


@pytest.mark.parametrize("numbers", [1, 40, 2**20])
def test_queries_do_not_disturb_each_other(monkeypatch, numbers):
    monkeypatch.setattr(_ranking, "NUMBERS", numbers)
    rng = torch.Generator().manual_seed(0)
    scores = torch.randint(1, 5, (30, 9), generator=rng).double()
    scores += 1e-13 * torch.rand(30, 9, generator=rng, dtype=torch.float64)
    scores[torch.rand(30, 9, generator=rng) < 0.2] = -INF
    assert [len(part) for part in largest(scores[:0], 4)] == [0, 0, 0]
    together = largest(scores, 4)
    for i, row in enumerate(scores):
        alone = largest(row[None], 4)
        for one, other in zip(together, alone, strict=True):
            torch.testing.assert_close(one[i], other[0], rtol=0, atol=0, equal_nan=True)
        # By the definition: values rounded to what is no tie, then rows in order.
        free = [j for j in range(9) if row[j] > -INF]
        want = sorted(free, key=lambda j: (-round(float(row[j])), j))[:4]
        assert together[0][i].tolist() == want + [-1] * (4 - len(want))


def test_first_of_each_kind():
    assert first_of(torch.tensor([5, 2, 5, 2, 9])).tolist() == [0, 1, 0, 1, 4]
