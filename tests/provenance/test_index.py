"""Index maps, mixed targets and their cross entropy, against the definitions."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sklearn_provenance.provenance._index import (
    ClassIndex,
    index_cross_entropy,
    sample_local_targets,
)

from .reference import expected_targets


@st.composite
def labels_and_rows(draw):
    n_classes = draw(st.integers(1, 5))
    extra = draw(hnp.arrays(np.int64, st.integers(0, 20), elements=st.integers(0, n_classes - 1)))
    y = draw(st.permutations([*range(n_classes), *extra]))
    y = np.array(y)
    # At least one row of every class has an output.
    firsts = [int(np.flatnonzero(y == c)[0]) for c in range(n_classes)]
    others = draw(st.sets(st.integers(0, len(y) - 1)))
    return y, n_classes, np.array(sorted(others.union(firsts)))


@given(labels_and_rows())
def test_maps_are_inverse_bijections(drawn):
    y, n_classes, rows = drawn
    index = ClassIndex.from_labels(y, n_classes, rows)
    outputs = np.arange(index.n_outputs)
    labels, local = index.labels, index.local
    np.testing.assert_array_equal(index.members[labels, local], outputs)
    np.testing.assert_array_equal(labels, y[rows])
    for c in range(n_classes):
        np.testing.assert_array_equal(np.sort(local[labels == c]), np.arange(index.sizes[c]))
        members = index.members[c]
        assert set(index.rows[members[members >= 0]]) == set(rows[y[rows] == c])
    np.testing.assert_array_equal(index.output_of_row[rows], outputs)
    assert (np.delete(index.output_of_row, rows) == -1).all()


@settings(max_examples=15)
@given(st.integers(1, 6), st.floats(0, 1), st.integers(0, 2**31), st.data())
def test_sampled_targets_have_the_expected_frequencies(size, alpha, seed, data):
    own = data.draw(st.integers(0, size - 1))
    n = 20_000
    local, sizes = torch.full((n,), own), torch.full((n,), size)
    drawn = sample_local_targets(local, sizes, alpha, torch.Generator().manual_seed(seed))
    frequency = torch.bincount(drawn, minlength=size).double() / n
    expected = expected_targets(local[:1], sizes[:1], alpha, size)[0].double()
    assert frequency.shape == expected.shape  # none outside the class
    # Six standard deviations of a binomial share, or nothing at all where it is certain.
    bound = 6 * (expected * (1 - expected) / n).sqrt() + 1e-6
    assert ((frequency - expected).abs() <= bound).all()


@given(st.integers(2, 7), st.floats(0, 1))
def test_expected_target_is_the_average_of_its_draws(size, alpha):
    """Eq. 1 written out: own index with 1 - alpha, each other one with alpha / (K - 1)."""
    local, sizes = torch.arange(size), torch.full((size,), size)
    average = torch.zeros(size, size, dtype=torch.float64)
    for own in range(size):
        average[own, own] += 1 - alpha
        for other in set(range(size)) - {own}:
            average[own, other] += alpha / (size - 1)
    torch.testing.assert_close(
        expected_targets(local, sizes, alpha, size).double(), average, atol=1e-6, rtol=0
    )


def test_a_class_of_one_maps_to_itself():
    local, sizes = torch.zeros(100, dtype=torch.long), torch.ones(100, dtype=torch.long)
    generator = torch.Generator().manual_seed(0)
    assert (sample_local_targets(local, sizes, 1.0, generator) == 0).all()
    assert torch.equal(expected_targets(local[:1], sizes[:1], 1.0, 3), torch.tensor([[1.0, 0, 0]]))


@st.composite
def batches(draw):
    """Rows of classes of various sizes with logits over all outputs (float64)."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    y = np.repeat(np.arange(len(sizes)), sizes)
    index = ClassIndex.from_labels(y, len(sizes))
    rows = draw(st.lists(st.integers(0, len(y) - 1), min_size=1, max_size=8))
    seed = draw(st.integers(0, 2**31))
    scale = draw(st.sampled_from([0.1, 1.0, 30.0]))
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(len(rows), len(y), dtype=torch.float64, generator=generator)
    return index, torch.tensor(rows), logits


