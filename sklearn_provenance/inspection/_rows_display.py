"""Figures of rows with scores, class by class: images, bars, histograms."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .._utils.plotting import new_canvas
from .._utils.types import Axes
from ..explanation._captions import MISMATCH_COLOR
from ..explanation._rows import format_number, one_line
from ._shared import draw_images

_NORMAL_COLOR = "#0072B2"
KINDS = ("auto", "images", "bars", "histogram")


class RowsDisplay:
    """Figure of the rows of lowest and of highest score of each class.

    The ``plot`` of an :class:`AnomalyRanking` or of :class:`LabelIssues` makes it. Rows of the
    lowest scores are blue, those of the highest orange.

    Parameters
    ----------
    labels : sequence
        Classes, from top to bottom.
    scores : list of ndarray
        Scores of all rows of each class.
    least, most : list of ndarray
        Scores of the rows at the ends, the extreme ones first.
    least_names, most_names : list of list of str
        Names of these rows.
    least_images, most_images : list of ndarray, default=None
        Images of these rows.
    score_name : str, default="score"
        Name of the scores.
    kind : {"auto", "images", "bars", "histogram"}, default="auto"
        Rows as images, the scores of the same rows as bars, or histograms of all scores; "auto"
        draws images where rows are images, else bars.
    word : str, default="anomalous"
        What rows of a high score are.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        Shape (n_classes, 2 n) for images, else (n_classes,).
    figure_ : matplotlib Figure
        Figure that holds them.
    """

    def __init__(
        self,
        labels: Sequence,
        scores: list[NDArray[np.float64]],
        least: list[NDArray[np.float64]],
        most: list[NDArray[np.float64]],
        *,
        least_names: list[list[str]],
        most_names: list[list[str]],
        least_images: list[NDArray] | None = None,
        most_images: list[NDArray] | None = None,
        score_name: str = "score",
        kind: str = "auto",
        word: str = "anomalous",
    ) -> None:
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
        self.word = word

    def plot(self, ax: Axes = None, *, kind: str | None = None) -> Self:
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
            If ``kind`` is unknown, or is "images" where rows are no images.
        """
        n_classes = len(self.labels)
        kind = self._chosen_kind(kind or self.kind)
        if kind == "images":
            n_shown = self._n_least + self._n_most
            canvas, self.figure_ = new_canvas(ax, (0.85 * n_shown + 1, 1.15 * n_classes + 0.5))
            self.axes_ = self._images(canvas)
            return self
        if kind == "histogram":
            n_columns = min(n_classes, 5)
            size = (2.2, 1.7)
            draw = self._histograms
            margin = 0.4
        else:
            n_columns = min(n_classes, 3)
            size = (3, 0.17 * (self._n_least + self._n_most) + 1.2)
            draw = self._bars
            margin = 0.0
        n_lines = -(-n_classes // n_columns)
        canvas, self.figure_ = new_canvas(ax, (size[0] * n_columns, size[1] * n_lines + margin))
        panels = canvas.subplots(n_lines, n_columns, squeeze=False, sharex=True).ravel()
        for panel in panels[n_classes:]:
            panel.set_axis_off()
        self.axes_ = panels[:n_classes]
        draw(self.axes_)
        note = f"{self.score_name}\norange: most {self.word}, blue: least {self.word}"
        canvas.supxlabel(note, fontsize=9)
        return self

    @property
    def _n_least(self):
        """Largest number of least anomalous rows of a class."""
        return max(map(len, self.least))

    @property
    def _n_most(self):
        """Largest number of most anomalous rows of a class."""
        return max(map(len, self.most))

    def _chosen_kind(self, kind):
        """Return what is drawn for a ``kind`` that may be "auto"."""
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
        has_images = self.least_images is not None
        if kind == "images" and not has_images:
            raise ValueError('kind="images" needs rows that are images; use "bars"')
        if kind != "auto":
            return kind
        return "images" if has_images else "bars"

    def _images(self, canvas):
        """Draw the rows of each class as images, from the least to the most anomalous."""
        n_classes = len(self.labels)
        left, right = canvas.subfigures(1, 2, width_ratios=[self._n_least + 0.2, self._n_most])
        least = left.subplots(n_classes, self._n_least, squeeze=False)
        most = right.subplots(n_classes, self._n_most, squeeze=False)
        for panel in (*least.flat, *most.flat):
            panel.set_axis_off()
        for line, label in enumerate(self.labels):
            _draw_end(
                least[line], self.least_images[line], self.least[line], self.least_names[line]
            )
            _draw_end(  # the most anomalous row is the last one
                most[line],
                self.most_images[line][::-1],
                self.most[line][::-1],
                self.most_names[line][::-1],
            )
            least[line, 0].set_ylabel(_in_two_lines(label, 16), fontsize=9, parse_math=False)
        left.suptitle(f"least {self.word}", fontsize=9, color=_NORMAL_COLOR)
        right.suptitle(f"most {self.word}", fontsize=9, color=MISMATCH_COLOR)
        canvas.suptitle(self.score_name, fontsize=9)
        return np.hstack([least, most])

    def _bars(self, panels):
        """Draw the scores of the rows at both ends of each class as bars."""
        for number, (panel, label) in enumerate(zip(panels, self.labels, strict=True)):
            least = self.least[number]
            most = self.most[number][::-1]
            scores = np.concatenate([least, most])
            names = self.least_names[number] + self.most_names[number][::-1]
            colors = [_NORMAL_COLOR] * len(least) + [MISMATCH_COLOR] * len(most)
            panel.barh(range(len(scores)), scores, color=colors)
            panel.set_yticks(range(len(scores)), names, fontsize=7, parse_math=False)
            panel.set_title(_in_two_lines(label, 26), fontsize=9, parse_math=False)
            panel.tick_params(labelsize=7)

    def _histograms(self, panels):
        """Draw a histogram of all scores of each class, with ticks at the rows of both ends."""
        edges = np.histogram_bin_edges(np.concatenate(self.scores), 30)
        for number, (panel, label) in enumerate(zip(panels, self.labels, strict=True)):
            panel.hist(self.scores[number], edges, color="0.7")
            ends = {_NORMAL_COLOR: self.least[number], MISMATCH_COLOR: self.most[number]}
            for color, scores in ends.items():
                style = {"color": color, "markersize": 14, "clip_on": False}
                panel.plot(scores, np.zeros(len(scores)), "|", **style)
            panel.set_title(_in_two_lines(label, 26), fontsize=9, parse_math=False)
            panel.tick_params(labelsize=7)


def _in_two_lines(label, width):
    """Write a label in at most two lines of a width."""
    return "\n".join(wrap(one_line(label), width, max_lines=2, placeholder="…"))


def _draw_end(panels, images, scores, names):
    """Draw rows at one end of a class, with their scores above and their names below."""
    panels = panels[: len(scores)]
    draw_images(panels, images)
    for panel, score, name in zip(panels, scores, names, strict=True):
        panel.set_axis_on()
        panel.set_title(format_number(score), fontsize=7, pad=2)
        panel.set_xlabel(name, fontsize=6, color="0.45", labelpad=1, parse_math=False)
