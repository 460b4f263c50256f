"""The user's rows, however they are held, become the same batches."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from sklearn_provenance.tangent import TangentModel, TangentRows
from sklearn_provenance.tangent._batches import OnDemand, only


class Two(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TangentModel(nn.Linear(4, 3))


def test_rows_on_demand_are_those_rows(model):
    x = torch.randn(7, 4)
    rows = OnDemand(sparse.csr_array(x.numpy()), model)
    some = only(rows, torch.tensor([5, 0, 5, 2]))
    fewer = only(some, torch.tensor([3, 0]))
    expected = ((rows, x), (some, x[[5, 0, 5, 2]]), (fewer, x[[2, 5]]))
    for ours, theirs in expected:
        assert len(ours) == len(theirs)
        assert ours.shape == theirs.shape
        assert ours.is_floating_point()
        assert torch.equal(ours[slice(None)], theirs)
        assert torch.equal(ours[torch.tensor([1, 0])], theirs[[1, 0]])


def test_named_tuples_stay_named_tuples():
    torch.manual_seed(0)
    x = torch.randn(5, 6)
    network = nn.Linear(6, 3)
    forward = lambda module, two: module(torch.cat([two.left, two.right], 1))  # noqa: E731
    parts = TangentRows(TangentModel(network, forward=forward), Two(x[:, :2], x[:, 2:]))
    whole = TangentRows(TangentModel(network), x)
    torch.testing.assert_close(parts.inner(), whole.inner())


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (torch.zeros(3, 4, dtype=torch.cfloat), "X must be real, got torch.complex64"),
        (np.zeros((3, 4), complex), "X must be numeric, got an array of complex128"),
        ([["a", "b", "c", "d"]], "X must be numeric, got an array of <U1"),
        (["a", "b"], "X must be numeric; got a list of texts. .*text.tokenize"),
        (sparse.csr_array((0, 4)), r"X must have at least one row, got shape \(0, 4\)"),
    ],
)
def test_what_is_no_batch_is_refused(model, X, message):
    with pytest.raises(ValueError, match=message):
        TangentRows(model, X)
