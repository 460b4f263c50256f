"""Sampled softmax of a regressor's index branch, against the full one."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_provenance.provenance._neighbours import (
    TargetNeighbours,
    neighbour_mask,
    neighbour_radii,
)
from sklearn_provenance.provenance._output_reader import OutputReader
from sklearn_provenance.provenance._regressor_loss import RegressionLoss
from sklearn_provenance.provenance._sampled_regression_loss import SampledRegressionLoss

from ..checks import thorough
from .conftest import quick_regressor


@st.composite
def problems(draw):
    """Targets, some of which are equal, and the radii of their neighbours."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(2, 12))
    targets = random.normal(size=(n, draw(st.integers(1, 2))))
    if draw(st.booleans()):
        targets = targets.round()
    radii = neighbour_radii(targets, draw(st.integers(1, n - 1)))
    return torch.tensor(targets), torch.tensor(radii)


@given(problems(), st.integers(0, 2**31))
def test_every_neighbour_is_drawn_equally_often(problem, seed):
    targets, radii = problem
    own = torch.arange(len(targets))
    mask = neighbour_mask(targets, radii, own)
    neighbours = TargetNeighbours(targets)
    generator = torch.Generator().manual_seed(seed)
    n = 400
    drawn, exists = neighbours.draw(own.repeat(n), radii, generator)
    assert torch.equal(exists[: len(own)], mask.any(1))
    counts = torch.zeros(len(own), len(own))
    counts.index_put_((own.repeat(n), drawn), torch.ones(len(drawn)), accumulate=True)
    share = mask / mask.sum(1, keepdim=True)
    bound = 6 * (share * (1 - share) / n).sqrt() + 1e-6
    assert ((counts / n - share).abs() <= bound).all()


def losses(targets, radii, n_negatives, **options):
    options = {"loss": "huber", "huber_delta": 1.0, "lambda_output": 1.0} | options
    options |= {"targets": targets, "radii": radii, "lambda_index": 1.0}
    return RegressionLoss(**options), SampledRegressionLoss(n_negatives, **options)


@given(problems(), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 0.2]))
def test_with_all_outputs_drawn_loss_and_gradients_are_the_full_ones(problem, alpha, smoothing):
    targets, radii = problem
    n = len(targets)
    torch.manual_seed(n)
    layer = torch.nn.Linear(3, n)
    own = torch.tensor([0, n - 1, -1, 0])
    features = torch.randn(4, 3, requires_grad=True)
    full, sampled = losses(
        targets, radii, n, alpha=alpha, label_smoothing=smoothing, mixing="expected"
    )
    wanted = [features, *layer.parameters()]
    results = []
    for loss, logits in ((full, layer(features)), (sampled, OutputReader(layer, features))):
        value = loss._index_loss(logits, own)
        gradients = torch.autograd.grad(value, wanted)
        results.append([value, *(g.to_dense() for g in gradients)])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mixing", ["expected", "sampled"])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_the_mean_of_many_draws_is_near_the_full_loss(mixing, n_targets):
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(15, n_targets, generator=generator, dtype=torch.float64)
    radii = torch.tensor(neighbour_radii(targets.numpy(), 3))
    layer = torch.nn.Linear(3, 15)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3, generator=generator)
    features = torch.randn(4, 3, generator=generator, requires_grad=True)
    own = torch.tensor([0, 3, 7, 14])
    options = {"alpha": 0.5, "label_smoothing": 0.1}
    full, _ = losses(targets, radii, 6, mixing="expected", **options)
    exact = torch.autograd.grad(full._index_loss(layer(features), own), features)[0]
    _, sampled = losses(targets, radii, 6, mixing=mixing, **options)
    sampled.generator = generator
    mean = torch.zeros_like(exact)
    for _ in range(300):
        value = sampled._index_loss(OutputReader(layer, features), own)
        mean += torch.autograd.grad(value, features)[0] / 300
    assert (mean - exact).norm() < 0.2 * exact.norm()


def test_rows_without_an_output():
    targets = torch.zeros(3, 1, dtype=torch.float64)
    _, sampled = losses(
        targets, torch.zeros(3), 2, alpha=0.3, label_smoothing=0.0, mixing="expected"
    )
    reader = OutputReader(torch.nn.Linear(2, 3), torch.zeros(2, 2))
    assert sampled._index_loss(reader, torch.tensor([-1, -1])) == 0


@pytest.mark.parametrize(
    "options", [{"index_subset": 0.7, "lr_index": 5e-3}, *thorough({"mixing": "sampled"})]
)
def test_few_draws_learn_the_rows(diabetes, options, tmp_path):
    X, y = diabetes
    reg = quick_regressor(index_loss="sampled", n_negatives=16, max_epochs=15, alpha=0.1, **options)
    reg.fit(X, y)
    assert (reg.predict_index(X[reg.index_]) == reg.index_).mean() > 0.3  # by chance 0.005
    assert reg.score(X, y) > 0.4
    assert reg.history_[-1]["index_loss"] < reg.history_[0]["index_loss"]
    assert "index_accuracy_among_drawn" in reg.history_[0]
    reg.save(tmp_path / "reg")
    loaded = type(reg).load(tmp_path / "reg", device="cpu")
    np.testing.assert_array_equal(loaded.explain(X, k=3).indices, reg.explain(X, k=3).indices)
    reg.set_params(warm_start=True, max_epochs=1, n_negatives=4, target_neighbors=2).fit(X, y)
    assert len(reg.history_) == 16
    assert reg.net_.criterion_.n_negatives == 4
    with pytest.raises(ValueError, match="index_loss changed"):
        reg.set_params(index_loss="full").fit(X, y)
