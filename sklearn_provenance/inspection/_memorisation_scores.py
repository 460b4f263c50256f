"""Accuracies of a provenance network on its training rows and on others."""

from warnings import catch_warnings, filterwarnings

import numpy as np
from sklearn.utils._param_validation import validate_params

from .._utils.arguments import ROWS, check_labels, whole
from .._utils.labels import majority
from .._utils.rows import n_rows
from ._shared import open_classifier


@validate_params(
    {"X_test": [ROWS], "y_test": [ROWS], "k": [whole(), "array-like"]},
    prefer_skip_nested_validation=False,
)
def memorisation_scores(estimator, X_test, y_test, *, k=5):
    """Measure what a provenance network memorises, and what it makes of other rows.

    Parameters
    ----------
    estimator : ProvenanceClassifier
        Fitted; or Pipeline, search or FrozenEstimator around one.
    X_test : array-like of shape (n, ...)
        Rows that it was not trained on.
    y_test : array-like of shape (n,)
        Their classes.
    k : int or sequence of int, default=5
        How many exemplars have a say in ``majority`` and ``any``.

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
        - "train_majority@5": the most frequent class of the k most probable rows is right, of
          several that are equally frequent the one named first;
        - "train_any@5": some of them have it.

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
    own = classifier.index_
    sizes = as_sizes(k, len(own))
    y_test = check_labels(y_test, "y_test", n_rows(X_test), "X_test")

    training = classifier.training_.take(own)
    named, right, on_train = _exemplars(classifier, training.X, training.y, sizes)
    itself = named == own
    scores = {
        "index_accuracy": itself,
        "sampled_target_accuracy": _target_share(classifier, named),
        "local_index_accuracy": classifier.predict_index(training.X, training.y) == own,
        "attribution_accuracy": itself & right,
    }
    scores |= {f"train_{name}": values for name, values in on_train.items()}
    on_test = _exemplars(classifier, X_test, y_test, sizes)[2]
    scores |= {f"test_{name}": values for name, values in on_test.items()}
    return {name: float(np.mean(values)) for name, values in scores.items()}


def as_sizes(k, n_outputs):
    """Numbers of exemplars as a tuple."""
    sizes = (k,) if np.ndim(k) == 0 else tuple(k)
    if not sizes or not all(whole().is_satisfied_by(s) and s <= n_outputs for s in sizes):
        raise ValueError(
            f"k must be one or several integers from 1 to {n_outputs}, the training rows that can "
            f"be named; got {k!r}."
        )
    return tuple(int(s) for s in sizes)


def _exemplars(classifier, X, y, sizes):
    """The row named first, whether the class is right, and measures by name, of each row."""
    with catch_warnings():
        filterwarnings("ignore", ".*candidates", UserWarning)  # padding counts as wrong
        explanation = classifier.explain(X, k=max(sizes))
    named, labels = explanation.indices, explanation.exemplar_labels
    class_right = explanation.query_labels == y
    right = (labels == y[:, None]) & (named >= 0)
    measures = {"class_accuracy": class_right, "top1": right[:, 0]}
    encoded = np.searchsorted(classifier.classes_, labels)
    for size in sizes:
        first = majority(encoded[:, :size], named[:, :size] >= 0)
        measures[f"majority@{size}"] = right[np.arange(len(y)), first]
        measures[f"any@{size}"] = right[:, :size].any(1)
    return named[:, 0], class_right, measures


def _target_share(classifier, named):
    """Probability that the row named is drawn as the target by Eq. 1, for each own row."""
    own, y = classifier.index_, classifier.training_.y
    _, labels, counts = np.unique(y[own], return_inverse=True, return_counts=True)
    others = counts[labels] - 1
    alpha = np.where(others > 0, classifier.alpha, 0.0)
    share = np.where(y[named] == y[own], alpha / np.maximum(others, 1), 0.0)
    return np.where(named == own, 1 - alpha, share)
