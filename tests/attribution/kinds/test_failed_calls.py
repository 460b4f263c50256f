"""A call that fails changes nothing, and one that does not changes nothing of the user's."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from torch import nn

from ...checks import thorough
from .conftest import (
    ATTRIBUTORS,
    N_FEATURES,
    N_TRAIN,
    answers,
    assert_same,
    calls,
    changed,
    every_attributor,
    frozen,
    network,
    world,
)

MARK = 100.0


class Raising(nn.Module):
    """Raises at a row with a mark, after batch normalisation and dropout ran."""

    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, x):
        logits = self.inner(x)
        if (x == MARK).any():
            raise RuntimeError("the module's own error")
        return logits


@pytest.fixture
def raising():
    """A module in mixed modes, with gradients, a hook and a parameter that is not trained."""
    module = Raising()
    module(torch.ones(3, N_FEATURES)).sum().backward()
    module.train()
    module.inner[1].eval()
    module.inner[0].bias.requires_grad_(False)
    module.inner[0].register_forward_hook(lambda *args: None)
    return module


def marked(X, row):
    X = X.copy()
    X[row, 1] = MARK
    return X


def with_nan(X, row):
    X = X.copy()
    X[row, 1] = np.nan
    return X


BAD_FITS = {
    "unknown labels": lambda X, y: (X, y + 5),
    "short labels": lambda X, y: (X, y[:-1]),
    "one unknown label": lambda X, y: (X, np.where(np.arange(len(y)) == 13, 9, y)),
    "labels that are numbers": lambda X, y: (X, y + 0.25),
    "short names": lambda X, y: (X, y, y[1:]),
    "nan": lambda X, y: (with_nan(X, 13), y),
    "nan first": lambda X, y: (with_nan(X, 0), y),
    "module raises": lambda X, y: (marked(X, 13), y),
    "module raises last": lambda X, y: (marked(X, N_TRAIN - 1), y),
    "other width": lambda X, y: (np.hstack([X, X]), y),
    "no rows": lambda X, y: (X[:0], y[:0]),
}
# Bare features and random numbers never run the module on every training row.
NEVER_RUNS = {"gain, own rows", "loss, own rows", "RelatIF, own rows", "RepSim, own rows", "random"}


def attempt(call):
    """Whether a call raised what users may expect."""
    try:
        call()
    except (ValueError, TypeError, RuntimeError, IndexError):
        return True
    return False


@every_attributor
def test_a_fit_that_fails(name, raising, data):
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(raising).fit(X, y, sample_id=np.arange(N_TRAIN) + 50)
    expected = answers(attributor, queries)
    ids = attributor.explain(queries).sample_id
    before, outside, module = frozen(attributor), world(), frozen(raising)
    for kind, bad in BAD_FITS.items():
        given = bad(X + 1, y)
        copies = [array.copy() for array in given]
        failed = attempt(lambda given=given: attributor.fit(*given))
        runs = name not in NEVER_RUNS or not kind.startswith(("nan", "module"))
        assert failed or not runs, kind
        if not failed:
            attributor.fit(X, y, sample_id=np.arange(N_TRAIN) + 50)
        assert not changed(before, frozen(attributor)), kind
        assert not changed(module, frozen(raising)), kind
        assert world() == outside, kind
        assert_same(given, tuple(copies))
    assert_same(answers(attributor, queries), expected)
    np.testing.assert_array_equal(attributor.explain(queries).sample_id, ids)


@every_attributor
def test_a_first_fit_that_fails(name, raising, data):
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(raising)
    before = frozen(attributor)
    for bad in ("unknown labels", "other width", "no rows", "short names"):
        assert attempt(lambda bad=bad: attributor.fit(*BAD_FITS[bad](X, y)))
        assert not changed(before, frozen(attributor)), bad
        with pytest.raises(NotFittedError):
            attributor.predict(queries)
    assert_same(
        answers(attributor.fit(X, y), queries),
        answers(ATTRIBUTORS[name].make(raising).fit(X, y), queries),
    )


def failing_calls(attributor, queries):
    """Calls that must fail, by name."""
    unknown, width = np.full(len(queries), 9), queries[:, 1:]
    found = {
        "k is 0": lambda: attributor.explain(queries, k=0),
        "k is too large": lambda: attributor.explain(queries, k=N_TRAIN + 1),
        "k is no integer": lambda: attributor.explain(queries, k=2.5),
        "too many to select": lambda: attributor.select(queries, N_TRAIN + 1),
        "score of too few labels": lambda: attributor.score(queries, [0] * (len(queries) - 1)),
        "y alone": lambda: attributor.explain(y=unknown),
    }
    for kind, rows, y in [
        ("unknown labels", queries, unknown),
        ("short labels", queries, unknown[1:] - 9),
        ("other width", width, None),
        ("nan", with_nan(queries, 2), None),
        ("module raises", marked(queries, len(queries) - 1), None),
    ]:
        for method, call in calls(attributor, rows, y).items():
            if y is None or method not in ("predict", "transform"):
                found[f"{method}: {kind}"] = call
    return found


# Whose features are compared as they are: transform runs no network.
OF_ROWS = {f"{name}, own rows" for name in ("gain", "loss", "RelatIF", "RepSim")}


@every_attributor
def test_a_query_that_fails(name, raising, data):
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(raising).fit(X, y)
    expected = answers(attributor, queries)
    before, outside, module = frozen(attributor), world(), frozen(raising)
    given = queries.copy()
    for kind, call in failing_calls(attributor, queries).items():
        may_answer = name in OF_ROWS and kind == "transform: module raises"
        assert attempt(call) or may_answer, kind
        assert not changed(before, frozen(attributor)), kind
        assert not changed(module, frozen(raising)), kind
        assert world() == outside, kind
    np.testing.assert_array_equal(queries, given)
    assert_same(answers(attributor, queries), expected)


@pytest.mark.parametrize("kind", ["array", *thorough("tensor")])
@every_attributor
def test_success_changes_nothing_of_the_users(name, raising, data, kind):
    X, y, queries = data
    if kind == "tensor":
        X, y, queries = map(torch.as_tensor, (X, y, queries))
    given = frozen([X, y, queries])
    attributor = ATTRIBUTORS[name].make(raising)
    params = frozen(attributor.get_params(deep=False))
    module, outside = frozen(raising), world()
    attributor.fit(X, y)
    fitted = frozen(attributor)
    for method, call in calls(attributor, queries).items():
        call()
        assert not changed(fitted, frozen(attributor)), method
    attributor.explain(k=2)
    attributor.score(X, y)
    assert not changed(fitted, frozen(attributor))
    assert frozen([X, y, queries]) == given
    assert not changed(module, frozen(raising))
    assert world() == outside
    assert frozen(attributor.get_params(deep=False)) == params


class Scaling(nn.Module):
    """Doubles its input, in place or not."""

    def __init__(self, in_place):
        super().__init__()
        self.inner, self.in_place = network(), in_place

    def forward(self, x):
        return self.inner(x.mul_(2) if self.in_place else x * 2)


@pytest.mark.parametrize("kind", ["tensor", *thorough("read-only array")])
@every_attributor
def test_a_module_that_writes_to_its_input(name, data, kind):
    X, y, queries = data
    params = {"batch_size": 7} if name != "random" else {}
    expected = ATTRIBUTORS[name].make(Scaling(False), **params).fit(X, y)
    if kind == "tensor":
        X, queries = torch.as_tensor(X), torch.as_tensor(queries)
    else:
        X.flags.writeable = queries.flags.writeable = False
    given = frozen([X, queries])
    attributor = ATTRIBUTORS[name].make(Scaling(True), **params).fit(X, y)
    for _ in range(2):
        assert_same(answers(attributor, queries), answers(expected, queries), exact=False)
        assert frozen([X, queries]) == given


@pytest.mark.parametrize("what", ["weight", "buffer"])
@every_attributor
def test_a_module_that_changes_after_fit(name, module, data, what):
    """Its old answers are not those of the new one, and its new gradients not those of fit."""
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(module).fit(X, y)
    answers(attributor, queries)
    attributor.explain(k=2)
    tensor = module[0].weight.detach() if what == "weight" else module[1].running_mean
    before = tensor.clone()
    tensor += 1
    for method in ("explain", "attribute"):
        with pytest.raises(ValueError, match="have changed"):
            calls(attributor, queries)[method]()
    with pytest.raises(ValueError, match="have changed"):
        attributor.explain(k=2)
    tensor.copy_(before)
    answers(attributor, queries)
