"""Figure of robustness."""

import numpy as np

from .._utils.arguments import check_kind
from .._utils.plotting import COLORS, MARKERS, new_axes
from .._utils.tables import standard_error


class RobustnessDisplay:
    """A measure of classifiers under distortions, a point for each, with standard errors.

    It is recommended to use :meth:`RobustnessDisplay.from_result` or :meth:`RobustnessResult.plot`
    to create one.

    Parameters
    ----------
    means, errors : ndarray of shape (n_classifiers, n_distortions)
        Places of the points, and half the length of their bars. nan is not drawn.
    names : sequence of str
        Names of the classifiers.
    distortions : sequence of str
        Names of the distortions, from top to bottom.
    xlabel : str, default=""
        Name of the measure.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the points.
    figure_ : matplotlib Figure
        Figure that holds them.
    errorbars_ : list of matplotlib ErrorbarContainer
        The points of each classifier.
    """

    def __init__(self, means, errors, *, names, distortions, xlabel=""):
        self.means = means
        self.errors = errors
        self.names = names
        self.distortions = distortions
        self.xlabel = xlabel

    @classmethod
    def from_result(cls, result, *, what="accuracy", ax=None, **kwargs):
        """Draw a result; classifiers that lack the measure are left out.

        Parameters
        ----------
        result : RobustnessResult
            What :func:`robustness` returned.
        what : {"accuracy", "top1", "majority", "any"}, default="accuracy"
            The measure.
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.
        **kwargs
            Passed on to ``ax.errorbar``.

        Returns
        -------
        RobustnessDisplay
            Drawn.

        Raises
        ------
        ValueError
            If ``what`` is unknown, or nan for all classifiers.
        ImportError
            If matplotlib is missing.
        """
        check_kind(result, "RobustnessResult", "result")
        k = result.k
        measures = {
            "accuracy": (result.correct, "accuracy"),
            "top1": (result.top1, "first exemplar has the true label (share of images)"),
            "majority": (result.majority, f"majority of {k} exemplars has the true label (share)"),
            "any": (result.any, f"any of {k} exemplars has the true label (share)"),
        }
        if what not in measures:
            raise ValueError(f"what must be one of {tuple(measures)}, got {what!r}.")
        values, xlabel = measures[what]
        known = np.flatnonzero(~np.isnan(values).all(axis=(1, 2)))
        if not len(known):
            raise ValueError(f"No classifier explains itself, so there is no {what!r} to draw.")
        display = cls(
            values[known].mean(axis=2),
            standard_error(values[known], 2),
            names=[result.classifiers[i] for i in known],
            distortions=result.distortions,
            xlabel=xlabel,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.
        **kwargs
            Passed on to ``ax.errorbar``.

        Returns
        -------
        RobustnessDisplay
            The display itself, with ``ax_``, ``figure_`` and ``errorbars_`` set.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        self.ax_ = ax = new_axes(ax)
        self.figure_ = ax.figure
        self.errorbars_ = []
        places = np.arange(len(self.distortions))
        # Side by side: points of several classifiers at one place would hide each other.
        shifts = np.linspace(-0.3, 0.3, len(self.names)) if len(self.names) > 1 else [0.0]
        for i, name in enumerate(self.names):
            style = {
                "linestyle": "none",
                "color": COLORS[i % len(COLORS)],
                "marker": MARKERS[i % len(MARKERS)],
                "markersize": 4,
                "capsize": 2,
                "label": name,
            }
            drawn = ax.errorbar(
                self.means[i], places + shifts[i], xerr=self.errors[i], **style | kwargs
            )
            self.errorbars_.append(drawn)
        for place in places[1:]:
            ax.axhline(place - 0.5, color="0.9", linewidth=0.8, zorder=0)
        ax.set_yticks(places, self.distortions, parse_math=False)
        ax.set(xlabel=self.xlabel, ylim=(len(places) - 0.5, -0.5))
        # Above, since points may stand anywhere inside the axes.
        ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), fontsize="small")
        return self
