"""Greedy selection: the picks of brute force by definition, and scores that add up."""

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sklearn_provenance import information as info
from sklearn_provenance.information import _selection, _systems
from sklearn_provenance.information._candidates import find_copies
from sklearn_provenance.information._mean_selection import pick_mean
from sklearn_provenance.information._mean_system import MeanSystem

from . import reference
from .reference import as_float, problems
from .test_variance import close

RULES = ["info_gain", "info_loss", "linear_response"]
EXAMPLES = settings(max_examples=25)
INFORMATION = {
    "info_gain": reference.information_gain,
    "linear_response": reference.information_gain,
    "info_loss": reference.information_loss,
}


def assert_greedy(problem, picks, queries, rule, tolerance):
    """Each pick is the best next row by definition, up to rounding; ties go to the lowest.

    Ties can only be told from rounding where rounding is below the tie tolerance of the greedy.
    """
    phi, _, noise = problem.exact
    kinds = reference.objective(phi, [], queries, noise, "info_gain")
    if rule == "linear_response":
        kinds *= (phi**2).sum(1).max()
    chosen = []
    for pick in picks:
        gains = reference.round_gains(phi, chosen, queries, noise, rule)
        left = {row: gain for row, gain in enumerate(gains) if gain is not None}
        best = max(left.values())
        # c is known to ε times its scale and squared: sqrt(gain) carries the error.
        slack = tolerance * (mpmath.sqrt(best * kinds) + tolerance * kinds)
        slack += best * _selection.TIE
        assert left[pick] >= best - slack, (picks, pick, left)
        near = [row for row, gain in left.items() if gain >= best - slack]
        exact = [row for row, gain in left.items() if gain >= best * (1 - mpmath.mpf(10) ** -30)]
        if near == exact and tolerance < 1e-11 and best > kinds * mpmath.mpf(10) ** -12:
            assert pick == min(exact), (picks, pick, left)
        chosen.append(pick)


NEARLY_TIED = reference.Problem(
    np.array([[-0.5, 0.0, 0.5], [-0.49999952, 0.0, 0.5]]), np.array([[0.0, 0.0, 0.5]]), 1e4
)


@pytest.mark.parametrize("rule", RULES)
@EXAMPLES
@given(problems(max_train=5))
@example(NEARLY_TIED)
def test_kernel_greedy_is_brute_force_greedy(rule, problem):
    k = len(problem.features)
    picks, nats = info.greedy(*problem.kernel_arguments, k, rule)
    check(problem, picks, nats, rule, problem.kernel_error)


@pytest.mark.parametrize("rule", RULES)
@EXAMPLES
@given(problems(max_train=5))
def test_feature_greedy_is_brute_force_greedy(rule, problem):
    k = len(problem.features)
    picks, nats = info.greedy_features(*problem.feature_arguments, k, rule)
    accurate = problem.kernel_error if rule == "info_loss" else problem.feature_error
    check(problem, picks, nats, rule, accurate)


def check(problem, picks, nats, rule, tolerance):
    phi, queries, noise = problem.exact
    assert picks.dtype == torch.int64
    assert nats.dtype == torch.float64
    for query, row, scores in zip(queries, picks.tolist(), nats, strict=True):
        assert sorted(row) == list(range(len(phi)))
        assert_greedy(problem, row, query[None], rule, problem.kernel_error)
        joint = [INFORMATION[rule](phi, row[:t], query, noise) for t in range(len(row) + 1)]
        want = np.diff(as_float(joint))
        assert (scores >= 0).all()
        close(scores, want, tolerance, 1 + want)
        close(scores.sum(), joint[-1], tolerance, 1 + as_float(joint[-1]))


@pytest.mark.parametrize("rule", RULES)
def test_picks_equal_those_of_brute_force(rule):
    """Random features have no ties: the picks themselves, of 4 queries, at three noises."""
    rng = np.random.default_rng(0)
    features, queries = rng.normal(size=(14, 5)), rng.normal(size=(4, 5))
    for noise in (1e-3, 1.0, 1e4):
        problem = reference.Problem(features, queries, noise)
        got, _ = info.greedy(*problem.kernel_arguments, 6, rule)
        same, _ = info.greedy_features(*problem.feature_arguments, 6, rule)
        assert torch.equal(got, same)
        for query, picks in zip(queries, got.tolist(), strict=True):
            chosen = []
            for _ in range(6):
                gains = reference.round_gains(features, chosen, query[None], noise, rule)
                chosen.append(int(np.argmax([-1.0 if g is None else g for g in gains])))
            assert picks == chosen


