"""Selection by searches and in pools, against the greedy that visits every row."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from sklearn_provenance import information as info

from .reference import problems


def exact_search(phi):
    def search(directions, m):
        products = directions @ phi.T
        order = products.abs().argsort(stable=True, dim=1, descending=True)[:, :m]
        return order.numpy(), products.gather(1, order).numpy()

    return search


def random_problem(seed=0, n_train=40, n_features=6, n_queries=5):
    rng = np.random.default_rng(seed)
    phi = torch.from_numpy(rng.normal(size=(n_train, n_features)))
    return phi, torch.from_numpy(rng.normal(size=(n_queries, n_features)))


@pytest.mark.parametrize("noise", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("k", [1, 12, 45])
def test_searches_pick_what_linear_response_picks(noise, k):
    phi, queries = random_problem()
    want = info.greedy_features(phi, queries, noise, k, "linear_response")
    for stored in (phi, phi.numpy()):
        got = info.linear_response_by_search(exact_search(phi), stored, queries, noise, k)
        assert torch.equal(got[0], want[0])
        np.testing.assert_allclose(got[1], want[1], rtol=1e-9, atol=1e-15)


def test_own_rows_are_not_picked():
    phi, _ = random_problem()
    own = torch.tensor([7, 0, 39])
    got = info.linear_response_by_search(exact_search(phi), phi, phi[own], 1.0, 40, own)
    want = info.greedy_features(phi, phi[own], 1.0, 40, "linear_response", own=own)
    assert torch.equal(got[0], want[0])
    assert (got[0] == own[:, None]).sum() == 0


@given(problems(max_train=6, log_noise=(-3.0, 5.0)))
@settings(max_examples=40)
def test_searched_scores_are_the_information_of_the_picks(problem):
    """Also for duplicates, zero rows and near-collinear rows."""
    phi, queries, noise = problem.feature_arguments
    k = len(phi)
    picks, nats = info.linear_response_by_search(exact_search(phi), phi, queries, noise, k)
    for t in range(1, k + 1):
        want = info.joint_information_gain_features(phi, queries, noise, picks[:, :t])
        tolerance = problem.feature_error
        np.testing.assert_allclose(nats[:, :t].sum(1), want, rtol=tolerance, atol=tolerance)
    for row in picks.tolist():
        assert sorted(row) == list(range(k))


@pytest.mark.parametrize("n_features", [6, 60])
@pytest.mark.parametrize("rule", ["info_gain", "linear_response"])
def test_a_pool_of_all_rows_is_no_restriction(rule, n_features):
    phi, queries = random_problem(n_features=n_features)
    pools = torch.arange(40).expand(5, 40).flip(1)
    got = info.select_in_pools(phi.numpy(), queries, 0.5, 10, pools, rule)
    want = info.greedy_features(phi, queries, 0.5, 10, rule)
    assert torch.equal(got[0], want[0])
    np.testing.assert_allclose(got[1], want[1], rtol=1e-9)


def test_pools_are_candidates_of_one_query_each():
    phi, queries = random_problem()
    rng = np.random.default_rng(1)
    allowed = torch.from_numpy(rng.random((5, 40)) < 0.2)
    size = int(allowed.sum(1).max())
    pools = torch.full((5, size), -1)
    for i, row in enumerate(allowed):
        pools[i, : row.sum()] = row.nonzero()[:, 0]
    got = info.select_in_pools(phi, queries, 0.5, 9, pools)
    want = info.greedy_features(phi, queries, 0.5, 9, candidates=allowed)
    assert torch.equal(got[0], want[0])
    np.testing.assert_allclose(got[1], want[1], rtol=1e-9)


def test_pools_without_rows_name_none():
    phi, queries = random_problem()
    pools = torch.tensor([[3, -1], [-1, -1], [-1, 7], [2, 9], [-1, -1]])
    picks, nats = info.select_in_pools(phi, queries, 0.5, 3, pools)
    assert ((picks >= 0).sum(1) == (pools >= 0).sum(1)).all()
    assert torch.equal(nats.isnan(), picks < 0)


def test_arguments_are_checked():
    phi, queries = random_problem()
    with pytest.raises(ValueError, match="conditions on all rows"):
        info.select_in_pools(phi, queries, 1.0, 2, torch.zeros(5, 1, dtype=int), "info_loss")
    with pytest.raises(ValueError, match="query_features must have shape"):
        info.linear_response_by_search(exact_search(phi), phi, queries[:, :3], 1.0, 2)
    with pytest.raises(ValueError, match="k must be"):
        info.linear_response_by_search(exact_search(phi), phi, queries, 1.0, 0)


@pytest.mark.parametrize("n_features", [3, 60])  # fewer than the rows of a pool, and more
@pytest.mark.parametrize("rule", ["info_gain", "linear_response"])
def test_ties_in_a_pool_go_to_the_lowest_row(rule, n_features):
    phi, queries = random_problem(n_train=12, n_features=n_features)
    phi = phi.repeat_interleave(2, 0)  # rows 2 i and 2 i + 1 are copies
    orders = [torch.randperm(24, generator=torch.Generator().manual_seed(i)) for i in range(5)]
    picks, _ = info.select_in_pools(phi, queries, 0.5, 3, torch.stack(orders), rule)
    want, _ = info.greedy_features(phi, queries, 0.5, 3, rule)
    assert torch.equal(picks, want)
    assert (picks[:, 0] % 2 == 0).all()
