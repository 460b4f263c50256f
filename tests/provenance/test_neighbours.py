"""Neighbours in target value, and the index loss over them, against their definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_provenance.provenance._index import ClassIndex, index_cross_entropy
from sklearn_provenance.provenance._neighbours import (
    neighbour_cross_entropy,
    neighbour_mask,
    neighbour_radii,
    sample_neighbours,
)


@st.composite
def targets(draw, least=2, most=25):
    """Targets (n, T): spread, tied, or skewed over many orders of magnitude."""
    n, n_targets = draw(st.integers(least, most)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    kind = draw(st.sampled_from(["spread", "tied", "skewed"]))
    if kind == "tied":
        return rng.integers(0, 4, (n, n_targets)).astype(float)
    values = rng.normal(size=(n, n_targets))
    return np.exp(4 * values) if kind == "skewed" else values


def neighbours_by_definition(values, n_neighbours):
    """For each row, all others whose target is at most as far as that of the n-th nearest."""
    mask = np.zeros((len(values), len(values)), dtype=bool)
    for i in range(len(values)):
        distances = np.sqrt(((values - values[i]) ** 2).sum(1))
        others = [j for j in range(len(values)) if j != i]
        if others:
            limit = sorted(distances[others])[min(n_neighbours, len(others)) - 1]
            mask[i, [j for j in others if distances[j] <= limit * (1 + 1e-9)]] = True
    return mask


def mask_of(values, n_neighbours):
    radii = torch.as_tensor(neighbour_radii(values, n_neighbours))
    return neighbour_mask(torch.as_tensor(values), radii, torch.arange(len(values)))


@given(targets(least=1), st.integers(1, 30))
def test_neighbours_are_those_of_the_definition(values, n_neighbours):
    expected = neighbours_by_definition(values, n_neighbours)
    np.testing.assert_array_equal(mask_of(values, n_neighbours), expected)
    assert (expected.sum(1) >= min(n_neighbours, len(values) - 1)).all()


@given(targets(), st.integers(1, 10), st.floats(1e-3, 1e3))
def test_neighbours_do_not_depend_on_the_unit_of_a_target(values, n_neighbours, factor):
    values = np.round(values, 3)
    moved = -factor * values
    np.testing.assert_array_equal(mask_of(moved, n_neighbours), mask_of(values, n_neighbours))


def dense_target(own, mask, alpha, smoothing):
    """The smoothed expected target as a matrix."""
    target = np.zeros(mask.shape)
    for b, row in enumerate(own):
        near = np.flatnonzero(mask[b])
        share = alpha if len(near) else 0.0
        target[b, row] += 1 - share
        for j in near:
            target[b, j] += share / len(near)
    return (1 - smoothing) * target + smoothing / mask.shape[1]


@given(targets(), st.integers(1, 8), st.floats(0, 1), st.floats(0, 0.9), st.integers(0, 99))
def test_cross_entropy_equals_the_dense_definition(values, n_neighbours, alpha, smoothing, seed):
    mask, own = mask_of(values, n_neighbours), torch.arange(len(values))
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(mask.shape, generator=generator, dtype=torch.float64)
    target = torch.as_tensor(dense_target(own.tolist(), mask.numpy(), alpha, smoothing))
    expected = -(target * logits.log_softmax(1)).sum(1)
    found = neighbour_cross_entropy(logits, own, mask, alpha, smoothing)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@given(st.lists(st.integers(2, 6), min_size=1, max_size=4), st.floats(0, 1), st.floats(0, 0.9))
def test_with_targets_of_few_values_it_is_the_loss_of_classes(sizes, alpha, smoothing):
    """Values shared by more than n rows: the neighbours are the other rows of the class (Eq. 1)."""
    y = np.repeat(np.arange(len(sizes)), sizes)
    index = ClassIndex.from_labels(y, len(sizes))
    logits = torch.randn(len(y), len(y), generator=torch.Generator().manual_seed(0)).double()
    mask = mask_of(y[:, None].astype(float), 1)
    found = neighbour_cross_entropy(logits, torch.arange(len(y)), mask, alpha, smoothing)
    expected = index_cross_entropy(
        logits,
        torch.as_tensor(index.local),
        torch.as_tensor(index.sizes)[y],
        alpha,
        smoothing,
        members=torch.as_tensor(index.members)[y],
    )
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_a_row_alone_keeps_its_own_index():
    own, mask = torch.tensor([0]), mask_of(np.array([[3.0]]), 1)
    assert not mask.any()
    assert sample_neighbours(own, mask, 1.0).tolist() == [0]
    loss = neighbour_cross_entropy(torch.tensor([[2.0]]), own, mask, 1.0, 0.1)
    assert loss.tolist() == [0.0]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_draws_have_the_frequencies_of_the_expected_target(alpha):
    values = np.array([[0.0], [1.0], [1.5], [1.9], [9.0]])
    n = 20_000
    mask = mask_of(values, 2)
    for row in range(5):
        own = torch.full((n,), row)
        drawn = sample_neighbours(own, mask[own], alpha, torch.Generator().manual_seed(row))
        frequency = torch.bincount(drawn, minlength=5).double() / n
        expected = torch.as_tensor(dense_target([row], mask[[row]].numpy(), alpha, 0.0)[0])
        # Six standard deviations of a binomial share, or nothing at all where it is certain.
        bound = 6 * (expected * (1 - expected) / n).sqrt() + 1e-9
        assert ((frequency - expected).abs() <= bound).all()


@given(targets(), st.integers(1, 8), st.floats(0, 1))
def test_expected_loss_is_the_average_of_sampled_losses(values, n_neighbours, alpha):
    mask, own = mask_of(values, n_neighbours), torch.arange(len(values))
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(mask.shape, generator=generator, dtype=torch.float64)
    weights = torch.as_tensor(dense_target(own.tolist(), mask.numpy(), alpha, 0.0))
    average = torch.zeros(len(own), dtype=torch.float64)
    for t in range(len(own)):
        drawn = torch.full_like(own, t)
        loss = neighbour_cross_entropy(logits, own, None, alpha, 0.1, drawn)
        average += weights[:, t] * loss
    expected = neighbour_cross_entropy(logits, own, mask, alpha, 0.1)
    torch.testing.assert_close(expected, average, rtol=1e-9, atol=1e-9)
