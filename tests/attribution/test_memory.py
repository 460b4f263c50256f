"""With a memory, a grid over the noise variance passes each fold through the network once."""

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from sklearn_provenance.attribution import InfoGainAttributor, InfoLossAttributor
from sklearn_provenance.tangent import TangentFeatures

from ..checks import thorough


class Counted(torch.nn.Linear):
    """Counts passes of more rows than fit looks at to plan."""

    passes = 0

    def forward(self, x):
        if len(x) > 6:
            Counted.passes += 1
        return super().forward(x)


@pytest.fixture
def counted():
    torch.manual_seed(0)
    Counted.passes = 0
    return Counted(5, 3)


def passes_of_a_grid(attributor, data, size):
    X, y, _ = data
    before = Counted.passes
    search = GridSearchCV(attributor, {"noise_variance": np.logspace(-2, 4, size)}, cv=3)
    search.fit(X, y)
    return Counted.passes - before, search.cv_results_["mean_test_score"]


@pytest.mark.parametrize("features", ["auto", TangentFeatures(n_components=16)])
@pytest.mark.parametrize("cls", [InfoGainAttributor, *thorough(InfoLossAttributor)])
def test_a_grid_costs_the_passes_of_one_point(counted, data, tmp_path, cls, features):
    one, _ = passes_of_a_grid(cls(counted, features=features), data, 1)
    four, plain = passes_of_a_grid(cls(counted, features=features), data, 4)
    assert four > 2 * one
    attributor = cls(counted, features=features, memory=str(tmp_path))
    kept, scores = passes_of_a_grid(attributor, data, 4)
    assert 0 < kept <= one
    np.testing.assert_array_equal(scores, plain)


class Rows(BaseEstimator):
    """Features of one's own, whose fits are counted."""

    fits = 0

    def fit(self, X, y=None):
        Rows.fits += 1
        self.scale_ = np.abs(X).max()
        return self

    def transform(self, X):
        return np.asarray(X) / self.scale_


@pytest.mark.parametrize("features", ["auto", TangentFeatures(n_components=16), Rows()])
def test_a_grid_decomposes_each_kernel_once(network, data, tmp_path, monkeypatch, features):
    """Four noise variances, three folds, three classes (one kernel for all with own features)."""
    X, y, _ = data
    decompose, calls = torch.linalg.eigh, []
    monkeypatch.setattr(torch.linalg, "eigh", lambda a: calls.append(a.shape) or decompose(a))
    Rows.fits = 0
    attributor = InfoGainAttributor(network, features=features, memory=str(tmp_path))
    grid = {"noise_variance": np.logspace(-2, 4, 4)}
    GridSearchCV(attributor, grid, cv=3, refit=False).fit(X, y)
    own = isinstance(features, Rows)
    assert len(calls) == (3 if own else 9)
    assert Rows.fits == (3 if own else 0)


class CountedClassifier(LogisticRegression):
    fits = 0

    def fit(self, X, y):
        CountedClassifier.fits += 1
        return super().fit(X, y)


def test_a_grid_fits_the_estimator_once_per_fold(data, tmp_path):
    X, y, _ = data
    CountedClassifier.fits = 0
    attributor = InfoGainAttributor(CountedClassifier(), memory=str(tmp_path))
    search = GridSearchCV(attributor, {"noise_variance": np.logspace(-2, 4, 4)}, cv=3).fit(X, y)
    assert CountedClassifier.fits == 4  # one for each fold, one for all rows
    plain = InfoGainAttributor(CountedClassifier())
    plain = GridSearchCV(plain, {"noise_variance": np.logspace(-2, 4, 4)}, cv=3).fit(X, y)
    for result in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(search.cv_results_[result], plain.cv_results_[result])


def change_weight(module):
    with torch.no_grad():
        module.weight[0, 0] += 1


def change_buffer(module):
    module.shift[0] += 1


class Shifted(Counted):
    def __init__(self):
        super().__init__(5, 3)
        self.register_buffer("shift", torch.zeros(5))

    def forward(self, x):
        return super().forward(x + self.shift) ** 2


@pytest.mark.parametrize("change", [change_weight, change_buffer])
def test_another_model_is_not_mistaken_for_the_one_before(data, tmp_path, change):
    X, y, queries = data
    memory = joblib.Memory(tmp_path, verbose=0)
    torch.manual_seed(0)
    module = Shifted()
    labels = np.zeros(7, dtype=int)
    before = InfoGainAttributor(module, memory=memory).fit(X, y).attribute(queries, labels)
    change(module)
    after = InfoGainAttributor(module, memory=memory).fit(X, y).attribute(queries, labels)
    plain = InfoGainAttributor(module).fit(X, y).attribute(queries, labels)
    np.testing.assert_array_equal(after, plain)
    assert np.nanmax(np.abs(after - before)) > 1e-4


def test_other_settings_rows_and_labels_are_told_apart(data, tmp_path):
    X, y, queries = data
    model = LogisticRegression().fit(X, y)
    variants = [
        {},
        {"measurement": "margin"},
        {"ntk_parameterization": True},
        {"features": TangentFeatures(n_components=8)},
        {"features": TangentFeatures(n_components=8, random_state=1)},
        {"candidates": "all"},
    ]
    for rows in (slice(None), slice(3, None)):
        for params in variants:
            kept = InfoLossAttributor(model, memory=str(tmp_path), **params)
            plain = InfoLossAttributor(model, **params)
            for labels in (None, np.arange(7) % 3):
                np.testing.assert_array_equal(
                    kept.fit(X[rows], y[rows]).attribute(queries, labels),
                    plain.fit(X[rows], y[rows]).attribute(queries, labels),
                )
