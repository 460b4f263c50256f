"""How an explanation is drawn."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.plotting import new_canvas
from .._utils.types import Axes, Targets
from ._captions import Captions
from ._checks import check_count, row_size
from ._colors import target_colors
from ._images import draw_images, image_size
from ._lines import draw_tables, draw_texts, table_size, text_size
from ._rows import (
    as_table,
    dense,
    feature_scale,
    gather,
    one_line,
    row_kind,
    sample_rows,
    shorten,
    tied_text,
)
from ._targets import has
from ._words import has_parts, shared_parts


class ExplanationDisplay(Captions):
    """
    Figure of queries beside their exemplars.

    It is recommended to use :meth:`ExplanationDisplay.from_explanation` or
    :meth:`Explanation.plot` to create one. Images are drawn as images, one row for each query.
    Rows of one text are drawn as texts, cut after four lines. Anything else is drawn as one table
    for each query, whose first line is the query: the numbers are the features' values, and the
    colour of an exemplar's cell is its difference from the query in standard deviations of the
    training rows (of at most 2000 of them, evenly spaced). Grey is another category, or a missing
    value on one side only. At most 12 features are drawn: those in which the exemplars in the
    figure differ most from their queries, on average.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, ...)
        Rows explained.
    exemplars : ndarray of shape (n_queries, k, ...)
        Training rows, best first. What stands at padding positions is not drawn.
    scores : ndarray of shape (n_queries, k)
        Scores of the exemplars; nan marks padding.
    query_names : list of str
        What to call each query.
    exemplar_names : list of list of str
        What to call each exemplar.
    query_labels : ndarray of shape (n_queries,), default=None
        Labels explained.
    exemplar_labels : ndarray of shape (n_queries, k), default=None
        Labels of the exemplars. Those that differ from the query's are coloured and carry a ≠.
        Targets that are numbers are shown with their differences from the query's.
    true_labels : ndarray of shape (n_queries,), default=None
        Labels that the queries should have. Queries explained at another label are coloured and
        carry a ✗; numbers carry their residuals.
    image_shape : tuple of int, default=None
        `(H, W)` or `(C, H, W)` when rows are images.
    feature_names : sequence of str, default=None
        Names of the features when rows are not images.
    feature_scale : ndarray of shape (n_features,), default=None
        Standard deviation of each feature, nan where a feature is no number.
    query_notes : list of str, default=None
        Notes below each query, such as the number of rows tied with its last exemplar.
    title : str, default=""
        Title of the figure.
    unit : str, default=""
        Unit written after every score.
    targets : {"labels", "numbers"}, default="labels"
        What labels are. Numbers have colours, those of the frames of images, and of a square
        before each line of a text or table; a bar says which.
    shared : list of list of list of (str, float), default=None
        For each query and exemplar, the features of the largest parts in their score.
        Their words have a background in texts, their values are bold in tables.
    label_names : mapping or sequence, default=None
        What to call each label: names by label, or a sequence of names for labels from 0.
    methods : list of list of str, default=None
        Method that names each exemplar of each query, "" at padding, where several are compared.
        Images have a line for each method; lines are drawn between methods in tables.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure that holds the drawing.
    axes_ : ndarray of matplotlib Axes
        Shape (n_queries, 1 + k) for images, (n_queries,) for texts and tables. Where methods are
        compared, images have a line of panels for each query and method.
    """

    def __init__(
        self,
        queries: NDArray,
        exemplars: NDArray,
        scores: NDArray[np.float64],
        *,
        query_names: list[str],
        exemplar_names: list[list[str]],
        query_labels: NDArray | None = None,
        exemplar_labels: NDArray | None = None,
        true_labels: NDArray | None = None,
        image_shape: tuple[int, ...] | None = None,
        feature_names: Sequence[str] | None = None,
        feature_scale: NDArray[np.float64] | None = None,
        query_notes: list[str] | None = None,
        title: str = "",
        unit: str = "",
        targets: str = "labels",
        shared: list[list[list[tuple[str, float]]]] | None = None,
        label_names: Mapping | Sequence[str] | None = None,
        methods: list[list[str]] | None = None,
    ) -> None:
        self.queries = queries
        self.exemplars = exemplars
        self.scores = scores
        self.query_names = query_names
        self.exemplar_names = exemplar_names
        self.query_labels = query_labels
        self.exemplar_labels = exemplar_labels
        self.true_labels = true_labels
        self.image_shape = image_shape
        self.feature_names = feature_names
        self.feature_scale = feature_scale
        self.query_notes = query_notes
        self.title = title
        self.unit = unit
        self.targets = targets
        self.shared = shared
        self.label_names = label_names
        self.methods = methods

    @classmethod
    def from_explanation(
        cls,
        explanation: Any,
        queries: Any = None,
        *,
        k: int = 5,
        ax: Axes = None,
        figsize: tuple[float, float] | None = None,
        max_queries: int = 8,
        true_labels: Targets = None,
        label_names: Mapping | Sequence[str] | None = None,
    ) -> Self:
        """
        Draw an explanation.

        Parameters
        ----------
        explanation : Explanation
            What to draw. It must hold `queries` and `training_data`.
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
            Labels that all queries of the explanation should have; None takes the explanation's.
        label_names : mapping or sequence, default=None
            What to call each label: names by label, or a sequence of names for labels from 0.

        Returns
        -------
        ExplanationDisplay
            The display that was drawn.

        Raises
        ------
        ValueError
            If the explanation holds no data to draw, if there is no query or exemplar to draw, or
            if a label has no name.
        ImportError
            If matplotlib is missing.
        """
        if true_labels is not None:
            explanation = explanation._replace(true_labels=true_labels)
        numbers = drawn_queries(explanation, queries, k, max_queries)
        display = cls._undrawn(explanation, numbers, k, label_names)
        return display.plot(ax, figsize=figsize)

    @classmethod
    def _undrawn(cls, explanation, numbers, k, label_names):
        """Make the display of some queries and their first k exemplars, and draw nothing."""
        part = explanation[numbers]
        indices = part.indices[:, :k]
        if part.sample_id is None:
            exemplar_names = [[f"row {row}" for row in rows] for rows in indices]
        else:
            exemplar_names = [
                [f"id {one_line(name)}" for name in ids] for ids in part.sample_id[:, :k]
            ]
        query_names = numbers
        if part.query_id is not None:
            query_names = part.query_id
        exemplar_labels = part.exemplar_labels
        if exemplar_labels is not None:
            exemplar_labels = exemplar_labels[:, :k]
        scale = None
        if part.image_shape is None:
            scale = feature_scale(sample_rows(part.training_data))
        return cls(
            dense(part.queries),
            gather(part.training_data, indices),
            part.scores[:, :k],
            query_names=[f"query {shorten(one_line(name), 18)}" for name in query_names],
            exemplar_names=exemplar_names,
            query_labels=part.query_labels,
            exemplar_labels=exemplar_labels,
            true_labels=part.true_labels,
            image_shape=part.image_shape,
            feature_names=part.feature_names,
            feature_scale=scale,
            query_notes=_ties(part),
            title=_title(part),
            unit="nats" if "nats" in part.score_name else "",
            targets=part.targets,
            shared=_shared(part, k),
            label_names=label_names,
        )

    def plot(self, ax: Axes = None, *, figsize: tuple[float, float] | None = None) -> Self:
        """
        Draw the figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Subplot whose place is used, in a figure that is then laid out by matplotlib's
            "constrained" engine unless it has another; None makes a new figure, large enough for
            its texts.
        figsize : tuple of float, default=None
            Width and height of a new figure in inches; None fits them to what is drawn.

        Returns
        -------
        ExplanationDisplay
            The display itself, with `figure_` and `axes_` set.

        Raises
        ------
        ValueError
            If `ax` is no subplot, or images have another number of channels than 1, 3 or 4.
        ImportError
            If matplotlib is missing.
        """
        exemplars = as_table(self.exemplars, n_leading=2)  # (n_queries, k, n_features)
        exemplars = exemplars.reshape(-1, exemplars.shape[-1])
        draw, size = {
            "images": (draw_images, image_size),
            "texts": (draw_texts, text_size),
            "table": (draw_tables, table_size),
        }[row_kind([self.queries, exemplars], self.image_shape)]
        if figsize is None:
            width, height = size(self)
            figsize = (width + 0.8 * (self.targets == "numbers"), height)
        canvas, self.figure_ = new_canvas(ax, figsize)
        if self.title:
            canvas.suptitle(self.title, fontsize=10, parse_math=False)
        self._colors = target_colors(self)
        self.axes_ = draw(self, canvas)
        if self._colors is not None:
            bar = canvas.colorbar(
                self._colors, ax=list(self.axes_.flat), location="right", fraction=0.05, aspect=30
            )
            bar.set_label("target", fontsize=8)
            bar.ax.tick_params(labelsize=8)
        return self


def drawn_queries(explanation, queries, k, max_queries):
    """Return the numbers of the queries that are drawn; see `from_explanation`.

    Parameters
    ----------
    explanation : Explanation
        What is drawn.
    queries : int, slice, array-like or None
        Queries that the user wants.
    k, max_queries : int
        Numbers of exemplars, and of queries where the user names none.

    Returns
    -------
    ndarray of int
        Positions of the queries.

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    _check_drawable(explanation, k, max_queries)
    if queries is None:
        queries = slice(max_queries)
    numbers = np.atleast_1d(np.arange(explanation.n_queries)[queries])
    if not numbers.size or not explanation.k:
        raise ValueError(
            f"there is nothing to draw: {numbers.size} queries of the explanation's "
            f"{explanation.n_queries} and {explanation.k} exemplars each were asked for"
        )
    return numbers


