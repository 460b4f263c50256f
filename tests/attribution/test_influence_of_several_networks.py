"""Rows that are the same to one network of several, and not to the others."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_provenance import InfluenceAttributor, TangentFeatures
from sklearn_provenance.information._mean_selection import common_copies


def network(bias, seed):
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    with torch.no_grad():
        made[0].bias.fill_(bias)
    return made


@pytest.mark.parametrize("memory_limit", [2e9, 14_000], ids=["memory", "blocks"])
@pytest.mark.parametrize("dead", [0, 1])
def test_the_row_of_the_largest_fall_is_named(dead, memory_limit):
    rng = np.random.default_rng(0)
    X, y, queries = rng.normal(size=(40, 3)), np.repeat([0, 1], 20), rng.normal(size=(5, 3))
    networks = [network(0.0, 0), network(0.0, 1)]
    networks[dead] = network(-100.0, 0)  # all rows of a class have the same gradients
    features = TangentFeatures(n_components=16, random_state=0)
    attributor = InfluenceAttributor(networks, features=features, memory_limit=memory_limit)
    falls = attributor.fit(X, y).attribute(queries)
    explanation = attributor.explain(queries, k=1)
    np.testing.assert_array_equal(explanation.indices[:, 0], np.nanargmax(falls, 1))
    np.testing.assert_allclose(explanation.scores[:, 0], np.nanmax(falls, 1))


def test_copies_are_copies_to_every_model():
    one, other = torch.tensor([0, 0, 2, 2, 0]), torch.tensor([0, 1, 2, 2, 0])
    assert common_copies([one, other]).tolist() == [0, 1, 2, 2, 0]
    assert common_copies([one]).tolist() == one.tolist()
    assert common_copies([one, None]) is None
