"""Influence against refits of ridge regression without the rows."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from sklearn_provenance import information as info
from sklearn_provenance.information import _one_direction

EXAMPLES = settings(max_examples=40)


class Ridge:
    """Weighted ridge regression, fitted by its normal equations."""

    def __init__(self, features, queries, targets, ridge, weights):
        self.features, self.queries, self.targets = features, queries, targets
        self.ridge, self.weights = ridge, weights
        self.residuals = targets - features @ self.theta([])

    def theta(self, removed):
        stay = np.setdiff1d(np.arange(len(self.targets)), removed)
        phi, weights = self.features[stay], self.weights[stay]
        hessian = (phi * weights[:, None]).T @ phi + self.ridge * np.eye(phi.shape[1])
        return np.linalg.solve(hessian, phi.T @ (weights * self.targets[stay]))

    def drop(self, query, removed):
        return float(self.queries[query] @ (self.theta([]) - self.theta(removed)))

    def arguments(self, space):
        phi, queries = torch.from_numpy(self.features), torch.from_numpy(self.queries)
        r = torch.from_numpy(self.residuals)
        if space == "features":
            return phi, queries, r, self.ridge
        return phi @ phi.T, queries @ phi.T, queries.square().sum(1), r, self.ridge

    def call(self, name, space, *rest, **options):
        function = getattr(info, name + ("_features" if space == "features" else ""))
        if not (self.weights == 1).all():
            options["weights"] = torch.from_numpy(self.weights)
        return function(*self.arguments(space), *rest, **options)


@st.composite
def ridges(draw, max_rows=9):
    """Problems of moderate condition, with more and with fewer rows than features."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_rows, n_features = draw(st.integers(2, max_rows)), draw(st.integers(1, 6))
    features = rng.normal(size=(n_rows, n_features))
    if draw(st.booleans()):
        features[0] = features[-1]
    weights = np.ones(n_rows)
    if draw(st.booleans()):
        weights = rng.uniform(0.05, 2, n_rows)
    queries = rng.normal(size=(draw(st.integers(1, 3)), n_features))
    ridge = 10.0 ** draw(st.floats(-2, 3))
    return Ridge(features, queries, rng.normal(size=n_rows), ridge, weights)


SPACES = pytest.mark.parametrize("space", ["features", "kernel"])


@SPACES
@given(ridges())
@EXAMPLES
def test_one_row_less_is_a_refit(space, ridge):
    drops = ridge.call("pointwise_influence", space)
    for query, scores in enumerate(drops):
        refitted = [ridge.drop(query, [row]) for row in range(len(scores))]
        np.testing.assert_allclose(scores, refitted, rtol=1e-10, atol=1e-10)


@SPACES
@given(ridges(), st.randoms(use_true_random=False))
@EXAMPLES
def test_rows_less_are_refits_on_the_way(space, ridge, random):
    n_rows = len(ridge.targets)
    sets = [random.sample(range(n_rows), n_rows - 1) for _ in ridge.queries]
    falls = ridge.call("joint_influence", space, torch.tensor(sets).reshape(len(sets), -1))
    for query, (rows, scores) in enumerate(zip(sets, falls, strict=True)):
        refitted = [ridge.drop(query, rows[:size]) for size in range(1, n_rows)]
        np.testing.assert_allclose(scores.cumsum(0), refitted, rtol=1e-10, atol=1e-10)


def test_padding_takes_nothing_away():
    rng = np.random.default_rng(0)
    ridge = Ridge(rng.normal(size=(5, 3)), rng.normal(size=(2, 3)), np.arange(5.0), 0.5, np.ones(5))
    falls = ridge.call("joint_influence", "features", torch.tensor([[3, -1, 1], [-1, -1, -1]]))
    assert falls[0, 1] == 0
    assert not falls[1].any()
    np.testing.assert_allclose(falls[0].sum(), ridge.drop(0, [1, 3]), rtol=1e-10)


@SPACES
@pytest.mark.parametrize("sign", [1, -1])
@given(ridges())
def test_greedy_takes_the_best_refit_of_each_round(space, sign, ridge):
    n_rows = len(ridge.targets)
    picks, falls = ridge.call("greedy_influence", space, n_rows - 1, sign=sign)
    for query, (rows, scores) in enumerate(zip(picks.tolist(), falls.tolist(), strict=True)):
        for done, row in enumerate(rows):
            before = ridge.drop(query, rows[:done])
            others = [i for i in range(n_rows) if i not in rows[:done]]
            gains = {i: ridge.drop(query, [*rows[:done], i]) - before for i in others}
            assert abs(scores[done] - gains[row]) < 1e-10 * (1 + abs(gains[row]))
            assert sign * gains[row] >= max(sign * g for g in gains.values()) - 1e-9


