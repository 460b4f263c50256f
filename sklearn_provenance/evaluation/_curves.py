"""Figures of the protocols: a line or a point for each method, with error bars."""

import numpy as np

from .._utils.arguments import check_kind
from .._utils.plotting import COLORS, MARKERS, new_axes


class CurvesDisplay:
    """Means over queries with their standard errors, one line for each method.

    Parameters
    ----------
    x : ndarray of shape (n_points,)
        Where the points stand.
    means, errors : ndarray of shape (n_methods, n_points)
        Height of the points, and half the height of their bars. nan is not drawn.
    names : sequence of str
        Names of the methods.
    xlabel, ylabel : str, default=""
        Labels of the axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the lines.
    figure_ : matplotlib Figure
        Figure that holds them.
    errorbars_ : list of matplotlib ErrorbarContainer
        A line for each method.
    """

    def __init__(self, x, means, errors, *, names, xlabel="", ylabel=""):
        self.x = x
        self.means = means
        self.errors = errors
        self.names = names
        self.xlabel = xlabel
        self.ylabel = ylabel

    def plot(self, ax=None, **kwargs):
        """Draw the lines.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.
        **kwargs
            Passed on to ``ax.errorbar``.

        Returns
        -------
        CurvesDisplay
            The display itself, with ``ax_``, ``figure_`` and ``errorbars_`` set.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        self.ax_ = new_axes(ax)
        self.figure_ = self.ax_.figure
        self.errorbars_ = []
        # Bars of several methods at one place would hide each other.
        step = np.diff(self.x).min() if len(self.x) > 1 else 1.0
        shifts = (np.arange(len(self.names)) - (len(self.names) - 1) / 2) * 0.03 * step
        for i, name in enumerate(self.names):
            style = {
                "color": COLORS[i % len(COLORS)],
                "marker": MARKERS[i % len(MARKERS)],
                "linestyle": "-" if i < len(COLORS) else "--",
                "markersize": 5,
                "capsize": 2,
                "label": name,
            }
            drawn = self.ax_.errorbar(
                self.x + shifts[i], self.means[i], self.errors[i], **style | kwargs
            )
            self.errorbars_.append(drawn)
        self.ax_.set(xlabel=self.xlabel, ylabel=self.ylabel, xticks=self.x)
        self.ax_.legend(frameon=False)
        return self


class BrittlenessDisplay(CurvesDisplay):
    """Brittleness over the number of rows removed, one line for each method.

    It is recommended to use :meth:`BrittlenessDisplay.from_result` or
    :meth:`BrittlenessResult.plot` to create one.

    Parameters
    ----------
    x : ndarray of shape (n_sizes,)
        Rows removed.
    means, errors : ndarray of shape (n_methods, n_sizes)
        Means over queries and their standard errors. nan is not drawn.
    names : sequence of str
        Names of the methods.
    xlabel, ylabel : str, default=""
        Labels of the axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the lines.
    figure_ : matplotlib Figure
        Figure that holds them.
    errorbars_ : list of matplotlib ErrorbarContainer
        A line for each method.
    """

    @classmethod
    def from_result(cls, result, *, what="flipped", ax=None, **kwargs):
        """Draw a result.

        Parameters
        ----------
        result : BrittlenessResult
            What :func:`brittleness` returned.
        what : {"flipped", "margin_drop"}, default="flipped"
            What is drawn: the fraction of queries that are misclassified, or by how much their
            margin dropped.
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.
        **kwargs
            Passed on to ``ax.errorbar``.

        Returns
        -------
        BrittlenessDisplay
            Drawn.

        Raises
        ------
        ValueError
            If ``what`` is unknown.
        ImportError
            If matplotlib is missing.
        """
        check_kind(result, "BrittlenessResult", "result")
        labels = {"flipped": "fraction misclassified", "margin_drop": "drop of the margin (nats)"}
        if what not in labels:
            raise ValueError(f"what must be one of {tuple(labels)}, got {what!r}.")
        if what == "margin_drop" and result.early_stop:
            labels[what] += ",\nqueries not yet misclassified"
        means, errors = result.means(what)
        display = cls(
            result.sizes,
            means,
            errors,
            names=result.methods,
            xlabel="training rows removed",
            ylabel=labels[what],
        )
        return display.plot(ax, **kwargs)


class RelativeInformationDisplay(CurvesDisplay):
    """Relative information over the size of subsets, one line for each method.

    It is recommended to use :meth:`RelativeInformationDisplay.from_result` or
    :meth:`RelativeInformationResult.plot` to create one.

    Parameters
    ----------
    x : ndarray of shape (n_sizes,)
        Rows in a subset.
    means, errors : ndarray of shape (n_methods, n_sizes)
        Means over queries and their standard errors. nan is not drawn.
    names : sequence of str
        Names of the methods.
    xlabel, ylabel : str, default=""
        Labels of the axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the lines.
    figure_ : matplotlib Figure
        Figure that holds them.
    errorbars_ : list of matplotlib ErrorbarContainer
        A line for each method.
    """

    @classmethod
    def from_result(cls, result, *, ax=None, **kwargs):
        """Draw a result.

        Parameters
        ----------
        result : RelativeInformationResult
            What :func:`relative_information` returned.
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.
        **kwargs
            Passed on to ``ax.errorbar``.

        Returns
        -------
        RelativeInformationDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        check_kind(result, "RelativeInformationResult", "result")
        display = cls(
            result.sizes,
            *result.means(),
            names=result.methods,
            xlabel="training rows withheld",
            ylabel="relative information",
        )
        display.plot(ax, **kwargs)
        display.ax_.axhline(1.0, color="0.6", linewidth=1, zorder=0)
        return display


class LDSDisplay:
    """Linear datamodeling scores, a point for each method.

    It is recommended to use :meth:`LDSDisplay.from_result` or :meth:`LDSResult.plot` to create one.

    Parameters
    ----------
    scores, errors : ndarray of shape (n_methods,)
        Scores and their standard errors.
    names : sequence of str
        Names of the methods.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the points.
    figure_ : matplotlib Figure
        Figure that holds them.
    errorbar_ : matplotlib ErrorbarContainer
        The points.
    """

    def __init__(self, scores, errors, *, names):
        self.scores = scores
        self.errors = errors
        self.names = names

    @classmethod
    def from_result(cls, result, *, ax=None, **kwargs):
        """Draw a result.

        Parameters
        ----------
        result : LDSResult
            What :func:`linear_datamodeling_score` returned.
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.
        **kwargs
            Passed on to ``ax.errorbar``.

        Returns
        -------
        LDSDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        check_kind(result, "LDSResult", "result")
        display = cls(result.scores, result.standard_errors, names=result.methods)
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the points, the first method on top.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.
        **kwargs
            Passed on to ``ax.errorbar``.

        Returns
        -------
        LDSDisplay
            The display itself, with ``ax_``, ``figure_`` and ``errorbar_`` set.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        self.ax_ = new_axes(ax)
        self.figure_ = self.ax_.figure
        places = np.arange(len(self.names))
        style = {"fmt": "o", "color": COLORS[0], "capsize": 2}
        self.errorbar_ = self.ax_.errorbar(self.scores, places, xerr=self.errors, **style | kwargs)
        self.ax_.axvline(0.0, color="0.6", linewidth=1, zorder=0)
        self.ax_.set_yticks(places, self.names, parse_math=False)
        self.ax_.set(xlabel="linear datamodeling score", ylim=(len(places) - 0.5, -0.5))
        return self