@pytest.mark.parametrize("greedy", [info.greedy, info.greedy_features])
@pytest.mark.parametrize("rule", RULES)
def test_ties_go_to_the_lowest_index(greedy, rule):
    """Every row three times over, in an order that mixes the copies."""
    rng = np.random.default_rng(1)
    copies = rng.permutation(np.repeat(np.arange(7), 3))
    features = rng.normal(size=(7, 3))[copies]
    problem = reference.Problem(features, rng.normal(size=(5, 3)), 0.5)
    kernels = greedy is info.greedy
    arguments = problem.kernel_arguments if kernels else problem.feature_arguments
    picks, _ = greedy(*arguments, 12, rule)
    for row in picks.tolist():
        for copy in range(7):
            of_one = [pick for pick in row if copies[pick] == copy]
            assert of_one == [r for r in range(21) if copies[r] == copy][: len(of_one)]


@pytest.mark.parametrize("greedy", [info.greedy, info.greedy_features])
@pytest.mark.parametrize("rule", RULES)
def test_permuting_rows_permutes_the_answer(greedy, rule):
    rng = np.random.default_rng(2)
    features, queries = rng.normal(size=(20, 6)), rng.normal(size=(3, 6))
    order = rng.permutation(20)
    answers = []
    for rows in (features, features[order]):
        problem = reference.Problem(rows, queries, 0.7)
        kernels = greedy is info.greedy
        arguments = problem.kernel_arguments if kernels else problem.feature_arguments
        answers.append(greedy(*arguments, 8, rule))
    (picks, nats), (permuted, permuted_nats) = answers
    assert torch.equal(picks, torch.from_numpy(order)[permuted])
    close(permuted_nats, nats, 1e-9)


@pytest.mark.parametrize("greedy", [info.greedy, info.greedy_features])
@pytest.mark.parametrize("rule", RULES)
def test_candidates_restrict_picks_and_not_what_is_conditioned_on(greedy, rule):
    rng = np.random.default_rng(3)
    features, queries = rng.normal(size=(12, 4)), rng.normal(size=(2, 4))
    problem = reference.Problem(features, queries, 0.4)
    kernels = greedy is info.greedy
    arguments = problem.kernel_arguments if kernels else problem.feature_arguments
    shared = torch.zeros(12, dtype=torch.bool)
    shared[[1, 5, 6, 9]] = True
    picks, nats = greedy(*arguments, 6, rule, candidates=shared)
    assert picks[:, 4:].eq(-1).all()
    assert nats[:, 4:].isnan().all()
    for query, row, scores in zip(queries, picks[:, :4].tolist(), nats, strict=True):
        assert sorted(row) == [1, 5, 6, 9]
        chosen = []
        for pick, score in zip(row, scores, strict=False):
            gains = reference.round_gains(features, chosen, query[None], 0.4, rule)
            assert pick == max(set(row) - set(chosen), key=gains.__getitem__)
            before = INFORMATION[rule](features, chosen, query, 0.4)
            chosen.append(pick)
            gained = INFORMATION[rule](features, chosen, query, 0.4) - before
            assert score.item() == pytest.approx(gained, rel=1e-8)
    # A mask per query: as if each query had been asked alone, the shorter one padded.
    each = torch.stack([shared, ~shared])
    both = greedy(*arguments, 6, rule, candidates=each)
    assert torch.equal(both[0][0], picks[0])
    alone = greedy(*arguments, 6, rule, candidates=~shared)
    assert torch.equal(both[0][1], alone[0][1])
    torch.testing.assert_close(both[1][0], nats[0], equal_nan=True, rtol=1e-9, atol=0)
    torch.testing.assert_close(both[1][1], alone[1][1], rtol=1e-9, atol=0)


@pytest.mark.parametrize("rule", [*RULES, "mean"])
def test_a_query_that_has_run_out_of_rows_names_none_again(rule):
    """However many rounds other queries have left."""
    features = torch.as_tensor(np.random.default_rng(0).normal(size=(30, 3)))
    candidates = torch.ones(2, 30, dtype=torch.bool)
    candidates[0, 3:] = False
    if rule == "mean":
        system = MeanSystem.from_features(features, features[:, 0], 0.01)
        picks, values, _ = pick_mean([system], [features[:2]], 30, candidates=candidates)
    else:
        picks, values = info.greedy_features(features, features[:2], 0.01, 30, rule, candidates)
    assert picks[0, :3].sort().values.tolist() == [0, 1, 2]
    assert picks[0, 3:].eq(-1).all()
    assert values[0, 3:].isnan().all()
    assert picks[1].sort().values.tolist() == list(range(30))


def test_no_candidates_at_all():
    picks, nats = info.greedy(
        torch.eye(3), torch.ones(2, 3), torch.ones(2) * 4, 1.0, 2, candidates=torch.zeros(3) > 1
    )
    assert picks.tolist() == [[-1, -1], [-1, -1]]
    assert nats.isnan().all()


