"""The sampler by itself and inside of imbalanced-learn's pipeline."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_param_validation, parametrize_with_checks

from sklearn_provenance.attribution import (
    InfoGainAttributor,
    InfoLossAttributor,
    RandomAttributor,
    RepSimAttributor,
)
from sklearn_provenance.evaluation import AttributionSampler

MODEL = LogisticRegression()
ATTRIBUTORS = [
    InfoGainAttributor(MODEL, measurement="margin"),
    InfoLossAttributor(MODEL),
    RandomAttributor(MODEL),
    RepSimAttributor(MODEL),
]


def rows(n=90, yes=0.4, seed=0):
    X, y = make_classification(n, 6, n_informative=4, weights=[1 - yes], random_state=seed)
    return X, np.array(["no", "yes"])[y]


@pytest.mark.parametrize("attributor", ATTRIBUTORS, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("balanced", [False, True])
def test_rows_are_those_that_the_attributor_selects(attributor, balanced):
    X, y = rows()
    sampler = AttributionSampler(attributor, n_samples=20, balanced=balanced)
    X_kept, y_kept = sampler.fit_resample(X, y)
    expected = clone(attributor).fit(X, y).select(X, 20, y=y, balanced=balanced)
    np.testing.assert_array_equal(sampler.sample_indices_, expected)
    np.testing.assert_array_equal(X_kept, X[expected])
    np.testing.assert_array_equal(y_kept, y[expected])
    np.testing.assert_array_equal(sampler.query_indices_, np.arange(90))
    if balanced:
        assert np.unique(y_kept, return_counts=True)[1].tolist() == [10, 10]
    assert not hasattr(attributor, "classes_")


@pytest.mark.parametrize(("size", "n"), [(0.3, 27), (12, 12), (0.05, 5)])
def test_queries_can_be_held_out(size, n):
    X, y = rows()
    attributor = InfoGainAttributor(MODEL, measurement="margin")
    sampler = AttributionSampler(attributor, n_samples=10, query_size=size, random_state=0)
    X_kept, _ = sampler.fit_resample(X, y)
    queries = sampler.query_indices_
    assert len(queries) == n
    assert abs((y[queries] == "yes").mean() - (y == "yes").mean()) < 1 / n
    assert not np.isin(sampler.sample_indices_, queries).any()
    rest = np.setdiff1d(np.arange(90), queries)
    fitted = clone(attributor).fit(X[rest], y[rest])
    picks = rest[fitted.select(X[queries], 10, y=y[queries])]
    np.testing.assert_array_equal(sampler.sample_indices_, picks)
    np.testing.assert_array_equal(X_kept, X[picks])
    again = clone(sampler).fit(X, y).query_indices_
    np.testing.assert_array_equal(again, queries)
    other = clone(sampler).set_params(random_state=1).fit(X, y).query_indices_
    assert set(other) != set(queries)


@pytest.mark.parametrize(
    ("n_samples", "n"), [(0.1, 9), (0.105, 9), (0.106, 10), (0.001, 1), (90, 90)]
)
def test_shares_are_rounded_half_up(n_samples, n):
    X, y = rows()
    sampler = AttributionSampler(RandomAttributor(MODEL, candidates="all"), n_samples=n_samples)
    assert len(sampler.fit_resample(X, y)[0]) == n


def test_data_frames_stay_data_frames():
    pd = pytest.importorskip("pandas")
    X, y = rows()
    frame, series = pd.DataFrame(X, index=np.arange(90) + 100), pd.Series(y)
    frame.columns = list("abcdef")
    sampler = AttributionSampler(RandomAttributor(MODEL), n_samples=5)
    X_kept, y_kept = sampler.fit_resample(frame, series)
    assert X_kept.index.tolist() == (sampler.sample_indices_ + 100).tolist()
    assert X_kept.columns.tolist() == list("abcdef")
    assert y_kept.tolist() == y[sampler.sample_indices_].tolist()


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_sparse_rows_stay_sparse(kind):
    X, y = rows()
    sampler = AttributionSampler(RandomAttributor(MODEL), n_samples=5)
    X_kept, _ = sampler.fit_resample(csr_array(X).asformat(kind), y)
    assert issparse(X_kept)
    np.testing.assert_array_equal(X_kept.toarray(), X[sampler.sample_indices_])


def test_a_model_that_stays_as_it_is():
    X, y = rows()
    frozen = FrozenEstimator(LogisticRegression(C=1e-3).fit(X, y))
    sampler = AttributionSampler(InfoGainAttributor(frozen, measurement="margin")).fit(X, y)
    assert sampler.attributor_.estimator_.estimator is frozen.estimator
    torch.manual_seed(0)
    module = torch.nn.Linear(6, 2)
    codes = (y == "yes").astype(int)
    sampler = AttributionSampler(InfoGainAttributor(module), n_samples=4).fit(X, codes)
    expected = InfoGainAttributor(module).fit(X, codes).select(X, 4, y=codes)
    np.testing.assert_array_equal(sampler.sample_indices_, expected)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_samples": 91}, ValueError, "asks for 91 rows, but X has 90 .* 0 are held out"),
        ({"n_samples": 80, "query_size": 12}, ValueError, "12 are held out"),
        ({"n_samples": 1.5}, ValueError, "n_samples"),
        ({"query_size": 0}, ValueError, "query_size"),
        ({"balanced": "yes"}, ValueError, "balanced"),
        ({"attributor": LogisticRegression()}, ValueError, "attributor"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, message):
    sampler = AttributionSampler(RandomAttributor(MODEL, candidates="all"))
    with pytest.raises(error, match=message):
        sampler.set_params(**change).fit(*rows())


@parametrize_with_checks([AttributionSampler(RandomAttributor(MODEL), n_samples=2)])
def test_scikit_learn_takes_it_for_an_estimator(estimator, check):
    check(estimator)


def test_parameters_are_validated():
    sampler = AttributionSampler(RandomAttributor(MODEL), n_samples=2)
    check_param_validation("AttributionSampler", sampler)


class Remembers(DummyClassifier):
    """Knows the rows that it was fitted to and that it predicted."""

    def fit(self, X, y):
        self.seen_ = X, y
        return super().fit(X, y)

    def predict(self, X):
        self.asked_ = X
        return super().predict(X)


@pytest.fixture
def pipeline():
    return pytest.importorskip("imblearn.pipeline").Pipeline


def test_in_a_pipeline_rows_are_dropped_for_fitting_only(pipeline):
    X, y = rows(yes=0.2)
    steps = [
        ("scale", StandardScaler()),
        ("sample", AttributionSampler(RepSimAttributor(MODEL), n_samples=0.2, balanced=True)),
        ("model", Remembers()),
    ]
    pipe = pipeline(steps).fit(X, y)
    scaled = StandardScaler().fit_transform(X)
    kept = clone(steps[1][1]).fit(scaled, y).sample_indices_
    np.testing.assert_array_equal(pipe["sample"].sample_indices_, kept)
    np.testing.assert_array_equal(pipe["model"].seen_[0], scaled[kept])
    np.testing.assert_array_equal(pipe["model"].seen_[1], y[kept])
    pipe.predict(X)
    np.testing.assert_array_equal(pipe["model"].asked_, scaled)


def test_pipelines_are_searched_and_scored(pipeline, tmp_path):
    X, y = rows()
    sampler = AttributionSampler(
        InfoGainAttributor(MODEL, measurement="margin"), query_size=0.3, random_state=0
    )
    pipe = pipeline([("sample", sampler), ("model", LogisticRegression())], memory=str(tmp_path))
    scores = cross_val_score(pipe, X, y, cv=3, error_score="raise")
    assert scores.shape == (3,)
    grid = {"sample__n_samples": [0.1, 0.4], "sample__attributor__noise_variance": [1.0, "scale"]}
    search = GridSearchCV(pipe, grid, cv=3, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    n = {0.1: 9, 0.4: 36}[search.best_params_["sample__n_samples"]]
    assert len(search.best_estimator_["sample"].sample_indices_) == n


def test_it_is_no_transformer_and_needs_no_imbalanced_learn():
    sampler = AttributionSampler(RandomAttributor(MODEL))
    assert not hasattr(sampler, "transform")
    assert [c.__name__ for c in type(sampler).__mro__][1] == "BaseEstimator"
    assert isinstance(sampler, BaseEstimator)


@pytest.mark.parametrize("seed", range(6))
def test_held_out_queries_have_the_shares_of_the_classes(seed):
    X, y = rows(100, yes=0.2)
    n_yes = (y == "yes").sum()
    sampler = AttributionSampler(
        RandomAttributor(MODEL, candidates="all"), query_size=0.5, random_state=seed
    ).fit(X, y)
    assert abs((y[sampler.query_indices_] == "yes").sum() - n_yes / 2) < 1


def test_attributors_need_no_tags():
    class Plain:
        def fit(self, X, y):
            return self

        def select(self, X, k):
            return np.arange(k)

    assert not get_tags(AttributionSampler(Plain())).input_tags.sparse
