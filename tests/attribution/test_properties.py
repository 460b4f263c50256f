"""Properties of every rule over random problems, on a network whose features are its inputs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from .conftest import RULES, information, make


@st.composite
def problems(draw):
    """Rows in two classes, some equal, some zero; a query; σ² over eight decades."""
    n, d = draw(st.integers(4, 9)), draw(st.integers(1, 4))
    entries = st.lists(st.integers(-6, 6), min_size=d, max_size=d)
    X = np.array(draw(st.lists(entries, min_size=n, max_size=n)), dtype=float)
    X[0, 0] = 1.0  # features that are all zero are refused
    y = np.array([0, 1, *draw(st.lists(st.integers(0, 1), min_size=n - 2, max_size=n - 2))])
    query = np.array(draw(entries.filter(any)), dtype=float)
    return X, y, query, 10.0 ** draw(st.floats(-3, 5))


def linear(n_features):
    return torch.nn.Linear(n_features, 2, bias=False, dtype=torch.float64)


@pytest.mark.parametrize("rule", RULES)
@given(problems(), st.sampled_from(["same_class", "all"]))
def test_scores_of_a_query_add_up_to_the_information_of_its_subset(rule, problem, candidates):
    X, y, query, noise = problem
    attributor = make(rule, linear(X.shape[1]), noise_variance=noise, candidates=candidates)
    k = len(X) if candidates == "all" else (y == 0).sum()
    indices, scores = attributor.fit(X, y).explain(query[None], [0], k=k)
    assert len(set(indices[0])) == k
    assert (scores >= 0).all()
    # The definition subtracts nearly equal numbers: its own error bounds what can be asked.
    error = 1e-10 * (1 + (X**2).sum() / noise)
    total = information(rule, X, indices[0], query, noise)
    np.testing.assert_allclose(scores.sum(), total, rtol=1e-8, atol=error)


@pytest.mark.parametrize("rule", RULES)
@given(problems())
def test_attribution_is_blind_to_the_sign_and_scale_of_features(rule, problem):
    """Only σ² relative to the kernel matters, and certainty does not know signs."""
    X, y, query, noise = problem
    network = linear(X.shape[1])
    before = make(rule, network, noise_variance=noise).fit(X, y).attribute(query[None], [1])
    scaled = make(rule, network, noise_variance=16 * noise).fit(4 * X, y)
    np.testing.assert_allclose(scaled.attribute(-4 * query[None], [1]), before, rtol=1e-9)


@given(problems())
def test_gain_and_loss_agree_when_noise_is_high(problem):
    """Lemma 1: both are ||k_S*||² / (2 k_** σ²) up to O(σ^-4)."""
    X, y, query, _ = problem
    noise = 1e7 * (X**2).sum()
    limit = (X @ query) ** 2 / (2 * query @ query * noise)
    for rule in ("info_gain", "info_loss"):
        attributor = make(rule, linear(X.shape[1]), noise_variance=noise, candidates="all")
        scores = attributor.fit(X, y).attribute(query[None], [0])[0]
        np.testing.assert_allclose(scores, limit, rtol=1e-6, atol=1e-13)
