"""What estimators minimise over their training rows, one file for each family.

:func:`objective` finds the family by the type of the estimator. To add one, register a function
that takes a fitted estimator and its training rows, and returns an :class:`Objective`.
"""

from . import (  # noqa: F401
    _glm,
    _kernel,
    _logistic,
    _one_vs_rest,
    _sgd,
    _squared,
    _svm,
)
from ._base import SUPPORTED, Objective, Part, objective
from ._responses import Response

__all__ = ["SUPPORTED", "Objective", "Part", "Response", "objective"]
