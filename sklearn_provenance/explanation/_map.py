"""The map of a page: queries and training rows as points in the plane."""

from collections import Counter

import numpy as np

from ._cards import N_SHADES, label_mismatches, shades
from ._embedding import places
from ._targets import are_numbers
from ._templates import render

N_COLORS = 10  # colours of labels in the style sheet
_WIDTH = 1000  # units of the drawing
_MARGIN = 30
_HEIGHTS = (300, 700)


def map_section(explanation, embedding, label_name, named="exemplars"):
    """Write the map of an explanation.

    Parameters
    ----------
    explanation : Explanation
        Queries and their exemplars.
    embedding : str, pair of ndarray or None
        As :func:`._embedding.check_embedding` returns it.
    label_name : callable
        Function that writes a label.
    named : str, default="exemplars"
        What the rows are that queries name.

    Returns
    -------
    Markup or ""
        Empty where rows cannot be placed.
    """
    placed = places(explanation, embedding)
    if placed is None:
        return ""
    points, height = _to_units(np.concatenate([placed.queries, placed.training]))
    of_queries = points[: explanation.n_queries]
    of_rows = dict(zip(placed.rows.tolist(), points[explanation.n_queries :], strict=True))
    labels = _exemplar_labels(explanation)
    colors, legend = _colors(explanation, labels, label_name)
    exemplars = np.unique(explanation.indices[explanation.indices >= 0]).tolist()
    others = [row for row in of_rows if row not in set(exemplars)]
    _, wrong = label_mismatches(explanation, explanation.true_labels)
    query_colors = [""] * explanation.n_queries
    if explanation.query_labels is not None:
        query_colors = [colors(label) for label in explanation.query_labels]
    return render(
        "map.html",
        width=_WIDTH,
        height=height,
        name=placed.name,
        named=named,
        others=_dots([of_rows[row] for row in others]),
        rows=_paths(exemplars, of_rows, [colors(labels.get(row)) for row in exemplars]),
        queries=_paths(range(len(of_queries)), of_queries, query_colors),
        wrong=_dots(of_queries[wrong]),
        n_wrong=int(wrong.sum()),
        legend=legend,
    )


def _to_units(points):
    """Scale points to whole units of a drawing, both axes alike, and return its height, too."""
    points = points - points.min(axis=0)
    points[:, 1] = points[:, 1].max() - points[:, 1]  # upwards, as axes of figures do
    spread = points.max(axis=0)
    room = np.array([_WIDTH, _HEIGHTS[1]]) - 2 * _MARGIN
    scale = 0.0  # all at one place
    if (spread > 1e-9).any():
        scale = (room / np.maximum(spread, 1e-9)).min()
    height = int(np.clip(spread[1] * scale + 2 * _MARGIN, *_HEIGHTS))
    middle = (np.array([_WIDTH, height]) - spread * scale) / 2
    return np.round(points * scale + middle).astype(int), height


def _exemplar_labels(explanation):
    """Return the label of each exemplar by its row, empty where labels are unknown."""
    if explanation.exemplar_labels is None:
        return {}
    valid = explanation.indices >= 0
    return dict(zip(explanation.indices[valid].tolist(), explanation.exemplar_labels[valid],
                    strict=True))  # fmt: skip


def _colors(explanation, exemplar_labels, label_name):
    """Return the function from a label to the class of its colour, and the lines of the legend."""
    if are_numbers(explanation):
        shade = shades(explanation)

        def shade_of(target):
            if target is None or shade(target) is None:
                return ""
            return f"shade{shade(target)}"

        ends = {"low": "shade0", "high": f"shade{N_SHADES - 1}"}
        return shade_of, [{"color": color, "text": f"{end} targets"} for end, color in ends.items()]
    written = [label_name(label) for label in exemplar_labels.values()]
    if explanation.query_labels is not None:
        written += [label_name(label) for label in explanation.query_labels]
    frequent = sorted(name for name, _ in Counter(written).most_common(N_COLORS))
    classes = {name: f"color{number}" for number, name in enumerate(frequent)}
    legend = [{"color": color, "text": name} for name, color in classes.items()]
    if len(set(written)) > len(frequent):
        legend.append({"color": "", "text": "other labels"})

    def color_of(label):
        if label is None:
            return ""
        return classes.get(label_name(label), "")

    return color_of, legend


def _paths(numbers, points, colors):
    """Group points by colour: a path for each, with the numbers of its points in order."""
    groups = {}
    for number, color in zip(numbers, colors, strict=True):
        groups.setdefault(color, []).append(number)
    return [
        {
            "color": color,
            "numbers": " ".join(map(str, inside)),
            "dots": _dots([points[number] for number in inside]),
        }
        for color, inside in sorted(groups.items())
    ]


def _dots(points):
    """Write the path of points; the style sheet gives the line that it draws its width."""
    return "".join(f"M{x} {y}h0" for x, y in points)
