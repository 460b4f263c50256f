"""How often rows run through a network: scales of σ² and several classes share passes."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor, TangentFeatures
from sklearn_provenance.attribution import RelatIFAttributor
from sklearn_provenance.tangent import TangentModel, tangent_diagonal

PLANNING = 60  # rows at most that run while the network's layers are examined


class Counted(nn.Sequential):
    """Counts the rows that run through it."""

    n_rows = 0

    def forward(self, x):
        Counted.n_rows += len(x)
        return super().forward(x)


@pytest.fixture
def counted():
    torch.manual_seed(0)
    module = Counted(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 10)).double()
    Counted.n_rows = 0
    return module


def rows(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 5)), np.arange(n) % 10


def sketch():
    return TangentFeatures(n_components=32)


@pytest.mark.parametrize("features", ["exact", sketch()])
@pytest.mark.parametrize("cls", [InfoLossAttributor, RelatIFAttributor])
def test_a_number_for_noise_variance_costs_no_pass(counted, cls, features):
    X, y = rows(1000)
    fitted = cls(counted, features=features, noise_variance=2.0).fit(X, y)
    assert Counted.n_rows <= PLANNING
    assert fitted.noise_variance_ == 2
    assert fitted.noise_scale_ is None


@pytest.mark.parametrize("candidates", ["same_class", "all"])
def test_the_scale_is_the_mean_of_256_rows_where_others_are_not_needed(counted, candidates):
    X, y = rows(1000)
    model = TangentModel(counted)
    all_rows = tangent_diagonal(model, X, y)
    Counted.n_rows = 0
    fitted = InfoLossAttributor(counted, candidates=candidates).fit(X, y)
    assert Counted.n_rows <= 256 + PLANNING
    error = all_rows.std().item() / 16
    assert 0 < abs(fitted.noise_scale_ - all_rows.mean().item()) < 4 * error
    assert fitted.noise_variance_ == 10 * fitted.noise_scale_
    again = InfoLossAttributor(counted, noise_variance="diagonal").fit(X, y)
    assert again.noise_variance_ == fitted.noise_scale_


@pytest.mark.parametrize("n", [50, 256])
def test_the_scale_of_few_rows_is_that_of_all(counted, n):
    X, y = rows(n)
    fitted = InfoLossAttributor(counted).fit(X, y)
    expected = tangent_diagonal(TangentModel(counted), X, y).mean().item()
    np.testing.assert_allclose(fitted.noise_scale_, expected, rtol=1e-12)


def test_the_scale_of_sketched_rows_is_that_of_their_sketches(counted):
    X, y = rows(300)
    fitted = InfoGainAttributor(counted, features=sketch()).fit(X, y)
    expected = np.square(fitted.features_.transform(X, y)).sum(1).mean()
    np.testing.assert_allclose(fitted.noise_scale_, expected, rtol=1e-12)
    assert Counted.n_rows <= 2 * 300 + PLANNING  # of fit, and of transform above
