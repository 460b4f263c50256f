"""Which rows are odd: entropy and confidence of the index branch, distance, labels of exemplars."""

from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.utils._param_validation import StrOptions, validate_params

from .._utils.arguments import ROWS, check_numbers, whole
from .._utils.tables import frame
from ..attribution._suspicion import label_disagreement
from ._certainty import index_certainty
from ._debugging_display import AnomalyDisplay
from ._shared import index_branch_features, open_classifier, pictures, training_labels

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
    return index_certainty(*open_classifier(classifier, X))[1]


@validate_params(
    {"by": [StrOptions(set(SCORE_NAMES)), "array-like"], "k": [whole()]},
    prefer_skip_nested_validation=False,
)
def anomaly_ranking(classifier, by="distance", *, k=10):
    """Rank the training rows of each class by how anomalous they are.

    Every row is scored by what the network says of the *other* training rows, as in ``explain()``.

    Parameters
    ----------
    classifier : ProvenanceClassifier
        Fitted; or a Pipeline, search or FrozenEstimator around one.
    by : str or array-like of shape (n_train,), default="distance"
        What makes a row anomalous, or scores of your own, higher where it is more so:

        - "distance": mean Euclidean distance to the k nearest rows in the features of the index
          branch;
        - "disagreement": share of the k exemplars whose label is another, weighted by score
          (:func:`~sklearn_provenance.evaluation.label_disagreement`); it finds wrong labels;
        - "entropy": :func:`index_entropy`, high where no other row in particular is named;
        - "low_entropy": the opposite, high where few other rows are named;
        - "confidence": -log of the largest index probability, in nats.
    k : int, default=10
        Neighbours or exemplars of each row.

    Returns
    -------
    AnomalyRanking
        Scores and ranks, with ``to_frame`` and ``plot``.

    Raises
    ------
    ValueError
        If ``by`` is unknown or does not have one finite score for each training row; or if it is
        "disagreement" and all exemplars have the predicted class, as under hard routing.

    See Also
    --------
    ProvenanceOutlierDetector : Scores new rows too.
    sklearn_provenance.evaluation.label_error_ranking : Measures scores where errors are known.

    Notes
    -----
    Under hard routing a class-conditional network compares a row with those of its predicted
    class only. Each class has an entropy scale of its own, up to the log of its size, which is why
    rows are ranked inside classes.

    References
    ----------
    .. [1] Provenance Networks: End-to-End Exemplar-Based Explainability, section 5.3.

    Examples
    --------
    >>> from sklearn_provenance import ProvenanceClassifier
    >>> from sklearn_provenance.datasets import flip_labels, load_digits
    >>> from sklearn_provenance.inspection import anomaly_ranking
    >>> X, y = load_digits(return_X_y=True)
    >>> X = X[:300].reshape(300, -1) / 255
    >>> y, flipped = flip_labels(y[:300], 0.1, random_state=0)
    >>> clf = ProvenanceClassifier("single_branch", alpha=0, max_epochs=20, random_state=0)
    >>> ranking = anomaly_ranking(clf.fit(X, y), "disagreement")
    >>> suspects = [row for label in range(10) for row in ranking.most(label, n=2)]
    >>> bool(flipped[suspects].mean() > 5 * flipped.mean())
    True
    """
    classifier = open_classifier(classifier)[0]
    if isinstance(by, str):
        scores, name = anomaly_scores(classifier, method=by, k=k), SCORE_NAMES[by]
    else:
        scores, name = check_numbers(by, "by", (len(classifier._fit_X),)).copy(), "score"
    return AnomalyRanking(
        scores,
        training_labels(classifier),
        name,
        sample_id=classifier._sample_id,
        images=pictures(classifier, classifier._fit_X),
    )


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
        queries = None if X is None else index_branch_features(classifier, classifier._rows(X))
        return neighbors.kneighbors(queries)[0].mean(axis=1)
    if method == "disagreement":
        if classifier.architecture == "class_conditional" and classifier.routing == "hard":
            raise ValueError(
                "disagreement asks exemplars for their labels, and under hard routing all have the "
                'predicted one. Take another architecture, or read this network with routing="soft"'
            )
        explanation = classifier.explain(X, k=k)
        labels = training_labels(classifier) if X is None else explanation.query_labels
        return np.nan_to_num(label_disagreement(explanation, labels), nan=1.0)
    log_confidence, entropy = index_certainty(classifier, X)
    if method == "entropy":
        return np.nan_to_num(entropy, nan=np.log(len(classifier.index_)))
    if method == "low_entropy":
        return np.nan_to_num(-entropy, nan=0.0)
    return np.nan_to_num(-log_confidence, nan=_NO_CONFIDENCE)


