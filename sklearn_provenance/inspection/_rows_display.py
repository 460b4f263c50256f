"""Figures of rows with scores, class by class: images, bars, histograms."""

import numpy as np

from .._utils.plotting import new_canvas
from ..explanation._captions import MISMATCH_COLOR
from ..explanation._rows import clip, format_number, plain
from ._shared import draw_images

_NORMAL_COLOR = "#0072B2"
KINDS = ("auto", "images", "bars", "histogram")


class RowsDisplay:
    """Least and most anomalous rows of each class.

    The ``plot`` of an :class:`AnomalyRanking` makes it. The least anomalous rows are blue, the most
    anomalous orange.

    Parameters
    ----------
    labels : sequence
        Classes, from top to bottom.
    scores : list of ndarray
        Scores of all rows of each class.
    least, most : list of ndarray
        Scores of the rows at the ends, the extreme ones first.
    least_names, most_names : list of list of str
        What to call these rows.
    least_images, most_images : list of ndarray, default=None
        Images of these rows.
    score_name : str, default="score"
        What a score is.
    kind : {"auto", "images", "bars", "histogram"}, default="auto"
        Rows as images, the scores of the same rows as bars, or histograms of all scores; "auto"
        draws images where rows are images, else bars.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        Shape (n_classes, 2 n) for images, else (n_classes,).
    figure_ : matplotlib Figure
        Figure that holds them.
    """

    def __init__(
        self,
        labels,
        scores,
        least,
        most,
        *,
        least_names,
        most_names,
        least_images=None,
        most_images=None,
        score_name="score",
        kind="auto",
    ):
        self.labels = labels
        self.scores = scores
        self.least = least
        self.most = most
        self.least_names = least_names
        self.most_names = most_names
        self.least_images = least_images
        self.most_images = most_images
        self.score_name = score_name
        self.kind = kind

    def plot(self, ax=None, *, kind=None):
        """Draw the figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Subplot whose place is used; None makes a new figure.
        kind : {"auto", "images", "bars", "histogram"}, default=None
            As in the constructor; None takes that one.

        Returns
        -------
        RowsDisplay
            The display itself, with ``axes_`` and ``figure_`` set.

        Raises
        ------
        ValueError
            If ``kind`` is unknown, or "images" where rows are none.
        """
        kind = self.kind if kind is None else kind
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
        has_images = self.least_images is not None
        if kind == "auto":
            kind = "images" if has_images else "bars"
        if kind == "images" and not has_images:
            raise ValueError('kind="images" needs rows that are images; use "bars"')
        n_classes = len(self.labels)
        n_ends = [max(map(len, end)) for end in (self.least, self.most)]
        n_columns = min(n_classes, 5 if kind == "histogram" else 3)
        n_lines = -(-n_classes // n_columns)
        draw, size = {
            "images": (self._images, (0.85 * sum(n_ends) + 1, 1.15 * n_classes + 0.5)),
            "bars": (self._bars, (3 * n_columns, n_lines * (0.17 * sum(n_ends) + 0.9))),
            "histogram": (self._histograms, (2.2 * n_columns, 1.7 * n_lines + 0.4)),
        }[kind]
        canvas, self.figure_ = new_canvas(ax, size)
        if kind == "images":
            self.axes_ = draw(canvas, n_ends)
        else:
            panels = canvas.subplots(n_lines, n_columns, squeeze=False, sharex=True).ravel()
            for panel in panels[n_classes:]:
                panel.set_axis_off()
            self.axes_ = panels[:n_classes]
            draw(self.axes_)
            canvas.supxlabel(self.score_name, fontsize=9)
        return self

    def _images(self, canvas, n_ends):
        halves = canvas.subfigures(1, 2, width_ratios=[n_ends[0] + 0.2, n_ends[1]])
        least, most = (
            half.subplots(len(self.labels), n, squeeze=False)
            for half, n in zip(halves, n_ends, strict=True)
        )
        for panel in (*least.flat, *most.flat):
            panel.set_axis_off()
        for panels, images, scores, names, step in (
            (least, self.least_images, self.least, self.least_names, 1),
            (most, self.most_images, self.most, self.most_names, -1),
        ):  # in one order, from the least to the most anomalous
            for line in range(len(self.labels)):
                rows = range(len(scores[line]))[::step]
                draw_images(panels[line, : len(rows)], images[line][rows])
                for panel, row in zip(panels[line], rows, strict=False):
                    panel.set_axis_on()
                    panel.set_title(format_number(scores[line][row]), fontsize=7, pad=2)
                    panel.set_xlabel(
                        names[line][row], fontsize=6, color="0.45", labelpad=1, parse_math=False
                    )
        for panel, label in zip(least[:, 0], self.labels, strict=True):
            panel.set_ylabel(clip(plain(label), 16), fontsize=9, parse_math=False)
        halves[0].suptitle("least anomalous", fontsize=9, color=_NORMAL_COLOR)
        halves[1].suptitle("most anomalous", fontsize=9, color=MISMATCH_COLOR)
        canvas.suptitle(self.score_name, fontsize=9)
        return np.hstack([least, most])

    def _bars(self, panels):
        for panel, label, *ends in zip(
            panels, self.labels, self.least, self.most, self.least_names, self.most_names,
            strict=True,
        ):  # fmt: skip
            least, most, least_names, most_names = ends
            scores = np.concatenate([least, most[::-1]])
            colors = [_NORMAL_COLOR] * len(least) + [MISMATCH_COLOR] * len(most)
            panel.barh(range(len(scores)), scores, color=colors)
            panel.set_yticks(
                range(len(scores)), least_names + most_names[::-1], fontsize=7, parse_math=False
            )
            panel.set_title(clip(plain(label), 20), fontsize=9, parse_math=False)
            panel.tick_params(labelsize=7)

    def _histograms(self, panels):
        pooled = np.concatenate(self.scores)
        edges = np.histogram_bin_edges(pooled, 30)
        for panel, label, scores, least, most in zip(
            panels, self.labels, self.scores, self.least, self.most, strict=True
        ):
            panel.hist(scores, edges, color="0.7")
            for ends, color in ((least, _NORMAL_COLOR), (most, MISMATCH_COLOR)):
                style = {"color": color, "markersize": 14, "clip_on": False}
                panel.plot(ends, np.zeros(len(ends)), "|", **style)
            panel.set_title(clip(plain(label), 20), fontsize=9, parse_math=False)
            panel.tick_params(labelsize=7)
