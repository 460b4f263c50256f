"""What estimators minimise over their training rows, one file for each family.

:func:`objective` finds the family by the type of the estimator. To add one, register a function
that takes a fitted estimator and its training rows, and returns an :class:`Objective`. A
file of this package is imported with the first estimator of its family.
"""

from ._base import SUPPORTED, NoObjectiveError, Objective, Part, objective
from ._responses import Response

__all__ = ["SUPPORTED", "NoObjectiveError", "Objective", "Part", "Response", "objective"]
