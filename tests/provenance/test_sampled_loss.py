"""Sampled softmax of the index branch, against the full one and by enumeration of the draws."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_provenance.provenance import _row_adamw
from sklearn_provenance.provenance._drawn_outputs import (
    draw_distinct,
    outputs_stood_for,
    sampled_cross_entropy,
)
from sklearn_provenance.provenance._index import ClassIndex, index_cross_entropy
from sklearn_provenance.provenance._layers import ClassHeads
from sklearn_provenance.provenance._network import NetworkOutput
from sklearn_provenance.provenance._output_reader import OutputReader
from sklearn_provenance.provenance._row_adamw import RowAdamW
from sklearn_provenance.provenance._sampled_loss import SampledProvenanceLoss
from sklearn_provenance.provenance._training import ProvenanceLoss

from .conftest import ARCHITECTURES, quick


@given(st.integers(2, 40), st.integers(1, 2000), st.integers(0, 2**31))
def test_draws_are_distinct(n_draws, n_outputs, seed):
    drawn = draw_distinct(n_draws, n_outputs, torch.Generator().manual_seed(seed))
    assert len(drawn) == len(drawn.unique()) == min(n_draws, n_outputs)
    assert 0 <= drawn.min() <= drawn.max() < n_outputs


@pytest.mark.parametrize("n_outputs", [6, 30])  # shuffled, and drawn one by one
def test_every_output_is_drawn_equally_often(n_outputs):
    generator = torch.Generator().manual_seed(0)
    n = 3000
    counts = torch.zeros(n_outputs)
    for _ in range(n):
        counts[draw_distinct(3, n_outputs, generator)] += 1
    share = 3 / n_outputs
    assert ((counts / n - share).abs() < 5 * (share * (1 - share) / n) ** 0.5).all()


def estimate(logits, own, drawn, alpha=0.0, smoothing=0.0):
    """The estimate of one row's loss inside one class from a set of draws."""
    drawn = torch.tensor(drawn)
    counts = outputs_stood_for(drawn, 0, len(logits), len(drawn), torch.tensor([own]))
    assert counts.sum() == len(logits) - 1
    mean = logits[drawn][drawn != own].mean()
    return sampled_cross_entropy(
        logits[[own]],
        logits[drawn][None],
        counts,
        alpha,
        smoothing,
        mean[None],
        torch.tensor([True]),
    )[0]


def full(logits, own, alpha=0.0, smoothing=0.0):
    n = torch.tensor([len(logits)])
    return index_cross_entropy(logits[None], torch.tensor([own]), n, alpha, smoothing)[0]


