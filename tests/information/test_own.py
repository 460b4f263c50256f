"""Rows of D explained by the others: `own` is the same as leaving the row out of D."""

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_provenance import information as info
from sklearn_provenance.information import _own_row

from .reference import EPS, as_float, exact, information_loss, problems

RULES = ["info_gain", "info_loss", "linear_response"]


def without(row, picks):
    """Row numbers of D as row numbers of D without a row; -1 stays."""
    return [pick - (pick > row) if pick >= 0 else -1 for pick in picks]


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("rule", RULES)
@given(problems(max_train=6, log_noise=(-3.0, 5.0)), st.data())
def test_own_rows_are_left_out_of_everything(features, rule, problem, data):
    """Scores of the picks made, by the definition on D without the row; picks have near ties."""
    phi = problem.features
    n = len(phi)
    own = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=3)))
    own = own[phi[own].any(1)]
    queries, noise, k = phi[own], problem.noise_variance, n
    if features:
        arguments = torch.from_numpy(phi), torch.from_numpy(queries), noise
        picks, nats = info.greedy_features(*arguments, k, rule, own=torch.from_numpy(own))
    else:
        kernel, cross = torch.from_numpy(phi @ phi.T), torch.from_numpy(queries @ phi.T)
        variance = torch.from_numpy((queries**2).sum(1))
        picks, nats = info.greedy(
            kernel, cross, variance, noise, k, rule, own=torch.from_numpy(own)
        )
    joint = info.joint_information_loss if rule == "info_loss" else info.joint_information_gain
    for i, row in enumerate(own):
        made = picks[i].tolist()
        assert sorted(made) == [-1, *(r for r in range(n) if r != row)]
        assert made[-1] == -1
        assert nats[i, -1].isnan()
        rest = np.delete(phi, row, axis=0)
        kernel, cross = torch.from_numpy(rest @ rest.T), torch.from_numpy(rest @ queries[i])[None]
        variance = torch.tensor([queries[i] @ queries[i]])
        scores = nats[i, :-1].cumsum(0)
        tolerance = 1e-9 + 1000 * EPS * problem.condition
        for t in range(1, n):
            subset = torch.tensor(without(row, made[:t]))
            want = joint(kernel, cross, variance, noise, subset[None])
            np.testing.assert_allclose(scores[t - 1], want[0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_picks_are_those_without_the_row(features, rule):
    rng = np.random.default_rng(0)
    phi = torch.from_numpy(rng.normal(size=(14, 5)))
    own = torch.tensor([3, 0, 13])
    candidates = torch.from_numpy(rng.random(14) < 0.7)
    for noise in (1e-3, 1.0, 1e4):
        for i in own:
            rest = [r for r in range(14) if r != i]
            if features:
                got = info.greedy_features(phi, phi[own], noise, 5, rule, candidates, own)
                want = info.greedy_features(
                    phi[rest], phi[i][None], noise, 5, rule, candidates[rest]
                )
            else:
                kernel = phi @ phi.T
                variance = kernel.diagonal()
                got = info.greedy(
                    kernel, kernel[own], variance[own], noise, 5, rule, candidates, own
                )
                want = info.greedy(
                    kernel[rest][:, rest],
                    kernel[i, rest][None],
                    variance[i][None],
                    noise,
                    5,
                    rule,
                    candidates[rest],
                )
            at = own.tolist().index(int(i))
            assert without(int(i), got[0][at].tolist()) == want[0][0].tolist()
            np.testing.assert_allclose(got[1][at], want[1][0], rtol=1e-8)


def test_own_rows_are_checked():
    phi = torch.eye(3)
    with pytest.raises(ValueError, match="own must have shape"):
        info.greedy_features(phi, phi, 1.0, 1, own=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="own must lie in"):
        info.greedy_features(phi, phi, 1.0, 1, own=torch.tensor([0, 1, 3]))


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("noise", [1e-11, 1e-3, 1.0, 1e6, 1e12])
def test_scores_of_own_rows_at_any_noise(noise, features):
    """Far from the kernel's size, where one form of the own row's removal cancels, or the other."""
    rng = np.random.default_rng(2)
    phi = np.linalg.qr(rng.normal(size=(9, 9)))[0] + 0.1 * rng.normal(size=(9, 9))
    own = np.array([4, 0])
    picks, nats = pick_own(phi, own, noise, 4, "info_loss", features)
    for row, made, found in zip(own, picks.tolist(), nats, strict=True):
        rest = np.delete(phi, row, axis=0)
        subset = without(row, made)
        want = [
            information_loss(exact(rest), subset[: t + 1], exact(phi[row]), mpmath.mpf(noise))
            for t in range(4)
        ]
        # What the recurrence of features loses; how much, depends on the processor.
        lost = 50 * EPS / noise if features else 0.0
        np.testing.assert_allclose(found.cumsum(0), as_float(want), rtol=1e-9 + lost)


def pick_own(phi, own, noise, k, rule, features):
    phi, own = torch.from_numpy(phi), torch.from_numpy(own)
    if features:
        return info.greedy_features(phi, phi[own], noise, k, rule, own=own)
    kernel = phi @ phi.mT
    return info.greedy(kernel, kernel[own], kernel.diagonal()[own], noise, k, rule, own=own)


def test_cosines_are_those_without_the_row():
    rng = np.random.default_rng(3)
    phi = torch.from_numpy(rng.normal(size=(8, 5)))
    cosines = info.relatif_cosine_features(phi, phi, 0.4)
    losses = info.pointwise_information_loss_features(phi, phi, 0.4).diagonal()
    found = _own_row.cosine_without_own(cosines, losses)
    for row in range(8):
        rest = [r for r in range(8) if r != row]
        want = info.relatif_cosine_features(phi[rest], phi[row][None], 0.4)[0]
        np.testing.assert_allclose(found[row, rest], want, rtol=1e-10)