def dense_target(index, rows, alpha, smoothing, over_all):
    """The smoothed expected target as a matrix over all outputs, from the definition."""
    target = torch.zeros(len(rows), index.n_outputs, dtype=torch.float64)
    for b, row in enumerate(rows.tolist()):
        own_class = np.flatnonzero(index.labels == index.labels[row])
        valid = np.arange(index.n_outputs) if over_all else own_class
        others = [j for j in own_class if j != row]
        a = alpha if others else 0
        target[b, row] += (1 - smoothing) * (1 - a)
        for j in others:
            target[b, j] += (1 - smoothing) * a / len(others)
        target[b, valid] += smoothing / len(valid)
    return target


@given(batches(), st.floats(0, 1), st.floats(0, 0.9), st.booleans())
def test_cross_entropy_equals_the_dense_definition(batch, alpha, smoothing, over_all):
    index, rows, logits = batch
    labels = torch.as_tensor(index.labels)[rows]
    members = torch.as_tensor(index.members)[labels]
    local, sizes = torch.as_tensor(index.local)[rows], torch.as_tensor(index.sizes)[labels]
    own = logits.gather(1, members.clamp(min=0)).masked_fill(members < 0, -torch.inf)
    target = dense_target(index, rows, alpha, smoothing, over_all)
    if over_all:
        log_p = logits.log_softmax(1)
        loss = index_cross_entropy(logits, local, sizes, alpha, smoothing, members=members)
    else:
        other_class = torch.as_tensor(index.labels) != labels[:, None]
        log_p = logits.masked_fill(other_class, -torch.inf).log_softmax(1)
        loss = index_cross_entropy(own, local, sizes, alpha, smoothing)
    reference = -torch.where(target > 0, target * log_p, 0).sum(1)
    assert torch.isfinite(loss).all()
    torch.testing.assert_close(loss, reference, rtol=1e-9, atol=1e-9)


@given(batches(), st.floats(0, 1), st.floats(0, 0.9))
def test_masked_logits_give_finite_gradients_and_no_weight_to_padding(batch, alpha, smoothing):
    index, rows, logits = batch
    labels = torch.as_tensor(index.labels)[rows]
    members = torch.as_tensor(index.members)[labels]
    local, sizes = torch.as_tensor(index.local)[rows], torch.as_tensor(index.sizes)[labels]
    logits = logits[:, : index.members.shape[1]].clone().requires_grad_()
    masked = logits.masked_fill(members < 0, -torch.inf)
    index_cross_entropy(masked, local, sizes, alpha, smoothing).sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[members < 0] == 0).all()


@given(batches(), st.floats(0, 1))
def test_expected_loss_is_the_average_of_sampled_losses(batch, alpha):
    """Averaged over every possible draw with its probability, not over a sample."""
    index, rows, logits = batch
    labels = torch.as_tensor(index.labels)[rows]
    members = torch.as_tensor(index.members)[labels]
    local, sizes = torch.as_tensor(index.local)[rows], torch.as_tensor(index.sizes)[labels]
    weight = expected_targets(local, sizes, alpha, index.members.shape[1]).double()
    average = torch.zeros(len(rows), dtype=torch.float64)
    for t in range(index.members.shape[1]):
        possible = t < sizes
        targets = torch.where(possible, t, local)
        loss = index_cross_entropy(logits, local, sizes, alpha, 0.1, targets, members)
        average += torch.where(possible, weight[:, t] * loss, 0)
    expected = index_cross_entropy(logits, local, sizes, alpha, 0.1, members=members)
    torch.testing.assert_close(expected, average, rtol=1e-5, atol=1e-5)
