"""Classes against the rest: a problem for each class, solved by itself."""

from dataclasses import replace

import numpy as np
from sklearn.multiclass import OneVsRestClassifier
from sklearn.utils.validation import check_is_fitted

from ._base import Objective, label_positions, objective
from ._responses import BinaryLogit, Decisions, OneVsRestLogit


@objective.register(OneVsRestClassifier)
def _(estimator, X, y, sample_weight=None):
    check_is_fitted(estimator)
    if estimator.multilabel_:
        raise TypeError(
            "OneVsRestClassifier was fitted on multilabel targets; attribution explains one class"
        )
    labels = label_positions(estimator, y)
    classes = np.asarray(estimator.classes_)
    if len(classes) == 2:
        # One estimator, of the second class.
        inner = objective(estimator.estimators_[0], X, labels, sample_weight)
        return replace(inner, classes=classes)
    inner = [
        objective(fitted, X, (labels == k).astype(np.int64), sample_weight)
        for k, fitted in enumerate(estimator.estimators_)
    ]
    return Objective(
        parts=tuple(stated.parts[0] for stated in inner),
        response=one_vs_rest(inner[0].response),
        prepare=inner[0].prepare,
        classes=classes,
        assumptions=inner[0].assumptions,
    )


def one_vs_rest(binary):
    """Return what the values of each class say, if that of two classes is a binary response."""
    if isinstance(binary, BinaryLogit):
        return OneVsRestLogit()
    return Decisions()
