"""How texts and tables of an explanation are drawn: a line for the query, one for each exemplar."""

from textwrap import wrap

import numpy as np

from ._colors import TINTS
from ._rows import (
    as_table,
    cell_text,
    differing_features,
    feature_differences,
    one_line,
    shorten,
    text_of,
)
from ._shared_features import mark_words, together, totals

MAX_FEATURES = 12
_TEXT_WIDTH = 95  # characters on a line
_TEXT_LINES = 4
_LINE = 0.145  # inches of a line of text
_LEFT = 0.008  # where a text begins, as a share of the width


def _label_lines(display, panel, query, places):
    """Name the lines of a panel at its left, and write the note of the query below."""
    captions = [display.query_caption(query)]
    n_valid = int((~np.isnan(display.scores[query])).sum())
    captions += [display.exemplar_caption(query, rank) for rank in range(n_valid)]
    ticks = ["   ".join(words) for words, _ in captions]
    panel.set_yticks(places[: len(ticks)], ticks, fontsize=8, parse_math=False)
    for label, (_, color) in zip(panel.get_yticklabels(), captions, strict=True):
        label.set_color(color)
    panel.get_yticklabels()[0].set_fontweight("bold")
    panel.tick_params(length=0)
    _mark_targets(display, panel, query, places[: len(ticks)])
    panel.set_xticks([])
    if display.query_notes is not None:
        note = display.query_notes[query]
        panel.set_xlabel(note, fontsize=8, color="0.45", loc="left", parse_math=False)


def _mark_targets(display, panel, query, places):
    """Draw a square in the colour of the target, where it is a number, before each line."""
    ranks = [None, *range(len(places) - 1)]  # the first line is the query
    for rank, place in zip(ranks, places, strict=True):
        color = display.target_color(query, rank)
        if color is None:
            continue
        panel.plot(
            -0.011,
            place,
            "s",
            color=color,
            markeredgecolor="0.4",
            markeredgewidth=0.5,
            markersize=7,
            transform=panel.get_yaxis_transform(),
            clip_on=False,
        )
        panel.tick_params(axis="y", pad=14)


def _below(display):
    """Compute the inches that a panel needs beside its lines."""
    return 0.25 + 0.2 * (display.query_notes is not None)


# Texts


def _wrapped(display, query):
    """Return the texts of the query and of its exemplars, each as a list of lines."""
    is_exemplar = ~np.isnan(display.scores[query])
    rows = [display.queries[query]] + list(display.exemplars[query][is_exemplar])
    texts = [one_line(text_of(row)) for row in rows]
    return [
        wrap(text, _TEXT_WIDTH, max_lines=_TEXT_LINES, placeholder=" …") or [""] for text in texts
    ]


def _height(lines):
    """Compute the height of a text, in inches."""
    return _LINE * len(lines) + 0.11


def text_size(display):
    """Compute width and height of a figure of texts, in inches."""
    n_queries = len(display.queries)
    texts = [_height(lines) for query in range(n_queries) for lines in _wrapped(display, query)]
    return 10.0, sum(texts) + n_queries * _below(display) + 0.4


def draw_texts(display, canvas):
    """Draw a panel for each query, and return the panels."""
    texts = [_wrapped(display, query) for query in range(len(display.queries))]
    heights = [sum(map(_height, lines)) for lines in texts]
    grid = {"height_ratios": heights}
    axes = canvas.subplots(len(texts), 1, squeeze=False, gridspec_kw=grid)[:, 0]
    for query, panel in enumerate(axes):
        ends = np.cumsum([0, *map(_height, texts[query])])
        places = (ends[1:] + ends[:-1]) / 2
        panel.set(xlim=(0, 1), ylim=(ends[-1], 0))
        for line, (place, text) in enumerate(zip(places, texts[query], strict=True)):
            _write_lines(panel, place, text, _shared_by(display, query, line))
        for number, end in enumerate(ends[1:-1]):
            style = {"color": "0.8", "linewidth": 0.5}
            if number == 0:  # below the query
                style = {"color": "k", "linewidth": 1.5}
            panel.axhline(end, **style)
        _label_lines(display, panel, query, places)
    if display.shared is not None:
        note = "orange words raise the score or the inner product behind it, violet ones lower it"
        canvas.supxlabel(note, fontsize=8)
    return axes


def _shared_by(display, query, line):
    """Return the parts that a line shares: those of its exemplar, or of all for the query."""
    if display.shared is None:
        return []
    if line == 0:
        return together(display.shared[query])
    return display.shared[query][line - 1]


def _write_lines(panel, place, lines, parts):
    """Write a text around a height, with a background behind the words that have parts."""
    from matplotlib.offsetbox import AnnotationBbox, HPacker

    style = {"fontsize": 8, "parse_math": False}
    if not parts:
        text = panel.text(_LEFT, place, "\n".join(lines), va="center", clip_on=True, **style)
        text.set_in_layout(False)
        return
    for number, line in enumerate(lines):
        height = place + _LINE * (number - (len(lines) - 1) / 2)
        runs = [_run(run, style) for run in mark_words(line, parts)]
        # Packed, each run is measured once. An annotation at the end of another would measure
        # all before it, several times each.
        packed = HPacker(children=runs, pad=0, sep=0, align="baseline")
        written = AnnotationBbox(
            packed, (_LEFT, height), box_alignment=(0, 0.5), frameon=False, pad=0
        )
        written.set_in_layout(False)
        panel.add_artist(written)


