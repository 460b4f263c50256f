"""A fitted model as attribution sees it, one file for each family of estimators.

:func:`adapt` finds the family by the type of the estimator. To add one, register a function that
takes a fitted estimator and returns a :class:`FittedModel`::

    @adapt.register(MyClassifier)
    def _(estimator):
        return FittedModel(estimator, classes=estimator.classes_, module=estimator.network_)

Families of other packages are imported when the first of their estimators is adapted.
"""

from . import _containers, _provenance, _torch  # noqa: F401
from ._base import SUPPORTED, FittedModel, Linear, adapt, measured_model

__all__ = ["SUPPORTED", "FittedModel", "Linear", "adapt", "measured_model"]
