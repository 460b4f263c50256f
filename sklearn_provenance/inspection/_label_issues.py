"""Training rows whose label or target is likely to be wrong, by models that have not seen it."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils._param_validation import HasMethods, validate_params
from sklearn.utils.validation import _num_samples
from torch import nn

from .._utils.arguments import ROWS, check_labels, check_numbers, check_readable, whole
from .._utils.fitted import predicts_numbers
from .._utils.types import RandomState, Rows, Targets
from ..retraining._constraints import TRAINING
from ._label_issues_result import LabelIssues
from ._out_of_fold import out_of_fold, splitter

# Residuals beyond this many robust standard deviations are issues: Iglewicz and Hoaglin (1993).
_FAR = 3.5
# Median and mean absolute deviation of a standard normal variable.
_MEDIAN_DEVIATION = 0.6745
_MEAN_DEVIATION = 0.7979


@validate_params(
    {
        "X": [ROWS],
        "y": [ROWS],
        "cv": [whole(2), BaseCrossValidator, HasMethods(["split", "get_n_splits"])],
        "predicted": ["array-like", None],
        "groups": ["array-like", None],
        "sample_id": ["array-like", None],
        "random_state": ["random_state"],
        "n_jobs": TRAINING["n_jobs"],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=False,
)
def find_label_issues(
    estimator: Any,
    X: Rows,
    y: Targets,
    *,
    cv: Any = 5,
    predicted: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    sample_id: ArrayLike | None = None,
    random_state: RandomState = 0,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> LabelIssues:
    """Find training rows whose label is likely to be wrong.

    A model that was trained with a wrong label may have learnt it by heart, and then nothing that
    the model says of the row looks odd. So each row is judged by a copy of the estimator that was
    fitted without it: the rows are divided into folds, and those of one fold are predicted by a
    model of the others.

    Parameters
    ----------
    estimator : classifier, regressor or attributor
        What is cloned and fitted: a classifier with ``predict_proba`` or a regressor, also a
        Pipeline or a search. Fitted or not, it stays as it is. Of an attributor, its estimator.
        None if ``predicted`` is given.
    X : array-like of shape (n, ...)
        Training rows.
    y : array-like of shape (n,)
        Their labels or targets as given.
    cv : int, cross-validation generator, default=5
        Number of folds, which are shuffled and stratified by label, or a splitter that tests every
        row once. More folds judge by more rows and take longer.
    predicted : array-like of shape (n, n_classes) or (n,), default=None
        Predictions of models that have not seen the row, if you have them: probabilities of the
        sorted labels of ``y``, or numbers. Nothing is fitted then.
    groups : array-like of shape (n,), default=None
        Groups of rows that stay in one fold, such as the patient that rows are from. A splitter
        that you pass as ``cv`` has to know groups.
    sample_id : array-like of shape (n,), default=None
        Your own names of the rows, such as ``X.index`` of a data frame.
    random_state : int, RandomState instance or None, default=0
        How rows are divided into folds, if ``cv`` is a number.
    n_jobs : int, default=None
        Folds that are fitted at once.
    verbose : bool, default=False
        Whether progress is shown.

    Returns
    -------
    LabelIssues
        Suspicion of every row, the rows that are issues, and the labels suggested for them.

    Raises
    ------
    TypeError
        If the estimator cannot be cloned or gives no probabilities.
    ValueError
        If there are fewer than two labels, a target is no finite number, or shapes do not fit.

    See Also
    --------
    sklearn_provenance.evaluation.label_error_ranking : Measures suspicion where errors are known.
    anomaly_ranking : Ranks rows by one trained network.
    report : A page, which takes the suspicion found here.

    Notes
    -----
    Labels: suspicion is one minus the probability of the given label, as in confident learning
    ([1]_). A row is an issue if another label is predicted and the row makes its given label less
    than half as likely as it is among all rows: their pointwise information, log p(y | x) / p(y),
    is below -log 2. Rows of rare labels get a lower bar so. The predicted label is suggested. In
    ``benchmarks/label_issues.py`` this rule is compared with confident learning, which names rows
    where another label is as likely as for those that carry it.

    Targets: suspicion is the distance of the residual from the median residual, in robust standard
    deviations (the median of these distances divided by 0.6745), and more than 3.5 make an issue
    ([2]_).

    References
    ----------
    .. [1] Northcutt, Jiang, Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels.
       Journal of Artificial Intelligence Research 70, 2021. arXiv:1911.00068.
    .. [2] Iglewicz, Hoaglin: How to Detect and Handle Outliers. ASQC Quality Press, 1993.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn_provenance.datasets import flip_labels, load_digits
    >>> from sklearn_provenance.inspection import find_label_issues
    >>> X, y = load_digits("train", return_X_y=True)
    >>> X = X[:600].reshape(600, -1)
    >>> y, wrong = flip_labels(y[:600], 0.05, random_state=0)
    >>> issues = find_label_issues(RandomForestClassifier(random_state=0), X, y)
    >>> f"{wrong[issues.rows].mean():.0%} of the rows found are wrong, of {wrong.sum()} errors"
    '...% of the rows found are wrong, of 30 errors'
    >>> issues.to_frame().columns.tolist()
    ['row', 'label', 'suggested', 'suspicion', 'is_issue']
    """
    n = _num_samples(X)
    labels = check_labels(y, "y", n)
    if groups is not None:
        groups = check_labels(groups, "groups", n)
    names = None
    if sample_id is not None:
        names = check_labels(sample_id, "sample_id", n)
    if predicted is None:
        estimator = _trainable(estimator)
        numbers = predicts_numbers(estimator)
    else:
        if estimator is not None:
            raise TypeError("estimator must be None where predicted is given: nothing is fitted")
        check_readable(predicted, "predicted")
        numbers = np.ndim(predicted) == 1
        if numbers:
            _check_no_labels(predicted, labels)
    classes = None
    if numbers:
        labels = check_numbers(labels, "y", (n,))
    else:
        classes = _two_or_more(labels)
    if predicted is None:
        folds = splitter(cv, labels, classes is not None, random_state, grouped=groups is not None)
        predicted = out_of_fold(
            estimator, X, labels, classes, cv=folds, groups=groups, n_jobs=n_jobs, verbose=verbose
        )
    if classes is None:
        outputs = check_numbers(predicted, "predicted", (n,))
        suspicion, is_issue, suggested = residual_issues(outputs, labels)
    else:
        outputs = _check_probabilities(predicted, (n, len(classes)))
        columns = np.searchsorted(classes, labels)
        suspicion, is_issue, likely = label_issues(outputs, columns)
        suggested = classes[likely]
    return LabelIssues(
        suspicion,
        is_issue,
        labels,
        suggested,
        outputs,
        sample_id=names,
        data=X,
        targets="numbers" if numbers else "labels",
    )


def _two_or_more(labels):
    """Return the sorted classes of labels, or raise a ValueError if there is only one."""
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(f"y must have two labels or more, got only {classes.tolist()}")
    return classes


def _check_no_labels(predicted, labels):
    """Raise a ValueError if one value a row cannot be the output of a regressor."""
    n_labels = len(np.unique(labels))
    is_regression = labels.dtype.kind in "biuf" and n_labels > 2
    kind = np.asarray(predicted).dtype
    if not is_regression or kind.kind != "f":
        raise ValueError(
            "predicted with one value a row must be real numbers that a regressor predicts for "
            f"targets y, got predicted of dtype {kind} and y with {n_labels} different values of "
            f"dtype {labels.dtype}. Where y holds labels, pass probabilities, a column for each: "
            'cross_val_predict(..., method="predict_proba")'
        )


def _check_probabilities(predicted, shape):
    """Return predictions as probabilities, or raise a ValueError that says what they are."""
    outputs = check_numbers(predicted, "predicted", shape)
    if outputs.min() < 0 or outputs.max() > 1 + 1e-6:
        raise ValueError(
            "predicted must hold probabilities from 0 to 1, got numbers from "
            f"{outputs.min():.3g} to {outputs.max():.3g}"
        )
    sums = outputs.sum(axis=1)
    if np.abs(sums - 1).max() > 0.01:
        raise ValueError(
            "predicted must hold probabilities that sum to 1 in each row, got sums from "
            f"{sums.min():.3g} to {sums.max():.3g}"
        )
    return outputs


def _trainable(estimator):
    """Return what can be cloned and fitted, or raise a TypeError that says what to pass."""
    if hasattr(estimator, "attribute") and hasattr(estimator, "estimator"):
        estimator = estimator.estimator  # of an attributor
    if isinstance(estimator, nn.Module):
        raise TypeError(
            "estimator must be one that can be fitted again, but a torch module does not say how "
            "it is trained: wrap it in skorch's NeuralNetClassifier, or pass "
            "predicted=, probabilities by modules that have not seen the row"
        )
    if not hasattr(estimator, "get_params") or not hasattr(estimator, "fit"):
        raise TypeError(
            f"estimator must be a classifier or regressor, got {type(estimator).__name__}"
        )
    if not predicts_numbers(estimator) and not hasattr(estimator, "predict_proba"):
        raise TypeError(
            f"estimator must give probabilities, but {type(estimator).__name__} has no "
            "predict_proba: wrap it in CalibratedClassifierCV, or set the option that gives it one"
        )
    return estimator


def label_issues(probabilities, columns):
    """Find labels that rows speak against.

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_classes)
        Of models that have not seen the row.
    columns : ndarray of shape (n,)
        Column of each row's given label.

    Returns
    -------
    suspicion : ndarray of shape (n,)
        One minus the probability of the given label; nan where no other row has the label, since
        no model that has not seen the row knows it.
    is_issue : ndarray of shape (n,), bool
        Whether another label is more likely, and the given one has less than half of its share
        among the rows.
    suggested : ndarray of shape (n,)
        Column of the most likely label.
    """
    n, n_classes = probabilities.shape
    counts = np.bincount(columns, minlength=n_classes)
    of_label = probabilities[np.arange(n), columns]
    suggested = probabilities.argmax(axis=1)
    is_issue = (probabilities.max(axis=1) > of_label) & (of_label < counts[columns] / n / 2)
    alone = counts[columns] == 1
    return np.where(alone, np.nan, 1 - of_label), is_issue & ~alone, suggested


def residual_issues(predicted, y):
    """Find targets far from what models predict that have not seen them.

    Parameters
    ----------
    predicted, y : ndarray of shape (n,)
        Predictions and targets.

    Returns
    -------
    suspicion : ndarray of shape (n,)
        Distance of the residual from the median residual, in robust standard deviations.
    is_issue : ndarray of shape (n,), bool
        Whether it is more than 3.5.
    suggested : ndarray of shape (n,)
        The predictions.
    """
    residuals = y - predicted
    distances = np.abs(residuals - np.median(residuals))
    spread = np.median(distances) / _MEDIAN_DEVIATION
    if spread == 0:  # more than half of the residuals are the same
        spread = distances.mean() / _MEAN_DEVIATION
    if spread == 0:
        return distances, np.zeros(len(y), dtype=bool), predicted
    suspicion = distances / spread
    return suspicion, suspicion > _FAR, predicted
