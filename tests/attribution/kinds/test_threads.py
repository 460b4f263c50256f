"""Calls at the same time answer as calls in turn."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from .conftest import (
    ATTRIBUTORS,
    answers,
    assert_same,
    calls,
    changed,
    every_attributor,
    frozen,
    network,
    world,
)

N_THREADS, N_JOBS = 4, 12


def at_once(jobs):
    """What jobs return, all started together on threads."""
    start = threading.Barrier(N_THREADS)

    def run(job):
        if job < N_THREADS:
            start.wait(30)
        return jobs[job]()

    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(run, range(len(jobs))))


def mixed_jobs(attributors, queries):
    """Calls of every kind in turn, for every attributor, and their names."""
    jobs = [
        (number, name, call)
        for number, attributor in enumerate(attributors)
        for name, call in calls(attributor, queries).items()
    ]
    jobs = [jobs[i % len(jobs)] for i in range(N_JOBS)]
    return [job[:2] for job in jobs], [job[2] for job in jobs]


@pytest.fixture
def module():
    """In double precision: other numbers of threads round otherwise."""
    return network(torch.float64)


def small_batches(name):
    return {} if name == "random" else {"batch_size": 3}


@every_attributor
def test_one_attributor(name, module, data):
    X, y, queries = data
    module.train()
    module[1].eval()
    serial = answers(ATTRIBUTORS[name].make(module, **small_batches(name)).fit(X, y), queries)
    before, outside = frozen(module), world()
    attributor = ATTRIBUTORS[name].make(module, **small_batches(name)).fit(X, y)  # not asked yet
    kinds, jobs = mixed_jobs([attributor], queries)
    for (_, kind), found in zip(kinds, at_once(jobs), strict=True):
        assert_same(found, serial[kind], exact=False)
    assert not changed(before, frozen(module))
    assert world() == outside


@every_attributor
def test_two_attributors_of_one_module(name, module, data):
    X, y, queries = data
    module.train()
    make = ATTRIBUTORS[name].make
    attributors = [make(module).fit(X, y), make(module).fit(X[:15], y[:15])]
    serial = [answers(make(module).fit(X, y), queries)]
    serial.append(answers(make(module).fit(X[:15], y[:15]), queries))
    before, outside = frozen(module), world()
    kinds, jobs = mixed_jobs(attributors, queries)
    for (number, kind), found in zip(kinds, at_once(jobs), strict=True):
        assert_same(found, serial[number][kind], exact=False)
    assert not changed(before, frozen(module))
    assert world() == outside


@pytest.mark.parametrize("name", ["gain", "gain, sketch", "loss"])
def test_torch_keeps_its_number_of_threads(name, module, data):
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(module, candidates="all").fit(X, y)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        at_once([lambda: attributor.explain(queries, k=5)] * N_JOBS)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@every_attributor
def test_fits_at_once(name, module, data):
    X, y, queries = data
    module.train()
    make = ATTRIBUTORS[name].make
    expected = answers(make(module).fit(X, y), queries)
    before = frozen(module)
    for found in at_once([lambda: make(module).fit(X, y)] * N_THREADS):
        assert_same(answers(found, queries), expected, exact=False)
    assert not changed(before, frozen(module))


@every_attributor
def test_parameters_are_not_indexed(name, data, monkeypatch):
    """torch waits for a parameter's lock with Python's held; a forward pass may hold the first."""
    X, y, queries = data

    places = []

    def noted(parameter, place):
        places.append(place)
        return torch.Tensor.__getitem__(parameter, place)

    monkeypatch.setattr(nn.Parameter, "__getitem__", noted, raising=False)
    answers(ATTRIBUTORS[name].make(network(torch.float64)).fit(X, y), queries)
    assert places == []


@pytest.mark.parametrize("name", ["gain", "TRAK", "last layer", "EK-FAC"])
def test_two_modules_with_a_layer_in_common(name, data):
    X, y, queries = data
    one, two = network(torch.float64), network(torch.float64, seed=1)
    two[0], two[1] = one[0], one[1]
    one.train()
    attributors = [ATTRIBUTORS[name].make(module).fit(X, y) for module in (one, two)]
    serial = [answers(ATTRIBUTORS[name].make(module).fit(X, y), queries) for module in (one, two)]
    before = frozen([one, two])
    kinds, jobs = mixed_jobs(attributors, queries)
    for (number, kind), found in zip(kinds, at_once(jobs), strict=True):
        assert_same(found, serial[number][kind], exact=False)
    assert not changed(before, frozen([one, two]))


@pytest.mark.parametrize("name", ["gain", "last layer", "TRAK"])
def test_others_may_ask_while_one_fails(name, module, data):
    X, y, queries = data
    module.train()
    attributor = ATTRIBUTORS[name].make(module).fit(X, y)
    expected, before = answers(attributor, queries), frozen(module)

    def fail():
        with pytest.raises(ValueError, match="does not know"):
            attributor.explain(queries, [9] * len(queries))
        with pytest.raises((ValueError, RuntimeError)):
            attributor.fit(X[:, :2], y)

    kinds, jobs = mixed_jobs([attributor], queries)
    found = at_once([job for call in jobs for job in (call, fail)])[::2]
    for (_, kind), answer in zip(kinds, found, strict=True):
        assert_same(answer, expected[kind], exact=False)
    assert not changed(before, frozen(module))
