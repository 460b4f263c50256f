"""The figure of the scoreboard: a table of scores, shaded by how good they are."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.displays import PointsDisplay
from .._utils.plotting import new_axes
from .._utils.types import Axes


class ScoreboardDisplay:
    """Scores in a table of methods and criteria, darker where they are better.

    Parameters
    ----------
    scores : ndarray of shape (n_methods, n_criteria)
        Numbers that are written in the cells; nan is written as a dash.
    quality : ndarray of shape (n_methods, n_criteria)
        Shades of the cells, from 0, chance or worse, to 1, the best score that there can be.
    methods, criteria : sequence of str
        Names of rows and columns.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the table.
    figure_ : matplotlib Figure
        Figure that holds them.
    im_ : matplotlib AxesImage
        The shades.
    text_ : ndarray of shape (n_methods, n_criteria) of matplotlib Text
        The numbers.
    """

    def __init__(self, scores: NDArray, quality: NDArray, *, methods: Any, criteria: Any) -> None:
        self.scores = scores
        self.quality = quality
        self.methods = methods
        self.criteria = criteria

    def plot(self, ax: Axes = None, **kwargs: Any) -> Self:
        """Draw the table.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in. None makes new ones.
        **kwargs
            Keywords of ``ax.imshow``, such as ``cmap``.

        Returns
        -------
        ScoreboardDisplay
            The display itself, with ``ax_``, ``figure_``, ``im_`` and ``text_`` set.
        """
        is_new = ax is None
        self.ax_ = ax = new_axes(ax)
        self.figure_ = ax.figure
        if is_new:
            n_methods, n_criteria = self.scores.shape
            ax.figure.set_size_inches(2 + 0.75 * n_criteria, 1.4 + 0.33 * n_methods)
        shades = np.ma.masked_invalid(self.quality)
        options = {"cmap": "Blues", "vmin": 0, "vmax": 1.15, "aspect": "auto"} | kwargs
        self.im_ = ax.imshow(shades, **options)
        self.text_ = np.empty(self.scores.shape, dtype=object)
        for (row, column), score in np.ndenumerate(self.scores):
            colour = "black"
            if self.quality[row, column] > 0.6:
                colour = "white"
            self.text_[row, column] = ax.text(
                column, row, cell_text(score), ha="center", va="center", color=colour, fontsize=9
            )
        ax.set_xticks(
            range(len(self.criteria)), self.criteria, rotation=35, ha="left", parse_math=False
        )
        ax.set_yticks(range(len(self.methods)), self.methods, parse_math=False)
        ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
        ax.spines[:].set_visible(False)
        return self


def cell_text(score):
    """Write a score in few characters; a dash where there is none."""
    if np.isnan(score):
        return "-"
    if abs(score) >= 10:
        return f"{score:.1f}"
    return f"{score:.2f}"


def relative_quality(scores, chance, best, highest):
    """Map scores to 0 for chance, or worse, and 1 for the best.

    Where chance is the best, as for scores that should not agree, 0 stands for the highest. Where
    there is no best score, the largest takes its place.

    Parameters
    ----------
    scores : ndarray of shape (n_methods, n_criteria)
        nan stays nan.
    chance, best, highest : ndarray of shape (n_criteria,)
        Of each criterion.

    Returns
    -------
    ndarray of shape (n_methods, n_criteria)
        Numbers from 0 to 1.
    """
    poor = np.where(chance == best, highest, chance)
    largest = np.where(np.isnan(scores), -np.inf, scores).max(0)
    best = np.where(np.isinf(best), largest, best)
    with np.errstate(invalid="ignore", divide="ignore"):
        quality = 1 - np.abs(scores - best) / np.abs(poor - best)
    return np.where(np.isnan(scores), np.nan, np.nan_to_num(quality, nan=0.0).clip(0, 1))


def draw(result, what=None, **style):
    """The table of all scores, or the points of one criterion.

    Parameters
    ----------
    what : str, default=None
        A criterion.
    """
    if what is None:
        highest = np.array([result.criteria[name].highest for name in result.criteria])
        best = np.array([result.criteria[name].best for name in result.criteria])
        quality = relative_quality(result.scores, result.chance, best, highest)
        display = ScoreboardDisplay(
            result.scores, quality, methods=result.methods, criteria=tuple(result.criteria)
        )
        if style:
            raise TypeError(f"plot of the whole scoreboard takes ax and what, got {sorted(style)}")
        return display
    means, errors = result.means(what)
    if np.isnan(means).all():
        raise ValueError(f"no method was measured by {what!r}: {result.reasons}")
    chance = result.chance[list(result.criteria).index(what)]
    return PointsDisplay(
        [means],
        [errors],
        rows=result.methods,
        style=style,
        references=[(chance, None, {"linewidth": 1, "linestyle": ":", "zorder": 0})],
        axes={"xlabel": f"{what} (dotted: chance)"},
    )
