"""explain(..., show=) shows what it is given of each training row, on every estimator."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import TensorDataset

import sklearn_provenance
from sklearn_provenance import (
    ProvenanceClassifier,
    ProvenanceRegressor,
    ProvenanceVAE,
    attribution,
    explain,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*of 30 queries have fewer:UserWarning")
X, Y = load_iris(return_X_y=True)
X, Y = X[::5].astype(np.float32), Y[::5]
TEXTS = [f"text {number}" for number in range(30)]
ASKED = ["query a", "query b", "query c"]
QUICK = {"width": "small", "max_epochs": 1, "device": "cpu", "random_state": 0}


def logistic():
    return LogisticRegression(max_iter=1000).fit(X, Y)


def voting():
    parts = [("a", LogisticRegression(max_iter=1000)), ("b", LogisticRegression(C=0.1))]
    return VotingClassifier(parts, voting="soft").fit(X, Y)


MODELS = {
    "BoostInAttributor": lambda: GradientBoostingClassifier(n_estimators=2).fit(X, Y),
    "EnsembleAttributor": voting,
    "ForestAttributor": lambda: RandomForestClassifier(3, random_state=0).fit(X, Y),
}
ATTRIBUTORS = [
    name for name in attribution.__all__ if hasattr(getattr(attribution, name), "explain")
]
OWN = {
    "ProvenanceClassifier": lambda: ProvenanceClassifier(backbone="mlp", **QUICK).fit(X, Y),
    "ProvenanceRegressor": lambda: ProvenanceRegressor(backbone="mlp", **QUICK).fit(X, X[:, 0]),
    "ProvenanceVAE": lambda: ProvenanceVAE(2, **QUICK).fit(X, Y),
}


def through(fitted):
    return lambda queries, k, **shows: explain(fitted, queries, k, **shows)


def of_any(name):
    """Return the method `explain` of a fitted estimator."""
    if name in OWN:
        return OWN[name]().explain
    if name == "latent":
        fitted = OWN["ProvenanceVAE"]()
        return lambda queries, k, **shows: fitted.explain_latent(
            np.zeros((30 if queries is None else len(queries), 2)), k, **shows
        )
    if name == "explain":
        fitted = logistic()
        return lambda queries, k, **shows: explain(fitted, queries, k, training=(X, Y), **shows)
    if name == "explain, itself":
        return through(OWN["ProvenanceClassifier"]())
    if name == "explain, pipeline":
        scaled = make_pipeline(StandardScaler(), ProvenanceClassifier(backbone="mlp", **QUICK))
        return through(scaled.fit(X, Y))
    if name == "influence of a network":
        return attribution.InfluenceAttributor(nn.Linear(4, 3)).fit(X, Y).explain
    attributor = getattr(attribution, name)(MODELS.get(name, logistic)()).fit(X, Y)
    return lambda queries, k, **shows: attributor.explain(queries, k=k, **shows)


NAMES = [*ATTRIBUTORS, *OWN, "latent", "explain", "explain, itself", "explain, pipeline"]
NAMES.append("influence of a network")


@pytest.fixture(scope="module", params=NAMES)
def method(request):
    return request.param, of_any(request.param)


def test_no_estimator_is_missing():
    public = {
        name
        for name in sklearn_provenance.__all__
        if hasattr(getattr(sklearn_provenance, name), "explain")
    }
    assert public <= {*ATTRIBUTORS, *OWN}


def test_other_rows_are_shown(method):
    name, method = method
    plain = method(X[:3], 2)
    both = method(X[:3], 2, show=TEXTS, show_queries=ASKED)
    np.testing.assert_array_equal(both.indices, plain.indices)
    np.testing.assert_array_equal(both.scores, plain.scores)
    assert both.training_data.tolist() == TEXTS
    assert both.queries.tolist() == ASKED
    assert f"first   {TEXTS[both.indices[0, 0]]}" in repr(both)
    assert "query b" in both.to_html()
    again = pickle.loads(pickle.dumps(both))
    assert again.training_data.tolist() == TEXTS
    assert repr(again) == repr(both)
    assert method(X[:3], 2, show=TEXTS).queries is None
    among = method(None, 2, show=TEXTS)
    if name != "latent":
        assert among.queries.tolist() == TEXTS
    rows = np.asarray(plain.training_data[np.arange(3)]) + 1
    only = method(X[:3], 2, show_queries=rows)
    np.testing.assert_array_equal(only.queries, rows)
    assert only.training_data.shape[0] == 30
    for options in ({"show_queries": ASKED}, {"show": TEXTS, "show_queries": rows}):
        with pytest.raises(ValueError, match="show_queries must hold rows like those"):
            method(X[:3], 2, **options)


@pytest.mark.parametrize(
    "rows",
    [
        tuple(TEXTS),
        np.array(TEXTS),
        pd.Series(TEXTS),
        pd.DataFrame({"text": TEXTS, "number": range(30)}),
        sparse.eye(30, format="coo"),
        torch.ones(30, 2, requires_grad=True),
        [list(range(number + 1)) for number in range(30)],  # of several lengths
        np.full((30, 2), np.nan),
    ],
    ids=lambda rows: type(rows).__name__,
)
def test_rows_of_every_kind_are_shown(method, rows):
    found = method[1](X[:3], 2, show=rows)
    assert found.training_data.shape[0] == 30
    repr(found)
    found.to_html()


class NoRows:
    def __len__(self):
        return 30


BROKEN = [
    ("abc", TypeError, "got the single text 'abc'"),
    (b"abc", TypeError, "got the single text"),
    (3, TypeError, "got 3"),
    (np.float64(3), TypeError, r"got np.float64\(3.0\)|got 3"),
    (np.array(3), TypeError, "got a ndarray"),
    (torch.tensor(3), TypeError, "got a Tensor"),
    ([], TypeError, "got nothing"),
    (iter(TEXTS), TypeError, "got a list_iterator"),
    (set(TEXTS), TypeError, "got a set"),
    (NoRows(), TypeError, "got a NoRows"),
    ({}, TypeError, "got a mapping of"),
    ({"a": np.zeros(30), "b": np.ones(30)}, TypeError, r"mapping of \['a', 'b'\], without a table"),
    ({"a": np.zeros((30, 2)), "b": np.ones(3)}, TypeError, "which cannot be read: The entries"),
    (TensorDataset(torch.ones(30, 2)), TypeError, "must hold the rows; got a TensorDataset"),
    (np.ma.masked_array(X, X > 5), ValueError, "must not be a masked array"),
    (TEXTS[:-1], ValueError, "; got 29"),
    (X[:, :, None].T, ValueError, "; got 1"),
    (sparse.eye(29), ValueError, "; got 29"),
    ([*TEXTS[:-2], None, None], ValueError, r"no value at row 28 \(None or nan; 2 in all\)"),
    (pd.Series([pd.NA, *TEXTS[1:]], dtype=object), ValueError, "no value at row 0"),
]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    BROKEN,
    ids=[f"{type(rows).__name__}-{n}" for n, (rows, *_) in enumerate(BROKEN)],
)
def test_what_cannot_be_shown_is_refused(method, rows, error, message):
    if isinstance(rows, np.ma.MaskedArray | TensorDataset) or error is ValueError:
        wanted = ""
    else:
        wanted = "show must hold what is shown of each training row, such as a list of texts, 30 in"
    with pytest.raises(error, match=message) as caught:
        method[1](X[:3], 2, show=rows)
    assert wanted in str(caught.value)
    assert str(caught.value).startswith("show ")
    with pytest.raises(error, match=message.replace("30", "3")) as caught:
        method[1](None, 2, show_queries=rows)
    assert str(caught.value).startswith("show_queries ")


def test_queries_are_counted(method):
    for rows in (TEXTS, ASKED[:2]):
        message = (
            f"show_queries must hold what is shown of each query, .* 3 in all; got {len(rows)}"
        )
        with pytest.raises(ValueError, match=message):
            method[1](X[:3], 2, show=TEXTS, show_queries=rows)


def test_wrong_rows_are_refused_before_anything_is_computed():
    attributor = attribution.InfoGainAttributor(logistic()).fit(X, Y)
    attributor._answer = None  # would be called
    with pytest.raises(ValueError, match="show must hold"):
        attributor.explain(X[:3], show=TEXTS[:2])


@pytest.mark.parametrize("name", OWN)
def test_saved_estimators_show_other_rows(name, tmp_path):
    fitted = OWN[name]()
    fitted.save(tmp_path / "model.safetensors")
    again = type(fitted).load(tmp_path / "model.safetensors", device="cpu")
    found = again.explain(X[:3], 2, show=TEXTS, show_queries=ASKED)
    assert repr(found) == repr(fitted.explain(X[:3], 2, show=TEXTS, show_queries=ASKED))
    with pytest.raises(ValueError, match="30 in all; got 29"):
        again.explain(X[:3], 2, show=TEXTS[1:])


def test_images_may_be_shown_as_texts_and_texts_as_images():
    images = np.random.default_rng(0).random((30, 1, 8, 8)).astype(np.float32)
    fitted = ProvenanceClassifier(backbone="mlp", **QUICK).fit(images, Y)
    found = fitted.explain(images[:3], 2, show=TEXTS, show_queries=ASKED)
    assert found.image_shape is None
    assert fitted.explain(images[:3], 2).image_shape == (1, 8, 8)
    other = OWN["ProvenanceClassifier"]().explain(X[:3], 2, show=images)
    assert other.image_shape == (1, 8, 8)
    other.to_html()
