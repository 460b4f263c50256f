"""Colours of words and of targets that are numbers, in figures and notebooks."""

import numpy as np

# Backgrounds of words: those of light pages, which templates/page.css names at its top.
TINTS = {"above1": "#fde6cb", "above2": "#f8c48a", "below1": "#e6e2f2", "below2": "#c8c1e2"}


def target_colors(display):
    """Return the colours of the targets of a figure.

    Parameters
    ----------
    display : ExplanationDisplay
        Figure whose targets have colours.

    Returns
    -------
    matplotlib ScalarMappable or None
        Map from numbers to RGBA; None where targets are labels, or none is known.
    """
    if display.targets != "numbers":
        return None
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    known = [display.query_labels, display.true_labels]
    if display.exemplar_labels is not None:
        known.append(display.exemplar_labels[~np.isnan(display.scores)])
    values = np.concatenate([[]] + [targets for targets in known if targets is not None])
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low = values.min()
    high = values.max()
    if low == high:  # a bar needs some length
        margin = abs(low) / 10 or 1.0
        low -= margin
        high += margin
    return ScalarMappable(Normalize(low, high), colormaps["viridis"])
