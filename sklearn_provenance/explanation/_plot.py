"""How an explanation is drawn."""

from textwrap import fill

import numpy as np

from ._checks import check_array, row_size
from ._lines import draw_tables, draw_texts, table_size, text_size
from ._rows import (
    as_images,
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

MISMATCH_COLOR = "#D55E00"  # vermilion of Okabe and Ito, told apart from black by every kind of eye
GREY = "0.45"


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
    true_labels : ndarray of shape (n_queries,), default=None
        Labels that the queries should have. Queries explained at another label are coloured and
        carry a ✗.
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
            Labels that all queries of the explanation should have.

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
        true_labels = check_array("true_labels", true_labels, (explanation.n_queries,))
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
            true_labels=None if true_labels is None else true_labels[numbers],
            image_shape=part.image_shape,
            feature_names=part.feature_names,
            feature_scale=scale,
            query_notes=_ties(part),
            title=", ".join(
                text for text in (part.method, part.score_name) if text not in ("", "score")
            ),
            unit="nats" if "nats" in part.score_name else "",
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
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError(
                "plot needs matplotlib: pip install sklearn-provenance[plot]"
            ) from error

        exemplars = as_table(self.exemplars, n_leading=2)  # (n_queries, k, n_features)
        exemplars = exemplars.reshape(-1, exemplars.shape[-1])
        draw, size = {
            "images": (_draw_images, _image_size),
            "texts": (draw_texts, text_size),
            "table": (draw_tables, table_size),
        }[row_kind([self.queries, exemplars], self.image_shape)]
        if ax is None:
            self.figure_ = canvas = plt.figure(figsize=figsize or size(self), layout="constrained")
        else:
            place = ax.get_subplotspec()
            if place is None:
                raise ValueError("ax must be a subplot, such as plt.subplots makes")
            if ax.figure.figure.get_layout_engine() is None:
                ax.figure.figure.set_layout_engine("constrained")
            ax.set_axis_off()
            self.figure_ = ax.figure
            canvas = ax.figure.add_subfigure(place)
        if self.title:
            canvas.suptitle(self.title, fontsize=10, parse_math=False)
        self.axes_ = draw(self, canvas)
        return self

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
        if self.exemplar_labels is not None:
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
        if self.query_labels is not None:
            words.append(clip(plain(self.query_labels[query]), 16))
        if self.true_labels is not None:
            mark = ""
            if self.query_labels is not None:
                is_wrong = bool(self.true_labels[query] != self.query_labels[query])
                mark, color = (" ✗", MISMATCH_COLOR) if is_wrong else (" ✓", "k")
            words.append(f"true: {clip(plain(self.true_labels[query]), 12)}{mark}")
        return words, color


# Images: a panel for each query, a narrow gap, a panel for each exemplar.


def _image_size(display):
    n_queries, k = display.scores.shape
    height = 1.75 + 0.15 * (display.query_notes is not None)
    height += 0.12 * (display.true_labels is not None)
    return 1.35 * (k + 1) + 0.4, height * n_queries + 0.3


def _draw_images(display, canvas):
    n_queries, k = display.scores.shape
    grid = canvas.add_gridspec(n_queries, k + 2, width_ratios=[1, 0.12] + [1] * k)
    axes = np.empty((n_queries, k + 1), dtype=object)
    for query in range(n_queries):
        valid = ~np.isnan(display.scores[query])
        rows = [as_images(display.queries[query][None], display.image_shape)]
        if any(valid):
            rows.append(as_images(display.exemplars[query][valid], display.image_shape))
        pictures, limits = _brightness(np.concatenate(rows))
        # Padding stands at the end of a row, so valid exemplars keep their places.
        for column in range(k + 1):
            panel = canvas.add_subplot(grid[query, column + (column > 0)])
            axes[query, column] = panel
            if column >= len(pictures):
                panel.set_axis_off()
                continue
            panel.imshow(pictures[column], cmap="gray", interpolation="nearest", **limits)
            panel.set(xticks=[], yticks=[])
            if column:
                words, color = display.exemplar_caption(query, column - 1)
                below = words.pop()
                width = 0.5 if color == "k" else 2.0
            else:
                words, color = display.query_caption(query)
                below = "" if display.query_notes is None else display.query_notes[query]
                width = 2.5
            panel.set_xlabel(fill(below, 22), fontsize=7, color=GREY, labelpad=2, parse_math=False)
            panel.spines[:].set(color=color, linewidth=width)
            panel.set_title("\n".join(words), fontsize=8, color=color, pad=4, parse_math=False)
    return axes


def _ties(explanation):
    """What to say of each query's ties; None where there are none."""
    if explanation.n_tied is None or not explanation.n_tied.any():
        return None
    last = (explanation.indices >= 0).sum(axis=1)
    return [
        tied_text(n_tied, rank) if n_tied else ""
        for n_tied, rank in zip(explanation.n_tied, last, strict=True)
    ]


def _brightness(images):
    """Choose a common range for a query and its exemplars, so that they can be compared."""
    color = images.ndim == 4
    if images.dtype == np.uint8:
        return images, {} if color else {"vmin": 0, "vmax": 255}
    images = images.astype(np.float64)
    low, high = np.nanmin(images), np.nanmax(images)
    if not color:
        return images, {"vmin": low, "vmax": high}
    if low < 0 or high > 1:
        images = (images - low) / (high - low if high > low else 1)
    return images, {}
