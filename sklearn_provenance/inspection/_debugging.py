"""How odd rows are: entropy and confidence of the index branch, distance, labels of exemplars."""

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.utils._param_validation import validate_params

from .._utils.arguments import ROWS
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
def index_entropy(classifier, X=None):
    """Entropy of the index probabilities of rows, in nats.

    It is 0 where one training row is named with certainty, and the log of the number of candidates
    where all are named alike.

    Parameters
    ----------
    classifier : ProvenanceClassifier
        Fitted; or a Pipeline, search or FrozenEstimator around one.
    X : array-like of shape (n, ...), default=None
        Rows as it takes them. None takes the training rows, each without its own index: the
        probabilities of the others are normalised again, as in ``explain()``. Give the training
        rows as ``X`` for the entropy over all indices, the own one among them.

    Returns
    -------
    entropy : ndarray of shape (n,)
        Under hard routing that of the rows of the predicted class. nan for a training row where
        that class has no other row.

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
    return classifier.index_certainty(X)[1]


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
        What :func:`feature_neighbors` returned; None computes it.

    Returns
    -------
    scores : ndarray of shape (n,)
        Finite, higher where a row is more anomalous. A training row where its predicted class has
        no other row is as anomalous as can be.

    Raises
    ------
    ValueError
        If the method is unknown or cannot serve the classifier.
    """
    if method not in SCORE_NAMES:
        raise ValueError(f"{method!r} is no score; expected one of {', '.join(SCORE_NAMES)}")
    if method == "distance":
        neighbors = neighbors or feature_neighbors(classifier, k)
        queries = None if X is None else index_branch_features(classifier, X)
        return neighbors.kneighbors(queries)[0].mean(axis=1)
    if method == "disagreement":
        if classifier.candidates_ == "same_class":
            raise ValueError(
                "disagreement asks exemplars for their labels, and under hard routing all have the "
                'predicted one. Take another architecture, or read this network with routing="soft"'
            )
        explanation = classifier.explain(X, k=k)
        labels = classifier.training_.y if X is None else explanation.query_labels
        return np.nan_to_num(label_disagreement(explanation, labels), nan=1.0)
    log_confidence, entropy = classifier.index_certainty(X)
    if method == "entropy":
        return np.nan_to_num(entropy, nan=np.log(len(classifier.index_)))
    if method == "low_entropy":
        return np.nan_to_num(-entropy, nan=0.0)
    return np.nan_to_num(-log_confidence, nan=_NO_CONFIDENCE)


def feature_neighbors(classifier, k):
    """Search for the k nearest training rows in the features of the index branch."""
    training = classifier.training_
    n_train = len(training)
    if k >= n_train:
        raise ValueError(f"k must be less than the number of training rows, {n_train}; got {k}")
    features = index_branch_features(classifier, training.X)
    return NearestNeighbors(n_neighbors=k).fit(features)
