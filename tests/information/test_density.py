"""Profiled log predictive density, against the definition and its invariances."""

import numpy as np
import pytest
import torch

from sklearn_provenance import information as info
from sklearn_provenance.information import _density

from . import reference
from .test_variance import close

RATIOS = torch.tensor([1e-4, 1e-2, 1.0, 10.0, 1e3], dtype=torch.float64)


def data(seed=0, n_train=14, n_features=4, n_queries=6, n_outputs=3):
    rng = np.random.default_rng(seed)
    features, queries = rng.normal(size=(n_train, n_features)), rng.normal(size=(n_queries, 4))
    weights = rng.normal(size=(n_features, n_outputs))
    targets = features @ weights + 0.5 * rng.normal(size=(n_train, n_outputs))
    held_out = queries @ weights + 0.5 * rng.normal(size=(n_queries, n_outputs))
    problem = reference.Problem(features, queries, 1.0)
    return problem, torch.from_numpy(targets), torch.from_numpy(held_out)


def densities(problem, targets, held_out, ratios=RATIOS):
    kernel, cross, query_variance, _ = problem.kernel_arguments
    return info.profiled_log_density(kernel, targets, cross, query_variance, held_out, ratios)


@pytest.mark.parametrize("n_train", [3, 14])
def test_density_is_the_definition(n_train):
    """Fewer rows than features, and more: 1e-9 from kernels but for ε / r, 1e-11 from features."""
    problem, targets, held_out = data(n_train=n_train)
    want = [
        reference.log_density(problem.features, targets, problem.queries, held_out, r)
        for r in RATIOS.tolist()
    ]
    close(densities(problem, targets, held_out), want, 1e-9, 1 + np.abs(want))
    features, queries, _ = problem.feature_arguments
    got = info.profiled_log_density_features(features, targets, queries, held_out, RATIOS)
    close(got, want, 1e-11, 1 + np.abs(want))


def test_density_ignores_the_scale_of_the_kernel():
    problem, targets, held_out = data()
    scaled = reference.Problem(problem.features * 1e3, problem.queries * 1e3, 1.0)
    close(densities(scaled, targets, held_out), densities(problem, targets, held_out), 1e-9)


def test_density_integrates_to_one():
    """With the normaliser: exp of the density of one output, summed over a fine grid of it."""
    problem, targets, _ = data(n_queries=1, n_outputs=1)
    grid = torch.linspace(-60, 60, 1001, dtype=torch.float64)
    values = torch.stack([densities(problem, targets, t.reshape(1, 1), RATIOS[1:4]) for t in grid])
    integral = values.exp().sum(0) * (grid[1] - grid[0])
    close(integral, np.ones(3), 1e-6)


def test_scaling_the_targets_shifts_the_density_by_the_log():
    """The amplitude follows the targets, so 7 t has the density of t divided by 7 per output."""
    problem, targets, held_out = data()
    got = densities(problem, 7 * targets, 7 * held_out)
    close(got, densities(problem, targets, held_out) - 3 * np.log(7), 1e-10)


def test_density_peaks_near_the_noise_that_made_the_targets():
    """As many features as rows, so that the prior matters and the peak is sharp."""
    rng = np.random.default_rng(1)
    features, queries = rng.normal(size=(40, 40)), rng.normal(size=(200, 40))
    ratios = torch.logspace(-4, 4, 17, dtype=torch.float64)
    for r in (0.1, 10.0):  # σ² = r times the mean diagonal, which is 40
        weights = rng.normal(size=(40, 50))
        noise = np.sqrt(40 * r)
        targets = torch.from_numpy(features @ weights + noise * rng.normal(size=(40, 50)))
        held_out = torch.from_numpy(queries @ weights + noise * rng.normal(size=(200, 50)))
        got = info.profiled_log_density_features(
            torch.from_numpy(features), targets, torch.from_numpy(queries), held_out, ratios
        )
        peak = ratios[got.argmax()].item()
        assert r / 4 < peak < r * 4


def test_small_ratios_keep_their_digits_in_feature_space():
    """Targets that the features explain exactly: t^T t minus what is explained would cancel."""
    rng = np.random.default_rng(2)
    features = rng.normal(size=(30, 4))
    targets = features @ rng.normal(size=(4, 2)) + 1e-6 * rng.normal(size=(30, 2))
    problem = reference.Problem(features, features[:5] + 0.1, 1.0)
    held_out = torch.zeros(5, 2, dtype=torch.float64)
    ratios = torch.tensor([1e-6], dtype=torch.float64)
    got = info.profiled_log_density_features(
        torch.from_numpy(features),
        torch.from_numpy(targets),
        torch.from_numpy(problem.queries),
        held_out,
        ratios,
    )
    want = reference.log_density(features, targets, problem.queries, held_out, 1e-6)
    close(got, [want], 1e-9)


def test_negative_eigenvalues_of_rounding_do_no_harm():
    """Kernels of rank one, at r as small as their rounding."""
    for seed in range(10):
        problem, targets, held_out = data(seed)
        line = reference.Problem(problem.features[:, :1], problem.queries[:, :1], 1.0)
        assert densities(line, targets, held_out, RATIOS[:1] * 1e-12).isfinite().all()


def test_weights_count_held_out_rows_as_copies_of_them_do():
    problem, targets, held_out = data()
    kernel, cross, query_variance, _ = problem.kernel_arguments
    features, queries, _ = problem.feature_arguments
    copies = torch.tensor([3, 1, 0, 2, 1, 5])
    rows = torch.arange(6).repeat_interleave(copies)
    arguments = kernel, targets, cross, query_variance, held_out
    want = densities(reference.Problem(problem.features, problem.queries[rows], 1.0), targets,
                     held_out[rows])  # fmt: skip
    close(_density.density_system(*arguments).log_density(RATIOS, copies), want, 1e-10)
    system = _density.density_system_features(features, targets, queries, held_out)
    close(system.log_density(RATIOS, copies.double() / 10), want, 1e-10)


def test_arguments_are_checked():
    problem, targets, held_out = data()
    with pytest.raises(ValueError, match="ratios must be positive"):
        densities(problem, targets, held_out, torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="targets must vary"):
        densities(problem, torch.ones_like(targets), held_out)
    with pytest.raises(ValueError, match="query_targets"):
        densities(problem, targets, held_out[:, :1])
    with pytest.raises(ValueError, match="zero"):
        densities(reference.Problem(np.zeros((14, 4)), problem.queries, 1.0), targets, held_out)
