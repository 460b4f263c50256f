"""Points whose features are there already: everything agrees with the features multiplied out."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from sklearn_provenance.tangent import _points
from sklearn_provenance.tangent._points import (
    _BLOCK,
    ExplicitPoints,
    OuterPoints,
    SparsePoints,
)


def rows(n, sparse, seed):
    rng = np.random.default_rng(seed)
    x = rng.random((n, 9)) * (rng.random((n, 9)) < 0.4)
    return csr_array(x) if sparse else x


def outer(n, sparse, seed, bias=1.0):
    gradient = torch.as_tensor(np.random.default_rng(seed + 1).normal(size=(n, 3)))
    labels = torch.arange(n) % 3
    return OuterPoints(rows(n, sparse, seed), gradient, 0.7, bias, labels, gradient)


KINDS = {
    "explicit": lambda n, seed: ExplicitPoints(rows(n, False, seed), torch.arange(n) % 3),
    "sparse": lambda n, seed: SparsePoints(rows(n, True, seed), torch.arange(n) % 3),
    "outer": lambda n, seed: outer(n, False, seed),
    "outer, sparse": lambda n, seed: outer(n, True, seed),
    "outer, sparse, without bias": lambda n, seed: outer(n, True, seed, bias=0.0),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 7, _BLOCK, _BLOCK + 1, 2 * _BLOCK + 5])
def test_products_are_those_of_the_features(kind, n):
    points, others = KINDS[kind](n, 0), KINDS[kind](5, 9)
    phi, theirs = points.matrix(), others.matrix()
    close = {"rtol": 1e-12, "atol": 1e-12}
    assert phi.shape == (n, points.n_components)
    torch.testing.assert_close(points.inner(), phi @ phi.mT, **close)
    torch.testing.assert_close(points.inner(others), phi @ theirs.mT, **close)
    torch.testing.assert_close(others.inner(points), theirs @ phi.mT, **close)
    torch.testing.assert_close(points.inner_sum(others), theirs @ phi.sum(0), **close)
    torch.testing.assert_close(points.norms(), phi.square().sum(1), **close)


@pytest.mark.parametrize("kind", KINDS)
def test_some_of_the_points(kind):
    points, numbers = KINDS[kind](20, 0), torch.tensor([7, 0, 19, 7])
    taken = points.take(numbers)
    torch.testing.assert_close(taken.matrix(), points.matrix()[numbers])
    torch.testing.assert_close(taken.inner(points), points.inner()[numbers])
    assert torch.equal(taken.labels, points.labels[numbers])


@pytest.mark.parametrize("kind", ["explicit", "sparse"])
def test_sums_and_products_with_weights(kind):
    points, rng = KINDS[kind](20, 0), np.random.default_rng(3)
    phi = points.matrix()
    torch.testing.assert_close(points.norms(), phi.square().sum(1))
    weights = torch.as_tensor(rng.normal(size=(4, 9)))
    torch.testing.assert_close(points.times(weights), phi @ weights.mT)
    shares = torch.as_tensor(rng.normal(size=(20, 2)))
    torch.testing.assert_close(points.combine(shares), shares.mT @ phi)


@pytest.mark.parametrize("numbers", [1, 9 * 6, 10**6])
def test_explicit_rows_in_blocks(monkeypatch, numbers):
    monkeypatch.setattr(_points, "_NUMBERS", numbers)
    (points, other), rng = (KINDS["explicit"](n, n) for n in (20, 7)), np.random.default_rng(3)
    phi = points.matrix()
    torch.testing.assert_close(torch.cat(list(points.blocks())), phi)
    torch.testing.assert_close(points.norms(), phi.square().sum(1))
    torch.testing.assert_close(other.inner(points), other.matrix() @ phi.mT)
    weights = torch.as_tensor(rng.normal(size=(4, 9)))
    torch.testing.assert_close(points.times(weights), phi @ weights.mT)
    shares = torch.as_tensor(rng.normal(size=(20, 2)))
    torch.testing.assert_close(points.combine(shares), shares.mT @ phi)


def test_copies_share_features_in_memory_and_not_in_files(tmp_path):
    copies = torch.tensor([0, 0, 2, 0])
    x = rows(4, False, 0)
    np.save(tmp_path / "x.npy", x)
    for array, equal in ((x, True), (np.load(tmp_path / "x.npy", mmap_mode="r"), False)):
        points = ExplicitPoints(array, torch.zeros(4, dtype=torch.long))
        points.equalise(copies)
        expected = x[copies] if equal else x
        np.testing.assert_array_equal(points.matrix(), expected)
