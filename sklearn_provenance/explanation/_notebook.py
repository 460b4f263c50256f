"""An explanation in a notebook: a table of its first queries and exemplars, with what they hold."""

import base64

import numpy as np

from ._colors import TINTS
from ._pictures import png
from ._rows import gather, one_line, shorten
from ._shared_features import mark_words, shared_text, together
from ._templates import render
from ._text import exemplar_text, header, query_label, query_name
from ._views import RowViews, name_text
from ._words import Texts, shared_parts

_LETTERS = 240  # of a text
_SIDE = 64  # pixels of an image
_FEATURES = 3  # of a row of a table


def summary_table(explanation, n_queries, k):
    """Write the first queries as a small table for notebooks."""
    n_queries = min(explanation.n_queries, n_queries)
    k = min(explanation.k, k)
    shows_ties = explanation.n_tied is not None and explanation.n_tied.any()
    heads = ["query"] + [f"exemplar {rank + 1}" for rank in range(k)]
    if shows_ties:
        heads.append("tied with the last")
    contents = _Contents(explanation, n_queries, k)
    lines = []
    for query in range(n_queries):
        shared = [shared_parts(explanation, query, rank) for rank in range(k)]
        cells = []
        for rank in range(k):
            cell = {"words": "", "shared": shared_text(shared[rank])}
            if explanation.indices[query, rank] >= 0:
                cell["words"] = exemplar_text(explanation, query, rank, "≠")
            cells.append(cell | contents.of_exemplar(query, rank, shared[rank]))
        if shows_ties:
            cells.append({"words": explanation.n_tied[query], "shared": ""} | contents.nothing)
        head = query_name(explanation, query) + query_label(explanation, query, ": ", "≠")
        of_query = contents.of_query(query, together(shared))
        lines.append({"head": head, "cells": cells} | of_query)
    hidden = ""
    if (n_queries, k) != explanation.indices.shape:
        hidden = f"{n_queries} of {explanation.n_queries} queries, "
        hidden += f"{k} of {explanation.k} exemplars"
    return render(
        "notebook.html",
        header=header(explanation),
        heads=heads,
        lines=lines,
        hidden=hidden,
        tints=TINTS,
    )


class _Contents:
    """What the first queries and exemplars hold: small images, beginnings of texts, some values.

    Parameters
    ----------
    explanation : Explanation
        What is shown.
    n_queries, k : int
        Queries, and exemplars of each.
    """

    nothing = {"runs": [], "image": "", "alt": ""}

    def __init__(self, explanation, n_queries, k):
        self.explanation = explanation
        self.part = explanation[:n_queries]
        self.texts = Texts(explanation, n_queries, k)
        self.views = None
        if n_queries and self.texts.queries is None and self.texts.exemplars is None:
            self.views = RowViews(self.part, _FEATURES)

    def of_query(self, query, shared):
        """Return what a query holds; `shared` are the parts of words that are marked."""
        if self.texts.queries is not None:
            return self.nothing | {"runs": _runs(self.texts.queries[query], shared)}
        if self.views is None or self.explanation.queries is None:
            return self.nothing
        return self._shown(self.explanation.queries, query, "query")

    def of_exemplar(self, query, rank, shared):
        """Return what an exemplar holds; nothing at padding."""
        if self.texts.exemplars is not None:
            return self.nothing | {"runs": _runs(self.texts.exemplars[query][rank], shared)}
        row = int(self.explanation.indices[query, rank])
        if self.views is None or self.explanation.training_data is None or row < 0:
            return self.nothing
        return self._shown(self.explanation.training_data, row, f"training row {row}")

    def _shown(self, data, number, alt):
        """Return a row as a small image, or as the values of some features."""
        if self.views.kind == "images":
            image = png(self.views.image(data, number, _SIDE))
            return self.nothing | {"image": base64.b64encode(image).decode(), "alt": alt}
        if self.views.kind != "table":
            return self.nothing
        row = gather(data, np.array([number]))[0]
        values = [
            f"{name} {cell.text}"
            for name, cell in zip(self.views.features, self.views.show(row, alt), strict=True)
        ]
        return self.nothing | {"runs": _runs(name_text(", ".join(values)), ())}


def _runs(text, parts):
    """Cut the beginning of a text where words have parts."""
    return mark_words(shorten(one_line(text), _LETTERS), parts)
