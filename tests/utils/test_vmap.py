"""Warnings of torch.func.vmap about operations that it cannot batch do not reach the user."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_provenance._utils.vmap import quiet_vmap
from sklearn_provenance.retraining import retrain
from sklearn_provenance.tangent import TangentModel, TangentRows

OPERATIONS = (torch.special.airy_ai, torch.special.log_ndtr)


class Batched(nn.Module):
    """An operation without a batching rule, and a parameter that needs torch.func."""

    def __init__(self, operation):
        super().__init__()
        self.operation = operation
        self.gain = nn.Parameter(torch.ones(4))
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        h = self.operation((x * self.gain).detach())
        return self.out(h + x * self.gain)


@pytest.fixture
def operation():
    """One that torch warns of; which these are depends on its version."""
    for operation in OPERATIONS:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.func.vmap(operation)(torch.ones(2, 3))
        if any("performance drop" in str(warning.message) for warning in caught):
            return operation
    pytest.skip("this torch warns of none of the operations")


def test_tangent_rows_are_quiet(operation):
    torch.manual_seed(0)
    model = TangentModel(Batched(operation))
    TangentRows(model, torch.randn(9, 4))
    assert model.functional.vectorised
    assert model.coverage.routes["gain"] == "functional"


def test_retraining_is_quiet(operation):
    torch.manual_seed(0)
    X = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    masks = np.ones((2, 12), bool)
    masks[1, :3] = False
    result = retrain(Batched(operation), X, np.arange(12) % 3, masks, X_eval=X[:2], group_size=2)
    assert "stacked" in result.route


def test_torch_warns_again_after_the_last_caller(operation):
    with quiet_vmap():
        with quiet_vmap():
            pass
        torch.func.vmap(operation)(torch.ones(2, 3))
    with pytest.warns(UserWarning, match="performance drop"):
        torch.func.vmap(operation)(torch.ones(2, 3))
