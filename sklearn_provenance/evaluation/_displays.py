"""Figures of coresets, retrieval and label errors."""

import numpy as np

from .._utils.arguments import check_kind
from .._utils.plotting import COLORS, MARKERS, new_axes
from .._utils.tables import standard_error
from ..attribution._suspicion import LOSS


class CoresetDisplay:
    """Test accuracy over the number of rows selected, with standard errors over seeds.

    It is recommended to use :meth:`CoresetDisplay.from_result` or :meth:`CoresetResult.plot` to
    create one. Dashed lines are those of subsets in which classes have equal shares.

    Parameters
    ----------
    sizes : ndarray of shape (n_sizes,)
        Rows selected.
    means, errors : ndarray of shape (n_methods, n_balanced, n_sizes)
        Accuracies, and half the height of their bars. nan is not drawn.
    names : sequence of str
        Names of the methods.
    balanced : sequence of bool
        Whether classes have equal shares.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the lines.
    figure_ : matplotlib Figure
        Figure that holds them.
    """

    def __init__(self, sizes, means, errors, *, names, balanced):
        self.sizes = sizes
        self.means = means
        self.errors = errors
        self.names = names
        self.balanced = balanced

    @classmethod
    def from_result(cls, result, *, ax=None):
        """Draw a result.

        Parameters
        ----------
        result : CoresetResult
            What :func:`coreset_selection` returned.
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.

        Returns
        -------
        CoresetDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        check_kind(result, "CoresetResult", "result")
        display = cls(result.sizes, *result.means(), names=result.methods, balanced=result.balanced)
        return display.plot(ax)

    def plot(self, ax=None):
        """Draw the lines.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.

        Returns
        -------
        CoresetDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        self.ax_ = ax = new_axes(ax)
        self.figure_ = ax.figure
        for i, name in enumerate(self.names):
            again, color = divmod(i, len(COLORS))  # colours that come again have hollow markers
            for j, balanced in enumerate(self.balanced):
                ax.errorbar(
                    self.sizes,
                    self.means[i, j],
                    self.errors[i, j],
                    label="_" if j else name,
                    linestyle=("-.", ":")[balanced] if again else ("-", "--")[balanced],
                    color=COLORS[color],
                    marker=MARKERS[(i + again) % len(MARKERS)],
                    markerfacecolor="none" if again else None,
                    markersize=5,
                    capsize=2,
                )
        if any(self.balanced):
            ax.plot([], [], "--", color="0.4", label="classes balanced")
        ax.set_xscale("log")
        ax.set_xticks(self.sizes, [str(size) for size in self.sizes])
        ax.minorticks_off()
        ax.set(xlabel="training rows selected", ylabel="test accuracy")
        ax.legend(frameon=False, fontsize="small")
        return self


class RetrievalDisplay:
    """Figure of recall and mean reciprocal rank, with standard errors over queries.

    It is recommended to use :meth:`RetrievalDisplay.from_result` or :meth:`RetrievalResult.plot`
    to create one.

    Parameters
    ----------
    names : sequence of str
        Names of the methods, from top to bottom.
    values : dict of str to (ndarray, ndarray)
        Means and standard errors of each measure, each of shape (n_methods,), by its name.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the points.
    figure_ : matplotlib Figure
        Figure that holds them.
    """

    def __init__(self, names, values):
        self.names = names
        self.values = values

    @classmethod
    def from_result(cls, result, *, ax=None):
        """Draw a result.

        Parameters
        ----------
        result : RetrievalResult
            What to draw.
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.

        Returns
        -------
        RetrievalDisplay
            The display that was drawn.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        check_kind(result, "RetrievalResult", "result")
        measures = {
            f"Recall@{result.k}": result.recall,
            f"MRR@{result.mrr_k}": result.reciprocal_rank,
        }
        values = {name: (v.mean(axis=1), standard_error(v, 1)) for name, v in measures.items()}
        return cls(result.methods, values).plot(ax)

    def plot(self, ax=None):
        """Draw the figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.

        Returns
        -------
        RetrievalDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        n_methods = len(self.names)
        self.ax_ = ax = new_axes(ax)
        self.figure_ = ax.figure
        for number, (name, (means, errors)) in enumerate(self.values.items()):
            # Side by side: where methods are good, both measures are 1.
            height = np.arange(n_methods) + 0.3 * (number - (len(self.values) - 1) / 2)
            ax.errorbar(
                means,
                height,
                xerr=errors,
                label=name,
                linestyle="none",
                color=COLORS[number],
                marker=MARKERS[number],
                capsize=2,
            )
        ax.set_yticks(range(n_methods), self.names, parse_math=False)
        ax.set(xlim=(-0.03, 1.03), ylim=(n_methods - 0.5, -0.5), xlabel="mean over queries")
        ax.legend(frameon=False)
        return self


class LabelErrorDisplay:
    """Share of errors found over the share of rows inspected, a line for each method.

    It is recommended to use :meth:`LabelErrorDisplay.from_result` or
    :meth:`LabelErrorResult.plot` to create one. The loss is dashed; dotted are an order that knows
    the errors, and a random one.

    Parameters
    ----------
    curves : list of (ndarray, ndarray)
        Share inspected and share found, from 0 to 1, of each method.
    names : sequence of str
        Names of the methods.
    error_share : float
        Share of rows whose label is wrong.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the lines.
    figure_ : matplotlib Figure
        Figure that holds them.
    """

    def __init__(self, curves, *, names, error_share):
        self.curves = curves
        self.names = names
        self.error_share = error_share

    @classmethod
    def from_result(cls, result, *, ax=None):
        """Draw a result.

        Parameters
        ----------
        result : LabelErrorResult
            What :func:`label_error_ranking` returned.
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.

        Returns
        -------
        LabelErrorDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        check_kind(result, "LabelErrorResult", "result")
        share = result.n_errors / result.n_rows
        return cls(result.curves, names=result.methods, error_share=share).plot(ax)

    def plot(self, ax=None):
        """Draw the lines.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.

        Returns
        -------
        LabelErrorDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        self.ax_ = ax = new_axes(ax)
        self.figure_ = ax.figure
        ax.plot([0, 1], [0, 1], ":", color="0.6")
        ax.plot([0, self.error_share, 1], [0, 1, 1], ":", color="0.6")
        for i, (name, curve) in enumerate(zip(self.names, self.curves, strict=True)):
            style = {"color": COLORS[i % len(COLORS)]}
            if name == LOSS:
                style = {"color": "k", "linestyle": "--"}
            ax.plot(*curve, label=name, **style)
        ax.set(xlabel="share of rows inspected", ylabel="share of label errors found")
        ax.legend(frameon=False)
        return self
