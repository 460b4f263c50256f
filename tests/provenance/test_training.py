"""Schedule, batches and loss of a training step."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_provenance.provenance._index import ClassIndex
from sklearn_provenance.provenance._network import NetworkOutput
from sklearn_provenance.provenance._training import (
    ProvenanceLoss,
    ShuffledBatches,
    TrainingDataset,
    WarmupStepDecay,
    batch_sizes,
)

from .conftest import ARCHITECTURES, quick


@given(st.integers(2, 1000), st.integers(2, 200))
def test_batches_cover_all_rows_and_none_is_single(n_rows, batch_size):
    sizes = batch_sizes(n_rows, batch_size)
    assert sum(sizes) == n_rows
    assert min(sizes) >= 2
    assert max(sizes) <= batch_size + 1
    assert len(sizes) <= -(-n_rows // batch_size)


def test_schedule_warms_up_then_decays_by_steps():
    factor = WarmupStepDecay(steps_per_epoch=10, warmup_epochs=3)
    assert [factor(0), factor(14), factor(29)] == pytest.approx([1 / 30, 0.5, 1])
    for epoch, expected in [(3, 1), (10, 1), (11, 0.6), (18, 0.6), (19, 0.36), (80, 0.6**9)]:
        assert factor(10 * epoch) == pytest.approx(expected)
        assert factor(10 * epoch + 9) == pytest.approx(expected)
    resumed = WarmupStepDecay(10, 3, steps_done=110)
    assert resumed(0) == factor(110)
    assert WarmupStepDecay(10, 0)(0) == 1


def test_every_epoch_sees_every_row_once_in_another_order():
    n = 23
    x = torch.arange(n)[:, None]
    rows = TrainingDataset({"x": x}, {}, "cpu", torch.Generator().manual_seed(0))
    epochs = []
    for _ in range(2):
        batches = [inputs["x"][:, 0] for inputs, _ in ShuffledBatches(rows, 5)]
        epochs.append(torch.cat(batches).tolist())
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(n))
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("mixing", ["expected", "sampled"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_loss_is_the_weighted_sum_of_eq_2(architecture, mixing):
    """alpha = 0 and no smoothing: plain cross entropies, computed by torch itself."""
    torch.manual_seed(0)
    y = np.array([0, 1, 1, 2, 2, 2])
    index = ClassIndex.from_labels(y, 3)
    label, output = torch.tensor(y), torch.arange(6)
    local = torch.tensor(index.local)
    conditional = architecture == "class_conditional"
    members = None if conditional else torch.tensor(index.members)
    loss = ProvenanceLoss(members, torch.tensor(index.sizes), 0.0, mixing, 0.3, 0.7, 0.0)
    class_logits = None if architecture == "single_branch" else torch.randn(6, 3)
    logits = torch.randn(6, 3 if conditional else 6)
    target = local if conditional else output
    if conditional:
        valid = torch.arange(3) < torch.tensor(index.sizes)[label][:, None]
        logits = logits.masked_fill(~valid, -torch.inf)
    given = NetworkOutput(class_logits, logits, torch.zeros(6, 1), None)
    expected = 0.7 * torch.nn.functional.cross_entropy(logits, target)
    if class_logits is not None:
        expected = expected + 0.3 * torch.nn.functional.cross_entropy(class_logits, label)
    value = loss(given, {"label": label, "output": output, "local": local})
    torch.testing.assert_close(value, expected)
    means = loss.pop_means()
    assert means["index_accuracy"] == pytest.approx((logits.argmax(1) == target).double().mean())
    assert loss.pop_means() == {}


def test_rows_without_an_output_do_not_count_in_the_index_loss():
    y = np.array([0, 0, 1, 1])
    index = ClassIndex.from_labels(y, 2, rows=[0, 2, 3])
    output = torch.tensor(index.output_of_row)
    local = torch.tensor([0, 0, 0, 1])
    loss = ProvenanceLoss(
        torch.tensor(index.members), torch.tensor(index.sizes), 0.0, "expected", 0.0, 1.0, 0.0
    )
    logits = torch.randn(4, 3)
    target = {"label": torch.tensor(y), "output": output, "local": local}
    value = loss(NetworkOutput(None, logits, logits, None), target)
    kept = [0, 2, 3]
    expected = torch.nn.functional.cross_entropy(logits[kept], output[kept])
    torch.testing.assert_close(value, expected)


def test_sampled_targets_are_scored_both_ways(iris):
    clf = quick("single_branch", mixing="sampled", alpha=0.5, max_epochs=30, width="medium")
    last = clf.fit(*iris).history_[-1]
    assert last["index_accuracy"] > last["sampled_target_accuracy"]
