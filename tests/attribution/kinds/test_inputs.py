"""Rows in whatever form they are given: the same answers, and the names that they carry."""

import os
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.sparse import csc_array, csr_matrix
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_provenance.attribution import BM25Attributor, InfluenceAttributor, InfoGainAttributor

from ...checks import thorough
from ..test_estimator_checks import ATTRIBUTORS as OF_ESTIMATORS
from .conftest import (
    ATTRIBUTORS,
    N_FEATURES,
    answers,
    assert_same,
    calls,
    every_attributor,
    network,
)

NAMES = [f"column {i}" for i in range(N_FEATURES)]
FORMS = {
    "big-endian": lambda X: X.astype(">f4"),
    "backwards": lambda X: X[::-1].copy()[::-1],
    "tensor": lambda X: torch.tensor(X, requires_grad=True),
    "list": lambda X: X.tolist(),
    "list of tensors": lambda X: list(torch.as_tensor(X)),
    "pandas": lambda X: pd.DataFrame(X, columns=NAMES),
    "polars": lambda X: pl.DataFrame(X, schema=NAMES),
}
SPARSE = {"csr": csr_matrix, "csc array": csc_array}
# All forms for one attributor of each kind of features, which read rows; three for the others.
KINDS = {"gain", "gain, sketch", "gain, own rows", "TRAK", "last layer", "RepSim", "random"}
THREE = {"tensor", "pandas", "csr"}


def dense(X):
    """Rows of the user's own, from whatever form."""
    if isinstance(X, dict):
        X = torch.cat([X["left"], X["right"]], 1)
    if isinstance(X, torch.Tensor):
        X = X.detach().numpy()
    if isinstance(X, list):
        X = [np.asarray(row) for row in X]
    return np.asarray(X.toarray() if hasattr(X, "toarray") else X, dtype=np.float64)


def make(name, module):
    params = {"features": dense} if "own rows" in name else {}
    return ATTRIBUTORS[name].make(module, **params)


@pytest.fixture
def data(data):
    """Rows that are the same in single precision, many entries of which are zero."""
    X, y, queries = data
    return np.where(np.abs(X) < 0.7, 0, X), y, np.where(np.abs(queries) < 0.3, 0, queries)


@every_attributor
def test_forms(name, module, data):
    X, y, queries = data
    expected = answers(make(name, module).fit(X, y), queries)
    for kind, form in {**FORMS, **SPARSE}.items():
        if name not in KINDS and kind not in THREE:
            continue
        attributor = make(name, module).fit(form(X), y)
        found = answers(attributor, form(queries))
        assert_same(found, expected, exact=False, rtol=1e-3, atol=1e-6)  # single precision


# Of the model itself, which was fitted to rows without names.
@pytest.mark.filterwarnings("ignore:X has feature names, but")
@pytest.mark.parametrize("kind", [*thorough(LogisticRegression), MLPClassifier])
@every_attributor
def test_forms_for_estimators(name, kind, data):
    X, y, queries = data
    params = {"max_iter": 1000} if kind is LogisticRegression else {"max_iter": 5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = kind(random_state=0, **params).fit(X, y)
    expected = answers(make(name, model).fit(X, y), queries)
    for form in (FORMS["tensor"], FORMS["pandas"], SPARSE["csr"]):
        found = answers(make(name, model).fit(form(X), y), form(queries))
        assert_same(found, expected, exact=False, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*have fewer than k=3 candidates")
@pytest.mark.parametrize(
    "attributor",
    [a for a in OF_ESTIMATORS if not isinstance(a, BM25Attributor)],  # which counts words
    ids=lambda a: type(a).__name__,
)
def test_tensors_for_every_attributor(attributor, data):
    """Those with a gradient are read; those that hold no values, or not all, are refused."""
    X, y, queries = data
    fitted = clone(attributor).fit(X, y)
    names = [name for name in calls(fitted, queries) if hasattr(fitted, name)]
    again = clone(attributor).fit(FORMS["tensor"](X), y)
    for name in names:
        expected = answers_of(fitted, queries, name)
        found = answers_of(again, FORMS["tensor"](queries), name)
        assert_same(found, expected, exact=False, rtol=1e-4, atol=1e-6)  # single precision
    meta = torch.empty(queries.shape, device="meta")
    for rows in (meta, torch.tensor(queries).to_sparse()):
        for name in names:
            with pytest.raises(ValueError, match="X must be a dense tensor with values; got"):
                answers_of(fitted, rows, name)
        with pytest.raises(ValueError, match="X must be a dense tensor with values; got"):
            clone(attributor).fit(rows, y[: len(queries)])


@pytest.mark.filterwarnings("ignore:.*have fewer than k=2 candidates")
@pytest.mark.parametrize("attributor", OF_ESTIMATORS, ids=lambda a: type(a).__name__)
def test_rows_of_several_lengths_are_named(attributor, data):
    X, y, queries = data
    X, queries = np.abs(X), np.abs(queries)  # counts, to some
    ragged = np.asarray(X).tolist()
    ragged[3] = ragged[3][:2]
    lengths = f"some have 2 entries, others {N_FEATURES}. Cut or pad them"
    with pytest.raises(ValueError, match=f"X must have rows of one shape; {lengths}"):
        clone(attributor).fit(ragged, y)
    fitted = clone(attributor).fit(X, y)
    with pytest.raises(ValueError, match=f"X must have rows of one shape; {lengths}"):
        fitted.explain(ragged[: len(queries)], k=2)


@pytest.mark.parametrize("cls", [InfluenceAttributor, InfoGainAttributor])
def test_targets_with_a_gradient_are_read(cls, data):
    X, _, queries = data
    y = X @ np.ones(N_FEATURES, dtype=np.float32)
    targets = torch.tensor(y, requires_grad=True)
    expected = cls(Ridge()).fit(X, y).attribute(queries)
    np.testing.assert_allclose(cls(Ridge()).fit(X, targets).attribute(queries), expected)
    with pytest.raises(ValueError, match="y must be a dense tensor with values"):
        cls(Ridge()).fit(X, targets.to("meta"))


@every_attributor
def test_labels_of_any_kind(name, module, data):
    X, y, queries = data
    expected = make(name, module).fit(X, y).explain(queries, [0, 1, 2, 0, 1], k=3)
    labels = np.array([0, 1, 2, 0, 1])
    for form in (torch.as_tensor, pd.Series, np.float64):
        found = make(name, module).fit(X, form(y)).explain(queries, form(labels), k=3)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6)


class Halves(nn.Module):
    """Takes the halves of a row by name."""

    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, left, right):
        return self.inner(torch.cat([left, right], 1))


