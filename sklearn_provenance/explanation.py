"""Explanation: the training rows behind each prediction."""

import numpy as np
from scipy.sparse import issparse

from ._explanation_html import explanation_page, summary_table
from ._explanation_page import check_target, write_page
from ._explanation_plot import ExplanationDisplay
from ._explanation_rows import clip, format_number, plain, quote, take

__all__ = ["Explanation", "ExplanationDisplay"]

_REPR_QUERIES = 8
_REPR_WIDTH = 100


class Explanation:
    """
    Training rows that explain each query, best first.

    `indices, scores = explanation` unpacks it. `explanation[3]`, `explanation[:5]`, a list of
    numbers or a boolean mask take queries, and always give an Explanation whose arrays keep two
    axes. There is no `len`, which would contradict one of the two: see `n_queries` and `k`.
    Printed, an exemplar shows its label only where that differs from the query's.

    Parameters
    ----------
    indices : array-like of int of shape (n_queries, k)
        Training rows, best first. A query with fewer exemplars than k ends in -1.
    scores : array-like of float of shape (n_queries, k)
        Scores of those rows, nan exactly where `indices` is -1.
    sample_id : array-like of shape (n_queries, k), default=None
        The user's own names of those rows.
    exemplar_labels : array-like of shape (n_queries, k), default=None
        Labels of those rows. Here and in `sample_id`, what stands at padding positions is ignored.
    query_labels : array-like of shape (n_queries,), default=None
        Labels explained, usually the predicted ones.
    queries : array-like of shape (n_queries, ...), default=None
        Rows explained. Array, sparse matrix or data frame.
    training_data : array-like of shape (n_train, ...), default=None
        What `indices` point into. It is kept as it is, by reference; pickling the explanation
        pickles it too.
    image_shape : tuple of int, default=None
        `(H, W)` or `(C, H, W)` when rows are images, be they flat or shaped; channels-last rows of
        shape (H, W, C) are recognised.
    feature_names : sequence of str, default=None
        Names of the features of a row; None takes the columns of `queries` when it has any.
    n_tied : array-like of int of shape (n_queries,), default=None
        Rows left out whose score equals that of the last exemplar: the choice among them is by row
        number. None where ties were not counted.
    method : str, default=""
        Name of the method that found the exemplars.
    score_name : str, default="score"
        What a score is, with its unit, e.g. `"information gain (nats)"`.

    Attributes
    ----------
    n_queries : int
        Number of queries.
    k : int
        Number of exemplars of each query, padding included.
    agreement : ndarray of shape (n_queries,)
        Share of each query's exemplars whose label is the query's; nan without exemplars.

    Raises
    ------
    ValueError
        If shapes disagree, an index points outside of `training_data`, or the padding of `indices`
        and `scores` differs or does not stand at the end of a row.

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
    """

    _ARGUMENTS = (
        *("indices", "scores", "sample_id", "exemplar_labels", "query_labels", "queries"),
        *("training_data", "image_shape", "feature_names", "n_tied", "method", "score_name"),
    )
    _PER_QUERY = (
        *("indices", "scores", "sample_id", "exemplar_labels", "query_labels", "queries"),
        "n_tied",
    )

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
        n_tied=None,
        method="",
        score_name="score",
    ):
        self.indices, self.scores = _check_picks(indices, scores)
        shape = self.indices.shape
        self.sample_id = _check_array("sample_id", sample_id, shape)
        self.exemplar_labels = _check_array("exemplar_labels", exemplar_labels, shape)
        self.query_labels = _check_array("query_labels", query_labels, shape[:1])
        self.n_tied = _check_counts("n_tied", n_tied, shape[:1])
        self.queries = check_rows("queries", queries, image_shape)
        self.training_data = check_rows("training_data", training_data, image_shape)
        self.image_shape = None if image_shape is None else tuple(map(int, image_shape))
        if feature_names is None:
            feature_names = getattr(queries, "columns", None)
        self.feature_names = None if feature_names is None else list(map(str, feature_names))
        self.method = method
        self.score_name = score_name

        if self.queries is not None and self.queries.shape[0] != self.n_queries:
            raise ValueError(
                f"queries has {self.queries.shape[0]} rows, but indices explains "
                f"{self.n_queries} queries"
            )
        for name in ("queries", "training_data"):
            data, names = getattr(self, name), self.feature_names
            if data is not None and names is not None and len(names) != row_size(data):
                raise ValueError(
                    f"feature_names has {len(names)} names, but a row of {name} holds "
                    f"{row_size(data)} values"
                )
        if self.training_data is not None and self.indices.size:
            n_train, largest = self.training_data.shape[0], self.indices.max()
            if largest >= n_train:
                raise ValueError(
                    f"indices point to row {largest}, but training_data has {n_train} rows"
                )

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
        for name in ("exemplar_labels", "query_labels"):
            if getattr(self, name) is None:
                raise AttributeError(f"agreement compares labels, and {name} was not given")
        valid = self.indices >= 0
        equal = (self.exemplar_labels == self.query_labels[:, None]) & valid
        with np.errstate(invalid="ignore"):
            return equal.sum(axis=1) / valid.sum(axis=1)

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

    def to_frame(self):
        """
        Return one line for each exemplar of each query, without padding.

        Returns
        -------
        pandas.DataFrame
            Columns `query` (from 0), `rank` (from 1, the best), `index`, `sample_id` if known,
            `score`, `query_label` if known, `label` (of the exemplar) if known and `n_tied` (of the
            query) if counted.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "to_frame needs pandas: pip install sklearn-provenance[frame]"
            ) from error

        valid = self.indices >= 0
        query, position = np.nonzero(valid)
        columns = {
            "query": query,
            "rank": position + 1,
            "index": self.indices[valid],
            "sample_id": None if self.sample_id is None else self.sample_id[valid],
            "score": self.scores[valid],
            "query_label": None if self.query_labels is None else self.query_labels[query],
            "label": None if self.exemplar_labels is None else self.exemplar_labels[valid],
            "n_tied": None if self.n_tied is None else self.n_tied[query],
        }
        return pd.DataFrame(
            {name: column for name, column in columns.items() if column is not None}
        )

    def plot(self, queries=None, *, k=5, ax=None, figsize=None, max_queries=8):
        """
        Draw queries beside their exemplars: images as images, other rows as tables.

        An exemplar whose label differs from the query's is coloured and carries a ≠. See
        :class:`ExplanationDisplay` for how tables are coloured and which features they hold. Float
        images are drawn over the common range of a query and its exemplars, except for RGB images
        in [0, 1], which are drawn as they are.

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
            self, queries, k=k, ax=ax, figsize=figsize, max_queries=max_queries
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
            Your own names of the queries; None counts them from 0.
        true_labels : array-like of shape (n_queries,), default=None
            Labels that the queries should have; those explained are marked where they differ.
        label_names : mapping or sequence, default=None
            What to call each label: names by label, or a sequence of names, such as a Bunch's
            `target_names`, for labels counted from 0.
        max_features : int, default=12
            Columns of a table: the features in which exemplars differ most from their queries.

        Returns
        -------
        str
            The page.

        Raises
        ------
        ValueError
            If a shape does not fit, `max_features` is below 1, or a label has no name.
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
            self,
            title=title,
            query_id=_check_array("query_id", query_id, (self.n_queries,)),
            true_labels=_check_array("true_labels", true_labels, (self.n_queries,)),
            label_names=label_names,
            max_features=max_features,
        )
        if path is not None:
            write_page(html, path)
        return html

    def _header(self):
        by = f" by {clip(plain(self.method), 40, '...')}" if self.method else ""
        return (
            f"Explanation{by}: {self.n_queries} quer{'y' if self.n_queries == 1 else 'ies'}, "
            f"{self.k} exemplar{'s' * (self.k != 1)} each, "
            f"{clip(plain(self.score_name), 30, '...')}"
        )[:_REPR_WIDTH]

    def __repr__(self):
        lines = [self._header()]
        shown = range(min(self.n_queries, _REPR_QUERIES))
        for query in shown:
            label = "" if self.query_labels is None else f" -> {quote(self.query_labels[query])}"
            line = f"query {query}{label}:  "
            tied = self._tied_text(query)
            valid = np.flatnonzero(self.indices[query] >= 0)
            for rank in valid:
                cell = " | " * bool(rank) + self._exemplar_text(query, rank)
                room = _REPR_WIDTH - len(tied) - len(" | ..." if rank < valid[-1] else "")
                if len(line) + len(cell) > room:
                    line += " | ..."
                    break
                line += cell
            lines.append(f"{line if valid.size else f'{line}no exemplars'}{tied}")
        if self.n_queries > len(shown):
            lines.append(f"... {self.n_queries - len(shown)} more queries")
        return "\n".join(lines)

    def _tied_text(self, query):
        n_tied = 0 if self.n_tied is None else self.n_tied[query]
        return f" and {n_tied} tied with the last" if n_tied else ""

    def _exemplar_text(self, query, rank, unlike="!="):
        text = f"row {self.indices[query, rank]}"
        if self.sample_id is not None:
            text = f"id {quote(self.sample_id[query, rank])}"
        if self.exemplar_labels is not None:
            label = self.exemplar_labels[query, rank]
            differs = self.query_labels is not None and label != self.query_labels[query]
            if differs:
                text += f" ({unlike} {quote(label)})"
            elif self.query_labels is None:
                text += f" ({quote(label)})"
        return f"{text} {format_number(self.scores[query, rank])}"

    def _repr_html_(self):
        return summary_table(self, _REPR_QUERIES, 5)


