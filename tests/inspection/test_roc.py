"""Areas under ROC curves against their definition by pairs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sklearn_provenance.inspection._roc import auc_and_covariance


def scores(n_scores, least):
    values = st.lists(st.integers(-2, 2), min_size=n_scores, max_size=n_scores)
    return st.lists(values, min_size=least, max_size=7).map(lambda rows: np.array(rows, float).T)


@given(scores(3, 2), scores(3, 2))
def test_areas_and_covariance_are_those_of_pairs(positive, negative):
    auc, covariance = auc_and_covariance(positive, negative)
    # psi is 1, 1/2 or 0: does the positive row of the pair have the larger score?
    wins = (np.sign(positive[:, :, None] - negative[:, None, :]) + 1) / 2
    np.testing.assert_allclose(auc, wins.mean((1, 2)))
    expected = np.zeros((3, 3))
    for values in (wins.mean(2), wins.mean(1)):  # DeLong's components of both kinds of rows
        n = values.shape[1]
        for r in range(3):
            for s in range(3):
                deviations = (values[r] - auc[r]) * (values[s] - auc[s])
                expected[r, s] += deviations.sum() / (n - 1) / n
    np.testing.assert_allclose(covariance, expected, atol=1e-12)


def test_standard_errors_are_those_of_new_draws():
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(size=(2, 2000, 40)) + [[[0.8]], [[0]]]
    areas, variances = zip(
        *(auc_and_covariance(p[None], n[None]) for p, n in zip(positive, negative, strict=True)),
        strict=True,
    )
    assert 0.9 < np.mean(variances) / np.var(areas) < 1.1
