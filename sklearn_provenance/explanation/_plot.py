"""How an explanation is drawn."""

import numpy as np

from .._utils.plotting import COLORS, new_canvas
from ._checks import row_size
from ._colors import target_colors
from ._images import draw_images, image_size
from ._lines import draw_tables, draw_texts, table_size, text_size
from ._rows import (
    as_table,
    clip,
    dense,
    feature_scale,
    format_number,
    gather,
    plain,
    row_kind,
    sample_rows,
    tied_text,
)
from ._targets import subtract, write_number, write_signed
from ._words import shared_parts

MISMATCH_COLOR = COLORS[1]  # vermilion, told apart from black by every kind of eye


class ExplanationDisplay:
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
        Targets that are numbers carry their differences from the query's.
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
        What to write below each query, such as the number of rows tied with its last exemplar.
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

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure that holds the drawing.
    axes_ : ndarray of matplotlib Axes
        Shape (n_queries, 1 + k) for images, (n_queries,) for texts and tables.
    """

    def __init__(
        self,
        queries,
        exemplars,
        scores,
        *,
        query_names,
        exemplar_names,
        query_labels=None,
        exemplar_labels=None,
        true_labels=None,
        image_shape=None,
        feature_names=None,
        feature_scale=None,
        query_notes=None,
        title="",
        unit="",
        targets="labels",
        shared=None,
    ):
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

    @classmethod
    def from_explanation(
        cls,
        explanation,
        queries=None,
        *,
        k=5,
        ax=None,
        figsize=None,
        max_queries=8,
        true_labels=None,
    ):
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

        Returns
        -------
        ExplanationDisplay
            The display that was drawn.

        Raises
        ------
        ValueError
            If the explanation holds no data to draw, or if there is no query or exemplar to draw.
        ImportError
            If matplotlib is missing.
        """
        if true_labels is not None:
            explanation = explanation._replace(true_labels=true_labels)
        missing = [n for n in ("queries", "training_data") if getattr(explanation, n) is None]
        if missing:
            raise ValueError(
                f"plot draws rows of data, and this explanation has no {' and no '.join(missing)}; "
                "make it with Explanation(..., queries=..., training_data=...)"
            )
        if explanation.image_shape is None and row_size(explanation.queries) == 0:
            raise ValueError("there is nothing to draw: a row of queries holds no values")
        if k < 1 or max_queries < 1:
            raise ValueError(f"k and max_queries must be at least 1, got {k} and {max_queries}")
        numbers = np.arange(explanation.n_queries)
        numbers = np.atleast_1d(numbers[:max_queries] if queries is None else numbers[queries])
        if not numbers.size or not explanation.k:
            raise ValueError(
                f"there is nothing to draw: {numbers.size} queries of the explanation's "
                f"{explanation.n_queries} and {explanation.k} exemplars each were asked for"
            )
        part = explanation[numbers]
        indices, scores = part.indices[:, :k], part.scores[:, :k]
        exemplars = gather(part.training_data, indices)
        names, word = (indices, "row") if part.sample_id is None else (part.sample_id[:, :k], "id")
        query_names = numbers if part.query_id is None else part.query_id
        scale = None
        if part.image_shape is None:
            scale = feature_scale(sample_rows(part.training_data))
        display = cls(
            dense(part.queries),
            exemplars,
            scores,
            query_names=[f"query {clip(plain(name), 18)}" for name in query_names],
            exemplar_names=[[f"{word} {plain(name)}" for name in row] for row in names],
            query_labels=part.query_labels,
            exemplar_labels=None if part.exemplar_labels is None else part.exemplar_labels[:, :k],
            true_labels=part.true_labels,
            image_shape=part.image_shape,
            feature_names=part.feature_names,
            feature_scale=scale,
            query_notes=_ties(part),
            title=", ".join(
                text for text in (part.method, part.score_name) if text not in ("", "score")
            ),
            unit="nats" if "nats" in part.score_name else "",
            targets=part.targets,
            shared=_shared(part, k),
        )
        return display.plot(ax, figsize=figsize)

    def plot(self, ax=None, *, figsize=None):
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

    def target_color(self, query, rank=None):
        """Return the colour of a target that is a number.

        Parameters
        ----------
        query : int
            Position of the query.
        rank : int, default=None
            Position of the exemplar; None is the query itself.

        Returns
        -------
        tuple of float or None
            RGBA; None where targets are labels or this one is not known.
        """
        if self._colors is None:
            return None
        if rank is not None:
            value = None if self.exemplar_labels is None else self.exemplar_labels[query, rank]
        elif self.query_labels is not None:
            value = self.query_labels[query]
        else:
            value = None if self.true_labels is None else self.true_labels[query]
        return None if value is None or not np.isfinite(value) else self._colors.to_rgba(value)

    def exemplar_caption(self, query, rank):
        """Write the label, score and name of an exemplar.

        Parameters
        ----------
        query, rank : int
            Place of the exemplar.

        Returns
        -------
        words : list of str
            Those of the label, the score and the name that are known.
        color : str
            Colour of label and score, which tells whether the label differs from the query's.
        """
        words, color = [], "k"
        if self.exemplar_labels is not None and self.targets == "numbers":
            words.append(write_number(self.exemplar_labels[query, rank]))
            if self.query_labels is not None:
                difference = subtract(self.exemplar_labels[query, rank], self.query_labels[query])
                words[-1] += f" ({write_signed(difference)})"
        elif self.exemplar_labels is not None:
            label = self.exemplar_labels[query, rank]
            differs = self.query_labels is not None and bool(label != self.query_labels[query])
            words.append(("≠ " if differs else "") + clip(plain(label), 16))
            color = MISMATCH_COLOR if differs else color
        words.append(f"{format_number(self.scores[query, rank])} {self.unit}".strip())
        return [*words, clip(self.exemplar_names[query][rank], 18)], color

    def query_caption(self, query):
        """Write the name of a query, its label and its true label.

        Parameters
        ----------
        query : int
            Position of the query.

        Returns
        -------
        words : list of str
            Those of the name and the labels that are known.
        color : str
            Colour, which tells whether the label is the true one.
        """
        words, color = [self.query_names[query]], "k"
        if self.targets == "numbers":
            return [*words, *self._query_numbers(query)], color
        if self.query_labels is not None:
            words.append(clip(plain(self.query_labels[query]), 16))
        if self.true_labels is not None:
            mark = ""
            if self.query_labels is not None:
                is_wrong = bool(self.true_labels[query] != self.query_labels[query])
                mark, color = (" ✗", MISMATCH_COLOR) if is_wrong else (" ✓", "k")
            words.append(f"true: {clip(plain(self.true_labels[query]), 12)}{mark}")
        return words, color

    def _query_numbers(self, query):
        """Write the number of a query, and its true target with the residual."""
        words = []
        if self.query_labels is not None:
            words.append(write_number(self.query_labels[query]))
        if self.true_labels is not None:
            words.append(f"true: {write_number(self.true_labels[query])}")
            if self.query_labels is not None:
                residual = subtract(self.true_labels[query], self.query_labels[query])
                words[-1] += f" ({write_signed(residual)})"
        return words


def _shared(explanation, k):
    """Return what each query shares with its first k exemplars; None where it is not known."""
    if explanation.contributions is None:
        return None
    ranks = range(min(k, explanation.k))
    return [
        [shared_parts(explanation, query, rank) for rank in ranks]
        for query in range(explanation.n_queries)
    ]


def _ties(explanation):
    """What to say of each query's ties; None where there are none."""
    if explanation.n_tied is None or not explanation.n_tied.any():
        return None
    last = (explanation.indices >= 0).sum(axis=1)
    return [
        tied_text(n_tied, rank) if n_tied else ""
        for n_tied, rank in zip(explanation.n_tied, last, strict=True)
    ]
