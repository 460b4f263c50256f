"""The outlier detector: scikit-learn's contract, and rows that the network knows."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.datasets import load_digits
from sklearn_provenance.inspection import ProvenanceOutlierDetector, anomaly_ranking

from ..checks import thorough

METHODS = ["distance", "disagreement", "entropy", "low_entropy", "confidence"]


def network(architecture="class_independent", **params):
    params = {"width": "small", "max_epochs": 6, "warmup_epochs": 1, "random_state": 0, **params}
    return ProvenanceClassifier(architecture, backbone="mlp", device="cpu", **params)


class WithLabels(ProvenanceOutlierDetector):
    """Makes its own labels where a check gives none."""

    def fit(self, X, y=None):
        if y is None:
            y = KMeans(3, n_init=1, random_state=0).fit_predict(np.asarray(X))
        return super().fit(X, y)


NEEDS_LABELS = dict.fromkeys(
    ("check_outliers_fit_predict", "check_outliers_train"),
    "fits without labels, which a provenance network needs",
)


@parametrize_with_checks(
    [ProvenanceOutlierDetector(network(max_epochs=3), k=2)],
    expected_failed_checks=lambda estimator: NEEDS_LABELS,
)
def test_check_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("method", [METHODS[0], *thorough(*METHODS[1:])])
@pytest.mark.parametrize(
    "check",
    [estimator_checks.check_outliers_fit_predict, estimator_checks.check_outliers_train],
    ids=lambda check: check.__name__,
)
def test_checks_that_need_labels(check, method):
    check("WithLabels", WithLabels(network(max_epochs=3), method=method, k=3))


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_param_validation,
        estimator_checks.check_dataframe_column_names_consistency,
    ],
    ids=lambda check: check.__name__,
)
def test_further_checks(check):
    check("ProvenanceOutlierDetector", ProvenanceOutlierDetector(network(max_epochs=1), k=2))


@pytest.fixture(scope="module")
def data():
    X, y = load_digits(return_X_y=True)
    return X[:200], y[:200], X[200:300]


@pytest.fixture(scope="module")
def fitted(data):
    return network().fit(*data[:2])


@pytest.mark.parametrize("method", METHODS)
def test_training_rows_are_scored_by_the_others(data, fitted, method):
    X, y, new = data
    detector = ProvenanceOutlierDetector(fitted, method=method, k=4)
    outlier = detector.fit_predict(X, y)
    assert detector.estimator_ is fitted
    scores = -anomaly_ranking(fitted, method, k=4).scores
    np.testing.assert_array_equal(detector.score_samples(X), scores)
    # Any of them, in any company.
    mixed = np.concatenate([new[:3], X[::-7], new[3:5]])
    got = detector.score_samples(mixed)
    np.testing.assert_array_equal(got[3:-2], scores[::-7])
    np.testing.assert_allclose(got[:3], detector.score_samples(new[:3]), rtol=1e-5, atol=1e-7)
    assert detector.offset_ == np.percentile(scores, 10)
    n_outliers = (outlier == -1).sum()  # ties with the offset are none
    assert n_outliers <= 20 <= n_outliers + (scores == detector.offset_).sum()
    np.testing.assert_array_equal(outlier, detector.predict(X))


def test_scores_of_new_rows_by_their_definitions(data, fitted):
    X, y, new = data

    def score(method):
        detector = ProvenanceOutlierDetector(fitted, method=method, k=4).fit(X)
        return -detector.score_samples(new)

    p = fitted.index_proba(new).astype(np.float64)
    np.testing.assert_allclose(score("confidence"), -np.log(p.max(1)), rtol=1e-4, atol=1e-6)
    entropy = -(p * np.log(np.where(p > 0, p, 1))).sum(1)
    np.testing.assert_allclose(score("entropy"), entropy, rtol=1e-4)
    np.testing.assert_array_equal(score("low_entropy"), -score("entropy"))
    known, features = (fitted.transform(rows).astype(np.float64) for rows in (X, new))
    distances = np.sort(np.linalg.norm(features[:, None] - known, axis=2), axis=1)
    np.testing.assert_allclose(score("distance"), distances[:, :4].mean(1), rtol=1e-6)
    top = np.argsort(-p, axis=1)[:, :4]
    weights = np.take_along_axis(p, top, axis=1)
    differs = y[top] != fitted.predict(new)[:, None]
    expected = (weights * differs).sum(1) / weights.sum(1)
    np.testing.assert_allclose(score("disagreement"), expected, atol=1e-5)


def test_new_rows_are_flagged_as_often_as_training_rows():
    X, y = load_digits(return_X_y=True)
    X, y, new = X[:600], y[:600], X[600:1200]
    clf = network(max_epochs=15).fit(X, y)
    detector = ProvenanceOutlierDetector(clf, method="entropy").fit(X)
    assert 0.03 < (detector.predict(new) == -1).mean() < 0.3
    # With their own indices training rows would make nearly every new row an outlier.
    least = np.percentile(clf.index_proba(X).max(1), 10)
    assert (clf.index_proba(new).max(1) < least).mean() > 0.9
    detector = ProvenanceOutlierDetector(clf).fit(X)
    turned = np.rot90(new, axes=(1, 2))
    scores = [*detector.score_samples(new), *detector.score_samples(turned)]
    assert roc_auc_score(np.arange(1200) < 600, scores) > 0.9


def test_equal_rows_keep_their_own_labels(data):
    X, y, _ = data
    X, y = np.concatenate([X, X[:1]]), np.append(y, (y[0] + 1) % 10)
    clf = network("single_branch", alpha=0, max_epochs=15).fit(X, y)
    detector = ProvenanceOutlierDetector(clf, method="disagreement").fit(X, y)
    scores = -anomaly_ranking(clf, "disagreement").scores
    assert scores[0] != scores[-1]
    np.testing.assert_array_equal(detector.score_samples(X)[[0, -1]], scores[[0, -1]])
    assert detector.score_samples(X[-1:]) == scores[0]  # nothing tells them apart


def test_an_offset_from_rows_that_the_network_has_not_seen(data, fitted):
    X, y, new = data
    detector = ProvenanceOutlierDetector(fitted, contamination=0.2)
    outlier = detector.fit_predict(new)
    assert (outlier == -1).sum() == 20
    np.testing.assert_array_equal(outlier, detector.predict(new))
    assert detector.offset_ == np.percentile(detector.score_samples(new), 20)


def test_fitted_estimators_are_used_and_others_are_cloned(data, fitted):
    X, y, _ = data
    unfitted = network(max_epochs=1)
    detector = ProvenanceOutlierDetector(unfitted).fit(X, y)
    assert not hasattr(unfitted, "net_")
    assert detector.estimator_ is not unfitted
    anew = ProvenanceOutlierDetector(fitted, prefit=False).fit(X, y)
    assert anew.estimator_ is not fitted
    frozen = FrozenEstimator(fitted)
    assert clone(ProvenanceOutlierDetector(frozen)).fit(X).estimator_.estimator is fitted
    with pytest.raises(NotFittedError, match="prefit=True says that it is"):
        ProvenanceOutlierDetector(unfitted, prefit=True).fit(X, y)
    for prefit in ("auto", False):
        with pytest.raises(ValueError, match="requires y to be passed"):
            ProvenanceOutlierDetector(unfitted, prefit=prefit).fit(X)
    with pytest.raises(ValueError, match="y must be the labels with which"):
        ProvenanceOutlierDetector(fitted).fit(X, y[::-1])
    with pytest.raises(TypeError, match=r"ProvenanceClassifier.*got LogisticRegression"):
        ProvenanceOutlierDetector(LogisticRegression()).fit(X.reshape(len(X), -1), y)
    with pytest.raises(ValueError, match='routing="soft"'):
        ProvenanceOutlierDetector(network("class_conditional"), method="disagreement").fit(X, y)


@pytest.mark.parametrize("method", ["entropy", "confidence"])
def test_routing_takes_effect_with_the_next_fit(data, method):
    X, y, new = data
    clf = network("class_conditional").fit(X, y)
    detector = ProvenanceOutlierDetector(clf, method=method).fit(X)
    rows = np.concatenate([X[:3], new])
    scores = detector.score_samples(rows)
    clf.set_params(routing="soft")
    np.testing.assert_array_equal(detector.score_samples(rows), scores)
    assert clf.routing == "soft"
    assert not np.allclose(detector.fit(X).score_samples(rows), scores)


def test_pipelines_inside_and_outside_agree(data):
    X, y, new = data
    X, new = X.reshape(len(X), -1).astype(float), new.reshape(len(new), -1).astype(float)
    X, new = (pd.DataFrame(rows).add_prefix("pixel") for rows in (X, new))
    inside = ProvenanceOutlierDetector(make_pipeline(StandardScaler(), network(max_epochs=2)))
    outside = make_pipeline(StandardScaler(), ProvenanceOutlierDetector(network(max_epochs=2)))
    np.testing.assert_array_equal(inside.fit_predict(X, y), outside.fit_predict(X, y))
    np.testing.assert_allclose(inside.score_samples(new), outside.score_samples(new))
    assert inside.feature_names_in_[0] == "pixel0"


def test_a_copy_knows_the_same_rows(data, fitted):
    X, y, _ = data
    detector = ProvenanceOutlierDetector(fitted, method="entropy").fit(X, y)
    twin = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(twin.score_samples(X[:9]), detector.score_samples(X[:9]))
