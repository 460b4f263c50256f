"""scikit-learn's own checks, and the checks of it that check_estimator does not yield."""

import pytest
from sklearn.base import clone
from sklearn.ensemble import (
    BaggingRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier

from sklearn_provenance.attribution import (
    BM25Attributor,
    BoostInAttributor,
    EKFACAttributor,
    EnsembleAttributor,
    ForestAttributor,
    GradDotAttributor,
    InfluenceAttributor,
    InfoGainAttributor,
    InfoLossAttributor,
    LastLayerAttributor,
    RandomAttributor,
    RelatIFAttributor,
    RepSimAttributor,
    TRAKAttributor,
)

from ..checks import further_checks, parametrize_with_checks, thorough

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
    pytest.mark.filterwarnings("ignore:X has feature names"),
    pytest.mark.filterwarnings("ignore:invalid value encountered in cast"),
]


ATTRIBUTORS = [
    BM25Attributor(LogisticRegression()),
    BoostInAttributor(GradientBoostingClassifier(n_estimators=3, random_state=0)),
    EKFACAttributor(LogisticRegression()),
    EnsembleAttributor(VotingClassifier([("a", LogisticRegression())], voting="soft")),
    ForestAttributor(DecisionTreeClassifier(random_state=0)),
    GradDotAttributor(LogisticRegression()),
    InfluenceAttributor(LogisticRegression()),
    InfoGainAttributor(LogisticRegression()),
    InfoLossAttributor(LogisticRegression()),
    LastLayerAttributor(LogisticRegression()),
    RandomAttributor(LogisticRegression()),
    RelatIFAttributor(LogisticRegression()),
    RepSimAttributor(LogisticRegression()),
    TRAKAttributor(LogisticRegression(), n_components=8),
]


def expected_failures(attributor):
    """Checks that fail as they do for the estimator inside."""
    if not isinstance(attributor, BoostInAttributor):
        return {}
    reason = "GradientBoosting of scikit-learn takes weights otherwise than copies of rows"
    kinds = "dense", "sparse"
    return {f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in kinds}


@parametrize_with_checks(
    [*ATTRIBUTORS, InfluenceAttributor(Ridge())], expected_failed_checks=expected_failures
)
def test_estimator(estimator, check):
    check(estimator)


@pytest.mark.thorough
@parametrize_with_checks(
    [
        LastLayerAttributor(LogisticRegression(), kind="representer"),
        InfoGainAttributor(RandomForestClassifier(5, random_state=0)),
        InfoGainAttributor(RandomForestRegressor(5, random_state=0)),
        BoostInAttributor(GradientBoostingRegressor(n_estimators=5, random_state=0)),
        ForestAttributor(RandomForestRegressor(5, bootstrap=False, random_state=0)),
        InfoLossAttributor(GradientBoostingRegressor(n_estimators=5, random_state=0)),
        InfoGainAttributor(IsolationForest(n_estimators=5, random_state=0)),
        RepSimAttributor(HistGradientBoostingClassifier(max_iter=5)),
        RandomAttributor(RandomForestRegressor(5, random_state=0)),
        EnsembleAttributor(KNeighborsRegressor()),
        EnsembleAttributor(BaggingRegressor(Ridge(), 3, random_state=0)),
    ],
    expected_failed_checks=expected_failures,
)
def test_other_estimators_inside(estimator, check):
    check(estimator)


# What answers frames and names columns is in two base classes, and of texts and trees in others.
OF_EVERY_BASE = {"BM25Attributor", "ForestAttributor", "InfluenceAttributor", "InfoGainAttributor"}


@pytest.mark.parametrize(
    "attributor",
    [
        attributor if type(attributor).__name__ in OF_EVERY_BASE else thorough(attributor)[0]
        for attributor in ATTRIBUTORS
    ],
    ids=lambda a: type(a).__name__,
)
@further_checks
def test_further_checks(attributor, check):
    if "transform" in check.__name__ and not hasattr(attributor, "transform"):
        pytest.skip("compares no features")
    check(type(attributor).__name__, clone(attributor))
