"""The figures of nearly all protocols: lines over an axis, and points or a table with names."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from .plotting import COLORS, MARKERS, divided, line_style, new_axes, normalised
from .tables import short_number
from .types import Axes


class LinesDisplay:
    """Lines, such as means over a size, with error bars where there are errors.

    Parameters
    ----------
    x : array-like of shape (n_points,) or sequence of ndarray
        Horizontal places of all lines, or of each.
    y : sequence of ndarray of shape (n_points,)
        Heights of each line. nan is not drawn.
    errors : sequence of ndarray of shape (n_points,), default=None
        Half the heights of the error bars of each line.
    names : sequence of str
        Names of the lines in the legend. A name that begins with "_" is left out.
    styles : sequence of dict, default=None
        Keywords of each line. None takes colours and markers in turn.
    style : dict, default=None
        Keywords of all lines, which replace the others.
    dodge : bool, default=False
        Whether lines are moved aside a little, so that bars do not hide each other.
    references : sequence of tuple, default=()
        ``(x, y, keywords)`` of lines to compare with. ``x=None`` or ``y=None`` is a line across.
    keys : dict of str to str, default=None
        Further entries of the legend, each with a kind of line.
    ticks : sequence of str, default=None
        Labels at the places ``x``. None leaves ticks as they are.
    dots : tuple of ndarray, default=None
        Places of small grey points behind the lines.
    axes : dict, default=None
        Arguments of ``ax.set``, such as ``xlabel``.
    legend : dict, default=None
        Arguments of ``ax.legend``.
    beside : PointsDisplay, default=None
        Figure to draw on the right.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the lines.
    axes_ : ndarray of matplotlib Axes
        ``ax_``, and the axes of ``beside``.
    figure_ : matplotlib Figure
        Figure that holds them.
    lines_ : list of matplotlib Line2D
        The line of each name.
    errorbars_ : list of matplotlib ErrorbarContainer
        The lines with their bars, if there are errors.
    """

    def __init__(
        self,
        x: Any,
        y: Sequence,
        errors: Sequence | None = None,
        *,
        names: Sequence[str],
        styles: Sequence[Mapping[str, Any]] | None = None,
        style: Mapping[str, Any] | None = None,
        dodge: bool = False,
        references: Sequence[tuple] = (),
        keys: Mapping[str, str] | None = None,
        ticks: Sequence[str] | None = None,
        dots: tuple | None = None,
        axes: Mapping[str, Any] | None = None,
        legend: Mapping[str, Any] | None = None,
        beside: "PointsDisplay | None" = None,
    ) -> None:
        self.x = x
        self.y = y
        self.errors = errors
        self.names = names
        self.styles = styles
        self.style = style
        self.dodge = dodge
        self.references = references
        self.keys = keys
        self.ticks = ticks
        self.dots = dots
        self.axes = axes
        self.legend = legend
        self.beside = beside

    def plot(self, ax: Axes = None, **kwargs: Any) -> Self:
        """Draw the lines.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in, a subplot if there is a figure ``beside``. None makes new ones.
        **kwargs
            Keywords of each line, passed on to ``ax.errorbar``, or to ``ax.plot`` without errors.

        Returns
        -------
        LinesDisplay
            The display itself, with ``ax_``, ``axes_``, ``figure_``, ``lines_`` and ``errorbars_``
            set.
        """
        if self.beside is None:
            self.axes_ = np.array([new_axes(ax)])
        else:
            self.axes_ = divided(ax, (3, 2), (8, 3.6))
            self.beside.plot(self.axes_[1])
        self.ax_ = ax = self.axes_[0]
        self.figure_ = ax.figure
        if self.dots is not None:
            ax.plot(*self.dots, ".", color="0.6", markersize=3, alpha=0.5)
        for x, y, keywords in self.references:
            _draw_reference(ax, x, y, keywords)
        self._draw_lines(normalised({**(self.style or {}), **kwargs}))
        for label, linestyle in (self.keys or {}).items():
            ax.plot([], [], linestyle, color="0.4", label=label)
        axes = dict(self.axes or {})
        if "title" in axes:
            ax.set_title(axes.pop("title"), fontsize="medium")
        ax.set(**axes)
        if self.ticks is not None:
            ax.set_xticks(self.x, self.ticks)
            ax.minorticks_off()
        ax.legend(**{"frameon": False, **(self.legend or {})})
        return self

    def _draw_lines(self, style):
        """Draw the lines with their bars; ``style`` replaces the style of each line."""
        n_lines = len(self.names)
        places = self.x
        if np.ndim(self.x[0]) == 0:  # the same places for all lines
            places = [np.asarray(self.x)] * n_lines
        if self.dodge:
            step = 1.0
            if len(self.x) > 1:
                step = np.diff(self.x).min()
            shifts = (np.arange(n_lines) - (n_lines - 1) / 2) * 0.03 * step
            places = [x + shift for x, shift in zip(places, shifts, strict=True)]
        styles = self.styles
        if styles is None:
            styles = [line_style(i) for i in range(n_lines)]
        self.lines_ = []
        self.errorbars_ = []
        for i, name in enumerate(self.names):
            keywords = {"label": name} | normalised(styles[i]) | style
            if self.errors is None:
                self.lines_ += self.ax_.plot(places[i], self.y[i], **keywords)
                continue
            keywords = {"markersize": 5, "capsize": 2} | keywords
            drawn = self.ax_.errorbar(places[i], self.y[i], self.errors[i], **keywords)
            self.errorbars_.append(drawn)
            self.lines_.append(drawn[0])


class PointsDisplay:
    """Points with horizontal error bars, one line of the figure for each method or setting.

    With ``shades``, the values are written into a table instead, with a column for each series.

    Parameters
    ----------
    values : ndarray of shape (n_series, n_rows)
        Places of the points, or numbers in the table. nan is not drawn, and a dash in the table.
    errors : ndarray of shape (n_series, n_rows) or (n_series, 2, n_rows), default=None
        Half the lengths of their bars, or their lengths to the left and to the right.
    rows : sequence of str
        Names of the lines, from top to bottom.
    names : sequence of str, default=None
        Names of the series in the legend, or of the columns. None leaves the legend out.
    shades : ndarray of shape (n_series, n_rows), default=None
        How dark the cells of a table are, from 0 to 1. None draws points.
    spread : float, default=0.3
        Distance of the first and the last series from the middle of a line.
    style : dict, default=None
        Keywords of all points.
    references : sequence of tuple, default=()
        ``(x, y, keywords)`` of lines to compare with. ``x=None`` or ``y=None`` is a line across.
    axes : dict, default=None
        Arguments of ``ax.set``, such as ``xlabel``.
    legend : dict, default=None
        Arguments of ``ax.legend``.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the points or the table.
    figure_ : matplotlib Figure
        Figure that holds them.
    errorbars_ : list of matplotlib ErrorbarContainer
        The points of each series; empty with ``shades``.
    im_ : matplotlib AxesImage
        The cells, with ``shades``.
    text_ : ndarray of shape (n_rows, n_series) of matplotlib Text
        The numbers in the cells, with ``shades``.
    """

    def __init__(
        self,
        values: Any,
        errors: Any = None,
        *,
        rows: Sequence[str],
        names: Sequence[str] | None = None,
        shades: Any = None,
        spread: float = 0.3,
        style: Mapping[str, Any] | None = None,
        references: Sequence[tuple] = (),
        axes: Mapping[str, Any] | None = None,
        legend: Mapping[str, Any] | None = None,
    ) -> None:
        self.values = values
        self.errors = errors
        self.rows = rows
        self.names = names
        self.shades = shades
        self.spread = spread
        self.style = style
        self.references = references
        self.axes = axes
        self.legend = legend

    def plot(self, ax: Axes = None, **kwargs: Any) -> Self:
        """Draw the points or the table.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in. None makes new ones.
        **kwargs
            Keywords of the points, passed on to ``ax.errorbar``, or of the table, passed on to
            ``ax.imshow``.

        Returns
        -------
        PointsDisplay
            The display itself, with ``ax_``, ``figure_`` and what was drawn.
        """
        is_new = ax is None
        self.ax_ = new_axes(ax)
        self.figure_ = self.ax_.figure
        self.errorbars_: list = []
        if self.shades is None:
            self._draw_points(self.ax_, normalised({**(self.style or {}), **kwargs}))
            return self
        if is_new:
            n_columns, n_rows = np.shape(self.shades)
            self.figure_.set_size_inches(2 + 0.75 * n_columns, 1.4 + 0.33 * n_rows)
        self._draw_table(self.ax_, {**(self.style or {}), **kwargs})
        return self

    def _draw_points(self, ax, style):
        """Draw each series with its bars; ``style`` replaces the style of each."""
        places = np.arange(len(self.rows))
        n_series = len(self.values)
        shifts = np.zeros(n_series)
        if n_series > 1:  # points of several series at one place would hide each other
            shifts = np.linspace(-self.spread, self.spread, n_series)
        for i, values in enumerate(self.values):
            errors = None
            if self.errors is not None:
                errors = self.errors[i]
            keywords = {
                "linestyle": "none",
                "color": COLORS[i % len(COLORS)],
                "marker": MARKERS[i % len(MARKERS)],
                "capsize": 2,
            }
            if self.names is not None:
                keywords["label"] = self.names[i]
            drawn = ax.errorbar(values, places + shifts[i], xerr=errors, **keywords | style)
            self.errorbars_.append(drawn)
        for x, y, keywords in self.references:
            _draw_reference(ax, x, y, keywords)
        ax.set_yticks(places, self.rows, parse_math=False)
        ax.set(ylim=(max(len(places), 1) - 0.5, -0.5), **(self.axes or {}))
        if self.names is not None:
            ax.legend(**{"frameon": False, **(self.legend or {})})

    def _draw_table(self, ax, style):
        """Write the values into cells, white on dark ones."""
        shades = np.ma.masked_invalid(np.transpose(self.shades))  # (n_rows, n_series)
        style = {"cmap": "Blues", "vmin": 0, "vmax": 1.15, "aspect": "auto"} | style
        self.im_ = ax.imshow(shades, **style)
        self.text_ = np.empty(shades.shape, dtype=object)
        place = {"ha": "center", "va": "center", "fontsize": 9}
        for (row, column), shade in np.ndenumerate(shades.filled(0.0)):
            color = "white" if shade > 0.6 else "black"
            text = short_number(self.values[column][row])
            self.text_[row, column] = ax.text(column, row, text, color=color, **place)
        ax.set_xticks(range(len(self.names)), self.names, rotation=35, ha="left", parse_math=False)
        ax.set_yticks(range(len(self.rows)), self.rows, parse_math=False)
        ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
        ax.spines[:].set_visible(False)
        ax.set(**(self.axes or {}))


def _draw_reference(ax, x, y, keywords):
    """Draw a line through points, or across the axes."""
    keywords = {"color": "0.6"} | keywords
    if x is None:
        ax.axhline(y, **keywords)
    elif y is None:
        ax.axvline(x, **keywords)
    else:
        ax.plot(x, y, **keywords)
