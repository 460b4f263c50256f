"""Predictions for training rows by models that were fitted without them."""

from numbers import Integral

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, check_cv
from sklearn.utils.validation import _num_samples
from tqdm import tqdm

from .._utils.fitted import column_of_targets
from .._utils.rows import take_rows


def out_of_fold(estimator, X, y, classes, *, cv, groups, n_jobs, verbose):
    """Predict each row by a clone of the estimator that was fitted to the other folds.

    Parameters
    ----------
    estimator : classifier or regressor
        Cloned for each fold.
    X : array-like of shape (n, ...)
        Rows.
    y : ndarray of shape (n,)
        Their labels or targets as given.
    classes : ndarray of shape (n_classes,) or None
        Sorted labels; None where targets are numbers.
    cv : cross-validation generator
        A splitter whose test folds hold every row once.
    groups : array-like of shape (n,) or None
        Groups for the splitter.
    n_jobs : int or None
        Folds fitted at once.
    verbose : bool
        Whether progress is shown.

    Returns
    -------
    ndarray of shape (n, n_classes) or (n,)
        Probabilities, 0 for a label that no row of the other folds has; or predicted numbers.

    Raises
    ------
    ValueError
        If a row is in no test fold or in several, or predictions do not fit.
    """
    n = _num_samples(X)
    folds = list(cv.split(X, y, groups))
    times_tested = np.bincount(np.concatenate([test for _, test in folds]), minlength=n)
    if (times_tested != 1).any():
        raise ValueError(
            f"cv must test every row once, but {np.count_nonzero(times_tested != 1)} of {n} rows "
            "are tested more than once or never. Pass a splitter such as KFold"
        )
    if classes is None:
        predicted = np.empty(n)
        targets = column_of_targets(estimator, y)
    else:
        predicted = np.zeros((n, len(classes)))
        targets = None
    if targets is None:
        targets = y
    parts = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_predict_fold)(clone(estimator), X, targets, train, test, classes)
        for train, test in folds
    )
    shown = tqdm(parts, "models without a fold", len(folds), disable=not verbose)
    for (_, test), part in zip(folds, shown, strict=True):
        predicted[test] = part
    return predicted


def _predict_fold(model, X, y, train, test, classes):
    """Fit to the rows of the other folds, and predict those of one fold."""
    model.fit(take_rows(X, train), y[train])
    rows = take_rows(X, test)
    if classes is None:
        return np.asarray(model.predict(rows), dtype=np.float64).reshape(len(test))
    predicted = np.zeros((len(test), len(classes)))
    columns = np.searchsorted(classes, model.classes_)
    predicted[:, columns] = model.predict_proba(rows)
    return predicted


def splitter(cv, y, is_classifier, random_state, *, grouped=False):
    """Return a splitter; a number of folds means shuffled ones, stratified for a classifier.

    With groups, a number of folds means folds that keep groups together.
    """
    chosen = check_cv(cv, y, classifier=is_classifier)
    if not isinstance(cv, Integral):
        return chosen
    kind = type(chosen)
    if grouped:
        kind = StratifiedGroupKFold if is_classifier else GroupKFold
    # Rows are often sorted by label or by time of collection.
    return kind(cv, shuffle=True, random_state=random_state)
