"""Rows whose kernels are kept on disk answer as the rows themselves."""

import pytest
import torch

from sklearn_provenance.tangent import TangentFeatures, TangentModel, TangentRows
from sklearn_provenance.tangent._cache import Cache
from sklearn_provenance.tangent._remembered import RememberedRows

from .conftest import build


def remembered(model, x, labels, folder):
    cache = Cache(str(folder), "test", TangentFeatures(model.module))
    return RememberedRows(model, cache, "rows", x, labels)


def answers(rows, other):
    kernels = rows.inner(), rows.inner(other), rows.inner_sum(other)
    return [rows.labels, rows.norms(), rows.matrix(), *kernels]


@pytest.fixture
def problem():
    network, x, labels = build("mlp", n=7)
    return TangentModel(network), x, labels


@pytest.mark.parametrize("known", [True, False])
def test_the_network_runs_once(problem, tmp_path, known):
    model, x, labels = problem
    labels = labels if known else None
    plain = TangentRows(model, x, labels)
    expected = answers(plain, plain.take([2, 0]))
    calls = []
    model.module.register_forward_hook(lambda *_: calls.append(0))
    for again in (False, True):
        calls.clear()
        rows = remembered(model, x, labels, tmp_path)
        found = answers(rows, rows.take([2, 0]))
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs)
        assert bool(calls) != again
    assert torch.equal(rows.logits, plain.logits)  # which are not kept


@pytest.mark.parametrize("numbers", [[0, 1, 2, 3, 4, 5, 6], [6, 4, 1, 0, 4]])
@pytest.mark.parametrize("order", ["made", "equalised", "taken"])
def test_copies_are_equal_whenever_rows_are_made(problem, tmp_path, order, numbers):
    """Rows are treated as copies that are none, so that it shows which one stands for them."""
    model, x, labels = problem
    copies = torch.tensor([0, 0, 2, 2, 0, 5, 0])
    plain = TangentRows(model, x, labels)
    plain.equalise(copies)
    rows = remembered(model, x, labels, tmp_path)
    if order == "made":
        assert len(rows.rows) == 7
    rows.equalise(copies)
    if order == "equalised":
        assert len(rows.rows) == 7
    taken = rows.take(numbers)
    found = taken.norms()
    alike = copies[numbers][:, None] == copies[numbers]
    assert torch.equal(found[:, None] == found, alike)
    if order != "taken" or numbers[0] == 0:  # the first row of its kind is among them
        assert torch.equal(found, plain.take(numbers).norms())
        assert torch.equal(taken.matrix(), plain.take(numbers).matrix())
