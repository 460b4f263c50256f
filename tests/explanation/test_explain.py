"""Explanations through pipelines, searches and other containers."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from sklearn_provenance import Explanation, explain
from sklearn_provenance.explanation import Contributions
from sklearn_provenance.explanation._explain import explain_by_itself

from .drawn import texts_of


class Nearest(KNeighborsClassifier):
    """Explains by nearest neighbours, and keeps what it was asked."""

    image_shape = None

    def explain(self, X, k=5):
        distances, indices = self.kneighbors(X, k)
        self.asked_ = X
        return Explanation(
            indices,
            -distances,
            queries=self._fit_X if X is None else np.asarray(X),
            training_data=self._fit_X,
            image_shape=self.image_shape,
        )


RNG = np.random.default_rng(0)


X = RNG.normal(size=(40, 4)) * [1, 10, 100, 1000] + 5


Y = (X[:, 0] > 5).astype(int)


Q = X[:6] + 0.25


def direct(transform):
    """What the nearest neighbours in a transformed space are."""
    return Nearest().fit(transform(X), Y).explain(transform(Q), 3)


SCALED = direct(StandardScaler().fit(X).transform)


@pytest.mark.parametrize(
    "container",
    [
        lambda: make_pipeline(StandardScaler(), Nearest()),
        lambda: make_pipeline("passthrough", StandardScaler(), None, Nearest()),
        lambda: make_pipeline(StandardScaler(), make_pipeline(Nearest())),
        lambda: make_pipeline(make_pipeline(StandardScaler()), Nearest()),
        lambda: GridSearchCV(
            make_pipeline(StandardScaler(), Nearest()), {"nearest__n_neighbors": [3]}, cv=2
        ),
        lambda: make_pipeline(
            StandardScaler(), GridSearchCV(Nearest(), {"n_neighbors": [3]}, cv=2)
        ),
        lambda: FrozenEstimator(make_pipeline(StandardScaler(), Nearest()).fit(X, Y)),
        lambda: make_pipeline(
            FrozenEstimator(make_pipeline(StandardScaler(), Nearest()).fit(X, Y))
        ),
        lambda: make_pipeline(
            MinMaxScaler(), FunctionTransformer(), make_pipeline(StandardScaler(), Nearest())
        ),
    ],
)
def test_containers_are_opened_and_rows_shown_in_the_users_units(container):
    exp = explain(container().fit(X, Y), Q, k=3)
    np.testing.assert_array_equal(exp.indices, SCALED.indices)
    np.testing.assert_allclose(exp.scores, SCALED.scores)
    assert exp.queries is Q
    assert exp.training_data.shape == X.shape
    np.testing.assert_allclose(np.asarray(exp.training_data), X)
    np.testing.assert_allclose(exp.training_data[exp.indices], X[exp.indices])
    np.testing.assert_allclose(exp.training_data[-1], X[-1])


@pytest.mark.parametrize(
    "container",
    [
        lambda: Nearest(),
        lambda: GridSearchCV(Nearest(), {"n_neighbors": [3]}, cv=2),
        lambda: FrozenEstimator(Nearest().fit(pd.DataFrame(X, columns=list("abcd")), Y)),
        lambda: Pipeline([("only", Nearest())]),
    ],
)
def test_without_transforming_steps_nothing_changes(container):
    frame, queries = (pd.DataFrame(rows, columns=list("abcd")) for rows in (X, Q[:2]))
    exp = explain(container().fit(frame, Y), queries, k=3)
    expected = Nearest().fit(X, Y).explain(Q[:2], 3)
    np.testing.assert_array_equal(exp.indices, expected.indices)
    assert isinstance(exp.training_data, np.ndarray)
    assert exp.feature_names == list("abcd")


@pytest.mark.parametrize(
    "step",
    [
        FunctionTransformer(np.tanh),  # its inverse_transform is the identity
        FrozenEstimator(FunctionTransformer(np.tanh).fit(X)),
        SelectKBest(k=2),  # its inverse_transform fills in zeros
        SimpleImputer(),  # its inverse_transform raises
        make_pipeline(StandardScaler(), SimpleImputer()),
    ],
)
def test_steps_that_cannot_be_undone_leave_rows_in_the_transformed_space(step):
    pipeline = make_pipeline(step, Nearest()).fit(X, Y)
    exp = explain(pipeline, Q, k=3)
    np.testing.assert_allclose(exp.queries, pipeline[:-1].transform(Q))
    np.testing.assert_allclose(exp.training_data, pipeline[:-1].transform(X))


def test_names_follow_the_space_that_is_shown():
    frame, queries = (pd.DataFrame(rows, columns=list("abcd")) for rows in (X, Q))
    scaled = make_pipeline(StandardScaler(), Nearest()).fit(frame, Y)
    assert explain(scaled, queries).feature_names == list("abcd")
    assert explain(scaled, None).feature_names == list("abcd")
    selected = make_pipeline(SelectKBest(k=2), Nearest()).fit(frame, Y)
    expected = list(selected[:-1].get_feature_names_out())
    assert explain(selected, queries).feature_names == expected
    assert set(expected) < set("abcd")


class NearestImage(Nearest):
    image_shape = (2, 1)


@pytest.mark.parametrize(("n_columns", "kept"), [(2, (2, 1)), (4, None)])
def test_image_shape_is_kept_only_if_rows_keep_their_size(n_columns, kept):
    pipeline = make_pipeline(PCA(n_components=2), NearestImage()).fit(X[:, :n_columns], Y)
    exp = explain(pipeline, Q[:, :n_columns])
    assert exp.image_shape == kept
    assert exp.training_data.shape == (40, n_columns)


def test_no_queries_are_handed_on_to_leave_each_training_row_out():
    pipeline = make_pipeline(StandardScaler(), Nearest()).fit(X, Y)
    exp = explain(pipeline, None, k=3)
    assert pipeline[-1].asked_ is None
    assert (exp.indices != np.arange(len(X))[:, None]).all()
    np.testing.assert_allclose(np.asarray(exp.queries), X)
    np.testing.assert_allclose(exp[[5, 2]].queries, X[[5, 2]])


def test_restored_rows_are_pickled_and_drawn():
    exp = explain(make_pipeline(StandardScaler(), Nearest()).fit(X, Y), Q.tolist(), k=3)
    other = pickle.loads(pickle.dumps(exp))
    np.testing.assert_allclose(other.training_data[:3], X[:3])
    written = {text.get_text() for text, _ in texts_of(other.plot(0))}
    assert {f"{value:.3g}" for value in Q[0] if 1 <= value < 100} <= written


def test_rows_are_restored_only_when_asked_for():
    class Counting(StandardScaler):
        def inverse_transform(self, X, copy=None):
            restored.append(len(X))
            return super().inverse_transform(X, copy=copy)

    restored = []
    exp = explain(make_pipeline(Counting(), Nearest()).fit(X, Y), Q, k=3)
    _ = exp.training_data[exp.indices[0]]
    assert sum(restored) == 1 + 3  # one row tells whether the steps can be undone


@pytest.mark.parametrize(
    ("estimator", "path"),
    [
        (LogisticRegression(), "LogisticRegression"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "Pipeline > LogisticRegression"),
        (FrozenEstimator(LogisticRegression()), "FrozenEstimator > LogisticRegression"),
        (make_pipeline(StandardScaler(), "passthrough"), "Pipeline > str"),
        (
            GridSearchCV(make_pipeline(LogisticRegression()), {}, cv=2).fit(X, Y),
            "GridSearchCV > Pipeline > LogisticRegression",
        ),
    ],
)
def test_what_does_not_explain_is_named(estimator, path):
    with pytest.raises(TypeError, match=f"got {path}$"):
        explain_by_itself(estimator, Q)


@pytest.mark.parametrize(
    "estimator",
    [make_pipeline(LogisticRegression()), torch.nn.Linear(2, 2)],
    ids=["sklearn", "torch"],
)
def test_the_attributor_for_other_classifiers_is_named(estimator):
    with pytest.raises(TypeError, match=r"InfoGainAttributor\(estimator\).fit\(X_train, y_train\)"):
        explain_by_itself(estimator, Q)
    with pytest.raises(TypeError, match="inside a Pipeline or a search; got LinearRegression"):
        explain_by_itself(LinearRegression(), Q)


@pytest.mark.parametrize("scaler_first", [True, False])
def test_samplers_are_passed_over(scaler_first):
    pipelines = pytest.importorskip("imblearn.pipeline")
    sampling = pytest.importorskip("imblearn.under_sampling")
    labels = np.arange(40) < 6
    sampler = sampling.RandomUnderSampler(random_state=0)
    steps = [StandardScaler(), sampler] if scaler_first else [sampler, StandardScaler()]
    pipeline = pipelines.make_pipeline(*steps, Nearest()).fit(X, labels)
    rows, _ = clone(sampler).fit_resample(X, labels)
    exp = explain(pipeline, Q, k=2)
    assert exp.queries is Q
    np.testing.assert_allclose(np.asarray(exp.training_data), rows)
    expected = pipeline[-1].kneighbors(
        StandardScaler().fit(X if scaler_first else rows).transform(Q), 2
    )
    np.testing.assert_array_equal(exp.indices, expected[1])
    only = pipelines.make_pipeline(sampler, Nearest()).fit(X, labels)
    np.testing.assert_array_equal(explain(only, Q, 2).training_data, rows)


def test_search_without_refit_is_named():
    search = GridSearchCV(Nearest(), {"n_neighbors": [3]}, cv=2, refit=False).fit(X, Y)
    with pytest.raises(TypeError, match="refit=True"):
        explain(search, Q)


@pytest.mark.parametrize(
    "estimator",
    [
        Nearest(),
        make_pipeline(StandardScaler(), Nearest()),
        GridSearchCV(Nearest(), {"n_neighbors": [3]}),
        make_pipeline(StandardScaler(), GridSearchCV(Nearest(), {"n_neighbors": [3]})),
    ],
)
def test_unfitted_estimators_are_refused(estimator):
    with pytest.raises(NotFittedError):
        explain(estimator, Q)


class Bare(Nearest):
    """Says nothing of its rows."""

    def explain(self, X, k=5):
        return super().explain(X, k)._replace(queries=None, training_data=None)


def test_explanations_without_rows_go_through_a_pipeline():
    exp = explain(make_pipeline(StandardScaler(), Bare()).fit(X, Y), Q, k=3)
    np.testing.assert_array_equal(exp.indices, SCALED.indices)
    assert exp.training_data is None
    assert exp.feature_names is None


def test_names_that_a_step_counts_wrongly_are_not_shown():
    class Miscounting(FunctionTransformer):
        def get_feature_names_out(self, input_features=None):
            return np.array(["a", "b"], dtype=object)

    exp = explain(make_pipeline(Miscounting(np.tanh), Nearest()).fit(X, Y), Q, k=3)
    np.testing.assert_allclose(exp.training_data, np.tanh(X))
    assert exp.feature_names is None


def test_parts_of_training_rows_are_named_as_the_frame_names_them():
    class Parts(Nearest):
        def explain(self, X, k=5):
            rows = self._fit_X if X is None else X
            parts = Contributions(rows, self._fit_X, [f"x{i}" for i in range(4)])
            return super().explain(X, k)._replace(contributions=parts)

    frame = pd.DataFrame(X, columns=list("abcd"))
    pipeline = make_pipeline(StandardScaler(), Parts()).fit(frame, Y)
    exp = explain(pipeline, None, k=2)
    assert {name for name, _ in exp.shared_features(0, 0)} <= set("abcd")
    assert exp.shared_features(0, 0)
    assert len(exp.training_data) == len(exp.queries) == 40
