"""Explanation: the training rows behind each prediction."""

import numpy as np

from .._utils.tables import frame
from ._checks import check_array, check_explanation
from ._contributions import largest
from ._page import check_target, write_page
from ._plot import ExplanationDisplay
from ._rows import take
from ._sections import explanation_page
from ._table import columns
from ._targets import agreement, need, residuals, target_differences
from ._text import summary_table, write_text

_REPR_QUERIES = 8


class Explanation:
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
    Explanation by nearest neighbours: 2 queries, 2 exemplars each, score
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

    _ARGUMENTS = (
        *("indices", "scores", "sample_id", "exemplar_labels", "query_labels", "queries"),
        *("training_data", "image_shape", "feature_names", "query_id", "n_tied"),
        *("method", "score_name", "true_labels", "targets", "contributions", "reason"),
    )
    _PER_QUERY = (
        *("indices", "scores", "sample_id", "exemplar_labels", "query_labels", "queries"),
        *("query_id", "n_tied", "true_labels", "contributions"),
    )
    # Explanations that were pickled before there were these.
    contributions = None
    true_labels = None
    targets = "labels"
    reason = ""

    def __init__(
        self,
        indices,
        scores,
        *,
        sample_id=None,
        exemplar_labels=None,
        query_labels=None,
        queries=None,
        training_data=None,
        image_shape=None,
        feature_names=None,
        query_id=None,
        n_tied=None,
        method="",
        score_name="score",
        true_labels=None,
        targets=None,
        contributions=None,
        reason="",
    ):
        self.indices = indices
        self.scores = scores
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
    def n_queries(self):
        """Number of queries."""
        return self.indices.shape[0]

    @property
    def k(self):
        """Number of exemplars of each query, padding included."""
        return self.indices.shape[1]

    @property
    def agreement(self):
        """Share of each query's exemplars whose label is the query's; nan without exemplars."""
        return agreement(self)

    @property
    def target_differences(self):
        """Targets of the exemplars minus the queries', nan at padding."""
        return target_differences(self)

    @property
    def residuals(self):
        """True targets of the queries minus those explained."""
        return residuals(self)

    def __iter__(self):
        yield self.indices
        yield self.scores

    def __getitem__(self, key):
        rows = np.atleast_1d(np.arange(self.n_queries)[key])
        if rows.ndim != 1:
            raise IndexError(f"an Explanation is indexed by its queries, got {key!r}")
        values = {name: getattr(self, name) for name in self._PER_QUERY}
        return self._replace(
            **{name: None if data is None else take(data, rows) for name, data in values.items()}
        )

    def _replace(self, **changes):
        return type(self)(**{name: getattr(self, name) for name in self._ARGUMENTS} | changes)

    def shared_features(self, query, rank=0, n=None):
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
        return [] if row < 0 else largest(self.contributions.parts(query, rank, row), n)

    def to_frame(self):
        """
        Return one line for each exemplar of each query, without padding.

        Returns
        -------
        pandas.DataFrame
            Columns `query` (from 0), `query_id` if known, `rank` (from 1, the best), `index`,
            `sample_id` if known, `score`, and as far as they are known `query_label`, `true_label`
            (of the query), `label` (of the exemplar) and `n_tied` (of the query). Where targets are
            numbers, the labels are called `query_target`, `true_target` and `target`, with
            `residual` (of the query) and `difference` (of the exemplar's target from
            `query_target`).

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        return frame(columns(self), "to_frame")

    def plot(self, queries=None, *, k=5, ax=None, figsize=None, max_queries=8, true_labels=None):
        """
        Draw queries beside their exemplars: images as images, texts as texts, others as tables.

        An exemplar whose label differs from the query's is coloured and carries a ≠. Targets that
        are numbers colour squares, or frames of images, and stand with their differences from the
        query's. See :class:`ExplanationDisplay` for how tables are coloured and which features they
        hold. Float images are drawn over the common range of a query and its exemplars, except for
        RGB images in [0, 1], which are drawn as they are.

        Parameters
        ----------
        queries : int, slice or array-like, default=None
            Queries to draw, whatever their number; None draws the first `max_queries`.
        k : int, default=5
            Number of exemplars to draw for each query, or as many as there are.
        ax : matplotlib Axes, default=None
            Subplot whose place is used; None makes a new figure.
        figsize : tuple of float, default=None
            Width and height of a new figure in inches; None fits them to what is drawn.
        max_queries : int, default=8
            Number of queries to draw when `queries` is None.
        true_labels : array-like of shape (n_queries,), default=None
            Labels that all queries should have; those explained are marked with a ✗ where they
            differ. Numbers are shown with their residuals. None takes the explanation's.

        Returns
        -------
        ExplanationDisplay
            The display, with `figure_` and `axes_`.

        Raises
        ------
        ValueError
            If `queries` or `training_data` is unknown, or there is nothing to draw.
        ImportError
            If matplotlib is missing.
        """
        return ExplanationDisplay.from_explanation(
            self,
            queries,
            k=k,
            ax=ax,
            figsize=figsize,
            max_queries=max_queries,
            true_labels=true_labels,
        )

    def to_html(
        self,
        path=None,
        *,
        title="Explanation",
        query_id=None,
        true_labels=None,
        label_names=None,
        max_features=12,
    ):
        """
        Write queries beside their exemplars as one web page, which opens offline.

        Images are pictures, texts are texts, and other rows are tables as in :meth:`plot`. The page
        loads nothing, and nothing in the data can run in it. It holds rows of the data, and is as
        confidential as they are.

        Parameters
        ----------
        path : str or path-like, default=None
            File to write, or to replace in one step; None writes none.
        title : str, default="Explanation"
            Title of the page.
        query_id : array-like of shape (n_queries,), default=None
            Your own names of the queries; None takes the explanation's `query_id`, or counts them
            from 0.
        true_labels : array-like of shape (n_queries,), default=None
            Labels that the queries should have; those explained are marked where they differ.
            Numbers are shown with their residuals. None takes the explanation's.
        label_names : mapping or sequence, default=None
            What to call each label: names by label, or a sequence of names, such as a Bunch's
            `target_names`, for labels counted from 0.
        max_features : int, default=12
            Columns of a table: the features in which exemplars differ most from their queries.

        Returns
        -------
        str
            The page. Its `repr` is one line, so that a notebook does not show all of it.

        Raises
        ------
        ValueError
            If a shape does not fit, `max_features` is below 1, a label has no name, or labels have
            names and are numbers.
        FileNotFoundError
            If the folder of `path` does not exist.
        IsADirectoryError
            If `path` is a folder.

        See Also
        --------
        sklearn_provenance.inspection.report : Page about a fitted classifier or attributor.

        Examples
        --------
        >>> from sklearn_provenance import Explanation
        >>> exp = Explanation([[4, 0]], [[0.93, 0.07]], query_labels=["<b>cat</b>"])
        >>> page = exp.to_html(title="Cats")
        >>> "&lt;b&gt;cat&lt;/b&gt;" in page
        True
        """
        if max_features < 1:
            raise ValueError(f"max_features must be at least 1, got {max_features}")
        if path is not None:
            check_target(path)
        html = explanation_page(
            self if true_labels is None else self._replace(true_labels=true_labels),
            title=title,
            query_id=check_array("query_id", query_id, (self.n_queries,)),
            label_names=label_names,
            max_features=max_features,
        )
        if path is not None:
            write_page(html, path)
        return html

    def __repr__(self):
        return write_text(self, _REPR_QUERIES)

    def _repr_html_(self):
        return summary_table(self, _REPR_QUERIES, 5)
