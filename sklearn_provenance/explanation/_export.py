"""An explanation as a folder that programs for looking at data open: a CSV file, and images."""

import csv
import io
import pathlib
import re

import numpy as np

from .._utils.files import write
from ._embedding import places
from ._pictures import png
from ._rows import format_number
from ._targets import are_numbers, target_word
from ._views import RowViews, label_namer
from ._words import Texts

IMAGES = "data"
TABLE = "labels.csv"
_IMAGE_NAME = re.compile(r"(query|row)_\d+\.png")


def check_folder(path):
    """Refuse a folder that cannot be written, or holds something else.

    Parameters
    ----------
    path : str or path-like
        Folder to make, or one that an earlier export made.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    FileNotFoundError
        If the folder around it does not exist.
    FileExistsError
        If it is a file, or a folder without an export.
    """
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"path must be in a folder that exists, got {path}; make the folder {path.parent}, or "
            "give another path"
        )
    is_export = path.is_dir() and (path / TABLE).is_file()
    is_empty = path.is_dir() and not any(path.iterdir())
    if path.exists() and not (is_export or is_empty):
        raise FileExistsError(
            f"path must be a new folder, an empty one or an earlier export, got {path}"
        )
    return path


def export(explanation, path, *, label_names, embedding):
    """Write an explanation as a folder; see :meth:`Explanation.export`.

    Parameters
    ----------
    explanation : Explanation
        What is written.
    path : pathlib.Path
        As :func:`check_folder` returns it.
    label_names : mapping, sequence or None
        Names of labels.
    embedding : str, pair of ndarray or None
        As :func:`.check_embedding` returns it.
    """
    lines = _lines(explanation, label_names, embedding)
    path.mkdir(exist_ok=True)
    former = _images_named(path / TABLE)
    images = _images(explanation)
    if images:
        (path / IMAGES).mkdir(exist_ok=True)
    for name, content in images.items():
        write(path / IMAGES / f"{name}.png", content)
        lines[name]["filepath"] = f"{name}.png"
    fields = list(dict.fromkeys(field for line in lines.values() for field in line))
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, fields, restval="")
    writer.writeheader()
    writer.writerows(lines.values())
    write(path / TABLE, table.getvalue().encode())
    # Programs that look at the folder would show images of the earlier export, too.
    for name in former - {f"{name}.png" for name in images}:
        (path / IMAGES / name).unlink(missing_ok=True)


def _images_named(table):
    """Return the names of the image files that the table of an earlier export lists."""
    if not table.is_file():
        return set()
    with open(table, newline="", encoding="utf-8", errors="replace") as file:
        names = {line.get("filepath") or "" for line in csv.DictReader(file)}
    return {name for name in names if _IMAGE_NAME.fullmatch(name)}


def _lines(explanation, label_names, embedding):
    """Return what is written of each query and exemplar, by its name."""
    name_of = str if are_numbers(explanation) else label_namer(label_names)
    exemplars = np.unique(explanation.indices[explanation.indices >= 0]).tolist()
    lines = {}
    for query in range(explanation.n_queries):
        line = {"name": f"query_{query}", "kind": "query", "number": query}
        if explanation.query_id is not None:
            line["own_id"] = explanation.query_id[query]
        lines[line["name"]] = line | _of_query(explanation, query, name_of)
    serves = {row: [] for row in exemplars}
    first = {}
    for query, rank in np.argwhere(explanation.indices >= 0).tolist():
        row = int(explanation.indices[query, rank])
        serves[row].append(f"query_{query}")
        first.setdefault(row, (query, rank))
    for row in exemplars:
        line = {"name": f"row_{row}", "kind": "exemplar", "number": row}
        if explanation.sample_id is not None:
            line["own_id"] = explanation.sample_id[first[row]]
        if explanation.exemplar_labels is not None:
            line[target_word(explanation)] = name_of(explanation.exemplar_labels[first[row]])
        line["n_queries"] = len(serves[row])
        line["queries"] = " ".join(serves[row])
        lines[line["name"]] = line
    _add_texts(lines, explanation, first)
    _add_places(lines, explanation, embedding, exemplars)
    return lines


def _of_query(explanation, query, name_of):
    """Return what is known of a query and of its exemplars."""
    word = target_word(explanation)
    line = {}
    if explanation.query_labels is not None:
        line[word] = name_of(explanation.query_labels[query])
    if explanation.true_labels is not None:
        line[f"true_{word}"] = name_of(explanation.true_labels[query])
        if explanation.query_labels is not None and not are_numbers(explanation):
            is_wrong = explanation.true_labels[query] != explanation.query_labels[query]
            line["is_wrong"] = str(bool(is_wrong)).lower()
    rows = explanation.indices[query]
    valid = rows >= 0
    line["exemplars"] = " ".join(f"row_{row}" for row in rows[valid])
    line["scores"] = " ".join(format_number(score) for score in explanation.scores[query, valid])
    return line


def _add_texts(lines, explanation, first):
    """Add the texts of queries and exemplars, where rows are texts."""
    texts = Texts(explanation)
    for query, text in enumerate(texts.queries or []):
        lines[f"query_{query}"]["text"] = text
    if texts.exemplars is not None:
        for row, (query, rank) in first.items():
            lines[f"row_{row}"]["text"] = texts.exemplars[query][rank]


def _add_places(lines, explanation, embedding, exemplars):
    """Add the places of the map, as lists of two numbers."""
    placed = places(explanation, embedding)
    if placed is None:
        return
    of_rows = dict(zip(placed.rows.tolist(), placed.training.tolist(), strict=True))
    points = {f"query_{query}": point for query, point in enumerate(placed.queries.tolist())}
    points |= {f"row_{row}": of_rows[row] for row in exemplars}
    for name, (x, y) in points.items():
        lines[name]["embedding"] = f"[{x:.6g}, {y:.6g}]"


def _images(explanation):
    """Return the images of queries and exemplars as PNG files, by name; none of other rows."""
    views = RowViews(explanation, 1)
    if views.kind != "images":
        return {}
    found = {}
    if explanation.queries is not None:
        for query in range(explanation.n_queries):
            found[f"query_{query}"] = png(views.image(explanation.queries, query))
    if explanation.training_data is not None:
        for row in np.unique(explanation.indices[explanation.indices >= 0]).tolist():
            found[f"row_{row}"] = png(views.image(explanation.training_data, row))
    return found
