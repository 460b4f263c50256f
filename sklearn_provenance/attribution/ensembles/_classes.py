"""Classes against the rest, or against each other.

Shapes in comments: P parts, C classes.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.base import is_regressor
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.utils.multiclass import _ovr_decision_function
from sklearn.utils.validation import check_is_fitted

from ..objectives._responses import Decisions
from ._base import Ensemble, Part, Probability, class_positions, ensemble


def binary_method(estimator):
    """Return the method by which scikit-learn compares binary classifiers."""
    if is_regressor(estimator):
        raise TypeError(
            "one-vs-rest and one-vs-one must be made of classifiers; got "
            f"{type(estimator).__name__}, a regressor, which has no decision values"
        )
    return "decision_function" if hasattr(estimator, "decision_function") else "predict_proba"


def last(output):
    """Return the value (...) of the second class, of outputs (..., 1) or (..., 2)."""
    return output[..., -1]


@dataclass(frozen=True)
class Normalised:
    """Probabilities of each class against the rest, scaled to add up to one."""

    def __call__(self, outputs):
        """Compute probabilities (..., C)."""
        if len(outputs) == 1:  # two classes have one part
            return np.stack([1 - last(outputs[0]), last(outputs[0])], -1)
        p = np.stack([last(output) for output in outputs], -1)
        total = p.sum(-1, keepdims=True)
        # nan, where a part has no answer, stays nan.
        return np.divide(p, total, out=np.zeros_like(p), where=total != 0)


@dataclass(frozen=True)
class SideBySide:
    """Decision values of each class against the rest."""

    def __call__(self, outputs):
        """Compute decision values (..., C)."""
        if len(outputs) == 1:  # two classes have one part
            return np.stack([-last(outputs[0]), last(outputs[0])], -1)
        return np.stack([last(output) for output in outputs], -1)


@ensemble.register(OneVsRestClassifier)
def _(estimator, X, y):
    check_is_fitted(estimator)
    if estimator.multilabel_:
        raise TypeError(
            "OneVsRestClassifier was fitted on multilabel targets; attribution explains one class. "
            "Explain its estimators_ one by one"
        )
    classes, labels = class_positions(estimator, y)
    fitted = estimator.estimators_
    # Of two classes there is one estimator, of the second.
    positives = [1] if len(classes) == 2 else range(len(classes))
    with_p = all(hasattr(part, "predict_proba") for part in fitted)
    method = "predict_proba" if with_p else binary_method(fitted[0])
    parts = tuple(
        Part(part, (labels == positive).astype(np.int64), method)
        for part, positive in zip(fitted, positives, strict=True)
    )
    if with_p:
        return Ensemble(parts, Normalised(), Probability(), classes)
    return Ensemble(parts, SideBySide(), Decisions(), classes)


@dataclass(frozen=True)
class Duels:
    """Votes of duels between two classes, and the sum of their confidences where votes tie."""

    n_classes: int
    threshold: float  # above which the second of two classes is voted for

    def __call__(self, outputs):
        """Compute decision values (..., C)."""
        confidences = np.stack([last(output) for output in outputs], -1)  # (..., P)
        shape, flat = confidences.shape[:-1], confidences.reshape(-1, len(outputs))
        votes = (flat > self.threshold).astype(np.int64)
        return _ovr_decision_function(votes, flat, self.n_classes).reshape(*shape, -1)


@ensemble.register(OneVsOneClassifier)
def _(estimator, X, y):
    check_is_fitted(estimator)
    if estimator.pairwise_indices_ is not None:
        raise ValueError(
            "OneVsOneClassifier must have an estimator that takes rows; got one that takes "
            "precomputed kernels or distances. Fit it on rows"
        )
    classes, labels = class_positions(estimator, y)
    method = binary_method(estimator.estimators_[0])
    fitted, parts = iter(estimator.estimators_), []
    for first in range(len(classes)):
        for second in range(first + 1, len(classes)):
            among = (labels == first) | (labels == second)
            targets = (labels == second).astype(np.int64)
            parts.append(Part(next(fitted), targets, method, among.astype(np.float64)))
    duels = Duels(len(classes), 0.0 if method == "decision_function" else 0.5)
    return Ensemble(tuple(parts), duels, Decisions(), classes)