def _check_picks(indices, scores):
    """Return indices as int64 and scores as float64, of one shape and with one padding."""
    indices, scores = np.asarray(indices), np.asarray(scores, dtype=np.float64)
    if indices.size == 0:
        indices = indices.astype(np.int64)  # an empty list has no integer type of its own
    if indices.dtype.kind not in "iu":
        raise ValueError(f"indices must be integers, got dtype {indices.dtype}")
    if indices.ndim != 2 or indices.shape != scores.shape:
        raise ValueError(
            "indices and scores must both have shape (n_queries, k), got "
            f"{indices.shape} and {scores.shape}"
        )
    indices = indices.astype(np.int64, copy=False)
    if (indices < -1).any():
        raise ValueError(f"indices must be rows, or -1 for padding, got {indices.min()}")
    valid = indices >= 0
    if (wrong := valid == np.isnan(scores)).any():
        query, rank = np.argwhere(wrong)[0]
        raise ValueError(
            "scores must be nan exactly where indices is -1, got index "
            f"{indices[query, rank]} with score {scores[query, rank]} at query {query}, "
            f"position {rank}"
        )
    if (late := valid[:, 1:] & ~valid[:, :-1]).any():
        raise ValueError(
            "padding must stand at the end of a row, got an exemplar after padding in query "
            f"{np.argwhere(late)[0, 0]}"
        )
    return indices, scores


