"""A form of gradients is one class: no other code knows which forms there are."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from sklearn_provenance.tangent import (
    Layer,
    TangentFeatures,
    TangentModel,
    register_layer,
    tangent_kernel,
)
from sklearn_provenance.tangent._curvature import fit_fisher, given_labels
from sklearn_provenance.tangent._forms import Form
from sklearn_provenance.tangent._influence import influence
from sklearn_provenance.tangent._rows import TangentRows


class Projection(nn.Linear):
    """A module whose layer has a form that the package does not have."""


@dataclass
class RankOne(Form):
    """G = g aᵀ, with nothing but what a form must have."""

    a: torch.Tensor  # (B, I)
    g: torch.Tensor  # (B, O)

    @property
    def shape(self):
        return self.g.shape[1], self.a.shape[1]

    def matrix(self):
        return self.g[:, :, None] * self.a[:, None]


@register_layer(Projection)
class ProjectionLayer(Layer):
    def factor(self, module, x, g, n_rows):
        return RankOne(x, g)


def network(kind):
    torch.manual_seed(0)
    first = nn.Linear(4, 5, bias=False)
    own = kind(5, 6, bias=False)
    return nn.Sequential(first, nn.Tanh(), own, nn.Tanh(), nn.Linear(6, 3)).double()


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(7, 4, generator=generator).double(), torch.tensor([0, 1, 2, 0, 1, 2, 0])


def test_a_new_form_is_used(data):
    x, labels = data
    model = TangentModel(network(Projection)).plan(x)
    assert set(model.coverage.routes.values()) == {"factors"}
    forms = {layer.key: form for layer, form in model.linearise(x).factors(labels)}
    assert isinstance(forms["2.weight"], RankOne)


def test_a_new_form_gives_kernels_and_matrices(data):
    x, labels = data
    ours, theirs = TangentModel(network(Projection)), TangentModel(network(nn.Linear))
    expected = tangent_kernel(theirs, x, labels)
    torch.testing.assert_close(tangent_kernel(ours, x, labels), expected)
    rows = TangentRows(ours, x, labels)
    torch.testing.assert_close(rows.norms(), expected.diagonal())
    torch.testing.assert_close(rows.take([4, 1]).inner(rows), expected[[4, 1]])
    torch.testing.assert_close(rows.matrix(), TangentRows(theirs, x, labels).matrix())


@pytest.mark.parametrize("sketch", ["tensor", "sjlt", "rademacher"])
def test_a_new_form_is_sketched(data, sketch):
    x, labels = data
    ours, theirs = (
        TangentFeatures(network(kind), 16, sketch=sketch).fit(x).transform(x, labels)
        for kind in (Projection, nn.Linear)
    )
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs))


def test_a_new_form_has_a_curvature(data):
    """Its bases are those of the formed gradients, so they are given to the other form."""
    x, labels = data
    ours, theirs = (
        TangentModel(network(kind), measurement="log_probability")
        for kind in (Projection, nn.Linear)
    )
    fisher = fit_fisher(ours, x, given_labels(labels))
    assert [layer.treatment for layer in fisher.values()] == ["kronecker", "formed", "kronecker"]
    damping = dict.fromkeys(fisher, 0.1)
    scores = [
        influence(fisher, damping, rows.take([2, 5]), rows)
        for rows in (TangentRows(model, x, labels) for model in (ours, theirs))
    ]
    torch.testing.assert_close(*scores)


class Again(nn.Module):
    """A layer that is called twice: forms are added."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.own, self.head = kind(4, 4, bias=False), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.own(torch.tanh(self.own(x)))))


def test_a_new_form_is_added_to_itself(data):
    x, labels = data
    ours, theirs = (TangentModel(Again(kind).double()) for kind in (Projection, nn.Linear))
    found = tangent_kernel(ours, x, labels)
    assert set(ours.coverage.routes.values()) == {"factors"}
    torch.testing.assert_close(found, tangent_kernel(theirs, x, labels))
