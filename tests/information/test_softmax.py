"""Derivatives of softmax outputs, against autograd."""

import itertools

import pytest
import torch

from sklearn_provenance.information import _softmax
from sklearn_provenance.tangent import measure


def problem(n_classes):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(7, n_classes, dtype=torch.float64, generator=generator)
    features = torch.randn(7, 3, dtype=torch.float64, generator=generator)
    return logits, torch.arange(7) % n_classes, features


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("measurement", ["label_logit", "margin", "log_probability"])
def test_gradients_of_measurements(measurement, n_classes):
    logits, labels, _ = problem(n_classes)
    leaf = logits.clone().requires_grad_()
    (want,) = torch.autograd.grad(measure(leaf, labels, measurement).sum(), leaf)
    found = _softmax.measurement_gradient(logits, labels, measurement)
    torch.testing.assert_close(found, want)
    own = _softmax.measurement_gradient(logits, labels, lambda z, y: measure(z, y, measurement))
    torch.testing.assert_close(own, want)


def test_probabilities_of_others_keep_their_digits():
    p = _softmax.one_minus_p(torch.tensor([[50.0, 0.0, 1.0]], dtype=torch.float64))
    others = torch.tensor([0.0, 1.0], dtype=torch.float64).exp().sum()
    torch.testing.assert_close(p[0, 0], others * torch.tensor(-50.0).double().exp())


# A single output stands for two classes whose other logit is 0.
@pytest.mark.parametrize(("n_classes", "n_outputs"), [(4, 4), (2, 2), (2, 1)])
def test_hessians_of_the_loss_in_the_weights(n_classes, n_outputs, monkeypatch):
    _, labels, features = problem(n_classes)
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(n_outputs, 3, dtype=torch.float64, generator=generator)

    def logits_of(w):
        outputs = features @ w.mT
        return torch.nn.functional.pad(outputs, (0, n_classes - n_outputs))

    def loss(w):
        return torch.nn.functional.cross_entropy(logits_of(w), labels, reduction="sum")

    want = torch.func.jacrev(torch.func.jacrev(loss))(weights).reshape(3 * n_outputs, -1)
    monkeypatch.setattr(_softmax, "_BLOCK", 4)  # two blocks of rows
    found = _softmax.hessian(logits_of(weights), features, n_outputs)
    torch.testing.assert_close(found, want)
    first = _softmax.hessian(logits_of(weights)[:3], features[:3], n_outputs)
    both = _softmax.hessian(logits_of(weights)[3:], features[3:], n_outputs, first)
    torch.testing.assert_close(both, want)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_curvature_is_that_of_the_margin_and_a_rest(n_classes):
    """Over all signs, the squares of the directions make up what the margin's curvature lacks."""
    logits, labels, _ = problem(n_classes)
    p = logits.softmax(1)
    own = p.gather(1, labels[:, None])[:, 0]
    margins = _softmax.margin_gradient(logits, labels)
    found = (own * (1 - own))[:, None, None] * margins[:, :, None] * margins[:, None, :]
    patterns = list(itertools.product([-1.0, 1.0], repeat=n_classes))
    for pattern in patterns:
        signs = torch.tensor(pattern, dtype=torch.float64).expand(7, n_classes)
        rest = _softmax.rest_of_curvature(logits, labels, signs)
        found += rest[:, :, None] * rest[:, None, :] / len(patterns)
    torch.testing.assert_close(found, _softmax.curvature(logits, n_classes))