def _run(run, style):
    """Make the text of a run of words, with a background if they are marked."""
    from matplotlib.offsetbox import TextArea

    if run.mark:
        tint = {"facecolor": TINTS[run.mark], "linewidth": 0, "pad": 0.6}
        style = {**style, "bbox": tint}
    return TextArea(run.text, textprops=style)


# Tables: a column for each feature.


def table_size(display):
    """Compute width and height of a figure of tables, in inches."""
    n_queries, k = display.scores.shape
    n_features = min(MAX_FEATURES, display.queries[0].size)
    return 0.62 * n_features + 4.2, n_queries * (0.27 * (k + 1) + _below(display)) + 1.9


def draw_tables(display, canvas):
    """Draw a panel for each query, and return the panels."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    n_queries, k = display.scores.shape
    queries = as_table(display.queries)  # (n_queries, n_features)
    exemplars = as_table(display.exemplars, n_leading=2)  # (n_queries, k, n_features)
    valid = ~np.isnan(display.scores)  # (n_queries, k)
    differences = feature_differences(queries, exemplars, display.feature_scale)
    n_features = queries.shape[1]
    names = display.feature_names or [f"x{column}" for column in range(n_features)]
    shared = None
    if display.shared is not None:
        shared = totals((pair for pairs in display.shared for pair in pairs), names)
    columns = differing_features(differences, valid, MAX_FEATURES, shared)
    names = [one_line(names[column]) for column in columns]

    colors = ScalarMappable(Normalize(-3, 3), colormaps["PuOr_r"].with_extremes(bad="0.8"))
    axes = canvas.subplots(n_queries, 1, squeeze=False)[:, 0]
    for query, panel in enumerate(axes):
        shown = np.ma.masked_invalid(differences[query][:, columns])  # (k, n_columns)
        cells = np.ones((k + 1, len(columns), 4))  # the query's and padding's cells are white
        cells[1:][valid[query]] = colors.to_rgba(shown)[valid[query]]
        panel.imshow(cells, aspect="auto", interpolation="nearest")
        panel.axhline(0.5, color="k", linewidth=1.5)
        _label_lines(display, panel, query, np.arange(k + 1))
        for place in _last_of_methods(display, query):
            panel.axhline(place + 1.5, color="k", linewidth=0.8)
        for column, value in enumerate(queries[query, columns]):
            _write_cell(panel, column, 0, value)
        for rank in np.flatnonzero(valid[query]):
            bold = {one_line(name) for name, _ in _shared_by(display, query, rank + 1)}
            is_dark = np.abs(shown.filled(0)[rank]) > 2
            for column, value in enumerate(exemplars[query, rank, columns]):
                style = {}
                if is_dark[column]:
                    style["color"] = "w"
                if names[column] in bold:
                    style["weight"] = "bold"
                _write_cell(panel, column, rank + 1, value, **style)
    _label_columns(axes[0], names)
    bar = canvas.colorbar(colors, ax=list(axes), location="bottom", fraction=0.05, aspect=40)
    bar.set_label(_legend(len(columns), n_features, display.shared is not None), fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return axes


def _last_of_methods(display, query):
    """Return the places of exemplars that another method's exemplars follow."""
    if display.methods is None:
        return []
    names = [name for name in display.methods[query] if name]
    return [place for place in range(len(names) - 1) if names[place] != names[place + 1]]


def _label_columns(top, names):
    """Write the names of features above the first panel."""
    top.xaxis.tick_top()
    top.set_xticks(
        range(len(names)),
        [shorten(name, 20) for name in names],
        fontsize=8,
        rotation=35,
        ha="left",
        rotation_mode="anchor",
        parse_math=False,
    )


def _legend(n_shown, n_features, has_shared):
    """Explain the colours of cells, the choice of columns and the bold values."""
    note = "difference from the query, in standard deviations of the training rows"
    if n_shown < n_features:
        which = "that differ most"
        if has_shared:
            which = "of the largest parts, or that differ most"
        note += f"\nthe {n_shown} of {n_features} features {which}"
    if has_shared:
        note += "\nbold: one of the largest parts of the score or the inner product behind it"
    return note


def _write_cell(panel, column, line, value, **style):
    """Write a value in a cell of a table."""
    text = cell_text(value)
    size = 8
    if text.endswith("…"):  # two lines of small letters hold more
        text = "\n".join(wrap(one_line(value), 12, max_lines=2, placeholder="…"))
        size = 6
    style = {"color": "k", "fontsize": size} | style
    panel.text(column, line, text, ha="center", va="center", parse_math=False, **style)
