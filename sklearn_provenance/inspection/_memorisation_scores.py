"""Accuracies of a provenance network on its training rows and on others."""

from collections.abc import Sequence
from typing import Any
from warnings import catch_warnings, filterwarnings

import numpy as np
from sklearn.utils._param_validation import validate_params

from .._utils.arguments import ROWS, check_labels, whole
from .._utils.labels import majority
from .._utils.rows import n_rows
from .._utils.types import Rows, Targets
from ._shared import check_some_known, open_classifier


@validate_params(
    {"X_test": [ROWS], "y_test": [ROWS], "k": [whole(), "array-like"]},
    prefer_skip_nested_validation=False,
)
def memorisation_scores(
    estimator: Any, X_test: Rows, y_test: Targets, *, k: int | Sequence[int] = 5
) -> dict[str, float]:
    """Measure how well a provenance network recognises training rows and explains other rows.

    Parameters
    ----------
    estimator : ProvenanceClassifier
        Fitted; or Pipeline, search or FrozenEstimator around one.
    X_test : array-like of shape (n, ...)
        Rows that it was not trained on.
    y_test : array-like of shape (n,)
        Their classes.
    k : int or sequence of int, default=5
        Numbers of exemplars for ``majority`` and ``any``.

    Returns
    -------
    dict of str to float
        On the training rows that have an output:

        - "index_accuracy": the most probable row is the row itself;
        - "sampled_target_accuracy": it is the target of the row, in expectation over draws of that
          target by Eq. 1;
        - "local_index_accuracy": it is the row itself if only rows of the true class count (a
          class-conditional branch is told the true class);
        - "attribution_accuracy": it is the row itself, and the predicted class is right.

        On these ("train") and the test rows ("test"):

        - "train_class_accuracy": the predicted class is right;
        - "train_top1": the class of the most probable row is right;
        - "train_majority@5": the most frequent class of the 5 most probable rows is right. Of
          several that are equally frequent, the one named first counts;
        - "train_any@5": at least one of the 5 most probable rows has the right class.

    Raises
    ------
    TypeError
        If there is no ProvenanceClassifier.
    ValueError
        If k is larger than the number of rows that can be named, or labels do not fit.

    See Also
    --------
    memorisation_curve : The same over a hyperparameter.

    References
    ----------
    .. [1] Provenance Networks: End-to-End Exemplar-Based Explainability, Eq. 1, Table 2 and section
       7.2.6.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_provenance import ProvenanceClassifier
    >>> from sklearn_provenance.inspection import memorisation_scores
    >>> X, X_test, y, y_test = train_test_split(*load_iris(return_X_y=True), random_state=0)
    >>> clf = ProvenanceClassifier(width="small", max_epochs=20, random_state=0).fit(X, y)
    >>> scores = memorisation_scores(clf, X_test, y_test)
    >>> scores["test_top1"] > 0.9
    True
    """
    classifier, X_test = open_classifier(estimator, X_test, "estimator")
    with_output = classifier.index_
    sizes = as_sizes(k, len(with_output))
    y_test = check_labels(y_test, "y_test", n_rows(X_test), "X_test")
    check_some_known(y_test, classifier.classes_)

    training = classifier.training_.take(with_output)
    named, on_train = _exemplars(classifier, training.X, training.y, sizes)
    is_itself = named == with_output
    scores = {
        "index_accuracy": is_itself,
        "sampled_target_accuracy": _target_share(classifier, named),
        "local_index_accuracy": classifier.predict_index(training.X, training.y) == with_output,
        "attribution_accuracy": is_itself & on_train["class_accuracy"],
    }
    scores |= {f"train_{name}": values for name, values in on_train.items()}
    _, on_test = _exemplars(classifier, X_test, y_test, sizes)
    scores |= {f"test_{name}": values for name, values in on_test.items()}
    return {name: float(np.mean(values)) for name, values in scores.items()}


def as_sizes(k, n_outputs):
    """Return numbers of exemplars as a tuple."""
    sizes = tuple(np.atleast_1d(np.asarray(k, dtype=object)))
    if not sizes or not all(whole().is_satisfied_by(s) and s <= n_outputs for s in sizes):
        raise ValueError(
            f"k must be one or several integers from 1 to {n_outputs}, the number of training rows "
            f"that can be named, got {k!r}"
        )
    return tuple(int(s) for s in sizes)


def _exemplars(classifier, X, y, sizes):
    """Return the row named first and the measures by name, for each row of X."""
    with catch_warnings():
        filterwarnings("ignore", ".*candidates", UserWarning)  # padding counts as wrong
        explanation = classifier.explain(X, k=max(sizes))
    named = explanation.indices  # (n, k)
    labels = explanation.exemplar_labels
    is_right = (labels == y[:, None]) & (named >= 0)  # (n, k)
    measures = {"class_accuracy": explanation.query_labels == y, "top1": is_right[:, 0]}
    encoded = np.searchsorted(classifier.classes_, labels)
    for size in sizes:
        first = majority(encoded[:, :size], named[:, :size] >= 0)
        measures[f"majority@{size}"] = is_right[np.arange(len(y)), first]
        measures[f"any@{size}"] = is_right[:, :size].any(axis=1)
    return named[:, 0], measures


def _target_share(classifier, named):
    """Compute the probability that Eq. 1 draws the row named first, for each row with an output."""
    rows = classifier.index_
    y = classifier.training_.y
    _, labels, counts = np.unique(y[rows], return_inverse=True, return_counts=True)
    n_others = counts[labels] - 1  # rows of the same class
    alpha = np.where(n_others > 0, classifier.alpha, 0.0)
    share = np.where(y[named] == y[rows], alpha / np.maximum(n_others, 1), 0.0)
    return np.where(named == rows, 1 - alpha, share)
