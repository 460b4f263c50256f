"""Information in nats, against the definitions."""

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_provenance import information as info
from sklearn_provenance.information._weight_space import FeaturePosterior

from . import reference
from .reference import EPS, as_float, problems
from .test_variance import close

EXAMPLES = settings(max_examples=50)


def singletons(problem, criterion):
    phi, queries, noise = problem.exact
    rows = range(len(phi))
    return as_float([[criterion(phi, [row], query, noise) for row in rows] for query in queries])


@given(problems())
@EXAMPLES
def test_pointwise_information_gain(problem):
    want = singletons(problem, reference.information_gain)
    got = info.pointwise_information_gain(
        problem.kernel.diagonal(), problem.cross, problem.query_variance, problem.noise_variance
    )
    # Absolute where a row tells nearly all; relative where it tells little.
    close(got, want, problem.kernel_error, np.minimum(1, want) + 1e-30)


@given(problems())
@EXAMPLES
def test_pointwise_information_loss(problem):
    want = singletons(problem, reference.information_loss)
    # c vanishes up to rounding of sqrt(v_x v_*); its square enters the nats.
    root = np.sqrt(2 * np.maximum(want, 0)) + problem.kernel_error
    got = info.pointwise_information_loss(*problem.kernel_arguments)
    assert (got >= 0).all()
    close(got, want, problem.kernel_error, 10 * root * np.maximum(1, root))
    got = info.pointwise_information_loss_features(*problem.feature_arguments)
    assert (got >= 0).all()
    close(got, want, problem.kernel_error, 10 * root * np.maximum(1, root))


SCORED = {
    "loss": ("kernel_arguments", info.pointwise_information_loss),
    "loss, features": ("feature_arguments", info.pointwise_information_loss_features),
    "cosine": ("kernel_arguments", info.relatif_cosine),
    "cosine, features": ("feature_arguments", info.relatif_cosine_features),
}


@pytest.mark.parametrize("name", SCORED)
@given(problems(), st.data())
@EXAMPLES
def test_scores_of_some_rows_are_those_among_all(name, problem, data):
    arguments, score = SCORED[name]
    arguments = getattr(problem, arguments)
    n_rows = len(problem.exact[0])
    rows = data.draw(st.lists(st.integers(0, n_rows - 1), min_size=1, unique=True))
    rows = torch.tensor(rows)
    everything = score(*arguments)
    got = score(*arguments, rows)
    assert got.shape == (len(everything), len(rows))
    torch.testing.assert_close(got, everything[:, rows], rtol=1e-6, atol=1e-9)


@given(problems(), st.data())
@EXAMPLES
def test_joint_information(problem, data):
    phi, queries, noise = problem.exact
    subset = data.draw(st.lists(st.integers(0, len(phi) - 1), max_size=4, unique=True))
    rows = torch.tensor(subset, dtype=torch.int64)
    gain = as_float([reference.information_gain(phi, subset, query, noise) for query in queries])
    loss = as_float([reference.information_loss(phi, subset, query, noise) for query in queries])
    got = info.joint_information_gain(*problem.kernel_arguments, rows)
    close(got, gain, problem.kernel_error, 1 + gain)
    got = info.joint_information_gain_features(*problem.feature_arguments, rows)
    close(got, gain, problem.feature_error, 1 + gain)
    got = info.joint_information_loss(*problem.kernel_arguments, rows)
    close(got, loss, problem.kernel_error, 1 + loss)


def test_subsets_may_differ_by_query_and_be_padded():
    rng = np.random.default_rng(0)
    problem = reference.Problem(rng.normal(size=(6, 3)), rng.normal(size=(2, 3)), 0.5)
    per_query = torch.tensor([[4, 1, -1], [-1, -1, 5]])
    alone = [torch.tensor([4, 1]), torch.tensor([5])]
    for joint, arguments in (
        (info.joint_information_gain, problem.kernel_arguments),
        (info.joint_information_gain_features, problem.feature_arguments),
        (info.joint_information_loss, problem.kernel_arguments),
    ):
        got = joint(*arguments, per_query)
        want = [joint(*arguments, rows)[query] for query, rows in enumerate(alone)]
        close(got, torch.stack(want), 1e-12)
        assert (got > 0).all()


@given(problems())
@EXAMPLES
def test_relatif_is_the_posterior_correlation(problem):
    phi, queries, noise = problem.exact
    c = reference.covariance(phi, queries, phi, noise)
    rows = [reference.variance(phi, x, noise) for x in phi]
    stars = [reference.variance(phi, query, noise) for query in queries]
    want = as_float(
        [
            [c[q, x] / mpmath.sqrt(v * stars[q]) if v else 0 for x, v in enumerate(rows)]
            for q in range(len(queries))
        ]
    )
    got = info.relatif_cosine(*problem.kernel_arguments)
    assert (got.abs() <= 1).all()
    # A row that differs from others by 2^-20 only: c and v_x are then that much smaller.
    close(got, want, problem.kernel_error, 10)
    got = info.relatif_cosine_features(*problem.feature_arguments)
    close(got, want, problem.feature_error, 1)


def test_relatif_is_signed():
    phi, query = torch.tensor([[1.0, 0.5], [-1.0, 0.5]]), torch.tensor([[1.0, 0.0]])
    got = info.relatif_cosine(phi @ phi.T, query @ phi.T, torch.ones(1), 1.0)
    assert got[0, 0] > 0
    assert got[0, 0] == pytest.approx(-got[0, 1].item())


