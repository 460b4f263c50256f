"""How odd rows are: entropy and confidence of the index branch, distance, labels of exemplars."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from sklearn.utils._param_validation import validate_params

from .._utils.arguments import ROWS
from .._utils.types import Rows
from ..attribution._suspicion import label_disagreement
from ._shared import index_branch_features, open_classifier

SCORE_NAMES = {
    "distance": "distance to neighbours",
    "disagreement": "disagreement of labels",
    "entropy": "entropy (nats)",
    "low_entropy": "-entropy (nats)",
    "confidence": "-log confidence (nats)",
}
# Nats of a probability below the smallest normal number, for rows that have nobody to name.
_NO_CONFIDENCE = -float(np.log(np.finfo(np.float32).tiny))


@validate_params(
    {"X": [ROWS, None]},
    prefer_skip_nested_validation=False,
)
def index_entropy(classifier: Any, X: Rows = None) -> NDArray[np.float64]:
    """Compute the entropy of the index probabilities of rows, in nats.

    The entropy is 0 where one training row has probability 1, and the log of the number of
    candidates where all candidates have the same probability.

    Parameters
    ----------
    classifier : ProvenanceClassifier
        Fitted; or a Pipeline, search or FrozenEstimator around one.
    X : array-like of shape (n, ...), default=None
        Rows as it takes them. None takes the training rows, each without its own index: the
        probabilities of the others are normalised again, as in ``explain()``. For the entropy over
        all indices, with that of the row itself, pass the training rows as ``X``.

    Returns
    -------
    entropy : ndarray of shape (n,)
        Entropies. Under hard routing, only rows of the predicted class are candidates, and the
        entropy of a training row is nan where that class has no other row.

    Raises
    ------
    TypeError
        If there is no ProvenanceClassifier.

    References
    ----------
    .. [1] Provenance Networks: End-to-End Exemplar-Based Explainability, section 5.3.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_provenance import ProvenanceClassifier
    >>> from sklearn_provenance.inspection import index_entropy
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = ProvenanceClassifier(width="small", max_epochs=20, random_state=0).fit(X, y)
    >>> entropy = index_entropy(clf)
    >>> entropy.shape, bool(entropy.max() < 3.92)  # log of the 50 rows of a class
    ((150,), True)
    """
    classifier, X = open_classifier(classifier, X)
    _, entropy = classifier.index_certainty(X)
    return entropy


def anomaly_scores(classifier, X=None, *, method, k, neighbors=None):
    """Score rows by how anomalous they are to a provenance network.

    Parameters
    ----------
    classifier : ProvenanceClassifier
        Fitted.
    X : array-like of shape (n, ...), default=None
        Rows as it takes them. None takes the training rows, each by the others.
    method : {"distance", "disagreement", "entropy", "low_entropy", "confidence"}
        As in :func:`anomaly_ranking`. "disagreement" compares with the given labels of training
        rows, and with the predicted ones of other rows.
    k : int
        Neighbours or exemplars of each row.
    neighbors : NearestNeighbors, default=None
        Result of :func:`feature_neighbors`; None computes it.

    Returns
    -------
    scores : ndarray of shape (n,)
        Finite scores, higher where a row is more anomalous. A training row whose predicted class
        has no other row gets the largest possible score.

    Raises
    ------
    ValueError
        If the method cannot serve the classifier.
    """
    if method == "distance":
        neighbors = neighbors or feature_neighbors(classifier, k)
        queries = None  # kneighbors then leaves out each row itself
        if X is not None:
            queries = index_branch_features(classifier, X)
        distances, _ = neighbors.kneighbors(queries)
        return distances.mean(axis=1)
    if method == "disagreement":
        if classifier.candidates_ == "same_class":
            raise ValueError(
                "disagreement needs exemplars of several labels, but under hard routing all have "
                "the predicted one. Take another architecture, or read this network with "
                'routing="soft"'
            )
        explanation = classifier.explain(X, k=k)
        labels = explanation.query_labels
        if X is None:
            labels = classifier.training_.y
        return np.nan_to_num(label_disagreement(explanation, labels), nan=1.0)
    log_confidence, entropy = classifier.index_certainty(X)
    if method == "entropy":
        return np.nan_to_num(entropy, nan=np.log(len(classifier.index_)))
    if method == "low_entropy":
        return np.nan_to_num(-entropy, nan=0.0)
    return np.nan_to_num(-log_confidence, nan=_NO_CONFIDENCE)


def feature_neighbors(classifier, k):
    """Return a search for the k nearest training rows in the features of the index branch."""
    training = classifier.training_
    n_train = len(training)
    if k >= n_train:
        raise ValueError(f"k must be less than {n_train}, the number of training rows, got {k}")
    features = index_branch_features(classifier, training.X)
    return NearestNeighbors(n_neighbors=k).fit(features)
