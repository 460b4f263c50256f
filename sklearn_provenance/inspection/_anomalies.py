"""Training rows of each class by how anomalous they are."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import StrOptions, validate_params

from .._utils.arguments import check_numbers, whole
from .._utils.results import Result
from .._utils.tables import Table, text_table
from ..explanation._rows import one_line, shorten
from ._debugging import SCORE_NAMES, anomaly_scores
from ._rows_display import RowsDisplay
from ._shared import open_classifier, pictures


@validate_params(
    {"by": [StrOptions(set(SCORE_NAMES)), "array-like"], "k": [whole()]},
    prefer_skip_nested_validation=False,
)
def anomaly_ranking(
    classifier: Any, by: str | ArrayLike = "distance", *, k: int = 10
) -> "AnomalyRanking":
    """Rank the training rows of each class by how anomalous they are.

    Every row is scored by what the network says of the *other* training rows, as in ``explain()``.

    Parameters
    ----------
    classifier : ProvenanceClassifier
        Fitted; or a Pipeline, search or FrozenEstimator around one.
    by : str or array-like of shape (n_train,), default="distance"
        What makes a row anomalous, or your own scores, higher where a row is more anomalous:

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
        If ``by`` is unknown or does not have one finite score for each training row. If ``by`` is
        "disagreement", and all exemplars have the predicted class, as under hard routing.

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
    classifier, _ = open_classifier(classifier)
    training = classifier.training_
    if isinstance(by, str):
        scores = anomaly_scores(classifier, method=by, k=k)
        name = SCORE_NAMES[by]
    else:
        scores = check_numbers(by, "by", (len(training),)).copy()
        name = "score"
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
        Scores, higher where a row is more anomalous.
    labels : ndarray of shape (n_train,)
        Labels of the rows as given.
    score_name : str
        Name of the scores, with their unit.
    sample_id : ndarray of shape (n_train,), default=None
        Identifiers of the rows.
    images : ndarray of shape (n_train, H, W) or (n_train, H, W, C), default=None
        The rows, if they are images.
    """

    def __init__(
        self,
        scores: NDArray[np.float64],
        labels: NDArray,
        score_name: str,
        sample_id: NDArray | None = None,
        images: NDArray | None = None,
    ) -> None:
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
            [one_line(label) for label in classes],
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

    def most(self, label: Any, n: int = 5) -> NDArray[np.int64]:
        """Return the most anomalous rows of a class.

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

        Raises
        ------
        ValueError
            If no training row has the label, or ``n`` is no integer of at least 0.
        """
        return self._order(label)[: _count(n)]

    def least(self, label: Any, n: int = 5) -> NDArray[np.int64]:
        """Return the least anomalous rows of a class, as :meth:`most` returns the others.

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
        """Return the rows of a class, the most anomalous first."""
        rows = np.flatnonzero(self.labels == label)
        if not len(rows):
            raise ValueError(
                f"label must be one of {np.unique(self.labels).tolist()}, got {label!r}"
            )
        return _most_first(self.scores, rows)


def _most_first(scores, rows):
    """Sort rows by their scores, the largest first."""
    return rows[np.argsort(-scores[rows], kind="stable")]


def _figure(ranking, kind="auto", labels=None, n=5):
    """Draw the least and the most anomalous rows of classes."""
    return rows_figure(ranking, kind, labels, n, "anomalous")


def rows_figure(ranking, kind, labels, n, word):
    """Draw the rows of lowest and of highest score of classes; `word` says what the latter are."""
    if labels is None:
        labels = np.unique(ranking.labels)
    labels = np.atleast_1d(labels)
    least = [ranking.least(label, n) for label in labels]
    most = [ranking.most(label, n) for label in labels]
    least_images = most_images = None
    if ranking.images is not None:
        least_images = [ranking.images[rows] for rows in least]
        most_images = [ranking.images[rows] for rows in most]
    return RowsDisplay(
        labels,
        [ranking.scores[ranking.labels == label] for label in labels],
        [ranking.scores[rows] for rows in least],
        [ranking.scores[rows] for rows in most],
        least_names=[row_names(rows, ranking.sample_id) for rows in least],
        most_names=[row_names(rows, ranking.sample_id) for rows in most],
        least_images=least_images,
        most_images=most_images,
        score_name=ranking.score_name,
        kind=kind,
        word=word,
    )


def row_names(rows, sample_id=None):
    """Name rows by their numbers, or by the user's identifiers of all training rows."""
    if sample_id is None:
        return [f"row {row}" for row in rows]
    return [f"id {shorten(one_line(sample_id[row]), 12)}" for row in rows]


def _count(n):
    """Return a number of rows, or raise a ValueError where it is none."""
    if not whole(0).is_satisfied_by(n):
        raise ValueError(f"n must be an integer of at least 0, got {n!r}")
    return n
