"""What is refused, and what the message says."""

import numpy as np
import pytest
import torch

from sklearn_provenance import information as info
from sklearn_provenance.information._posterior import KernelPosterior

KERNEL, CROSS, PRIOR = torch.eye(3), torch.full((2, 3), 0.1), torch.ones(2)
PHI, QUERY = torch.eye(3), torch.ones(2, 3)


@pytest.mark.parametrize("noise", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize(
    "call",
    [
        lambda noise: info.posterior_variance(KERNEL, CROSS, PRIOR, noise),
        lambda noise: info.posterior_features(PHI, QUERY, noise),
        lambda noise: info.noise_margin(KERNEL, noise),
        lambda noise: info.greedy(KERNEL, CROSS, PRIOR, noise, 1),
        lambda noise: info.greedy_coreset_features(PHI, QUERY, noise, 1),
        lambda noise: info.linear_response(PRIOR, PRIOR, noise),
        lambda noise: info.pointwise_information_gain(PRIOR, torch.ones(1, 2), PRIOR[:1], noise),
    ],
)
def test_noise_must_be_positive_and_finite(call, noise):
    with pytest.raises(ValueError, match="noise_variance must be a positive finite number"):
        call(noise)


def test_shapes_are_compared():
    with pytest.raises(ValueError, match=r"cross must have shape \(n_queries, 3\), got \(2, 4\)"):
        info.greedy(KERNEL, torch.ones(2, 4), PRIOR, 1.0, 1)
    with pytest.raises(ValueError, match="kernel must be square"):
        info.greedy(torch.ones(3, 2), CROSS, PRIOR, 1.0, 1)
    with pytest.raises(ValueError, match=r"query_variance must have shape \(2,\)"):
        info.greedy(KERNEL, CROSS, torch.ones(3), 1.0, 1)
    with pytest.raises(ValueError, match="query_features must have shape"):
        info.greedy_features(PHI, torch.ones(2, 2), 1.0, 1)
    with pytest.raises(ValueError, match="candidates must be bool"):
        info.greedy(KERNEL, CROSS, PRIOR, 1.0, 1, candidates=torch.ones(3))
    with pytest.raises(ValueError, match="candidates must be bool"):
        info.greedy(KERNEL, CROSS, PRIOR, 1.0, 1, candidates=torch.ones(4) > 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_must_be_finite(bad):
    with pytest.raises(ValueError, match="kernel must be finite"):
        info.posterior_variance(KERNEL * bad, CROSS, PRIOR, 1.0)
    with pytest.raises(ValueError, match="features must be finite"):
        info.greedy_features(PHI * bad, QUERY, 1.0, 1)


def test_variances_must_not_be_negative():
    with pytest.raises(ValueError, match="query_variance must not be negative"):
        info.greedy(KERNEL, CROSS, -PRIOR, 1.0, 1)
    with pytest.raises(ValueError, match="non-negative diagonal"):
        info.greedy(-KERNEL, CROSS, PRIOR, 1.0, 1)
    with pytest.raises(ValueError, match="row_variance"):
        info.pointwise_information_gain(-PRIOR, torch.ones(1, 2), PRIOR[:1], 1.0)


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_k_is_a_positive_integer(k):
    with pytest.raises(ValueError, match="k must be a positive integer"):
        info.greedy(KERNEL, CROSS, PRIOR, 1.0, k)


def test_rules_are_named():
    with pytest.raises(ValueError, match="rule must be one of"):
        info.greedy(KERNEL, CROSS, PRIOR, 1.0, 1, rule="infogain")


def test_subsets_are_distinct_rows():
    arguments = (KERNEL, CROSS, PRIOR, 1.0)
    with pytest.raises(ValueError, match=r"subset must lie in 0\.\.2"):
        info.joint_information_gain(*arguments, [0, 3])
    with pytest.raises(ValueError, match="distinct"):
        info.joint_information_loss(*arguments, [1, 1])
    with pytest.raises(ValueError, match="integer"):
        info.joint_information_gain(*arguments, [0.5])
    with pytest.raises(ValueError, match="subset must have shape"):
        info.joint_information_gain(*arguments, torch.zeros(3, 1, dtype=torch.int64))


def test_noise_that_float64_cannot_see_is_refused_and_not_clipped():
    phi = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 1e6
    arguments = (phi @ phi.T, phi @ phi.T, phi.square().sum(1), 1e-6)
    for call in (
        lambda: info.posterior_variance(*arguments),
        lambda: info.greedy(*arguments, 5),
        lambda: info.greedy(*arguments, 5, rule="info_loss"),
        lambda: info.joint_information_gain(*arguments, torch.arange(5)),
        lambda: info.greedy_features(phi, phi, 1e-6, 5, rule="info_loss"),
        lambda: info.pointwise_information_loss_features(phi, phi, 1e-6),
    ):
        with pytest.raises(ValueError, match="too small for float64"):
            call()
    # Features still know: four digits and more of a variance of 1e-6 beside 1e12.
    variance = info.posterior_features(phi, phi, 1e-6).square().sum(1)
    assert (variance < 1.001e-6).all()


def test_results_are_float64_whatever_comes_in():
    picks, nats = info.greedy(KERNEL.float(), CROSS.float(), PRIOR.float(), 1.0, 2)
    assert nats.dtype == torch.float64
    assert picks.dtype == torch.int64
    assert info.greedy(KERNEL.numpy(), CROSS.numpy(), PRIOR.numpy(), 1.0, 2)[0].equal(picks)


def test_arguments_are_left_as_they_were():
    kernel, cross = KERNEL.double().clone(), CROSS.double().clone()
    for rule in ("info_gain", "info_loss", "linear_response"):
        info.greedy(kernel, cross, PRIOR, 1.0, 3, rule)
        info.greedy_coreset(kernel, cross, PRIOR, 1.0, 3, rule)
    info.relatif_cosine(kernel, cross, PRIOR, 1.0)
    assert torch.equal(kernel, KERNEL.double())
    assert torch.equal(cross, CROSS.double())


def test_padding_is_no_row():
    arguments = (KERNEL, CROSS, PRIOR, 1.0)
    with pytest.raises(ValueError, match=r"rows must lie in 0\.\.2, got -1"):
        info.leave_out_system(*arguments, [-1, 0])


def test_features_with_a_graph_are_accepted():
    phi = PHI.clone().requires_grad_()
    picks, nats = info.greedy_features(phi, QUERY, 1.0, 2)
    assert not nats.requires_grad
    assert picks.tolist() == [[0, 1], [0, 1]]


def test_kernels_of_no_features_are_refused():
    """An indefinite kernel, and a query that its rows explain by more than all."""
    indefinite = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(ValueError, match="not positive semi-definite"):
        info.posterior_variance(indefinite, torch.zeros(1, 2), torch.ones(1), 0.1)
    impossible = (torch.eye(1), torch.full((1, 1), 3.0), torch.ones(1), 0.1)
    for call in (info.posterior_variance, info.pointwise_information_loss):
        with pytest.raises(ValueError, match="not positive semi-definite"):
            call(*impossible)
    with pytest.raises(ValueError, match="not positive semi-definite"):
        info.greedy(*impossible, 1)


def test_the_largest_row_decides_whether_noise_is_lost():
    kernel = torch.diag(torch.tensor([1e-3, 1.0, 1e20], dtype=torch.float64))
    cross, prior = torch.zeros(1, 3), torch.ones(1)
    with pytest.raises(ValueError, match="noise_variance=1 is too small"):
        info.posterior_variance(kernel, cross, prior, 1.0)
    assert info.posterior_variance(kernel, cross, prior, 1e5).tolist() == [1.0]


def test_kernels_that_are_no_kernels_are_refused():
    kernel = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
    with pytest.raises(ValueError, match="or the kernel is not positive semi-definite"):
        KernelPosterior(kernel, 0.1)
