"""One subset for many queries: the greedy for the trace, by definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from sklearn_provenance import information as info

from . import reference
from .reference import as_float, problems
from .test_greedy import RULES, assert_greedy
from .test_variance import close


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=20)
@given(problems(max_train=5, max_queries=3))
def test_picks_are_the_greedy_for_the_trace(rule, problem):
    phi, queries, noise = problem.exact
    k = len(phi)
    kernel = info.greedy_coreset(*problem.kernel_arguments, k, rule)
    features = info.greedy_coreset_features(*problem.feature_arguments, k, rule)
    total = float((problem.queries**2).sum())
    for picks, changes in (kernel, features):
        assert_greedy(problem, picks.tolist(), queries, rule, problem.kernel_error)
        by_definition = "info_loss" if rule == "info_loss" else "info_gain"
        traces = [
            reference.objective(phi, picks[:t].tolist(), queries, noise, by_definition)
            for t in range(k + 1)
        ]
        close(changes, abs(np.diff(as_float(traces))), problem.kernel_error, total)


@pytest.mark.parametrize("rule", RULES)
def test_one_query_is_the_single_query_greedy(rule):
    rng = np.random.default_rng(0)
    problem = reference.Problem(rng.normal(size=(15, 4)), rng.normal(size=(1, 4)), 0.3)
    single, nats = info.greedy(*problem.kernel_arguments, 6, rule)
    picks, changes = info.greedy_coreset(*problem.kernel_arguments, 6, rule)
    assert torch.equal(picks, single[0])
    start = reference.objective(problem.features, [], problem.queries, 0.3, rule)
    sign = 1 if rule == "info_loss" else -1
    left = start + sign * changes.cumsum(0)
    close(sign * 0.5 * torch.log(left / start), nats[0].cumsum(0), 1e-9)


def test_normalising_queries_is_scaling_them():
    rng = np.random.default_rng(1)
    features, queries = rng.normal(size=(12, 4)), rng.normal(size=(5, 4))
    queries[0] *= 100
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    raw = reference.Problem(features, queries, 0.5)
    scaled = reference.Problem(features, unit, 0.5)
    want = info.greedy_coreset(*scaled.kernel_arguments, 5)
    for got in (
        info.greedy_coreset(*raw.kernel_arguments, 5, normalize=True),
        info.greedy_coreset_features(*raw.feature_arguments, 5, normalize=True),
    ):
        assert torch.equal(got[0], want[0])
        close(got[1], want[1], 1e-10)
    assert not torch.equal(info.greedy_coreset(*raw.kernel_arguments, 5)[0], want[0])


@pytest.mark.parametrize("rule", RULES)
def test_quotas_cap_every_class(rule):
    rng = np.random.default_rng(2)
    problem = reference.Problem(rng.normal(size=(30, 5)), rng.normal(size=(4, 5)), 0.5)
    labels = torch.from_numpy(rng.integers(0, 3, 30))
    quotas = torch.tensor([4, 0, 2])
    picks, changes = info.greedy_coreset(
        *problem.kernel_arguments, 8, rule, labels=labels, quotas=quotas
    )
    assert labels[picks[:6]].bincount(minlength=3).tolist() == quotas.tolist()
    assert picks[6:].tolist() == [-1, -1]
    assert changes[6:].isnan().all()
    # Quotas that do not bind change nothing.
    free = info.greedy_coreset(*problem.kernel_arguments, 8, rule)[0]
    loose = torch.tensor([8, 8, 8])
    capped = info.greedy_coreset(*problem.kernel_arguments, 8, rule, labels=labels, quotas=loose)[0]
    assert torch.equal(free, capped)
    # Until a quota binds, the picks are those of the free greedy over classes with a quota.
    allowed = labels != 1
    masked = info.greedy_coreset(*problem.kernel_arguments, 3, rule, candidates=allowed)[0]
    assert masked[:2].tolist() == picks[:2].tolist()


def test_unit_norm_queries_track_the_log_det():
    """The rule is an approximation of the log-det greedy; measured 0.98 of its value on average."""
    rng = np.random.default_rng(3)
    shares = []
    for _ in range(20):
        features, queries = rng.normal(size=(12, 5)), rng.normal(size=(3, 5))
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)

        def value(rows, features=features, queries=queries):
            posterior = reference.covariance(features[rows], queries, queries, 0.5)
            prior = np.linalg.slogdet(queries @ queries.T)[1]
            return prior - np.linalg.slogdet(posterior)[1]

        chosen = []
        for _ in range(4):
            left = [row for row in range(12) if row not in chosen]
            chosen.append(max(left, key=lambda row: value([*chosen, row])))
        problem = reference.Problem(features, queries, 0.5)
        picks = info.greedy_coreset(*problem.kernel_arguments, 4)[0].tolist()
        shares.append(value(picks) / value(chosen))
    assert np.mean(shares) > 0.9
    assert min(shares) < 1  # an approximation, not the log-det greedy itself


def test_quotas_are_checked():
    problem = reference.Problem(np.eye(3), np.ones((1, 3)), 1.0)
    with pytest.raises(ValueError, match="labels"):
        info.greedy_coreset(*problem.kernel_arguments, 2, quotas=torch.tensor([1, 1]))
    with pytest.raises(ValueError, match=r"0\.\.1"):
        info.greedy_coreset(
            *problem.kernel_arguments, 2, labels=[0, 1, 2], quotas=torch.tensor([1, 1])
        )
    with pytest.raises(ValueError, match="shape"):
        info.greedy_coreset(*problem.kernel_arguments, 2, labels=[0, 1], quotas=[1, 1])
    with pytest.raises(ValueError, match="non-negative"):
        info.greedy_coreset(*problem.kernel_arguments, 2, labels=[0, 1, 1], quotas=[1, -1])