def _check_array(name, values, shape):
    if values is None:
        return None
    values = np.asarray(values)
    if values.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {values.shape}")
    return values


def _check_counts(name, values, shape):
    values = _check_array(name, values, shape)
    if values is None:
        return None
    if values.size == 0:
        values = values.astype(np.int64)  # an empty list has no integer type of its own
    if values.dtype.kind not in "iu" or (values < 0).any():
        raise ValueError(f"{name} must be non-negative integers, got {clip(str(values), 60)}")
    return values.astype(np.int64, copy=False)


def check_rows(name, data, image_shape=None):
    """Return rows of any kind in a form whose rows can be taken, or refuse them."""
    if data is None:
        return None
    if issparse(data):
        data = data.tocsr()  # the kind whose rows can be taken
    elif not hasattr(data, "shape"):
        data = np.asarray(data)
    if not data.shape:
        raise ValueError(f"{name} must have rows, got a single value")
    if image_shape is not None:
        if len(image_shape) not in (2, 3):
            raise ValueError(f"image_shape must be (H, W) or (C, H, W), got {image_shape}")
        if np.prod(image_shape) != row_size(data):
            raise ValueError(
                f"image_shape={image_shape} needs {np.prod(image_shape)} values in a row, but a "
                f"row of {name} holds {row_size(data)}"
            )
    return data


def row_size(data):
    """Number of values in a row."""
    return int(np.prod(data.shape[1:]))
