"""What tests of all folders are parametrised with."""

import ast
import functools

import pytest
from sklearn.utils import estimator_checks


def parametrize_with_checks(estimators, **options):
    """Parametrise a test as scikit-learn does; each estimator is written down once for its ids.

    Writing an estimator takes a millisecond, which thousands of checks would take again.
    """
    mark = estimator_checks.parametrize_with_checks(estimators, **options)
    ids = functools.cache(mark.kwargs["ids"])
    return pytest.mark.parametrize(*mark.args, **mark.kwargs | {"ids": ids})


# The checks that check_estimator does not yield, as values of a test's parameter "check".
further_checks = pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_param_validation,
        estimator_checks.check_dataframe_column_names_consistency,
        estimator_checks.check_set_output_transform,
        estimator_checks.check_set_output_transform_pandas,
        estimator_checks.check_global_output_transform_pandas,
        estimator_checks.check_transformer_get_feature_names_out,
        estimator_checks.check_transformer_get_feature_names_out_pandas,
        estimator_checks.check_inplace_ensure_writeable,
    ],
    ids=lambda check: check.__name__,
)


def thorough(*values):
    """Values of a test's parameters that repeat what others see: ``make test`` leaves them out.

    A tuple is a value for each of several parameters.
    """
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.thorough)
        for value in values
    ]


@functools.cache
def syntax_tree(path):
    """Parse a file of Python once for all tests that read the code."""
    return ast.parse(path.read_text())
