"""What figures share: colours, axes, and a place for several of them."""

# Okabe and Ito's colours, which every kind of eye tells apart; markers help in grey.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def new_axes(ax):
    """The axes given, or new ones."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install sklearn-provenance[plot]") from error
    return plt.subplots(layout="constrained")[1] if ax is None else ax


def new_canvas(ax, figsize):
    """A figure, or a subfigure at the place of a subplot.

    Parameters
    ----------
    ax : matplotlib Axes or None
        Subplot whose place is used; None makes a new figure.
    figsize : tuple of float
        Width and height of a new figure in inches.

    Returns
    -------
    canvas, figure : matplotlib FigureBase, Figure
        Where to make subplots, and the figure that holds it.

    Raises
    ------
    ValueError
        If ``ax`` is no subplot.
    ImportError
        If matplotlib is missing.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install sklearn-provenance[plot]") from error
    if ax is None:
        figure = plt.figure(figsize=figsize, layout="constrained")
        return figure, figure
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError("ax must be a subplot, such as plt.subplots makes")
    if ax.figure.figure.get_layout_engine() is None:
        ax.figure.figure.set_layout_engine("constrained")
    ax.set_axis_off()
    return ax.figure.add_subfigure(place), ax.figure.figure
