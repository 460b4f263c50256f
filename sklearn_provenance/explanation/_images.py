"""How images of an explanation are drawn: a panel for each query and for each exemplar."""

from textwrap import fill

import numpy as np

from ._rows import as_images


def image_size(display):
    """Compute width and height of a figure of images, in inches."""
    n_queries, k = display.scores.shape
    height = 1.75 + 0.15 * (display.query_notes is not None)
    height += 0.12 * (display.true_labels is not None)
    return 1.35 * (k + 1) + 0.4, height * n_queries + 0.3


def draw_images(display, canvas):
    """Draw a panel for each query, a narrow gap, a panel for each exemplar; return the panels."""
    n_queries, k = display.scores.shape
    grid = canvas.add_gridspec(n_queries, k + 2, width_ratios=[1, 0.12] + [1] * k)
    axes = np.empty((n_queries, k + 1), dtype=object)
    for query in range(n_queries):
        valid = ~np.isnan(display.scores[query])
        rows = [as_images(display.queries[query][None], display.image_shape)]
        if any(valid):
            rows.append(as_images(display.exemplars[query][valid], display.image_shape))
        pictures, limits = brightness(np.concatenate(rows))
        # Padding stands at the end of a row, so valid exemplars keep their places.
        for column in range(k + 1):
            panel = canvas.add_subplot(grid[query, column + (column > 0)])
            axes[query, column] = panel
            if column >= len(pictures):
                panel.set_axis_off()
                continue
            panel.imshow(pictures[column], cmap="gray", interpolation="nearest", **limits)
            panel.set(xticks=[], yticks=[])
            if column == 0:
                _caption_query(display, panel, query)
            else:
                _caption_exemplar(display, panel, query, column - 1)
    return axes


def _caption_query(display, panel, query):
    """Write the labels of a query above its image, and the note of the query below."""
    words, color = display.query_caption(query)
    below = ""
    if display.query_notes is not None:
        below = display.query_notes[query]
    _caption(panel, words, below, color, display.target_color(query), width=2.5)


def _caption_exemplar(display, panel, query, rank):
    """Write label and score of an exemplar above its image, and its name below."""
    words, color = display.exemplar_caption(query, rank)
    below = words.pop()
    width = 0.5
    if color != "k":  # another label than the query's
        width = 2.0
    _caption(panel, words, below, color, display.target_color(query, rank), width)


def _caption(panel, words, below, color, target_color, width):
    """Write above and below an image, and frame it, where it has a target in its colour."""
    gap = 2
    frame_color = color
    if target_color is not None:
        frame_color = target_color
        width = 3.5
        gap = 4
    panel.spines[:].set(color=frame_color, linewidth=width)
    panel.set_xlabel(fill(below, 22), fontsize=7, color="0.45", labelpad=gap, parse_math=False)
    panel.set_title("\n".join(words), fontsize=8, color=color, pad=4, parse_math=False)


def brightness(images):
    """Choose a common range for a query and its exemplars, so that they can be compared."""
    has_color = images.ndim == 4
    if images.dtype == np.uint8:
        if has_color:
            return images, {}
        return images, {"vmin": 0, "vmax": 255}
    images = images.astype(np.float64)
    low = np.nanmin(images)
    high = np.nanmax(images)
    if not has_color:
        return images, {"vmin": low, "vmax": high}
    if low < 0 or high > 1:
        images = images - low
        if high > low:
            images /= high - low
    return images, {}
