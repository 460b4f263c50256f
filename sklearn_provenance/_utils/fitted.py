"""Fitted estimators: whether an estimator is fitted, and which one to use."""

import numpy as np
from sklearn.base import BaseEstimator, clone, is_outlier_detector, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted, check_memory
from torch import nn

from .dask_rows import computed


def is_fitted(estimator):
    """Return whether an estimator is fitted; modules always count as fitted."""
    if isinstance(estimator, nn.Module):
        return True
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    except TypeError:  # no scikit-learn estimator: nothing says that it is not fitted
        return not isinstance(estimator, BaseEstimator)
    if isinstance(estimator, Pipeline):
        return is_fitted(estimator.steps[-1][1])
    return not _is_prior(estimator)


def _is_prior(estimator):
    """Return whether an estimator is a Gaussian process that predicts from its prior, unfitted.

    scikit-learn says that it needs no fit.
    """
    names = {base.__name__ for base in type(estimator).__mro__}
    return "GaussianProcessRegressor" in names and not hasattr(estimator, "X_train_")


def predicts_numbers(estimator):
    """Return whether an estimator predicts numbers, as regressors and outlier detectors do."""
    if isinstance(estimator, nn.Module):
        return False
    if isinstance(estimator, list | tuple):
        return bool(estimator) and all(map(predicts_numbers, estimator))
    try:
        return is_regressor(estimator) or is_outlier_detector(estimator)
    except (AttributeError, TypeError):  # no estimator of scikit-learn
        return getattr(estimator, "_estimator_type", None) == "regressor"


def column_of_targets(estimator, y):
    """Return targets (n_rows, 1) if they are given so to a regressor of skorch, else None.

    Such a regressor compares outputs and targets entry by entry, and with targets (n_rows,) torch
    would compare each output with all of them. scikit-learn's regressors take (n_rows,).
    """
    if not predicts_numbers(estimator):
        return None
    held = [estimator]
    if hasattr(estimator, "get_params"):
        held += estimator.get_params().values()
    bases = {base.__module__.partition(".")[0] for part in held for base in type(part).__mro__}
    if "skorch" not in bases:
        return None
    y = np.asarray(y)
    return y if y.ndim == 2 and y.shape[1] == 1 else None


def fit_estimator(estimator, X, y):
    """Fit an estimator; joblib finds earlier results by the name of this function."""
    return estimator.fit(X, y)


def resolve(estimator, prefit, X, y, memory=None):
    """Return the estimator itself where it is fitted, else a fitted clone.

    Modules and FrozenEstimators are never fitted here. ``memory`` caches fitted clones. A clone is
    fitted on rows in memory.
    """
    if not isinstance(estimator, nn.Module) and not hasattr(estimator, "predict"):
        raise TypeError(
            "estimator must be a torch.nn.Module, or have fit and predict; got "
            f"{type(estimator).__name__}"
        )
    fixed = isinstance(estimator, nn.Module | FrozenEstimator)
    if prefit is not False or fixed:
        if is_fitted(estimator):
            return estimator
        if fixed or prefit is True:
            reason = "prefit=True says that it is"
            if fixed:
                reason = "stays as it is here"
            raise NotFittedError(f"the {type(estimator).__name__} is not fitted, and {reason}")
    return check_memory(memory).cache(fit_estimator)(clone(estimator), computed(X, "X"), y)


def check_fitted(estimator):
    """Raise if a scikit-learn estimator is not fitted; other objects do not tell."""
    if hasattr(estimator, "fit") and hasattr(estimator, "__sklearn_tags__"):
        check_is_fitted(estimator)
