"""A linear network, whose tangent features are its inputs, and the definitions on them."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from sklearn_provenance.attribution import InfoGainAttributor, InfoLossAttributor

N_FEATURES, N_CLASSES = 5, 3
RULES = {
    "info_gain": (InfoGainAttributor, {}),
    "linear_response": (InfoGainAttributor, {"solver": "linear_response"}),
    "info_loss": (InfoLossAttributor, {}),
}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.Linear(N_FEATURES, N_CLASSES, bias=False, dtype=torch.float64)


@pytest.fixture
def data(rng):
    """Rows, their labels, queries."""
    return rng.normal(size=(30, N_FEATURES)), np.arange(30) % N_CLASSES, rng.normal(size=(7, 5))


def make(rule, *args, **params):
    cls, own = RULES[rule]
    return cls(*args, **own | params)


def variance(phi, query, noise_variance):
    """v_*^A with a plain inverse."""
    precision = np.eye(len(query)) + phi.T @ phi / noise_variance
    return query @ np.linalg.inv(precision) @ query


def information(rule, phi, subset, query, noise_variance):
    """I(S; x_*) in nats."""
    if rule == "info_loss":
        rest = np.setdiff1d(np.arange(len(phi)), subset)
        ratio = variance(phi[rest], query, noise_variance) / variance(phi, query, noise_variance)
    else:
        ratio = query @ query / variance(phi[subset], query, noise_variance)
    return np.log(ratio) / 2


def greedy_by_definition(rule, phi, query, noise_variance, candidates, k):
    """Picks and their marginal nats, every candidate tried in turn."""
    picks, totals = [], [0.0]
    for _ in range(k):
        left = [x for x in candidates if x not in picks]
        if rule == "linear_response":
            covariance = np.linalg.inv(
                np.eye(phi.shape[1]) + phi[picks].T @ phi[picks] / noise_variance
            )
            values = [abs(phi[x] @ covariance @ query) for x in left]
        else:
            values = [information(rule, phi, [*picks, x], query, noise_variance) for x in left]
        picks.append(left[int(np.argmax(values))])
        totals.append(information(rule, phi, picks, query, noise_variance))
    return picks, [after - before for before, after in pairwise(totals)]


def margin_features(weight, X, labels):
    """∇_W log(p / (1 - p)) of a linear network, flattened."""
    rows = []
    for x, label in zip(X, labels, strict=True):
        others = np.arange(len(weight)) != label
        p = np.exp(weight @ x) * others
        g = -p / p.sum()
        g[label] = 1
        rows.append(np.outer(g, x).ravel())
    return np.array(rows)