@pytest.fixture(scope="module")
def logits():
    return torch.randn(9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_the_estimate_of_the_normaliser_is_unbiased_over_all_draws(logits):
    for n_draws in (2, 5, 8):
        normalisers = [
            (estimate(logits, 3, drawn) + logits[3]).exp()
            for drawn in itertools.combinations(range(9), n_draws)
        ]
        torch.testing.assert_close(torch.stack(normalisers).mean(), logits.exp().sum())


def test_the_expected_logit_under_the_target_is_unbiased_over_all_draws(logits):
    """What mixing and smoothing add is linear in the logits."""
    terms = [
        estimate(logits, 3, drawn, 0.3, 0.2) - estimate(logits, 3, drawn)
        for drawn in itertools.combinations(range(9), 4)
    ]
    expected = full(logits, 3, 0.3, 0.2) - full(logits, 3)
    torch.testing.assert_close(torch.stack(terms).mean(), expected)


def test_the_mean_gradient_over_all_draws_tends_to_the_full_one(logits):
    """The bias is that of the logarithm of an unbiased estimate: it falls as 1/m or faster."""
    logits = logits.clone().requires_grad_()
    exact = torch.autograd.grad(full(logits, 3, 0.3, 0.1), logits)[0]
    errors = []
    for n_draws in (2, 4, 8, 9):
        losses = [
            estimate(logits, 3, drawn, 0.3, 0.1)
            for drawn in itertools.combinations(range(9), n_draws)
        ]
        mean = torch.autograd.grad(torch.stack(losses).mean(), logits)[0]
        errors.append(float((mean - exact).norm() / exact.norm()))
    assert errors[0] > 2 * errors[1] > 4 * errors[2] > 0
    assert errors[2] < 0.05
    assert errors[3] < 1e-12


@st.composite
def networks(draw):
    """The last layer of a branch, features of a batch, and the targets of its rows."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    index = ClassIndex.from_labels(np.repeat(np.arange(len(sizes)), sizes), len(sizes))
    n_rows = draw(st.integers(1, 8))
    output = draw(st.lists(st.integers(0, index.n_outputs - 1), min_size=n_rows, max_size=n_rows))
    output = torch.tensor(output)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    features = torch.randn(n_rows, 3, generator=generator)
    target = {
        "label": torch.tensor(index.labels)[output],
        "output": output,
        "local": torch.tensor(index.local)[output],
    }
    head = draw(st.sampled_from(["all", "shared", "per_class"]))
    if head == "per_class":
        layer = ClassHeads(3, index.sizes.tolist(), generator)
    else:
        n = index.n_outputs if head == "all" else index.sizes.max()
        layer = torch.nn.Linear(3, int(n))
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return index, layer, head, features, target


def losses_of(index, head, n_negatives, **parameters):
    """The full and the sampled loss of the same branch."""
    members = torch.tensor(index.members) if head == "all" else None
    shared = {"members": members, "sizes": torch.tensor(index.sizes)}
    shared |= {"lambda_class": 0.0, "lambda_index": 1.0, **parameters}
    sampled = SampledProvenanceLoss(n_negatives, torch.tensor(index.labels), **shared)
    return ProvenanceLoss(**shared), sampled


def full_logits(index, layer, head, features, label):
    if head == "per_class":
        return layer(features, label)
    logits = layer(features)
    if head == "shared":
        valid = torch.arange(logits.shape[1]) < torch.tensor(index.sizes)[label][:, None]
        logits = logits.masked_fill(~valid, -torch.inf)
    return logits


@given(networks(), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 0.2]), st.booleans())
def test_with_all_outputs_drawn_loss_and_gradients_are_the_full_ones(net, alpha, smoothing, draws):
    index, layer, head, features, target = net
    parameters = {"alpha": alpha, "label_smoothing": smoothing}
    parameters["mixing"] = "sampled" if draws else "expected"
    features.requires_grad_()
    wanted = [features, *layer.parameters()]
    results = []
    for loss, logits in zip(
        losses_of(index, head, index.n_outputs + 1, **parameters),
        (full_logits(index, layer, head, features, target["label"]), OutputReader(layer, features)),
        strict=True,
    ):
        loss.generator = torch.Generator().manual_seed(1)  # draws the same targets
        value = loss(NetworkOutput(None, logits, features, None), target)
        gradients = torch.autograd.grad(value, wanted, allow_unused=True)
        dense = [
            torch.zeros_like(p) if g is None else g.to_dense()
            for p, g in zip(wanted, gradients, strict=True)
        ]
        means = loss.pop_means()
        results.append([value, *dense, torch.tensor(means["index_loss"])])
        if draws:
            results[-1].append(torch.tensor(means["sampled_target_accuracy"]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["all", "shared", "per_class"])
def test_the_mean_of_many_draws_is_near_the_full_loss(head):
    """The gradient of the full softmax is about the mean over draws of 6 of 7, 12 or 19 outputs."""
    index = ClassIndex.from_labels(np.repeat([0, 1], [7, 12]), 2)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5, 3, generator=generator, requires_grad=True)
    layer = ClassHeads(3, [7, 12], generator)
    if head != "per_class":
        layer = torch.nn.Linear(3, 19 if head == "all" else 12)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3, generator=generator)
    output = torch.tensor([0, 3, 7, 8, 18])
    target = {
        "label": torch.tensor(index.labels)[output],
        "output": output,
        "local": torch.tensor(index.local)[output],
    }
    parameters = {"alpha": 0.5, "label_smoothing": 0.1, "mixing": "expected"}
    loss, sampled = losses_of(index, head, 6, **parameters)
    logits = full_logits(index, layer, head, features, target["label"])
    exact = torch.autograd.grad(loss._index_loss(logits, target), features)[0]
    sampled.generator = generator
    mean = torch.zeros_like(exact)
    for _ in range(200):
        value = sampled._index_loss(OutputReader(layer, features), target)
        mean += torch.autograd.grad(value, features)[0] / 200
    assert (mean - exact).norm() < 0.15 * exact.norm()


@pytest.mark.parametrize("draws", [False, True])
def test_rows_without_an_output_are_left_out(draws):
    index = ClassIndex.from_labels(np.array([0, 0, 1, 1]), 2, rows=[0, 2, 3])
    output = torch.tensor(index.output_of_row)
    target = {
        "label": torch.tensor([0, 0, 1, 1]),
        "output": output,
        "local": torch.tensor([0, 0, 0, 1]),
    }
    features = torch.randn(4, 3)
    layer = torch.nn.Linear(3, 3)
    mixing = "sampled" if draws else "expected"
    parameters = {"alpha": 0.3, "label_smoothing": 0.1, "mixing": mixing}
    loss, sampled = losses_of(index, "all", 4, **parameters)
    loss.generator = sampled.generator = torch.Generator().manual_seed(0)
    if not draws:
        value = sampled._index_loss(OutputReader(layer, features), target)
        torch.testing.assert_close(value, loss._index_loss(layer(features), target))
    none = {name: values[[1]] for name, values in target.items()}
    assert sampled._index_loss(OutputReader(layer, features[[1]]), none) == 0


def test_all_rows_at_every_step_are_adamw():
    torch.manual_seed(0)
    start = torch.randn(4, 3)
    sparse, dense = (torch.nn.Parameter(start.clone()) for _ in range(2))
    options = {"lr": 0.1, "weight_decay": 0.01}
    lazily, plainly = RowAdamW([sparse], **options), torch.optim.AdamW([dense], **options)
    for _ in range(5):
        rows, gradient = torch.tensor([2, 0, 1, 3, 0]), torch.randn(5, 3)
        sparse.grad = torch.sparse_coo_tensor(rows[None], gradient, (4, 3), check_invariants=True)
        dense.grad = sparse.grad.to_dense()
        lazily.step()
        plainly.step()
        torch.testing.assert_close(sparse, dense)


def test_rows_without_gradients_stay_as_they_are(monkeypatch):
    """A row's updates are those of a parameter that is updated when the row is."""
    monkeypatch.setattr(_row_adamw, "_LARGEST_FACTOR", 1)
    sparse = torch.nn.Parameter(torch.ones(3))
    dense = torch.nn.Parameter(torch.ones(1))
    optimizer = RowAdamW([sparse, dense], lr=0.1)
    for row in (0, 1, 0, 0):
        sparse.grad = torch.sparse_coo_tensor([[row]], [1.0 + row], (3,), check_invariants=True)
        dense.grad = torch.ones(1) if row == 0 else None
        before = sparse.detach().clone()
        optimizer.step()
        assert (sparse != before).tolist() == [row == 0, row == 1, False]
    torch.testing.assert_close(sparse[[0]], dense)
    assert optimizer.state[sparse]["step"].tolist() == [3, 1, 0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_classifier_that_draws_all_outputs_is_the_plain_one(iris, architecture):
    X, y = iris
    options = {"max_epochs": 2, "weight_decay": 0.1}
    plain = quick(architecture, **options).fit(X, y)
    drawn = quick(architecture, index_loss="sampled", n_negatives=150, **options).fit(X, y)
    np.testing.assert_allclose(drawn.index_proba(X), plain.index_proba(X), rtol=0.02, atol=1e-4)
    names = {"index_accuracy": "index_accuracy_among_drawn"}
    for one, other in zip(plain.history_, drawn.history_, strict=True):
        for name in ("index_loss", "index_accuracy"):
            assert other[names.get(name, name)] == pytest.approx(one[name], abs=0.02)


@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "single_branch"},
        {"architecture": "class_independent", "mixing": "sampled", "alpha": 0.1},
        {"heads": "per_class", "routing": "soft"},
        {"index_subset": 0.5, "lr_index": 1e-3},
    ],
)
def test_few_draws_learn_the_rows(iris, options, tmp_path):
    X, y = iris
    clf = quick(index_loss="sampled", n_negatives=32, max_epochs=20, **options)
    clf.fit(X, y)
    own = clf.predict_index(X[clf.index_])
    same = (X[own] == X[clf.index_]).all(1) | (own == clf.index_)
    assert same.mean() > 0.2  # by chance 0.01
    assert clf.score(X, y) > 0.9
    np.testing.assert_allclose(clf.index_proba(X).sum(1), 1, atol=1e-5)
    assert clf.history_[-1]["index_loss"] < clf.history_[0]["index_loss"]
    clf.save(tmp_path / "clf.safetensors")
    loaded = type(clf).load(tmp_path / "clf.safetensors", device="cpu")
    assert loaded.n_negatives == 32
    np.testing.assert_array_equal(loaded.explain(X, k=3).indices, clf.explain(X, k=3).indices)
    before = clf.index_proba(X[:5])
    again = copy.deepcopy(clf).set_params(warm_start=True, max_epochs=1, n_negatives=4).fit(X, y)
    assert len(again.history_) == 21
    assert (again.index_proba(X[:5]) != before).any()


def test_a_warm_start_keeps_the_kind_of_loss(iris):
    clf = quick(max_epochs=1, warm_start=True).fit(*iris)
    with pytest.raises(ValueError, match="index_loss changed"):
        clf.set_params(index_loss="sampled").fit(*iris)


def test_training_never_computes_all_logits(iris, monkeypatch):
    """Neither in a step, nor when statistics and the last step are looked at after it."""
    X, y = iris
    clf = quick("class_independent", max_epochs=2, index_loss="sampled", n_negatives=8)
    sizes = []
    matmul = torch.Tensor.__matmul__

    def recorded(one, other):
        result = matmul(one, other)
        sizes.append(result.shape[-1])
        return result

    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "__matmul__", recorded)
        patched.setattr(torch.nn.Linear, "forward", small_forward)
        clf.fit(X, y)
    assert max(sizes) == 8
    assert clf.predict_index(X).shape == (150,)  # reads all outputs again


def small_forward(layer, x):
    assert layer.out_features != 150
    return torch.nn.functional.linear(x, layer.weight, layer.bias)
