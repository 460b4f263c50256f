"""The density of held-out targets from rows that are read in blocks is that from all of them."""

import pytest
import torch

from sklearn_provenance.information import density_system_features
from sklearn_provenance.information._density import density_system_blocks
from sklearn_provenance.tangent import _points
from sklearn_provenance.tangent._points import ExplicitPoints


@pytest.mark.parametrize("rows_in_a_block", [1, 7, 100])
def test_blocks_give_the_same_density(rows_in_a_block, monkeypatch):
    monkeypatch.setattr(_points, "_NUMBERS", rows_in_a_block * 4)
    torch.manual_seed(0)
    phi, queries = torch.randn(40, 4).double(), torch.randn(6, 4).double()
    targets, held_out = torch.randn(40, 2).double(), torch.randn(6, 2).double()
    ratios = torch.tensor([1e-4, 1.0, 1e3], dtype=torch.float64)
    expected = density_system_features(phi, targets, queries, held_out).log_density(ratios)
    points = ExplicitPoints(phi.numpy(), torch.zeros(40))
    found = density_system_blocks(points, targets, queries, held_out).log_density(ratios)
    torch.testing.assert_close(found, expected)
