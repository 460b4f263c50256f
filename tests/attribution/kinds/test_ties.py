"""Equal scores go to the lowest row, and the rows left out that score the same are counted."""

import numpy as np
import pytest
import torch
from torch import nn

from .conftest import (
    ATTRIBUTORS,
    GAIN,
    LOSS,
    N_CLASSES,
    N_FEATURES,
    as_rows,
    attributor_param,
    every_attributor,
    network,
    parametrize_attributors,
)

NOISY = [name for name, case in ATTRIBUTORS.items() if issubclass(case.cls, GAIN | LOSS)]
NOISY += ["RelatIF", "RelatIF, own rows"]


def copies(n_distinct=7, n_copies=3, seed=0, dtype=np.float32):
    """Rows of which each comes several times, in any order, and the first of each row's copies.

    Copies of a row have its label.
    """
    rng = np.random.default_rng(seed)
    kinds = rng.permutation(np.repeat(np.arange(n_distinct), n_copies))
    X = rng.normal(size=(n_distinct, N_FEATURES)).astype(dtype)[kinds]
    first = np.array([np.flatnonzero(kinds == kind)[0] for kind in kinds])
    return X, kinds % N_CLASSES, first


def check_order(indices, first):
    """Of copies the one given first is named first, then the second, and so on."""
    for picks in indices:
        picks = picks[picks >= 0]
        for kind in np.unique(first):
            named = picks[first[picks] == kind]
            assert (np.diff(named) > 0).all(), (kind, picks)
            copies = np.flatnonzero(first == kind)
            assert (named == copies[: len(named)]).all(), (kind, picks)


SIZES = {"tiny": "1e-6*diagonal", "default": "scale", "large": "1e6*diagonal"}


def settings(name, size="default"):
    return {"noise_variance": SIZES[size]} if name in NOISY else {}


def cases_of_copies():
    """Each attributor at each noise variance, in the precision where it is hard.

    With the default noise variance also in single precision among all rows.
    """
    for name in ATTRIBUTORS:
        if name == "random":
            continue
        for size in SIZES if name in NOISY else ["default"]:
            if "index" not in name:
                yield attributor_param(name, size, torch.float32, "same_class")
            param = attributor_param(name, size, torch.float64, "all")
            if size == "large":
                param = pytest.param(*param.values, marks=pytest.mark.thorough)
            yield param
            if size == "default":
                yield attributor_param(name, size, torch.float32, "all")


