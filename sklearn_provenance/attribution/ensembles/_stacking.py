"""Stacking: the final estimator sees what the parts predict, which is held fixed."""

import copy
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.ensemble import StackingClassifier, StackingRegressor
from sklearn.model_selection import check_cv, cross_val_predict
from sklearn.utils.validation import check_is_fitted

from ..._utils.rows import as_given
from ._base import Ensemble, Output, Part, Probability, class_positions, ensemble
from ._mean import Mean, equal

_FIXED = "the predictions of the parts, which the final estimator takes"


@dataclass(frozen=True)
class Predicted:
    """What the parts of a stack predict for queries."""

    stack: object

    def __call__(self, X):
        return self.stack.transform(as_given(X))


def _training_predictions(stack, X, y):
    """Return what the final estimator was fitted on: predictions by parts without the row."""
    if isinstance(stack.cv, str):  # "prefit"
        return stack.transform(X)
    cv = check_cv(stack.cv, y=y, classifier=is_classifier(stack))
    if getattr(cv, "shuffle", False) and not isinstance(cv.random_state, int | np.integer):
        raise ValueError(
            f"{type(stack).__name__} must have a cv with a random_state that is an integer, so "
            f"that its folds can be drawn again; got {cv}. Fit it with such a cv"
        )
    _check_repeatable(stack, X, y)
    predictions = [
        cross_val_predict(clone(part), X, y, cv=copy.deepcopy(cv), method=method)
        for (_, part), method in zip(_kept(stack), stack.stack_method_, strict=True)
    ]
    return copy.copy(stack)._concatenate_predictions(X, predictions)


def _check_repeatable(stack, X, y):
    """Raise if a part fitted again is another: then so are its predictions for training rows."""
    parts = zip(_kept(stack), stack.estimators_, stack.stack_method_, strict=True)
    for (name, part), fitted, method in parts:
        again = np.asarray(getattr(clone(part).fit(X, y), method)(X))
        if not np.allclose(again, getattr(fitted, method)(X), rtol=1e-4, atol=1e-6):
            raise ValueError(
                f"the parts of {type(stack).__name__} must be the same when they are fitted again "
                "on X and y, because its final estimator was fitted on their predictions; "
                f"{name!r} predicts otherwise. Fit the stack with an integer as random_state of "
                "each part, and pass the rows that it was fitted on"
            )


def _kept(stack):
    return [(name, part) for name, part in stack.estimators if not isinstance(part, str)]


@ensemble.register(StackingClassifier)
def _(estimator, X, y):
    check_is_fitted(estimator)
    if isinstance(estimator.classes_, list):
        raise TypeError(
            "StackingClassifier was fitted on multilabel targets; attribution explains one class. "
            "Fit one for each label"
        )
    classes, targets = class_positions(estimator, y)
    final, X = estimator.final_estimator_, as_given(X)
    if not hasattr(final, "predict_proba"):
        raise ValueError(
            "the final estimator of StackingClassifier must have predict_proba; "
            f"{type(final).__name__} has not. Explain final_estimator_ on the rows that transform "
            "gives"
        )
    rows = _training_predictions(estimator, X, targets)
    part = Part(final, targets, "predict_proba", rows=rows)
    return Ensemble(
        (part,), Mean(equal(1)), Probability(), classes, Predicted(estimator), (_FIXED,)
    )


@ensemble.register(StackingRegressor)
def _(estimator, X, y):
    check_is_fitted(estimator)
    targets, X = np.asarray(y, dtype=np.float64), as_given(X)
    part = Part(
        estimator.final_estimator_, targets, rows=_training_predictions(estimator, X, targets)
    )
    return Ensemble(
        (part,),
        Mean(equal(1)),
        Output(),
        prepare=Predicted(estimator),
        assumptions=(_FIXED,),
    )
