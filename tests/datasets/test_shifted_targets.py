"""Wrong targets."""

import numpy as np
import pytest

from sklearn_provenance.datasets import shift_targets


def test_a_share_of_targets_moves_by_deviations_in_both_directions():
    target = np.random.default_rng(0).gamma(2.0, 30.0, 400)
    before = target.copy()
    targets, shifted = shift_targets(target, 0.1, random_state=3, n_deviations=2.5)
    np.testing.assert_array_equal(target, before)
    assert shifted.sum() == 40
    np.testing.assert_array_equal(targets[~shifted], target[~shifted])
    moves = (targets - target)[shifted] / target.std()
    np.testing.assert_allclose(np.abs(moves), 2.5)
    assert 5 < (moves > 0).sum() < 35
    again, _ = shift_targets(target[:, None], 0.1, random_state=3, n_deviations=2.5)
    np.testing.assert_array_equal(again, targets)
    other, _ = shift_targets(target, 0.1, random_state=4)
    assert (other != targets).any()


@pytest.mark.parametrize(("share", "count"), [(0, 0), (0.25, 3), (1, 10)])
def test_shares_are_rounded_half_up(share, count):
    targets, shifted = shift_targets([*range(10)], share, random_state=0)
    assert shifted.sum() == count
    assert targets.dtype == np.float64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 1.1}, "share"),
        ({"share": -0.1}, "share"),
        ({"n_deviations": 0}, "n_deviations"),
        ({"target": [1.0, 1.0]}, "different numbers, got 1 in every row"),
        ({"target": [1.0, np.nan]}, "missing"),
        ({"target": [1.0, np.inf]}, "finite"),
        ({"target": ["a", "b"]}, "numbers"),
        ({"target": np.ones((3, 2))}, "target"),
        ({"target": np.ma.array([1.0, 2.0], mask=[0, 1])}, "masked"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        shift_targets(**{"target": [1.0, 2.0, 3.0], "share": 0.5} | change)
