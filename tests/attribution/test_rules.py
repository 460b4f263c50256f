"""Rules on points, without an estimator: what every rule keeps to, and what it refuses."""

import numpy as np
import pytest
import torch

from sklearn_provenance.attribution.rules._gain import GainRule
from sklearn_provenance.attribution.rules._loss import LossRule
from sklearn_provenance.attribution.rules._products import CosineRule, DotRule
from sklearn_provenance.tangent._points import ExplicitPoints

RULES = {
    "dot": DotRule(),
    "cosine": CosineRule(),
    "gain": GainRule(0.5, 2**30),
    "loss": LossRule(0.5, 2**30),
}


def points(n, seed, width=4):
    phi = np.random.default_rng(seed).normal(size=(n, width))
    return ExplicitPoints(phi, torch.zeros(n, dtype=torch.int64))


@pytest.mark.parametrize("name", RULES)
def test_scores_of_some_rows_are_those_among_all(name):
    rule = RULES[name].fit(points(9, 0))
    queries, rows = points(3, 1), torch.tensor([7, 2, 4])
    every = rule.scores(queries)
    torch.testing.assert_close(rule.scores(queries, rows), every[:, rows])
    assert every.shape == (3, 9)


@pytest.mark.parametrize("name", ["dot", "cosine"])
def test_picks_among_some_rows_are_the_best_of_these(name):
    rule = RULES[name].fit(points(9, 0))
    queries, rows = points(3, 1), torch.tensor([2, 4, 7])
    picks, scores, _ = rule.pick(queries, 4, rows)
    best = rule.scores(queries)[:, rows].sort(1, descending=True)
    torch.testing.assert_close(picks[:, :3], rows[best.indices])
    torch.testing.assert_close(scores[:, :3], best.values)
    assert (picks[:, 3] == -1).all()
    assert scores[:, 3].isnan().all()
