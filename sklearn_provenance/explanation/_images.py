"""How images of an explanation are drawn: a panel for each query and for each exemplar."""

from textwrap import fill

import numpy as np

from ._rows import as_images, shorten


def image_size(display):
    """Compute width and height of a figure of images, in inches."""
    height = 1.75 + 0.15 * (display.query_notes is not None)
    height += 0.12 * (display.true_labels is not None)
    lines = [_lines(display, query) for query in range(len(display.queries))]
    n_lines = sum(map(len, lines))
    k = max(len(ranks) for of_query in lines for ranks in of_query.values())
    return 1.35 * (k + 1) + 0.4 + 0.3 * (display.methods is not None), height * n_lines + 0.3


def _lines(display, query):
    """Return the places of a query's exemplars by method, with padding where there is one line."""
    if display.methods is None:
        return {"": np.arange(display.scores.shape[1])}
    methods = list(dict.fromkeys(name for names in display.methods for name in names if name))
    own = np.array(display.methods[query], dtype=object)
    return {method: np.flatnonzero(own == method) for method in methods}


def draw_images(display, canvas):
    """Draw a panel for each query, a narrow gap, a panel for each exemplar; return the panels.

    Where several methods are compared, each has a line of exemplars, and the query stands on the
    first of its lines.
    """
    lines = [_lines(display, query) for query in range(len(display.queries))]
    n_lines = len(lines[0])
    k = max(len(ranks) for of_query in lines for ranks in of_query.values())
    grid = canvas.add_gridspec(len(lines) * n_lines, k + 2, width_ratios=[1, 0.12] + [1] * k)
    axes = np.empty((len(lines) * n_lines, k + 1), dtype=object)
    for panel_row in range(len(axes)):
        for column in range(k + 1):
            axes[panel_row, column] = canvas.add_subplot(grid[panel_row, column + (column > 0)])
            axes[panel_row, column].set_axis_off()
    for query, of_query in enumerate(lines):
        valid = np.flatnonzero(~np.isnan(display.scores[query]))
        rows = [as_images(display.queries[query][None], display.image_shape)]
        if len(valid):
            rows.append(as_images(display.exemplars[query][valid], display.image_shape))
        (asked, *found), limits = brightness(np.concatenate(rows))
        pictures = dict(zip(valid.tolist(), found, strict=True))
        panels = axes[query * n_lines : (query + 1) * n_lines]
        _draw(panels[0, 0], asked, limits)
        caption_query(display, panels[0, 0], query)
        for line, (method, ranks) in enumerate(of_query.items()):
            for panel, rank in zip(panels[line, 1:], ranks.tolist(), strict=False):
                if rank in pictures:
                    _draw(panel, pictures[rank], limits)
                    caption_exemplar(display, panel, query, rank)
            if method and len(ranks):
                panels[line, 1].set_ylabel(shorten(method, 18), fontsize=9, parse_math=False)
    return axes


def _draw(panel, image, limits):
    """Draw an image on a panel without ticks."""
    panel.set_axis_on()
    panel.imshow(image, cmap="gray", interpolation="nearest", **limits)
    panel.set(xticks=[], yticks=[])


def caption_query(display, panel, query):
    """Write the labels of a query above its image, and the note of the query below."""
    words, color = display.query_caption(query)
    below = ""
    if display.query_notes is not None:
        below = display.query_notes[query]
    _caption(panel, words, below, color, display.target_color(query), width=2.5)


def caption_exemplar(display, panel, query, rank):
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
