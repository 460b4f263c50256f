"""explain finds the natural method for any fitted estimator, and says why."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import (
    InfluenceAttributor,
    InfoGainAttributor,
    ProvenanceClassifier,
    ProvenanceRegressor,
    explain,
)
from sklearn_provenance._explain import METHODS
from sklearn_provenance.attribution import BoostInAttributor, EnsembleAttributor, ForestAttributor

from .versions import L1

IRIS = load_iris(return_X_y=True)
DIABETES = tuple(part[:150] for part in load_diabetes(return_X_y=True))
LOGISTIC = LogisticRegression(max_iter=1000)
NETWORK = MLPClassifier((5,), max_iter=50, random_state=0)
SOFT = VotingClassifier([("a", LOGISTIC), ("b", LogisticRegression(C=0.1))], voting="soft")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize(
    ("estimator", "data", "attributor", "inner"),
    [
        (
            RandomForestClassifier(10, random_state=0),
            IRIS,
            ForestAttributor,
            "RandomForestClassifier",
        ),
        (
            make_pipeline(StandardScaler(), ExtraTreesRegressor(5, min_samples_leaf=5)),
            DIABETES,
            ForestAttributor,
            "ExtraTreesRegressor",
        ),
        (LOGISTIC, IRIS, InfluenceAttributor, "LogisticRegression"),
        (make_pipeline(StandardScaler(), Ridge()), DIABETES, InfluenceAttributor, "Ridge"),
        (GridSearchCV(LOGISTIC, {"C": [0.1, 1]}), IRIS, InfluenceAttributor, "LogisticRegression"),
        (
            GradientBoostingClassifier(n_estimators=3),
            IRIS,
            BoostInAttributor,
            "GradientBoostingClassifier",
        ),
        (
            HistGradientBoostingRegressor(max_iter=3),
            DIABETES,
            BoostInAttributor,
            "HistGradientBoostingRegressor",
        ),
        (SOFT, IRIS, EnsembleAttributor, "VotingClassifier"),
        (make_pipeline(StandardScaler(), SOFT), IRIS, EnsembleAttributor, "VotingClassifier"),
        (KNeighborsRegressor(), DIABETES, EnsembleAttributor, "KNeighborsRegressor are weighted"),
        (
            CalibratedClassifierCV(LOGISTIC),
            IRIS,
            EnsembleAttributor,
            "CalibratedClassifierCV can be computed without a row, and with the parts the whole; "
            "held fixed: the calibrators",
        ),
        (
            NETWORK,
            IRIS,
            InfoGainAttributor,
            "MLPClassifier",
        ),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else "",
)
def test_the_natural_method(estimator, data, attributor, inner):
    X, y = data
    fitted = estimator.fit(X, y)
    found = explain(fitted, X[:4], k=3, training=(X, y))
    expected = attributor(fitted).fit(X, y).explain(X[:4], k=3)
    np.testing.assert_array_equal(found.indices, expected.indices)
    assert found.method == expected.method
    assert inner in found.reason
    assert f"chosen because {found.reason}"[:90] in repr(found)
    assert found.reason in found.to_html()
    assert found[:2].reason == found.reason


def test_a_module_is_explained_by_information_gain():
    torch.manual_seed(0)
    module = torch.nn.Linear(4, 3)
    X, y = IRIS
    X = X.astype(np.float32)
    found = explain(module, X[:2], k=2, training=(X, y, np.arange(150) + 1000))
    assert found.method == "InfoGain"
    np.testing.assert_array_equal(found.sample_id, found.indices + 1000)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_is_asked_for(method):
    X, y = IRIS
    estimator = LOGISTIC.fit(X, y)
    if method == "forest_weights":
        estimator = RandomForestClassifier(5, random_state=0).fit(X, y)
    if method == "ensemble":
        estimator = SOFT.fit(X, y)
    if method == "boostin":
        estimator = GradientBoostingClassifier(n_estimators=2).fit(X, y)
    if method == "bm25":
        X = np.floor(X)  # counts
    found = explain(estimator, X[:2], k=2, training=(X, y), method=method)
    expected = METHODS[method](estimator).fit(X, y).explain(X[:2], k=2)
    np.testing.assert_array_equal(found.indices, expected.indices)
    assert method in found.reason


def test_training_rows_explain_each_other():
    X, y = IRIS
    found = explain(LOGISTIC.fit(X, y), None, k=2, training=(X, y))
    assert found.indices.shape == (150, 2)
    assert not (found.indices == np.arange(150)[:, None]).any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"training": None}, ValueError, r"fitted on, which it does not keep; pass training=\("),
        ({"training": IRIS[0]}, ValueError, r"must be a tuple .*, got a ndarray"),
        ({"training": (IRIS[0],)}, ValueError, "got a tuple of 1"),
        ({"method": "gradients"}, ValueError, r"one of \['forest_weights', .*, got 'gradients'"),
        ({"estimator": LogisticRegression()}, NotFittedError, "not fitted"),
        (
            {"estimator": LogisticRegression(C=0.1, **L1, solver="saga", tol=0.1).fit(*IRIS)},
            ValueError,
            "l1_ratio",
        ),
        (
            {"estimator": VotingClassifier([("a", LOGISTIC)])},
            ValueError,
            "voting='soft'; got voting='hard'",
        ),
        (
            {"estimator": VotingClassifier([("a", LinearDiscriminantAnalysis())], voting="soft")},
            TypeError,
            "parts of VotingClassifier must be .* got LinearDiscriminantAnalysis",
        ),
        (
            {"estimator": GaussianNB()},
            TypeError,
            "any other .* needs features=.*GaussianNB",
        ),
        ({"estimator": StandardScaler().fit(IRIS[0])}, TypeError, "estimator must be"),
    ],
)
def test_refusals(change, error, message):
    arguments = {"estimator": LOGISTIC.fit(*IRIS), "training": IRIS} | change
    if error is not NotFittedError:
        arguments["estimator"].fit(*IRIS)
    with pytest.raises(error, match=message) as caught:
        explain(arguments.pop("estimator"), IRIS[0][:2], **arguments)
    if message == "l1_ratio":
        assert any("info_gain" in note for note in caught.value.__notes__)


def test_rows_that_the_estimator_was_not_fitted_on_are_named():
    X, y = IRIS
    with pytest.warns(UserWarning, match="give all rows and weights that it was fitted with"):
        explain(LOGISTIC.fit(X, y), X[:2], training=(X[::3], y[::3]))
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="must be the rows"):
        explain(forest, X[:2], training=(X[::3], y[::3]))


OWN = {
    "classifier": lambda: quick(ProvenanceClassifier).fit(*IRIS),
    "pipeline": lambda: make_pipeline(StandardScaler(), quick(ProvenanceClassifier)).fit(*IRIS),
    "regressor": lambda: quick(ProvenanceRegressor).fit(IRIS[0], IRIS[0][:, 0]),
}


def quick(make):
    return make(width="small", max_epochs=2, random_state=0, device="cpu")


@pytest.mark.parametrize("name", OWN)
def test_rows_given_to_an_estimator_that_keeps_them(name):
    estimator = OWN[name]()
    X, y = IRIS
    target = X[:, 0] if name == "regressor" else y
    alone = explain(estimator, X[:4], k=2)
    given = explain(estimator, X[:4], k=2, training=(X, target, np.arange(150) + 1000))
    np.testing.assert_array_equal(given.indices, alone.indices)
    np.testing.assert_array_equal(given.sample_id, alone.indices + 1000)
    np.testing.assert_array_equal(
        explain(estimator, X[:4], k=2, training=(pd.DataFrame(X), list(target))).indices,
        alone.indices,
    )
    moved = X.copy()
    moved[alone.indices[0, 0], 0] += 1
    for training, message in [
        ((X[::-1], target[::-1]), "in their order"),
        ((X, target[::-1]), "other labels"),
        ((moved, target), "other rows"),
        ((X[:10], target[:10]), "must be the 150 rows"),
        ((X, target, [1, 2]), "one entry per row"),
        ("junk", "must be a tuple"),
    ]:
        with pytest.raises(ValueError, match=message):
            explain(estimator, X[:4], k=2, training=training)