def feature_neighbors(classifier, k):
    """Search for the k nearest training rows in the features of the index branch."""
    n_train = len(classifier._fit_X)
    if k >= n_train:
        raise ValueError(f"k must be less than the number of training rows, {n_train}; got {k}")
    features = index_branch_features(classifier, classifier._fit_X)
    return NearestNeighbors(n_neighbors=k).fit(features)


def _count(n):
    if not whole(0).is_satisfied_by(n):
        raise ValueError(f"n must be an integer of at least 0, got {n!r}")
    return n


@dataclass(frozen=True, eq=False, repr=False)
class AnomalyRanking:
    """Training rows of each class by how anomalous they are.

    Parameters
    ----------
    scores : ndarray of shape (n_train,)
        Higher where a row is more anomalous.
    labels : ndarray of shape (n_train,)
        Labels of the rows as given.
    score_name : str
        What the scores are, with their unit.
    sample_id : ndarray of shape (n_train,), default=None
        The user's own names of the rows.
    images : ndarray of shape (n_train, H, W) or (n_train, H, W, C), default=None
        The rows, if they are images.
    """

    scores: np.ndarray
    labels: np.ndarray
    score_name: str
    sample_id: np.ndarray | None = None
    images: np.ndarray | None = None

    def most(self, label, n=5):
        """The most anomalous rows of a class.

        Parameters
        ----------
        label : object
            The class.
        n : int, default=5
            Rows to name.

        Returns
        -------
        ndarray of shape (min(n, n_rows_of_the_class),)
            Training rows, the most anomalous first.
        """
        return self._order(label)[: _count(n)]

    def least(self, label, n=5):
        """The least anomalous rows of a class.

        Parameters
        ----------
        label : object
            The class.
        n : int, default=5
            Rows to name.

        Returns
        -------
        ndarray of shape (min(n, n_rows_of_the_class),)
            Training rows, the least anomalous first.
        """
        return self._order(label)[::-1][: _count(n)]

    def _order(self, label):
        rows = np.flatnonzero(self.labels == label)
        if not len(rows):
            raise ValueError(
                f"no training row has the label {label!r}; labels are "
                f"{np.unique(self.labels).tolist()}"
            )
        return rows[np.argsort(-self.scores[rows], kind="stable")]

    def to_frame(self):
        """Return one line for each training row, class by class, the most anomalous first.

        Returns
        -------
        pandas.DataFrame
            Columns `label`, `rank` (from 1, in the class), `row`, `sample_id` if known, and
            `score`.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        orders = [self._order(label) for label in np.unique(self.labels)]
        rows = np.concatenate(orders)
        columns = {
            "label": self.labels[rows],
            "rank": np.concatenate([np.arange(len(order)) + 1 for order in orders]),
            "row": rows,
        }
        if self.sample_id is not None:
            columns["sample_id"] = self.sample_id[rows]
        return frame(columns | {"score": self.scores[rows]}, "to_frame")

    def plot(self, *, kind="auto", labels=None, n=5, ax=None):
        """Draw the least and the most anomalous rows of each class, or all scores.

        Parameters
        ----------
        kind : {"auto", "images", "bars", "histogram"}, default="auto"
            Rows as images, the scores of the same rows as bars, or histograms of all scores;
            "auto" draws images where rows are images, else bars.
        labels : array-like, default=None
            Classes to draw; None draws all.
        n : int, default=5
            Rows at each end.
        ax : matplotlib Axes, default=None
            Subplot whose place is used; None makes a new figure.

        Returns
        -------
        AnomalyDisplay
            The display, with ``axes_`` and ``figure_``.

        Raises
        ------
        ValueError
            If a class has no row, or images are asked for where there are none.
        ImportError
            If matplotlib is missing.
        """
        return AnomalyDisplay.from_result(self, kind=kind, labels=labels, n=n, ax=ax)
