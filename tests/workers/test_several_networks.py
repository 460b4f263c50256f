"""Rows that are copies to one network of several, held by workers."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_provenance import InfluenceAttributor, TangentFeatures
from sklearn_provenance._utils import cluster

from .problems import forget_answers, small_pieces

distributed = pytest.importorskip("distributed")
# What other packages say of each other.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
N = 90


@pytest.fixture(scope="module")
def client():
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    local = distributed.LocalCluster(processes=False, **settings)
    with local, distributed.Client(local) as client:
        yield client


class Without(nn.Module):
    """A network that does not see some columns."""

    def __init__(self, columns, seed):
        super().__init__()
        self.columns = columns
        torch.manual_seed(seed)
        layers = nn.Linear(4 - len(columns), 6), nn.Tanh(), nn.Linear(6, 3)
        self.layers = nn.Sequential(*layers).double()

    def forward(self, x):
        seen = [column for column in range(4) if column not in self.columns]
        return self.layers(x[:, seen])


@pytest.fixture(scope="module")
def data():
    """Rows 30 to 59 are copies of the first 30 to networks that do not see column 0; 60 to 69 to
    those that do not see column 3, too; and 70 to 79 are copies to all."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 4))
    X[30:60, 1:] = X[:30, 1:]
    X[60:70] = X[:10]
    X[60:70, [0, 3]] = rng.normal(size=(10, 2))
    X[70:80] = X[:10]
    y = np.arange(N) % 3
    y[30:60], y[60:70], y[70:80] = y[:30], y[:10], y[:10]
    return X, y, rng.normal(size=(6, 4))


def copies_of(rows):
    return np.unique(np.asarray(rows), axis=0, return_inverse=True)[1].ravel()


NETWORKS = {
    "first": [[0], [], []],
    "last": [[], [0]],
    "each its own": [[0], [0, 3], [0]],
}


@pytest.mark.parametrize("selection", ["greedy", "additive"])
@pytest.mark.parametrize("blind", NETWORKS)
def test_picks_are_those_of_one_machine(blind, selection, client, data, monkeypatch):
    small_pieces(monkeypatch)
    X, y, queries = data
    networks = [Without(columns, seed) for seed, columns in enumerate(NETWORKS[blind])]
    attributor = InfluenceAttributor(
        networks,
        features=TangentFeatures(n_components=8, random_state=0),
        candidates="all",
        selection=selection,
    ).fit(X, y)
    of_models = [
        copies_of(model.points.array)
        for model in attributor._network._rule_at(None, everything=True).models
    ]
    n_kinds = [len(set(kinds)) for kinds in of_models]
    assert min(n_kinds) < len(set(zip(*of_models, strict=True))) < N
    asked = []
    submit = cluster.Cluster.submit
    monkeypatch.setattr(
        cluster.Cluster, "submit", lambda *a: asked.append(a[1].__name__) or submit(*a)
    )
    falls = attributor.attribute(queries)
    best = attributor.explain(queries, k=1, client=client)
    assert asked.count("digests_of") >= 2 * len(networks)
    # Of the first pick by definition: that of the largest fall alone, and of ties the first row.
    largest = np.isclose(falls, falls.max(1, keepdims=True), rtol=1e-9, atol=0).argmax(1)
    np.testing.assert_array_equal(best.indices[:, 0], largest)
    np.testing.assert_allclose(best.scores[:, 0], falls.max(1), rtol=1e-9)
    for rows in (queries, None):
        expected = attributor.explain(rows, k=12)
        forget_answers(attributor)
        n_asked = len(asked)
        found = attributor.explain(rows, k=12, client=client)
        assert len(asked) > n_asked
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.n_tied, expected.n_tied)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-9, atol=1e-12)
