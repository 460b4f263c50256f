"""How an explanation is drawn."""

from textwrap import fill

import numpy as np

from ._explanation_rows import (
    as_images,
    as_table,
    cell,
    clip,
    dense,
    differing_features,
    feature_differences,
    feature_scale,
    format_number,
    gather,
    plain,
    sample_rows,
    tied_text,
)

MISMATCH_COLOR = "#D55E00"  # vermilion of Okabe and Ito, told apart from black by every kind of eye
_GREY = "0.45"
_MAX_FEATURES = 12


class ExplanationDisplay:
    """
    Figure of queries beside their exemplars.

    It is recommended to use :meth:`ExplanationDisplay.from_explanation` or
    :meth:`Explanation.plot` to create one. Images are drawn as images, one row for each query.
    Anything else is drawn as one table for each query, whose first line is the query: the numbers
    are the features' values, and the colour of an exemplar's cell is its difference from the query
    in standard deviations of the training rows (of at most 2000 of them, evenly spaced). Grey is
    another category, or a missing value on one side only. At most 12 features are drawn: those in
    which the exemplars in the figure differ most from their queries, on average.

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
        Shape (n_queries, 1 + k) for images, (n_queries,) for tables.
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
        self.image_shape = image_shape
        self.feature_names = feature_names
        self.feature_scale = feature_scale
        self.query_notes = query_notes
        self.title = title
        self.unit = unit

    @classmethod
    def from_explanation(
        cls, explanation, queries=None, *, k=5, ax=None, figsize=None, max_queries=8
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
        missing = [n for n in ("queries", "training_data") if getattr(explanation, n) is None]
        if missing:
            raise ValueError(
                f"plot draws rows of data, and this explanation has no {' and no '.join(missing)}; "
                "make it with Explanation(..., queries=..., training_data=...)"
            )
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
        scale = None
        if part.image_shape is None:
            scale = feature_scale(sample_rows(part.training_data))
        display = cls(
            dense(part.queries),
            exemplars,
            scores,
            query_names=[f"query {number}" for number in numbers],
            exemplar_names=[[f"{word} {plain(name)}" for name in row] for row in names],
            query_labels=part.query_labels,
            exemplar_labels=None if part.exemplar_labels is None else part.exemplar_labels[:, :k],
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

        draw, size = (
            (self._draw_tables, self._table_size())
            if self.image_shape is None
            else (self._draw_images, self._image_size())
        )
        if ax is None:
            self.figure_ = canvas = plt.figure(figsize=figsize or size, layout="constrained")
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
        self.axes_ = draw(canvas)
        return self

    def _caption(self, query, rank):
        """Label and score of an exemplar, and whether its label differs from the query's."""
        score = f"{format_number(self.scores[query, rank])} {self.unit}".strip()
        if self.exemplar_labels is None:
            return "", score, False
        label = self.exemplar_labels[query, rank]
        differs = self.query_labels is not None and bool(label != self.query_labels[query])
        return ("≠ " if differs else "") + clip(plain(label), 16), score, differs

    def _query_label(self, query):
        return "" if self.query_labels is None else clip(plain(self.query_labels[query]), 16)

    # Images: a panel for each query, a narrow gap, a panel for each exemplar.

    def _image_size(self):
        n_queries, k = self.scores.shape
        height = 1.75 + 0.15 * (self.query_notes is not None)
        return 1.35 * (k + 1) + 0.4, height * n_queries + 0.3

    def _draw_images(self, canvas):
        n_queries, k = self.scores.shape
        grid = canvas.add_gridspec(n_queries, k + 2, width_ratios=[1, 0.12] + [1] * k)
        axes = np.empty((n_queries, k + 1), dtype=object)
        for query in range(n_queries):
            valid = ~np.isnan(self.scores[query])
            rows = [as_images(self.queries[query][None], self.image_shape)]
            rows += (
                [as_images(self.exemplars[query][valid], self.image_shape)] if any(valid) else []
            )
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
                words, color, width = [self.query_names[query], self._query_label(query)], "k", 2.5
                if column:
                    label, score, differs = self._caption(query, column - 1)
                    words, color = [label, score], MISMATCH_COLOR if differs else "k"
                    width = 2.0 if differs else 0.5
                    name = clip(self.exemplar_names[query][column - 1], 18)
                    panel.set_xlabel(name, fontsize=7, color=_GREY, labelpad=2, parse_math=False)
                elif self.query_notes is not None:
                    note = fill(self.query_notes[query], 22)
                    panel.set_xlabel(note, fontsize=7, color=_GREY, labelpad=2, parse_math=False)
                panel.spines[:].set(color=color, linewidth=width)
                text = "\n".join(word for word in words if word)
                panel.set_title(text, fontsize=8, color=color, pad=4, parse_math=False)
        return axes

    # Tables: a line for the query, then a line for each exemplar; a column for each feature.

    def _table_size(self):
        n_queries, k = self.scores.shape
        n_features = min(_MAX_FEATURES, self.queries[0].size)
        below = 0.25 + 0.2 * (self.query_notes is not None)
        return 0.62 * n_features + 4.2, n_queries * (0.27 * (k + 1) + below) + 1.9

    def _draw_tables(self, canvas):
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        n_queries, k = self.scores.shape
        queries = as_table(self.queries)  # (n_queries, n_features)
        exemplars = as_table(self.exemplars, n_leading=2)  # (n_queries, k, n_features)
        valid = ~np.isnan(self.scores)  # (n_queries, k)
        differences = feature_differences(queries, exemplars, self.feature_scale)
        n_features = queries.shape[1]
        columns = differing_features(differences, valid, _MAX_FEATURES)
        names = self.feature_names
        names = [f"x{column}" if names is None else plain(names[column]) for column in columns]

        colors = ScalarMappable(Normalize(-3, 3), colormaps["PuOr_r"].with_extremes(bad="0.8"))
        axes = canvas.subplots(n_queries, 1, squeeze=False)[:, 0]
        for query, panel in enumerate(axes):
            shown = np.ma.masked_invalid(differences[query][:, columns])
            cells = np.ones((k + 1, len(columns), 4))  # the query's and padding's cells are white
            cells[1:][valid[query]] = colors.to_rgba(shown)[valid[query]]
            panel.imshow(cells, aspect="auto", interpolation="nearest")
            panel.axhline(0.5, color="k", linewidth=1.5)
            panel.tick_params(length=0)
            lines = [(self.query_names[query], self._query_label(query), "")]
            lines += [
                (*self._caption(query, rank)[:2], clip(self.exemplar_names[query][rank], 18))
                if valid[query, rank]
                else ()
                for rank in range(k)
            ]
            ticks = ["   ".join(word for word in line if word) for line in lines]
            panel.set_yticks(range(k + 1), ticks, fontsize=8, parse_math=False)
            for rank in np.flatnonzero(valid[query]):
                if self._caption(query, rank)[2]:
                    panel.get_yticklabels()[rank + 1].set_color(MISMATCH_COLOR)
            panel.get_yticklabels()[0].set_fontweight("bold")
            table = np.concatenate([queries[query][None], exemplars[query]])[:, columns]
            for line in np.flatnonzero(np.append(True, valid[query])):
                for column in range(len(columns)):
                    dark = line and abs(shown.filled(0)[line - 1, column]) > 2
                    panel.text(
                        column,
                        line,
                        cell(table[line, column]),
                        fontsize=8,
                        color="w" if dark else "k",
                        ha="center",
                        va="center",
                        parse_math=False,
                    )
            panel.set_xticks([])
            if self.query_notes is not None:
                note = self.query_notes[query]
                panel.set_xlabel(note, fontsize=8, color=_GREY, loc="left", parse_math=False)
        top = axes[0]
        top.xaxis.tick_top()
        top.set_xticks(
            range(len(columns)),
            [clip(name, 20) for name in names],
            fontsize=8,
            rotation=35,
            ha="left",
            rotation_mode="anchor",
            parse_math=False,
        )
        bar = canvas.colorbar(colors, ax=list(axes), location="bottom", fraction=0.05, aspect=40)
        note = "difference from the query, in standard deviations of the training rows"
        if len(columns) < n_features:
            note += f"\nthe {len(columns)} of {n_features} features that differ most"
        bar.set_label(note, fontsize=8)
        bar.ax.tick_params(labelsize=8)
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
