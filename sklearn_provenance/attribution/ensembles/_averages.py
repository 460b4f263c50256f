"""Means of parts: voting and bagging."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.ensemble import BaggingClassifier, BaggingRegressor, VotingClassifier, VotingRegressor
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data

from ..._utils.rows import as_given
from ._base import Ensemble, Output, Part, Probability, class_positions, ensemble
from ._mean import Mean, equal


@ensemble.register(VotingClassifier)
def _(estimator, X, y):
    check_is_fitted(estimator)
    if estimator.voting != "soft":
        raise ValueError(
            "VotingClassifier must have voting='soft'; got voting='hard', which counts votes, and "
            "a vote does not change by degrees with a row. Fit it with voting='soft', or explain "
            "its estimators_ one by one, which are fitted to the positions of labels in classes_"
        )
    classes, targets = class_positions(estimator, y)
    parts = [Part(part, targets, "predict_proba") for part in estimator.estimators_]
    return Ensemble(tuple(parts), Mean(_shares(estimator)), Probability(), classes)


@ensemble.register(VotingRegressor)
def _(estimator, X, y):
    check_is_fitted(estimator)
    targets = np.asarray(y, dtype=np.float64)
    parts = [Part(part, targets) for part in estimator.estimators_]
    return Ensemble(tuple(parts), Mean(_shares(estimator)), Output())


def _shares(estimator):
    """Compute shares of the parts of a vote; those that were dropped have none."""
    if estimator.weights is None:
        return equal(len(estimator.estimators_))
    pairs = zip(estimator.estimators, estimator.weights, strict=True)
    weights = np.array([weight for (_, part), weight in pairs if part != "drop"], dtype=np.float64)
    return weights / weights.sum()


@dataclass(frozen=True)
class BaggingRows:
    """Rows as a bagging ensemble hands them to its parts."""

    estimator: object

    def __call__(self, X):
        X = as_given(X)
        if isinstance(X, torch.Tensor):
            X = X.cpu().numpy()
        return validate_data(
            self.estimator,
            X,
            reset=False,
            accept_sparse="csr",
            dtype=None,
            ensure_all_finite=False,  # parts say what they take
        )


_SAMPLES = "the samples of the parts, which lose the row and draw no other"


def _bagged(estimator, targets, method):
    """Return parts of a bagging ensemble."""
    every = np.arange(estimator.n_features_in_)
    drawn = zip(
        estimator.estimators_,
        estimator.estimators_features_,
        estimator.estimators_samples_,
        strict=True,
    )
    parts = []
    for part, columns, rows in drawn:
        weights = np.bincount(rows, minlength=len(targets)).astype(np.float64)
        if len(weights) != len(targets):
            raise ValueError(
                f"X and y must be the rows that {type(estimator).__name__} was fitted on; it drew "
                f"row {rows.max()}, and got {len(targets)} rows"
            )
        columns = None if np.array_equal(columns, every) else columns
        by_weight = has_fit_parameter(part, "sample_weight")
        drawn = None if by_weight else rows
        parts.append(Part(part, targets, method, weights, drawn, by_weight, columns))
    return tuple(parts)


def _bagging(estimator, parts, mean, response, classes=None):
    """Return a bagging ensemble of parts."""
    return Ensemble(
        parts,
        mean,
        response,
        classes,
        BaggingRows(estimator),
        assumptions=(_SAMPLES,),
        out_of_bag=any((part.weights == 0).any() for part in parts),
    )


@ensemble.register(BaggingClassifier)
def _(estimator, X, y):
    check_is_fitted(estimator)
    if not all(hasattr(part, "predict_proba") for part in estimator.estimators_):
        raise ValueError(
            "the estimators of BaggingClassifier must have predict_proba; those of this one "
            f"({type(estimator.estimators_[0]).__name__}) have not, so that it counts votes, and a "
            "vote does not change by degrees with a row. Bag an estimator with probabilities, or "
            "explain its estimators_ one by one"
        )
    classes, targets = class_positions(estimator, y)
    parts = _bagged(estimator, targets, "predict_proba")
    columns = [np.asarray(part.estimator.classes_, dtype=np.intp) for part in parts]
    mean = Mean(equal(len(parts)), columns, len(classes))
    return _bagging(estimator, parts, mean, Probability(), classes)


@ensemble.register(BaggingRegressor)
def _(estimator, X, y):
    check_is_fitted(estimator)
    parts = _bagged(estimator, np.asarray(y, dtype=np.float64), "predict")
    return _bagging(estimator, parts, Mean(equal(len(parts))), Output())