@pytest.mark.parametrize(("name", "size", "dtype", "candidates"), list(cases_of_copies()), ids=str)
def test_copies(name, size, dtype, candidates):
    numpy_dtype = np.float32 if dtype == torch.float32 else np.float64
    params = settings(name, size) | {"candidates": candidates, "batch_size": 4}
    X, y, first = copies(seed=len(size), dtype=numpy_dtype)
    queries = np.random.default_rng(10).normal(size=(4, N_FEATURES)).astype(numpy_dtype)
    attributor = ATTRIBUTORS[name].make(network(dtype), **params).fit(X, y)
    labels = np.arange(4) % N_CLASSES
    if candidates == "same_class":
        k = min(6, np.bincount(y).min())
    elif "pool" in name:
        k = 6
    else:
        k = len(X)
    check_order(attributor.explain(queries, labels, k=k).indices, first)
    picks = attributor.select(queries, 5, labels)
    check_order(picks[None], first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@parametrize_attributors(name for name in ATTRIBUTORS if name != "random")
def test_one_row_many_times(name, dtype):
    X, y = np.tile(np.float32([1, -2, 0.5, 3]), (13, 1)), np.arange(13) % N_CLASSES
    y[:] = 1
    y[0] = 0  # two classes
    attributor = ATTRIBUTORS[name].make(network(dtype), batch_size=5, **settings(name)).fit(X, y)
    queries, labels = X[:2] + 1, [1, 1]
    named = 0 if attributor.candidates == "all" else 1
    if named or not hasattr(attributor, "measurement"):
        k = 5
        explanation = attributor.explain(queries, labels, k=k)
        np.testing.assert_array_equal(explanation.indices, [np.arange(named, named + k)] * 2)
        if "pool" in name:
            assert explanation.n_tied is None  # not all rows were looked at
        else:
            np.testing.assert_array_equal(explanation.n_tied, 13 - named - k)
            np.testing.assert_array_equal(attributor.explain(queries, labels, k=12).n_tied, 0)


def tied_with_last(scores, picks):
    """Rows that are no picks and score as the last pick does."""
    last = scores[picks[-1]]
    near = np.abs(scores - last) <= 1e-10 * np.abs(last)
    near[picks] = False
    return near.sum()


@every_attributor
def test_ties_are_counted(name):
    """Where picks are the largest scores: ties with the k-th, at every k."""
    case = ATTRIBUTORS[name]
    X, y, first = copies(dtype=np.float64)
    attributor = case.make(network(torch.float64), **settings(name)).fit(X, y)
    queries = np.random.default_rng(3).normal(size=(4, N_FEATURES))
    labels = np.arange(4) % N_CLASSES
    scores = attributor.attribute(queries, labels)
    n_candidates = np.isfinite(scores).sum(1)
    for k in range(1, n_candidates.min() + 1) if case.pointwise else [1] if case.argmax else []:
        explanation = attributor.explain(queries, labels, k=k)
        for row, picks, n_tied in zip(scores, explanation.indices, explanation.n_tied, strict=True):
            row = np.where(np.isnan(row), np.inf, row)
            assert n_tied == tied_with_last(row, picks), k
            if name != "random":
                copy = first[picks[-1]]
                left = np.setdiff1d(np.flatnonzero(first == copy), picks)
                assert n_tied >= len(left)


def conditional(rule, phi, query, picks, noise_variance):
    """What every row scores after some picks, by definition; nan for picks."""
    rest = [x for x in range(len(phi)) if x not in picks]
    given = list(rest) if rule == "info_loss" else list(picks)
    values = np.full(len(phi), np.nan)

    def covariance(rows):
        gram = phi[rows].T @ phi[rows] / noise_variance
        return np.linalg.inv(np.eye(phi.shape[1]) + gram)

    def variance(rows):
        return query @ covariance(rows) @ query

    for x in rest:
        if rule == "info_loss":
            values[x] = variance([r for r in given if r != x]) - variance(given)
        elif rule == "linear_response":
            values[x] = (phi[x] @ covariance(given) @ query) ** 2
        else:
            values[x] = variance(given) - variance([*given, x])
    return values


@pytest.mark.parametrize("size", [1.0, 100.0])
@pytest.mark.parametrize("rule", ["info_gain", "linear_response", "info_loss"])
def test_ties_of_greedy_picks(rule, size):
    """Rows along the axes and copies of them: many conditional scores are equal."""
    X = np.vstack([np.eye(3), 2 * np.eye(3), np.eye(3), [[1, 1, 0], [0, 0, 0], [1, 1, 0]]])
    queries = np.array([[1.0, 1, 1], [1, 1, 0], [0.5, 0, 0]])
    cls = LOSS if rule == "info_loss" else GAIN
    solver = {"solver": "linear_response"} if rule == "linear_response" else {}
    attributor = cls(
        nn.Linear(3, 2), features=as_rows, candidates="all", noise_variance=size, **solver
    ).fit(X, np.arange(len(X)) % 2)
    for k in range(1, len(X) + 1):
        explanation = attributor.explain(queries, k=k)
        for query, picks, n_tied in zip(
            queries, explanation.indices, explanation.n_tied, strict=True
        ):
            scores = conditional(rule, X, query, picks[:-1], size)
            best = np.nanmax(scores)
            near = scores >= best - 1e-9 * (abs(best) + 1e-9 * (query @ query))
            assert picks[-1] == np.flatnonzero(near)[0], (picks, scores)
            assert n_tied == near.sum() - 1, (k, picks, scores)


@pytest.mark.parametrize("name", ["gain, pool", "gain, sketched pool", "gain, index"])
def test_searched_ties(name):
    """Copies across the edge of a pool: the lowest are in it."""
    X, y, first = copies(n_distinct=6, n_copies=4, dtype=np.float64)
    attributor = ATTRIBUTORS[name].make(network(torch.float64), candidates="all").fit(X, y)
    queries = np.random.default_rng(3).normal(size=(4, N_FEATURES))
    for k in (1, 2, 3, 5):
        explanation = attributor.explain(queries, k=k)
        check_order(explanation.indices, first)


@parametrize_attributors(name for name in ATTRIBUTORS if "pool" not in name)
def test_copies_of_a_query(name):
    """X=None: a row is not named for itself, and its copies are."""
    X, y, first = copies(dtype=np.float64)
    attributor = ATTRIBUTORS[name].make(network(torch.float64), **settings(name)).fit(X, y)
    indices = attributor.explain(k=5).indices
    for row, picks in enumerate(indices):
        assert row not in picks
        assert len(set(picks)) == 5
        if name != "random":
            for kind in np.unique(first):
                named = picks[first[picks] == kind]
                others = np.setdiff1d(np.flatnonzero(first == kind), [row])
                assert (named == others[: len(named)]).all(), (row, picks)
