"""Explanation: the training rows behind each prediction."""

from collections.abc import Iterator, Sequence
from inspect import signature
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._utils.rows import shown, take_rows
from .._utils.types import Rows, Targets
from ._checks import check_explanation, check_picks
from ._contributions import Contributions
from ._shared_features import largest
from ._shown import ShownExplanation
from ._targets import agreement, need, residuals, target_differences


class Explanation(ShownExplanation):
    """
    Training rows that explain each query, best first.

    `indices, scores = explanation` unpacks it. `explanation[3]`, `explanation[:5]`, a list of
    numbers or a boolean mask take queries, and always give an Explanation whose arrays keep two
    axes. There is no `len`, which would contradict one of the two: see `n_queries` and `k`.
    Printed, an exemplar shows its label only where that differs from the query's; a target that is
    a number is shown with its difference from the query's.

    Parameters
    ----------
    indices : array-like of int of shape (n_queries, k)
        Training rows, best first. A query with fewer exemplars than k ends in -1.
    scores : array-like of float of shape (n_queries, k)
        Scores of those rows, nan exactly where `indices` is -1.
    sample_id : array-like of shape (n_queries, k), default=None
        The user's own names of those rows.
    exemplar_labels : array-like of shape (n_queries, k), default=None
        Labels of those rows, or their targets, which are numbers: see `targets`. Here and in
        `sample_id`, what stands at padding positions is ignored.
    query_labels : array-like of shape (n_queries,), default=None
        Labels, or numbers, explained: usually the predicted ones.
    queries : array-like of shape (n_queries, ...), default=None
        Rows explained: an array, a tensor, a sparse matrix, a data frame, or a list of texts. Data
        frames other than pandas' become arrays.
    training_data : array-like of shape (n_train, ...), default=None
        What `indices` point into. It is kept as it is, by reference; pickling the explanation
        pickles it too.
    image_shape : tuple of int, default=None
        `(H, W)` or `(C, H, W)` when rows are images, be they flat or shaped; channels-last rows of
        shape (H, W, C) are recognised.
    feature_names : sequence of str, default=None
        Names of the features of a row; None takes the columns of `queries` when it has any.
    query_id : array-like of shape (n_queries,), default=None
        The user's own names of the queries; None counts them from 0.
    n_tied : array-like of int of shape (n_queries,), default=None
        Rows left out whose score equals that of the last exemplar: the choice among them is by row
        number. None where ties were not counted.
    method : str, default=""
        Name of the method that found the exemplars.
    score_name : str, default="score"
        What a score is, with its unit, e.g. `"information gain (nats)"`.
    true_labels : array-like of shape (n_queries,), default=None
        Labels, or targets, that the queries should have.
    targets : {"labels", "numbers"}, default=None
        What the labels are. "labels" are equal or not. "numbers" are targets of a regression: they
        are subtracted and coloured, and never called other labels. None takes "numbers" where
        some of the labels given are floats and all are numeric, else "labels"; pass "labels" where
        classes are coded as floats.
    contributions : Contributions or sequence, default=None
        Features that queries share with their exemplars, in linear methods: their parts of the
        inner product. A :class:`~sklearn_provenance.explanation.Contributions`, or for each query
        and each of its exemplars the parts by name: a mapping, or pairs (name, part).
    reason : str, default=""
        Why this method was chosen, where somebody chose it for the user.

    Attributes
    ----------
    n_queries : int
        Number of queries.
    k : int
        Number of exemplars of each query, padding included.
    agreement : ndarray of shape (n_queries,)
        Share of each query's exemplars whose label is the query's; nan without exemplars. Labels
        only.
    target_differences : ndarray of shape (n_queries, k)
        Targets of the exemplars minus `query_labels`, nan at padding. Numbers only.
    residuals : ndarray of shape (n_queries,)
        `true_labels` minus `query_labels`. Numbers only.

    Raises
    ------
    ValueError
        If shapes disagree, an index points outside of `training_data`, the padding of `indices`
        and `scores` differs or does not stand at the end of a row, or `targets` are "numbers" and
        labels are not.

    Examples
    --------
    >>> from sklearn_provenance import Explanation
    >>> exp = Explanation(
    ...     [[4, 0], [2, -1]],
    ...     [[0.93, 0.00012], [1.0, float("nan")]],
    ...     exemplar_labels=[["cat", "dog"], ["dog", ""]],
    ...     query_labels=["cat", "dog"],
    ...     method="nearest neighbours",
    ... )
    >>> exp
    Explanation by nearest neighbours: 2 queries, up to 2 exemplars each, score
    query 0 -> 'cat':  row 4 0.93 | row 0 (!= 'dog') 1.2e-4
    query 1 -> 'dog':  row 2 1
    >>> indices, scores = exp[0]
    >>> indices
    array([[4, 0]])
    >>> exp.agreement
    array([0.5, 1. ])

    Targets that are numbers are subtracted.

    >>> exp = Explanation(
    ...     [[4, 0]], [[0.9, 0.4]], exemplar_labels=[[151.0, 75.0]], query_labels=[142.5]
    ... )
    >>> exp
    Explanation: 1 query, 2 exemplars each, score; (target, difference)
    query 0 -> 142:  row 4 (151, +8.5) 0.9 | row 0 (75, -67.5) 0.4
    >>> exp.target_differences
    array([[  8.5, -67.5]])
    """

    _PER_QUERY: tuple[str, ...] = (
        "indices",
        "scores",
        "sample_id",
        "exemplar_labels",
        "query_labels",
        "queries",
        "query_id",
        "n_tied",
        "true_labels",
        "contributions",
    )
    _NOTHING = "no exemplars"  # what the text says of a query for which no row is named
    # Old pickles lack these attributes.
    contributions: Any = None
    true_labels: Targets = None
    targets: str | None = "labels"
    reason = ""

    def __init__(
        self,
        indices: ArrayLike,
        scores: ArrayLike,
        *,
        sample_id: ArrayLike | None = None,
        exemplar_labels: Targets = None,
        query_labels: Targets = None,
        queries: Rows = None,
        training_data: Rows = None,
        image_shape: Sequence[int] | None = None,
        feature_names: Sequence[str] | None = None,
        query_id: ArrayLike | None = None,
        n_tied: ArrayLike | None = None,
        method: str = "",
        score_name: str = "score",
        true_labels: Targets = None,
        targets: Literal["labels", "numbers"] | None = None,
        contributions: Contributions | Sequence | None = None,
        reason: str = "",
    ) -> None:
        self.indices, self.scores = check_picks(indices, scores)
        self.sample_id = sample_id
        self.exemplar_labels = exemplar_labels
        self.query_labels = query_labels
        self.queries = queries
        self.training_data = training_data
        self.image_shape = image_shape
        self.feature_names = feature_names
        self.query_id = query_id
        self.n_tied = n_tied
        self.method = method
        self.score_name = score_name
        self.true_labels = true_labels
        self.targets = targets
        self.contributions = contributions
        self.reason = reason
        check_explanation(self)

    @property
    def n_queries(self) -> int:
        """Number of queries."""
        return self.indices.shape[0]

    @property
    def k(self) -> int:
        """Number of exemplars of each query, padding included."""
        return self.indices.shape[1]

    @property
    def agreement(self) -> NDArray[np.float64]:
        """Share of each query's exemplars whose label is the query's; nan without exemplars."""
        return agreement(self)

    @property
    def target_differences(self) -> NDArray[np.float64]:
        """Targets of the exemplars minus the queries', nan at padding."""
        return target_differences(self)

    @property
    def residuals(self) -> NDArray[np.float64]:
        """True targets of the queries minus those explained."""
        return residuals(self)

    def __iter__(self) -> Iterator[NDArray]:
        yield self.indices
        yield self.scores

    def __getitem__(self, key: Any) -> Self:
        rows = np.atleast_1d(np.arange(self.n_queries)[key])
        if rows.ndim != 1:
            raise IndexError(f"an Explanation is indexed by its queries, got {key!r}")
        changes = {}
        for name in self._PER_QUERY:
            data = getattr(self, name)
            if data is not None:
                changes[name] = take_rows(data, rows)
        return self._replace(**changes)

    def shown_as(self, training_data: Rows = None, queries: Rows = None) -> Self:
        """
        Show other rows than those that the model takes, such as the texts of token ids.

        Parameters
        ----------
        training_data : array-like of shape (n_train, ...), default=None
            What is shown in place of the training rows; None shows none.
        queries : array-like of shape (n_queries, ...), default=None
            What is shown in place of the queries; None shows none.

        Returns
        -------
        Explanation
            The same exemplars and scores.

        Raises
        ------
        ValueError
            If there are fewer training rows than exemplars point to, or not as many queries as are
            explained.

        Examples
        --------
        >>> from sklearn_provenance import Explanation
        >>> exp = Explanation([[1]], [[0.93]], queries=[[8, 2]], training_data=[[7, 3], [8, 4]])
        >>> exp.shown_as(["a dog", "a red cat"], ["a cat"])
        Explanation: 1 query, 1 exemplar each, score
        query 0:  row 1 0.93
          text    a cat
          first   a red cat
        """
        rows = shown(training_data, queries)
        return self._replace(
            training_data=rows.parts[0],
            queries=rows.parts[1],
            image_shape=rows.image_shape,
            feature_names=rows.column_names,
        )

    def _replace(self, **changes: Any) -> Self:
        return type(self)(**{name: getattr(self, name) for name in _ARGUMENTS} | changes)

    def shared_features(
        self, query: int, rank: int = 0, n: int | None = None
    ) -> list[tuple[str, float]]:
        """
        Return the features that a query shares with an exemplar, and their parts.

        Parameters
        ----------
        query : int
            Position of the query.
        rank : int, default=0
            Position of the exemplar; 0 is the best.
        n : int, default=None
            How many to return at most; None returns all.

        Returns
        -------
        list of (str, float)
            Names and parts of the inner product, those of largest absolute value first. Empty at
            padding.

        Raises
        ------
        AttributeError
            If `contributions` was not given.
        """
        need(self, "shared_features needs parts of features", ("contributions",))
        row = self.indices[query, rank]
        if row < 0:
            return []
        return largest(self.contributions.parts(query, rank, row), n)


_ARGUMENTS = tuple(signature(Explanation).parameters)