def test_rows_that_tell_nothing_are_picked_at_zero_nats():
    phi = torch.tensor([[0.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
    query = torch.tensor([[1.0, 0.0]])
    picks, nats = info.greedy_features(phi, query, 1.0, 3)
    assert picks.tolist() == [[2, 0, 1]]
    assert nats[0, 1:].tolist() == [0.0, 0.0]


def test_after_one_row_another_can_become_worth_more():
    """The counterexample to submodularity, as the greedy sees it."""
    phi, query = torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    picks, nats = info.greedy(phi @ phi.T, query @ phi.T, torch.ones(1), 0.1, 2)
    assert picks.tolist() == [[0, 1]]
    assert nats[0, 1].item() == pytest.approx(0.592, abs=5e-4)
    assert nats[0, 1] > nats[0, 0]


@pytest.mark.parametrize("rule", ["info_gain", "info_loss"])
def test_small_noise_of_many_collinear_rows(rule):
    """k = 1e3, σ² = 1e-6, 30 rows in 8 dimensions: picks stay optimal and scores positive."""
    rng = np.random.default_rng(4)
    features = rng.integers(-16, 16, (30, 8)).astype(float)
    features[10:] = features[:20]
    problem = reference.Problem(features, features[:1] + features[5:6], 1e-6)
    picks, nats = info.greedy(*problem.kernel_arguments, 6, rule)
    phi, queries, noise = problem.exact
    assert (nats >= 0).all()
    assert_greedy(problem, picks[0].tolist(), queries, rule, 1e-5)
    joint = as_float(INFORMATION[rule](phi, picks[0].tolist(), queries[0], noise))
    close(nats.sum(), joint, 1e-5)
    picks, nats = info.greedy_features(*problem.feature_arguments, 6, rule)
    joint = as_float(INFORMATION[rule](phi, picks[0].tolist(), queries[0], noise))
    close(nats.sum(), joint, 1e-9 if rule == "info_gain" else 1e-5)


@pytest.mark.parametrize("n_features", [3, 8])
def test_losses_from_features_at_small_noise(n_features):
    """σ² = 1e-6 beside k of 1e4, fewer rows than features and more: never worse than kernels."""
    rng = np.random.default_rng(7)
    features = rng.integers(-64, 64, (6, n_features)).astype(float)
    problem = reference.Problem(features, rng.integers(-9, 9, (2, n_features)) * 1.0, 1e-6)
    phi, queries, noise = problem.exact
    nats = info.pointwise_information_loss_features(*problem.feature_arguments)
    want = [[reference.information_loss(phi, [x], q, noise) for x in range(6)] for q in queries]
    close(nats, want, 1e-12 if n_features == 8 else 1e-6, as_float(want) + 1e-12)
    picks, nats = info.greedy_features(*problem.feature_arguments, 4, "info_loss")
    for query, row, scores in zip(queries, picks.tolist(), nats, strict=True):
        joint = as_float(reference.information_loss(phi, row, query, noise))
        close(scores.sum(), joint, 1e-8 if n_features == 8 else 1e-5)


def test_conditioned_diagonals_stay_above_their_bounds():
    """σ² is ε k and every row comes twenty times: σ² + v would fall below σ² by rounding."""
    rng = np.random.default_rng(6)
    features = torch.from_numpy(rng.normal(size=(3, 3)).repeat(20, 0))
    kernel = features @ features.T
    noise = reference.EPS * kernel.diagonal().max().item()
    diagonal = kernel.diagonal() + noise
    conditioning = _selection.KernelConditioning(
        kernel, diagonal, torch.full_like(diagonal, noise), 1, 60
    )
    for row in torch.randperm(60, generator=torch.Generator().manual_seed(0)):
        scaled, root = conditioning.condition(row[None])
        assert (conditioning.diagonal >= noise).all()
        assert scaled.isfinite().all()
        assert root >= noise**0.5


@pytest.mark.parametrize("rule", RULES)
def test_blocks_do_not_change_the_answer(rule, monkeypatch):
    rng = np.random.default_rng(5)
    problem = reference.Problem(rng.normal(size=(30, 6)), rng.normal(size=(7, 6)), 0.3)
    whole = info.greedy(*problem.kernel_arguments, 5, rule)
    monkeypatch.setattr(_selection, "CACHE_BYTES", 2 * 5 * 30 * 8)
    blocked = info.greedy(*problem.kernel_arguments, 5, rule)
    assert torch.equal(whole[0], blocked[0])
    close(blocked[1], whole[1], 1e-10)


@given(problems(), st.sampled_from(["add", "remove"]), st.data())
@settings(max_examples=40)
def test_conditioning_follows_the_definition(problem, direction, data):
    """Diagonals σ² + v or σ² - v after some rows, and the column of the next."""
    order = data.draw(st.permutations(range(len(problem.features))))[:3]
    phi, _, noise = problem.exact
    features, k = torch.from_numpy(problem.features), len(order)
    small = problem.noise_variance
    sign = 1 if direction == "add" else -1
    points = features
    if sign < 0:
        points = info.posterior_features(features, features, small)
    norms = points.square().sum(1)
    floor = torch.full_like(norms, small) if sign > 0 else small * (small / (small + norms))
    diagonal = (small + sign * norms).clamp(min=1e-300)
    conditioning = _selection.FeatureConditioning(points, sign, diagonal, floor * 0, 1, k)
    kernel = _selection.KernelConditioning(sign * points @ points.T, diagonal, floor * 0, 1, k)
    # Rounding is relative to the largest diagonal, and removals amplify it by its inverse.
    tolerance = 10 * problem.kernel_error
    for done, row in enumerate(order):
        conditioning.condition(torch.tensor([row]))
        kernel.condition(torch.tensor([row]))
        past = order[: done + 1]
        used = past if sign > 0 else [r for r in range(len(phi)) if r not in past]
        others = [r for r in range(len(phi)) if r not in past]
        v = np.array([reference.variance(phi[used], phi[r], noise) for r in others])
        want = as_float(noise + sign * v) if others else []
        close(conditioning.diagonal[0, others], want, tolerance)
        close(kernel.diagonal[0, others], want, tolerance)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n_features", [5, 40])
def test_picks_from_the_matrix_and_from_features_are_the_same(rule, n_features, monkeypatch):
    """Many picks form the matrix among the candidates; forbidding it must change nothing."""
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(60, n_features)))
    queries = torch.from_numpy(rng.normal(size=(8, n_features)))
    candidates, own = torch.from_numpy(rng.random(60) < 0.5), torch.arange(8)
    for chosen in (None, own):
        points = queries if chosen is None else features[own]
        arguments = features, points, 0.3, 12, rule, candidates, chosen
        matrix = info.greedy_features(*arguments)
        with monkeypatch.context() as patch:
            patch.setattr(_systems, "MATRIX_ROWS", 0)
            direct = info.greedy_features(*arguments)
        assert torch.equal(matrix[0], direct[0])
        close(matrix[1], direct[1], 1e-9)


@pytest.mark.parametrize("rule", ["info_gain", "linear_response"])
def test_columns_that_are_computed_when_asked_for(rule):
    """Also where few rows are candidates, of which each query may pick some."""
    rng = np.random.default_rng(4)
    phi = torch.from_numpy(rng.normal(size=(20, 6)))
    queries = torch.from_numpy(rng.normal(size=(3, 6)))
    kernel, known = phi @ phi.mT, (queries @ phi.mT, queries.square().sum(1))
    system = _systems.ColumnSystem(lambda rows: kernel[rows], kernel.diagonal(), 0.3, rule)
    candidates = torch.from_numpy(rng.random((3, 20)) < 0.4)
    candidates[:, :5] = False
    for allowed in (None, candidates[0], candidates):
        got = system.pick(known, 4, allowed)
        want = _systems.KernelSystem(kernel, 0.3, rule).pick(known, 4, allowed)
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10)


