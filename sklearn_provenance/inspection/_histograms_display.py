"""Figure of two groups of rows by a value: a panel of two histograms for each of several values."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.plotting import COLORS, new_canvas
from .._utils.types import Axes

N_BINS = 30


class HistogramsDisplay:
    """Histograms of groups of rows, a panel for each value.

    Heights are shares of the rows of a group, so that groups of different sizes can be compared.
    Panels of a line share their bins and axes.

    Parameters
    ----------
    values : sequence of sequence of tuple of ndarray
        Lines of panels, with the values of each group of rows in each panel.
    groups : sequence of str
        Names of the groups.
    titles : sequence of sequence of str
        Title of each panel.
    xlabels : sequence of str
        What the values of each line are.
    ranges : sequence of tuple of two floats, default=None
        Ends of the bins of each line; None, or None for a line, is where its values end.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The first panel.
    axes_ : ndarray of shape (n_lines, n_columns) of matplotlib Axes
        All panels; those that are not needed are off.
    figure_ : matplotlib Figure
        Figure that holds them.
    """

    def __init__(
        self,
        values: Sequence[Sequence[Sequence[NDArray]]],
        groups: Sequence[str],
        titles: Sequence[Sequence[str]],
        xlabels: Sequence[str],
        ranges: Sequence[tuple[float, float] | None] | None = None,
    ) -> None:
        self.values = values
        self.groups = groups
        self.titles = titles
        self.xlabels = xlabels
        self.ranges = ranges

    def plot(self, ax: Axes = None, **kwargs: Any) -> Self:
        """Draw the histograms.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Subplot whose place the panels take. None makes a new figure.
        **kwargs
            Keywords of each histogram, passed on to ``ax.hist``. ``bins`` is a number of bins for
            each line, or their edges.

        Returns
        -------
        HistogramsDisplay
            The display itself, with ``ax_``, ``axes_`` and ``figure_`` set.
        """
        n_lines, n_columns = len(self.values), max(map(len, self.values))
        size = 2.8 * n_columns + 1.2, 2.4 * n_lines + 0.6
        canvas, self.figure_ = new_canvas(ax, size)
        self.axes_ = canvas.subplots(n_lines, n_columns, squeeze=False, sharex="row", sharey="row")
        self.ax_ = self.axes_[0, 0]
        ranges = self.ranges or [None] * n_lines
        bins = kwargs.pop("bins", N_BINS)
        for line, (panels, of_line) in enumerate(zip(self.values, ranges, strict=True)):
            everything = np.concatenate([group for groups in panels for group in groups])
            edges = np.histogram_bin_edges(everything, bins, of_line)
            for column, panel in enumerate(self.axes_[line]):
                if column >= len(panels):
                    panel.set_axis_off()
                    continue
                self._draw(panel, panels[column], edges, kwargs)
                panel.set_title(self.titles[line][column], fontsize="small", parse_math=False)
                panel.set_xlabel(self.xlabels[line], fontsize="small")
            self.axes_[line, 0].set_ylabel("share of rows", fontsize="small")
        handles, labels = self.ax_.get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside right upper", frameon=False, fontsize="small")
        return self

    def _draw(self, panel, groups, edges, style):
        """Draw one histogram for each group, the later ones as outlines."""
        for number, (name, group) in enumerate(zip(self.groups, groups, strict=True)):
            keywords = {
                "weights": np.full(len(group), 1 / len(group)),
                "label": name,
                "color": COLORS[number % len(COLORS)],
                "histtype": "step" if number else "stepfilled",
                "alpha": 1 if number else 0.5,
                "linewidth": 1.4,
            }
            panel.hist(group, edges, **keywords | style)
        panel.tick_params(labelsize=7)