def halves(X):
    X = torch.as_tensor(X)
    return {"left": X[:, :2], "right": X[:, 2:]}


@every_attributor
def test_dicts_of_tensors(name, data):
    X, y, queries = data
    module = Halves()
    expected = answers(make(name, module.inner).fit(X, y), queries)
    found = answers(make(name, module).fit(halves(X), y), halves(queries))
    if name == "random":
        del found["explain"], found["attribute"], found["select"]  # by what the queries hold
        expected = {key: expected[key] for key in found}
    assert_same(found, expected, exact=False, rtol=1e-5)


@every_attributor
def test_frames_name_rows(name, module, data):
    X, y, queries = data
    index = [f"patient {i}" for i in range(len(X))]
    frame = pd.DataFrame(X, columns=NAMES, index=index)
    asked = pd.DataFrame(queries, columns=NAMES, index=[f"new {i}" for i in range(len(queries))])
    attributor = make(name, module).fit(frame, y)
    explanation = attributor.explain(asked, k=3)
    np.testing.assert_array_equal(explanation.sample_id, np.array(index)[explanation.indices])
    np.testing.assert_array_equal(explanation.query_id, asked.index)
    assert explanation.feature_names == NAMES
    # Other queries of the same content have names of their own.
    again = attributor.explain(asked.rename(index=lambda name: name + "!"), k=3)
    np.testing.assert_array_equal(again.query_id, asked.index + "!")
    given = make(name, module).fit(frame, y, sample_id=np.arange(len(X))).explain(asked, k=3)
    np.testing.assert_array_equal(given.sample_id, given.indices)
    counted = make(name, module).fit(frame.reset_index(drop=True), y)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert counted.explain(queries, k=3).sample_id is None


class Counting(TransformerMixin, BaseEstimator):
    """Counts how often it transforms how many rows."""

    seen = None

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        if Counting.seen is not None:
            Counting.seen.append(len(X))
        return np.asarray(X) * 2


@every_attributor
def test_pipelines_transform_once(name, data):
    X, y, queries = data
    X, queries = X.astype(np.float64), queries.astype(np.float64)
    pipeline = make_pipeline(Counting(), LogisticRegression(max_iter=1000)).fit(X, y)
    expected = answers(make(name, pipeline[-1]).fit(2 * X, y), 2 * queries)
    if "own rows" in name or name == "random":
        expected = answers(make(name, pipeline).fit(X, y), queries)
    n_models = ATTRIBUTORS[name].n_models
    try:
        Counting.seen = []
        attributor = make(name, pipeline).fit(X, y)
        # Own rows look at the model through a few rows alone.
        assert Counting.seen.count(len(X)) <= n_models
        assert len(Counting.seen) <= n_models
        for method in expected:
            if method == "transform" and "own rows" in name:
                continue
            Counting.seen = []
            found = answers_of(attributor, queries, method)
            assert Counting.seen == [len(queries)] * n_models, method
            assert_same(found, expected[method], exact=False)
    finally:
        Counting.seen = None


def answers_of(attributor, queries, method):
    return calls(attributor, queries)[method]()


@every_attributor
def test_samplers_are_passed_over(name, data):
    from imblearn.pipeline import make_pipeline as make_sampled
    from imblearn.under_sampling import RandomUnderSampler

    X, y, queries = data
    y = np.where(np.arange(len(y)) < 16, 0, y)
    sampler = RandomUnderSampler(random_state=0)
    pipeline = make_sampled(Counting(), sampler, LogisticRegression(max_iter=1000)).fit(X, y)
    explanation = make(name, pipeline).fit(X, y).explain(queries, k=2)
    expected = make(name, make_pipeline(pipeline[0], pipeline[-1])).fit(X, y)
    np.testing.assert_array_equal(explanation.indices, expected.explain(queries, k=2).indices)
    assert len(explanation.training_data) == len(X)


@every_attributor
def test_array_api(name, module, data):
    """Tensors stay answers of arrays where scikit-learn hands them on."""
    if os.environ.get("SCIPY_ARRAY_API") != "1":
        pytest.skip("SCIPY_ARRAY_API is not set")
    X, y, queries = map(torch.as_tensor, data)
    expected = answers(make(name, module).fit(X, y), queries)
    with config_context(array_api_dispatch=True):
        assert_same(answers(make(name, module).fit(X, y), queries), expected)
