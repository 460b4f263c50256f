"""scikit-learn's own checks, and the checks of it that check_estimator does not yield."""

import pytest
from sklearn.base import clone

from sklearn_provenance import ProvenanceClassifier, ProvenanceRegressor, ProvenanceVAE

from ..checks import further_checks, parametrize_with_checks, thorough


def quick(architecture, **params):
    params = {"width": "small", "max_epochs": 6, "warmup_epochs": 1, **params}
    return ProvenanceClassifier(architecture, **params)


ESTIMATORS = [
    quick("class_conditional"),
    ProvenanceRegressor(width="small", max_epochs=6, warmup_epochs=1),
    ProvenanceVAE(4, width="small", max_epochs=3),
]
OTHERS = [
    quick("class_independent"),
    quick("single_branch"),
    quick("class_conditional", normalization="standardize"),
    ProvenanceRegressor(width="small", max_epochs=6, warmup_epochs=1, normalization="standardize"),
]


# Checks that ask how well an estimator predicts; for the others, two epochs train all there is.
OF_QUALITY = {"check_classifiers_train", "check_regressors_train"}


@parametrize_with_checks(ESTIMATORS)
def test_estimator(estimator, check):
    run_check(estimator, check)


@pytest.mark.thorough
@parametrize_with_checks(OTHERS)
def test_other_architectures(estimator, check):
    run_check(estimator, check)


def run_check(estimator, check):
    if check.func.__name__ not in OF_QUALITY:
        estimator = clone(estimator).set_params(max_epochs=2)
    check(estimator)


# The checks of pandas fit to frames and transform arrays, and the other way round.
@pytest.mark.filterwarnings("ignore:X .* feature names, but")
@pytest.mark.parametrize(
    "estimator",
    [ESTIMATORS[0], *thorough(*ESTIMATORS[1:])],
    ids=["classifier", "regressor", "autoencoder"],
)
@further_checks
def test_further_checks(estimator, check):
    check(type(estimator).__name__, clone(estimator).set_params(max_epochs=2))
