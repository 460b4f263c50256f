"""What the Fisher matrix is the expectation over: labels, or directions in the logits."""

import itertools

import numpy as np
import pytest
import torch

from sklearn_provenance.tangent import TangentRows, _influence
from sklearn_provenance.tangent._curvature import (
    expected_labels,
    fit_fisher,
    given_labels,
    random_signs,
)

from .conftest import reference
from .test_curvature import blocks, closeness, setting

pytestmark = pytest.mark.filterwarnings("ignore:the gradients of .* row by row")


def influence(fisher, damping, queries, rows, batch_size="auto", **params):
    """Of rows given as (model, x, labels)."""
    points = [TangentRows(*p, batch_size=batch_size) for p in (queries, rows)]
    return _influence.influence(fisher, damping, *points, **params)


def scores_with(draw, points, x=None, **options):
    queries, (model, rows, labels) = points
    fisher = fit_fisher(model, rows if x is None else x, draw, **options)
    means = {n: float(layer.moments.mean()) for n, layer in fisher.items()}
    return influence(fisher, {n: 0.1 * mean for n, mean in means.items() if mean}, *points)


@pytest.mark.parametrize("name", ["mlp", "convolutions", "shared", "own"])
def test_all_signs_together_are_the_expectation(name):
    _, model, queries, x, labels, q, q_labels = setting(name)
    points = (queries, q, q_labels), (model, x, labels)
    signs = np.array(list(itertools.product([-1, 1], repeat=3)))[:, None].repeat(len(x), 1)
    signs[:, ::2] = signs[::-1, ::2]  # which row has which when does not matter
    exact = scores_with(expected_labels, points, batch_size=9)
    assert closeness(scores_with(random_signs(signs), points, batch_size=5), exact) < 1e-9
    assert closeness(scores_with(random_signs(signs[:1]), points), exact) > 1e-3


def test_labels_weighted_by_their_probabilities():
    """The expectation is that over rows repeated as often as their labels are probable."""
    network, model, queries, x, labels, q, q_labels = setting("mlp")
    with torch.no_grad():  # p = (1/2, 1/4, 1/4)
        network[-1].weight.zero_()
        network[-1].bias.copy_(torch.tensor([2.0, 1.0, 1.0]).log())
    points = (queries, q, q_labels), (model, x, labels)
    exact = scores_with(expected_labels, points)
    repeated = given_labels(torch.tensor([0, 0, 1, 2]).repeat(len(x)))
    found = scores_with(repeated, points, x.repeat_interleave(4, 0))
    assert closeness(found, exact) < 1e-9


def test_directions_of_a_nearly_certain_model():
    """Second moments diag(p) - p pᵀ keep their digits where p rounds to 1 in any precision."""
    logits = torch.tensor([[80.0, 0.0, 1.0]])
    signs = np.array(list(itertools.product([-1, 1], repeat=3)))[:, None]
    total = sum(w * d.mT @ d for d, w in random_signs(signs)(logits, slice(None)))
    p = logits.double().softmax(1)[0]
    exact = torch.diag(p) - torch.outer(p, p)
    exact[0, 0] = p[0] * (p[1] + p[2])
    torch.testing.assert_close(total.double(), exact, rtol=1e-6, atol=1e-6 * float(p.min()))


def test_directions_are_gradients_of_the_logits():
    network, model, _, x, *_ = setting("mlp")
    directions = torch.randn(24, 3).double()
    found = dict(model.linearise(x).factors(directions))
    rows = [reference(network, x, torch.full((24,), c)) for c in range(3)]
    expected = sum(d[:, None] * r for d, r in zip(directions.T, rows, strict=True))
    for number, matrices in blocks(model, expected).items():
        torch.testing.assert_close(found[model.layers[number]].matrix(), matrices)


@pytest.mark.parametrize("name", ["own", "functional", "lies"])
def test_directions_through_torch_func(name):
    network, model, _, x, *_ = setting(name)
    directions = torch.randn(24, 3).double()
    rows = [reference(network, x, torch.full((24,), c)) for c in range(3)]
    expected = sum(d[:, None] * r for d, r in zip(directions.T, rows, strict=True))
    expected = blocks(model, expected)
    for layer, factor in model.linearise(x).factors(directions):
        torch.testing.assert_close(factor.matrix(), expected[layer.number])