@SPACES
@given(ridges())
@EXAMPLES
def test_a_query_that_is_a_row_is_answered_without_it(space, ridge):
    ridge.queries = ridge.features[:1]
    n_rows = len(ridge.targets)
    own = torch.tensor([0])
    picks, falls = ridge.call("greedy_influence", space, n_rows - 1, own=own)
    rows = picks[0].tolist()
    assert 0 not in rows
    for size in range(1, n_rows - 1):
        fall = ridge.drop(0, [0, *rows[:size]]) - ridge.drop(0, [0])
        np.testing.assert_allclose(falls[0, :size].sum(), fall, rtol=1e-9, atol=1e-10)


@SPACES
def test_candidates_bound_the_picks(space):
    rng = np.random.default_rng(1)
    ridge = Ridge(
        rng.normal(size=(8, 3)), rng.normal(size=(2, 3)), rng.normal(size=8), 0.1, np.ones(8)
    )
    allowed = torch.zeros(2, 8, dtype=torch.bool)
    allowed[0, [1, 4]] = True
    allowed[1, [0, 2, 6]] = True
    picks, falls = ridge.call("greedy_influence", space, 3, candidates=allowed)
    assert set(picks[0].tolist()) == {1, 4, -1}
    assert set(picks[1].tolist()) == {0, 2, 6}
    assert torch.isnan(falls[0, 2])


@SPACES
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("rounding", [0, 1e-14])
def test_ties_go_to_the_first_row(space, sign, rounding):
    """Every row three times over, in an order that mixes the copies."""
    rng = np.random.default_rng(1)
    copies = rng.permutation(np.repeat(np.arange(7), 3))
    features, queries = rng.normal(size=(7, 3))[copies], rng.normal(size=(5, 3))
    ridge = Ridge(features, queries, rng.normal(size=7)[copies], 0.5, np.ones(21))
    ridge.residuals = rng.normal(size=7)[copies] * (1 + rounding * rng.normal(size=21))
    picks, _ = ridge.call("greedy_influence", space, 12, sign=sign)
    for row in picks.tolist():
        for copy in range(7):
            of_one = [pick for pick in row if copies[pick] == copy]
            assert of_one == np.flatnonzero(copies == copy)[: len(of_one)].tolist()


def test_two_copies_cover_for_each_other():
    features = np.array([[1.0, 0], [1, 0], [0, 1]])
    ridge = Ridge(features, np.array([[1.0, 0]]), np.ones(3), 1e-6, np.ones(3))
    alone = ridge.call("pointwise_influence", "features")[0]
    together = ridge.call("joint_influence", "features", torch.tensor([0, 1]))[0].sum()
    assert together > 100 * alone[:2].sum()


@given(ridges())
@EXAMPLES
def test_a_newton_step_of_logistic_regression(ridge):
    """With w = p (1 - p) and r = 1 / p the drop is the first step of the problem without S."""
    phi, query = ridge.features, ridge.queries[:1]
    theta = np.zeros(phi.shape[1])
    for _ in range(50):  # margins are φ·θ, all labels 1
        p = expit(phi @ theta)
        hessian = (phi * (p * (1 - p))[:, None]).T @ phi + ridge.ridge * np.eye(len(theta))
        theta = theta - np.linalg.solve(hessian, ridge.ridge * theta - phi.T @ (1 - p))
    p = expit(phi @ theta)
    stay = np.arange(1, len(phi))
    hessian = (phi * (p * (1 - p))[:, None])[stay].T @ phi[stay]
    hessian += ridge.ridge * np.eye(len(theta))
    gradient = ridge.ridge * theta - phi[stay].T @ (1 - p[stay])
    want = query[0] @ np.linalg.solve(hessian, gradient)
    drops = info.pointwise_influence_features(
        torch.from_numpy(phi),
        torch.from_numpy(query),
        torch.from_numpy(1 / p),
        ridge.ridge,
        weights=torch.from_numpy(p * (1 - p)),
    )
    np.testing.assert_allclose(drops[0, 0], want, rtol=1e-8, atol=1e-10)


@given(ridges(max_rows=7), st.integers(1, 4), st.booleans())
@EXAMPLES
def test_the_best_set_along_a_direction_is_that_of_brute_force(ridge, k, negative):
    phi, query = ridge.features, ridge.queries[0]
    hessian = phi.T @ phi + ridge.ridge * np.eye(phi.shape[1])
    direction = np.linalg.solve(hessian, query)
    u = phi @ direction
    above, below, total = u * ridge.residuals, u**2, query @ direction
    if negative:
        above = -np.abs(above)
    k = min(k, len(u))
    found = info.most_influential_along(
        *map(torch.from_numpy, (above[None], below[None], np.array([total]))), k
    )
    rows, drop = found[0][0].numpy(), found[1].item()

    def fall(chosen):
        chosen = list(chosen)
        return total * above[chosen].sum() / (total - below[chosen].sum())

    best = max(fall(chosen) for chosen in combinations(range(len(u)), k))
    assert len(set(rows)) == k
    np.testing.assert_allclose(drop, fall(rows), rtol=1e-10)
    np.testing.assert_allclose(drop, best, rtol=1e-9, atol=1e-12)


