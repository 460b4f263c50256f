"""Models linear in their inputs that have no logits: regressors, and support vectors.

The gradient of any of their outputs in its own coefficients and intercept is [x; 1].
"""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model._base import LinearModel
from sklearn.svm._base import BaseLibSVM
from sklearn.utils.validation import check_is_fitted

from ..._utils.fitted import predicts_numbers
from ..._utils.numeric import as_ndarray
from ._base import FittedModel, adapt
from ._linear import RebuiltModel


@dataclass(frozen=True, eq=False)
class InputModel(RebuiltModel):
    """A model whose outputs are linear in the rows that it takes."""

    def decide(self, logits):
        """Refuse to decide: there are no logits."""
        raise NotImplementedError


@adapt.register(LinearModel)
def _(estimator):
    check_is_fitted(estimator)
    if np.ndim(estimator.coef_) > 1 and len(estimator.coef_) > 1:
        raise TypeError(
            f"{type(estimator).__name__} was fitted on several targets; attribution explains one. "
            "Pass single_output(estimator, output) and the targets of that output"
        )
    return InputModel(estimator, input_bias=float(estimator.fit_intercept))


@adapt.register(BaseLibSVM)
def _(estimator):
    check_is_fitted(estimator)
    classes = None if predicts_numbers(estimator) else as_ndarray(estimator.classes_)
    if estimator.kernel != "linear":
        return FittedModel(estimator, classes=classes)
    return InputModel(estimator, classes=classes, input_bias=1.0)