@pytest.mark.parametrize("rule", ["info_gain", "linear_response"])
def test_copies_are_found_in_columns(rule):
    """As in kernels: of copies the lowest row is picked."""
    rng = np.random.default_rng(4)
    phi = torch.from_numpy(rng.normal(size=(8, 6)))[[0, 1, 2, 1, 3, 0, 4, 5]]
    phi[7] = phi[6]
    phi[7, 0] += 1e-3  # nearly a copy
    kernel = phi @ phi.mT
    columns = _systems.ColumnSystem(lambda rows: kernel[rows], kernel.diagonal(), 0.3, rule)
    assert columns.copies.tolist() == [0, 1, 2, 1, 4, 0, 6, 7]
    assert _systems.KernelSystem(kernel, 0.3, rule).copies.tolist() == columns.copies.tolist()


def test_rows_that_a_probe_does_not_part_need_not_be_copies():
    probe = torch.tensor([1.0, 2.0, 1.0, 2.0, 1.0])
    nothing = lambda row, others: torch.zeros(len(others), dtype=torch.bool)  # noqa: E731
    assert find_copies(probe, nothing) is None
    kinds = torch.tensor([0, 1, 2, 1, 0])
    same = lambda row, others: kinds[others] == kinds[row]  # noqa: E731
    assert find_copies(probe, same).tolist() == [0, 1, 2, 1, 0]
