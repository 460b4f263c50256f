"""What figures share: colours, axes, and a place for several of them."""

import numpy as np

# Okabe and Ito's colours, which every kind of eye tells apart; markers help in grey.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def pyplot():
    """Import Matplotlib's pyplot, or raise an ImportError that says how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install sklearn-provenance[plot]") from error
    return plt


def new_axes(ax):
    """Return axes to draw in, new ones where ``ax`` is None."""
    plt = pyplot()
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    return ax


def divided(ax, ratios, figsize):
    """Make axes beside each other at the place of a subplot, or in a new figure.

    Parameters
    ----------
    ax : matplotlib Axes or None
        Subplot that is divided; None makes a new figure.
    ratios : tuple of float
        Widths of the axes.
    figsize : tuple of float
        Width and height of a new figure in inches.

    Returns
    -------
    ndarray of shape (len(ratios),) of matplotlib Axes
        Axes from left to right.

    Raises
    ------
    ValueError
        If ``ax`` is no subplot.
    """
    if ax is None:
        ax = new_axes(None)
        ax.figure.set_size_inches(figsize)
    place = _place(ax)
    ax.set_axis_off()
    grid = place.subgridspec(1, len(ratios), width_ratios=ratios)
    return np.array([ax.figure.add_subplot(part) for part in grid])


def _place(ax):
    """Return the place of a subplot, or raise a ValueError for other axes."""
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError("ax must be a subplot, such as plt.subplots makes")
    return place


def line_style(number):
    """Return colour, marker and kind of line that tell a method from others, also in grey."""
    return {
        "color": COLORS[number % len(COLORS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": "-" if number < len(COLORS) else "--",
    }


def normalised(style):
    """Return keywords of a line by their long names, so that they can replace others."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return normalize_kwargs(style, Line2D)


def new_canvas(ax, figsize):
    """Make a figure, or a subfigure at the place of a subplot.

    Parameters
    ----------
    ax : matplotlib Axes or None
        Subplot whose place is used; None makes a new figure.
    figsize : tuple of float
        Width and height of a new figure in inches.

    Returns
    -------
    canvas, figure : matplotlib FigureBase, Figure
        Figure or subfigure in which to make subplots, and the whole figure.

    Raises
    ------
    ValueError
        If ``ax`` is no subplot.
    """
    plt = pyplot()
    if ax is None:
        figure = plt.figure(figsize=figsize, layout="constrained")
        return figure, figure
    place = _place(ax)
    if ax.figure.figure.get_layout_engine() is None:
        ax.figure.figure.set_layout_engine("constrained")
    ax.set_axis_off()
    return ax.figure.add_subfigure(place), ax.figure.figure