def _check_drawable(explanation, k, max_queries):
    """Raise a ValueError unless an explanation has rows to draw."""
    missing = [name for name in ("queries", "training_data") if not has(explanation, name)]
    if missing:
        raise ValueError(
            f"plot draws rows of data, and this explanation has no {' and no '.join(missing)}; "
            "make it with Explanation(..., queries=..., training_data=...)"
        )
    if explanation.image_shape is None and row_size(explanation.queries) == 0:
        raise ValueError("there is nothing to draw: a row of queries holds no values")
    check_count("k", k)
    check_count("max_queries", max_queries)


def _title(explanation):
    """Write the method and what a score is, as far as they are known."""
    known = (explanation.method, explanation.score_name)
    return ", ".join(text for text in known if text not in ("", "score"))


def _shared(explanation, k):
    """Return the features that queries share with their first k exemplars; None if unknown."""
    if not has_parts(explanation):
        return None
    ranks = range(min(k, explanation.k))
    return [
        [shared_parts(explanation, query, rank) for rank in ranks]
        for query in range(explanation.n_queries)
    ]


def _ties(explanation):
    """Write how many rows tie with the last exemplar of each query; None where none do."""
    if explanation.n_tied is None or not explanation.n_tied.any():
        return None
    notes = []
    last = (explanation.indices >= 0).sum(axis=1)
    for n_tied, rank in zip(explanation.n_tied, last, strict=True):
        notes.append(tied_text(n_tied, rank) if n_tied else "")
    return notes