def test_high_noise_expansion():
    """[IT] Lemma 1: both criteria are ||k_S*||² / (2 k_** σ²) up to O(σ^-4)."""
    rng = np.random.default_rng(1)
    features, queries = rng.normal(size=(8, 3)), rng.normal(size=(2, 3))
    subset = torch.tensor([1, 4, 6])
    noises = [1e3, 1e4, 1e5]
    errors = {"gain": [], "loss": []}
    for noise in noises:
        arguments = reference.Problem(features, queries, noise).kernel_arguments
        _, cross, k, _ = arguments
        leading = cross[:, subset].square().sum(1) / (2 * k * noise)
        gain = info.joint_information_gain(*arguments, subset)
        loss = info.joint_information_loss(*arguments, subset)
        errors["gain"].append((gain - leading).abs().numpy())
        errors["loss"].append((loss - leading).abs().numpy())
    for error in errors.values():
        rates = np.log10(np.array(error[:-1]) / np.array(error[1:]))
        np.testing.assert_allclose(rates, 2.0, atol=0.02)  # σ² ten times larger, error 100 smaller


def test_information_gain_is_not_submodular():
    """x2 = (0, 1) tells nothing of (1, 0) alone and 0.592 nats after x1 = (1, 1)."""
    phi, query = torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    arguments = (phi @ phi.T, query @ phi.T, torch.ones(1), 0.1)
    alone = info.joint_information_gain(*arguments, torch.tensor([1]))
    first = info.joint_information_gain(*arguments, torch.tensor([0]))
    both = info.joint_information_gain(*arguments, torch.tensor([0, 1]))
    assert alone == 0
    assert (both - first).item() == pytest.approx(0.592, abs=5e-4)


@given(problems(), st.data())
@EXAMPLES
def test_information_is_monotone_and_non_negative(problem, data):
    """What does hold in place of submodularity."""
    n_train = len(problem.features)
    order = data.draw(st.permutations(range(n_train)))
    for joint in (info.joint_information_gain, info.joint_information_loss):
        last = torch.zeros(len(problem.queries), dtype=torch.float64)
        for size in range(1, n_train + 1):
            now = joint(*problem.kernel_arguments, torch.tensor(order[:size]))
            assert (now >= 0).all()
            assert (now >= last - problem.kernel_error * (1 + last)).all()
            last = now


def test_losing_everything_is_gaining_everything():
    """I_IL(D) = I_IG(D): both compare the prior with the posterior given all."""
    rng = np.random.default_rng(2)
    problem = reference.Problem(rng.normal(size=(7, 4)), rng.normal(size=(3, 4)), 0.2)
    everything = torch.arange(7)
    close(
        info.joint_information_loss(*problem.kernel_arguments, everything),
        info.joint_information_gain(*problem.kernel_arguments, everything),
        1e-11,
    )


def test_a_row_equal_to_the_query_at_the_end_of_float64():
    """k_** k_xx - c² rounds to either sign of ε k²; σ² is a hundredth of ε k."""
    rng = np.random.default_rng(3)
    phi = torch.from_numpy(rng.normal(size=(200, 5))) * 1e5
    norms = phi.square().sum(1)
    noise = EPS * norms.mean().item() / 100
    cross = torch.diag(norms * (1 + EPS))
    nats = info.pointwise_information_gain(norms, cross, norms, noise).diagonal()
    want = 0.5 * torch.log(norms / noise)
    close(nats, want, 0.1)


def test_tiny_information_keeps_its_digits():
    """At σ² = 1e5 a row tells 1e-11 nats or so: 1/2 log of a ratio would keep five digits."""
    phi, query = np.array([[0.01, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    problem = reference.Problem(phi, query, 1e5)
    want = singletons(problem, reference.information_gain)[0, 0]
    assert want < 1e-9
    diagonal, cross, k = problem.kernel.diagonal(), problem.cross, problem.query_variance
    close(info.pointwise_information_gain(diagonal, cross, k, 1e5)[0, 0], want, 10 * EPS)
    close(info.pointwise_information_loss(*problem.kernel_arguments)[0, 0], want, 1e-9)


def test_a_query_without_variance_learns_nothing():
    phi, query = torch.eye(3), torch.zeros(1, 3)
    kernel = (phi @ phi.T, query @ phi.T, torch.zeros(1), 0.5)
    features = (phi, query, 0.5)
    rows = torch.tensor([0, 2])
    for nats in (
        info.pointwise_information_gain(kernel[0].diagonal(), *kernel[1:]),
        info.pointwise_information_loss(*kernel),
        info.pointwise_information_loss_features(*features),
        info.joint_information_gain(*kernel, rows),
        info.joint_information_gain_features(*features, rows),
        info.joint_information_loss(*kernel, rows),
        info.relatif_cosine(*kernel),
        info.relatif_cosine_features(*features),
        info.greedy(*kernel, 2)[1],
        info.greedy_features(*features, 2)[1],
    ):
        assert (nats == 0).all()


@pytest.mark.parametrize("noise", [1e-3, 1e-2, 1.0])
def test_what_rows_leave_unexplained_stays_above_its_bound(noise):
    """σ² - v_x is σ² / 1e15 of these rows, fewer digits than σ² has, and at least σ⁴ / (σ² + k)."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        phi = torch.from_numpy(1e6 * np.linalg.qr(rng.normal(size=(8, 8)))[0])
        _, margin = FeaturePosterior(phi, noise).rows()
        row_variance = phi.square().sum(1)
        assert (margin >= noise * (noise / (noise + row_variance))).all()
        loss = info.pointwise_information_loss_features(phi, phi[:2], noise)
        assert loss.isfinite().all()
        assert (loss >= 0).all()
