"""Training rows of each class by how anomalous they are."""

import numpy as np
from sklearn.utils._param_validation import StrOptions, validate_params

from .._utils.arguments import check_numbers, whole
from .._utils.results import Result
from .._utils.tables import Table, text_table
from ..explanation._rows import clip, plain
from ._debugging import SCORE_NAMES, anomaly_scores
from ._rows_display import RowsDisplay
from ._shared import open_classifier, pictures


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
    training = classifier.training_
    if isinstance(by, str):
        scores, name = anomaly_scores(classifier, method=by, k=k), SCORE_NAMES[by]
    else:
        scores, name = check_numbers(by, "by", (len(training),)).copy(), "score"
    return AnomalyRanking(
        scores,
        training.y,
        name,
        sample_id=training.sample_id,
        images=pictures(classifier, training.X),
    )


class AnomalyRanking(Result):
    """Training rows of each class by how anomalous they are.

    ``to_frame()`` has a line for each training row, class by class, the most anomalous first.
    ``plot(kind="auto", labels=None, n=5)`` draws n rows at each end of classes as
    :class:`RowsDisplay` does.

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

    def __init__(self, scores, labels, score_name, sample_id=None, images=None):
        classes = np.unique(labels)
        orders = [_most_first(scores, np.flatnonzero(labels == label)) for label in classes]
        rows = np.concatenate(orders)
        columns = {
            "label": labels[rows],
            "rank": np.concatenate([np.arange(len(order)) + 1 for order in orders]),
            "row": rows,
        }
        if sample_id is not None:
            columns["sample_id"] = sample_id[rows]
        text = text_table(
            f"Training rows by {score_name}, the most anomalous of each class",
            [plain(label) for label in classes],
            [f"  {', '.join(map(str, order[:5]))}" for order in orders],
        )
        super().__init__(
            text,
            Table({}, columns | {"score": scores[rows]}),
            _figure,
            scores=scores,
            labels=labels,
            score_name=score_name,
            sample_id=sample_id,
            images=images,
        )

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
        return _most_first(self.scores, rows)


def _most_first(scores, rows):
    return rows[np.argsort(-scores[rows], kind="stable")]


def _figure(ranking, kind="auto", labels=None, n=5):
    """Least and most anomalous rows of classes."""
    labels = np.unique(ranking.labels) if labels is None else np.atleast_1d(labels)
    ends = [[end(label, n) for label in labels] for end in (ranking.least, ranking.most)]
    word, ids = ("row", None) if ranking.sample_id is None else ("id", ranking.sample_id)
    names = [
        [[f"{word} {clip(plain(row if ids is None else ids[row]), 12)}" for row in rows]
         for rows in end]
        for end in ends
    ]  # fmt: skip
    images = [None, None]
    if ranking.images is not None:
        images = [[ranking.images[rows] for rows in end] for end in ends]
    return RowsDisplay(
        labels,
        [ranking.scores[ranking.labels == label] for label in labels],
        *([ranking.scores[rows] for rows in end] for end in ends),
        least_names=names[0],
        most_names=names[1],
        least_images=images[0],
        most_images=images[1],
        score_name=ranking.score_name,
        kind=kind,
    )


def _count(n):
    if not whole(0).is_satisfied_by(n):
        raise ValueError(f"n must be an integer of at least 0, got {n!r}")
    return n
