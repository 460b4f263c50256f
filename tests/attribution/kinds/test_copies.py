"""Clones, pickles and further fits answer alike, and parameters stay what they were."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from ...checks import thorough
from .conftest import ATTRIBUTORS, answers, assert_same, changed, every_attributor, frozen, network


@pytest.mark.parametrize("asked", [True, *thorough(False)], ids=["asked before", "not asked"])
@every_attributor
def test_pickle(name, module, data, asked):
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(module).fit(X, y, sample_id=np.arange(len(X)) + 7)
    stored = pickle.dumps(attributor) if not asked else None
    expected = answers(attributor, queries)
    stored = stored or pickle.dumps(attributor)
    loaded = pickle.loads(stored)
    assert_same(answers(loaded, queries), expected)
    theirs, ours = loaded.explain(k=3), attributor.explain(k=3)
    np.testing.assert_array_equal(theirs.indices, ours.indices)
    np.testing.assert_array_equal(theirs.sample_id, ours.sample_id)
    assert len(stored) < 200_000  # what can be computed again is not stored
    # The copy has a module of its own, and may be fitted again.
    assert_same(answers(loaded.fit(X, y), queries), expected)


@every_attributor
def test_deep_copy(name, module, data):
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(module).fit(X, y)
    expected = answers(attributor, queries)
    copied = copy.deepcopy(attributor)
    attributor.fit(X + 1, y)
    assert_same(answers(copied, queries), expected)


@every_attributor
def test_refit(name, module, data):
    X, y, queries = data
    make = ATTRIBUTORS[name].make
    attributor = make(module).fit(X + 1, y, sample_id=np.arange(len(X)))
    answers(attributor, queries)
    attributor.explain(k=2)
    fresh = make(module).fit(X[:18], y[:18])
    attributor.fit(X[:18], y[:18])
    assert_same(answers(attributor, queries), answers(fresh, queries))
    assert_same(tuple(attributor.explain(k=2)), tuple(fresh.explain(k=2)))
    assert attributor.explain(queries).sample_id is None
    assert not changed(frozen(fresh), frozen(attributor))


@every_attributor
def test_refit_on_other_columns(name, data):
    """Nothing of an earlier fit on rows of another width is left."""
    X, y, queries = data
    wide = np.hstack([X, X[:, :2]])
    narrow, broad = network(), network_of(6)
    case = ATTRIBUTORS[name]
    attributor = case.make(broad).fit(wide, y)
    answers(attributor, wide[:3])
    estimator = narrow if case.n_models == 1 else [narrow] * case.n_models
    attributor.set_params(estimator=estimator).fit(X, y)
    assert attributor.n_features_in_ == 4
    assert_same(answers(attributor, queries), answers(case.make(narrow).fit(X, y), queries))


def network_of(n_features):
    module = network()
    first = type(module[0])(n_features, 6)
    module[0] = first
    return module


@every_attributor
def test_parameters(name, module, data):
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(module)
    given = attributor.get_params(deep=False)
    before = frozen(given)
    attributor.fit(X, y)
    answers(attributor, queries)
    after = attributor.get_params(deep=False)
    assert all(after[key] is value for key, value in given.items())
    assert not changed(before, frozen(after))
    copied = clone(attributor)
    theirs = changed(before, frozen(copied.get_params(deep=False)))
    assert not [change for change in theirs if "object" not in change]  # copies of parameters
    with pytest.raises(NotFittedError):
        copied.explain(queries)
    assert_same(answers(copied.fit(X, y), queries), answers(attributor, queries))
