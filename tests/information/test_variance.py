"""Variances in both spaces and their changes, against the definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_provenance import information as info
from sklearn_provenance.information._posterior import KernelPosterior

from . import reference
from .reference import EPS, as_float, problems

EXAMPLES = settings(max_examples=60)

MODERATE = (-1.0, 5.0)


def close(got, want, relative, scale=None):
    """|got - want| <= relative * scale, the scale being |want| unless given."""
    want = as_float(want)
    scale = np.abs(want) if scale is None else as_float(scale)
    assert np.all(np.abs(as_float(got) - want) <= relative * scale), (got, want, relative)


def posterior_variance_features(features, query_features, noise_variance):
    return info.posterior_features(features, query_features, noise_variance).square().sum(1)


def exact_variances(problem):
    phi, queries, noise = problem.exact
    return as_float([reference.variance(phi, query, noise) for query in queries])


@given(problems(log_noise=MODERATE))
@EXAMPLES
def test_plain_inverses_agree_where_the_conditioning_allows(problem):
    """1e-8 against an inverse in float64; weight space and function space are the same number."""
    want = reference.covariance(
        problem.features, problem.queries, problem.queries, problem.noise_variance
    ).diagonal()
    other = reference.covariance_function_space(
        problem.features, problem.queries, problem.queries, problem.noise_variance
    ).diagonal()
    # The plain inverse, unlike what is tested here, loses the square of the condition number.
    close(other, want, 1e-8 + 10 * EPS * problem.condition**2)
    close(info.posterior_variance(*problem.kernel_arguments), want, 1e-8)
    close(posterior_variance_features(*problem.feature_arguments), want, 1e-8)


@given(problems())
@EXAMPLES
def test_variances_over_the_whole_range_of_noise(problem):
    want = exact_variances(problem)
    close(info.posterior_variance(*problem.kernel_arguments), want, problem.kernel_error)
    features = posterior_variance_features(*problem.feature_arguments)
    close(features, want, problem.feature_error)


@given(problems())
@EXAMPLES
def test_covariances_of_rows_and_queries(problem):
    phi, queries, noise = problem.exact
    want = as_float(reference.covariance(phi, phi, queries, noise))
    features, query_features, _ = problem.feature_arguments
    prior = np.sqrt(np.outer((problem.features**2).sum(1), (problem.queries**2).sum(1)))
    got = info.posterior_covariance(
        problem.kernel, problem.kernel, problem.cross, problem.cross.mT, problem.noise_variance
    )
    close(got, want, 100 * EPS, prior * 10)
    both = torch.cat([features, query_features])
    posterior = info.posterior_features(features, both, problem.noise_variance)
    got = posterior[: len(phi)] @ posterior[len(phi) :].mT
    variances = [as_float(reference.variance(phi, x, noise)) for x in phi]
    spread = np.sqrt(np.outer(variances, exact_variances(problem)))
    close(got, want, problem.feature_error, spread)


@pytest.mark.parametrize(("n_train", "n_features"), [(3, 8), (30, 4)])
def test_features_keep_the_digits_that_kernels_lose(n_train, n_features):
    """σ² = 1e-6 beside k of 1e7: 1e-9 from features; the kernel form is off by more than 1e-6."""
    rng = np.random.default_rng(0)
    features = rng.integers(-500, 500, (n_train, n_features)).astype(float) * 4
    queries = features[:2] + features[1:3]
    problem = reference.Problem(features, queries, 1e-6)
    want = exact_variances(problem)
    close(posterior_variance_features(*problem.feature_arguments), want, 1e-9)
    from_kernel = info.posterior_variance(*problem.kernel_arguments).numpy()
    assert np.abs(from_kernel / want - 1).max() > 1e-6


def test_directions_without_data_are_kept_beside_directions_with_much():
    """Rank 3 of 4 with λ / σ² = 1e16: forming Φ^T Φ / σ² + I would drown the identity."""
    rng = np.random.default_rng(5)
    features = rng.integers(-500, 500, (30, 4)).astype(float) * 4
    features[:, 3] = features[:, 0] + features[:, 1]
    problem = reference.Problem(features, rng.integers(-9, 9, (3, 4)).astype(float), 1e-6)
    got = posterior_variance_features(*problem.feature_arguments)
    close(got, exact_variances(problem), 1e-6)


def test_gram_and_orthogonal_forms_meet():
    """The cheaper form is taken where it loses nothing."""
    rng = np.random.default_rng(1)
    features = rng.integers(-8, 8, (40, 5)).astype(float)
    for noise in (1e-6, 1e-2, 1e2):  # the first two orthogonal, the third by the Gram matrix
        problem = reference.Problem(features, features[:2] + 1, noise)
        got = posterior_variance_features(*problem.feature_arguments)
        close(got, exact_variances(problem), 1e-10)


@given(problems(max_queries=1), st.data())
@EXAMPLES
def test_add_one_in(problem, data):
    phi, queries, noise = problem.exact
    row = data.draw(st.integers(0, len(phi) - 1))
    others = np.delete(phi, row, axis=0)
    c = reference.covariance(others, phi[row][None], queries, noise)[0, 0]
    v = reference.variance(others, phi[row], noise)
    v_star = reference.variance(others, queries[0], noise)
    want = as_float(reference.variance(phi, queries[0], noise))
    double = [torch.tensor(float(x), dtype=torch.float64) for x in (v_star, c, v)]
    close(info.add_one_in(*double, problem.noise_variance), want, 10 * EPS, float(v_star))


@given(problems(max_queries=1), st.data())
@EXAMPLES
def test_leave_one_out_uses_a_margin_that_stays_positive(problem, data):
    phi, queries, noise = problem.exact
    row = data.draw(st.integers(0, len(phi) - 1))
    v_x = reference.variance(phi, phi[row], noise)
    margin = info.noise_margin(problem.kernel, problem.noise_variance)
    assert (margin > 0).all()
    close(margin[row], float(noise - v_x), problem.kernel_error)
    c = reference.covariance(phi, phi[row][None], queries, noise)[0, 0]
    v_star = reference.variance(phi, queries[0], noise)
    got = info.leave_one_out(
        torch.tensor(float(v_star), dtype=torch.float64),
        torch.tensor(float(c), dtype=torch.float64),
        margin[row],
    )
    want = as_float(reference.variance(np.delete(phi, row, axis=0), queries[0], noise))
    close(got, want, problem.kernel_error + 10 * EPS)


def test_the_margin_by_subtraction_loses_every_digit():
    """k = 1e3, σ² = 1e-6: σ² - v_x is wrong by its own size, σ⁴ [K_y^-1]_xx is right."""
    rng = np.random.default_rng(2)
    features = rng.integers(-16, 16, (12, 20)).astype(float)
    noise = 1e-6
    problem = reference.Problem(features, features[:1], noise)
    phi, _, exact_noise = problem.exact
    want = as_float([exact_noise - reference.variance(phi, x, exact_noise) for x in phi])
    close(info.noise_margin(problem.kernel, noise), want, 1e-12)
    subtracted = noise - info.posterior_variance(
        problem.kernel, problem.kernel, problem.kernel.diagonal(), noise
    )
    assert (np.abs(subtracted.numpy() / want - 1) > 0.5).all()
    assert (subtracted <= 0).any()


@given(problems(), st.data())
@EXAMPLES
def test_leave_a_subset_out(problem, data):
    phi, queries, noise = problem.exact
    n_train = len(phi)
    subset = data.draw(st.lists(st.integers(0, n_train - 1), min_size=1, unique=True))
    p, u, v = info.leave_out_system(*problem.kernel_arguments, torch.tensor(subset))
    close(v, exact_variances(problem), problem.kernel_error)
    kept = np.delete(phi, subset, axis=0)
    want = as_float([reference.variance(kept, query, noise) for query in queries])
    lost = info.joint_information_loss(*problem.kernel_arguments, torch.tensor(subset))
    close(v * torch.exp(2 * lost), want, problem.kernel_error)
    noisy = phi @ phi.T + noise * np.eye(n_train, dtype=int)
    exact_p = reference.inverse(noisy)
    scale = np.sqrt(np.outer(as_float(exact_p.diagonal()), as_float(exact_p.diagonal())))
    pick = np.ix_(subset, subset)
    close(p, as_float(exact_p)[pick], problem.kernel_error, scale[pick])
    exact_u = as_float(queries @ phi.T @ exact_p)[:, subset]
    sizes = np.sqrt(np.outer((problem.queries**2).sum(1), scale.diagonal()[subset]))
    close(u, exact_u, problem.kernel_error, sizes)


@given(problems(max_queries=1), st.data())
@EXAMPLES
def test_linear_response_and_its_bound(problem, data):
    phi, queries, noise = problem.exact
    row = data.draw(st.integers(0, len(phi) - 1))
    others = np.delete(phi, row, axis=0)
    double = [
        torch.tensor(float(x), dtype=torch.float64)
        for x in (
            reference.variance(others, queries[0], noise),
            reference.covariance(others, phi[row][None], queries, noise)[0, 0],
            reference.variance(others, phi[row], noise),
        )
    ]
    v_star, c, v = double
    estimate = info.linear_response(v_star, c, problem.noise_variance)
    error = info.add_one_in(v_star, c, v, problem.noise_variance) - estimate
    bound = info.linear_response_error_bound(c, v, problem.noise_variance)
    slack = 1e-12 * (float(v_star) + float(c) ** 2 / problem.noise_variance)
    assert -slack <= error <= bound + slack
    close(bound, c**2 * v / problem.noise_variance**2, 1e-12)
    sharp = c**2 * v / (problem.noise_variance * (problem.noise_variance + v))  # [IT] Eq. 74
    close(error, sharp, 1.0, slack)


def test_linear_response_is_the_derivative_of_the_variance_in_a_weight_on_the_row():
    """[IT] Eq. 14, by a difference quotient at weight 1e-20 in 50 digits."""
    phi, query = reference.exact([[1, 2], [3, 1]]), reference.exact([1, -1])
    noise, weight = reference.exact([0.7])[0], reference.exact([2.0**-66])[0]
    before = reference.variance(phi[:1], query, noise)
    weighted = np.concatenate([phi[:1], phi[1:] * weight ** reference.exact([0.5])[0]])
    slope = (reference.variance(weighted, query, noise) - before) / weight
    c = reference.covariance(phi[:1], phi[1:], query[None], noise)[0, 0]
    got = info.linear_response(torch.zeros(1, dtype=torch.float64), float(c), 0.7)
    close(got, [float(slope)], 1e-12)


def test_permuting_rows_changes_no_query_variance():
    rng = np.random.default_rng(3)
    features, queries = rng.normal(size=(9, 4)), rng.normal(size=(2, 4))
    order = rng.permutation(9)
    before = reference.Problem(features, queries, 0.3)
    after = reference.Problem(features[order], queries, 0.3)
    close(
        info.posterior_variance(*after.kernel_arguments),
        info.posterior_variance(*before.kernel_arguments),
        1e-12,
    )
    margin = info.noise_margin(before.kernel, 0.3)
    close(info.noise_margin(after.kernel, 0.3), margin[order], 1e-12)


def test_all_rows_are_left_out_where_none_are_named():
    features, queries = torch.randn(6, 3).double(), torch.randn(2, 3).double()
    kernel = features @ features.mT, queries @ features.mT, queries.square().sum(1)
    every = info.leave_out_system(*kernel, 0.5)
    named = info.leave_out_system(*kernel, 0.5, torch.arange(6))
    for one, other in zip(every, named, strict=True):
        assert torch.equal(one, other)
    expected = torch.linalg.inv(kernel[0] + 0.5 * torch.eye(6))
    torch.testing.assert_close(every[0], expected)


def test_without_rows_the_posterior_is_the_prior():
    variance = torch.tensor([1.0, 4.0], dtype=torch.float64)
    posterior = KernelPosterior(torch.zeros(0, 0, dtype=torch.float64), 0.5)
    solved, left = posterior.queries(torch.zeros(2, 0, dtype=torch.float64), variance)
    assert solved.shape == (0, 2)
    assert torch.equal(left, variance)