def test_along_a_direction_in_one_dimension_is_a_refit():
    rng = np.random.default_rng(0)
    ridge = Ridge(rng.normal(size=(6, 1)), np.ones((1, 1)), rng.normal(size=6), 0.3, np.ones(6))
    hessian = (ridge.features**2).sum() + ridge.ridge
    u = ridge.features[:, 0] / hessian
    arguments = (u * ridge.residuals)[None], (u**2)[None], np.array([1 / hessian])
    picks, drop = info.most_influential_along(*map(torch.from_numpy, arguments), 2)
    best = max(ridge.drop(0, list(rows)) for rows in combinations(range(6), 2))
    np.testing.assert_allclose(drop.item(), best, rtol=1e-10)
    np.testing.assert_allclose(drop.item(), ridge.drop(0, picks[0].tolist()), rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ridge": 0.0}, "ridge must be a positive finite number"),
        ({"sign": 2}, "sign must be 1 or -1"),
        ({"weights": torch.tensor([-1.0, 1.0])}, "weights must not be negative"),
        ({"k": 0}, "k must be a positive integer"),
        ({"residuals": torch.ones(3)}, "residuals must have shape"),
    ],
)
def test_bad_arguments_say_what_must_hold(options, message):
    arguments = {
        "features": torch.eye(2),
        "query_features": torch.eye(2),
        "residuals": torch.ones(2),
        "ridge": 1.0,
        "k": 1,
    }
    with pytest.raises(ValueError, match=message):
        info.greedy_influence_features(**arguments | options)


def test_a_search_along_a_direction_that_is_cut_short_says_what_its_set_does(monkeypatch):
    rng = np.random.default_rng(0)
    numerators = torch.from_numpy(rng.normal(size=(5, 12)))
    denominators = torch.from_numpy(rng.uniform(0, 1, (5, 12)))
    total = denominators.sum(1) + 0.05
    best = info.most_influential_along(numerators, denominators, total, 4)[1]
    monkeypatch.setattr(_one_direction, "_MOST_ROUNDS", 1)
    picks, drops = info.most_influential_along(numerators, denominators, total, 4)
    left = total - denominators.gather(1, picks).sum(1)
    torch.testing.assert_close(drops, total * numerators.gather(1, picks).sum(1) / left)
    assert (drops <= best + 1e-12).all()
    assert (drops < best - 1e-3).any()


def test_searches_along_directions_end_when_all_queries_have_their_best_set():
    rng = np.random.default_rng(0)
    numerators = torch.from_numpy(rng.normal(size=(100, 12)))
    denominators = torch.from_numpy(rng.uniform(0, 1, (100, 12)))
    problems = numerators, denominators, denominators.sum(1) + 0.05
    together = info.most_influential_along(*problems, 4)[1]
    alone = [
        info.most_influential_along(*(part[[i]] for part in problems), 4)[1] for i in range(100)
    ]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("denominators", [[[-0.1, 0.2]], [[0.5, 0.5]], [[0.9, 0.2]]])
def test_what_is_left_of_a_direction_must_be_positive(denominators):
    with pytest.raises(ValueError, match="must not be negative and must add up to less than total"):
        info.most_influential_along(torch.ones(1, 2), torch.tensor(denominators), torch.ones(1), 1)


def test_sets_are_those_of_all_queries_or_of_each():
    with pytest.raises(ValueError, match=r"\(n_subset,\) or \(2, n_subset\), got \(3, 1\)"):
        info.joint_influence_features(
            torch.eye(2), torch.eye(2), torch.ones(2), 1.0, torch.zeros(3, 1, dtype=torch.long)
        )


@SPACES
def test_more_picks_than_candidates_are_padded(space):
    ridge = Ridge(np.eye(3) + 0.1, np.eye(3)[:2], np.array([1.0, -2.0, 3.0]), 0.5, np.ones(3))
    for allowed in ([True, False, True], [False] * 3):
        some = torch.tensor(allowed)
        picks, drops = ridge.call("greedy_influence", space, 3, candidates=some)
        n = sum(allowed)
        assert (picks[:, n:] == -1).all()
        assert drops[:, n:].isnan().all()
        assert (picks[:, :n].sort(1).values == some.nonzero()[:, 0]).all()


def test_a_row_may_not_be_removed_twice():
    with pytest.raises(ValueError, match="different rows"):
        info.joint_influence_features(
            torch.eye(2), torch.eye(2), torch.ones(2), 1.0, torch.tensor([1, 1])
        )
