"""A comparison of methods in a notebook."""

from ._colors import TINTS
from ._rows import format_number
from ._templates import render
from ._text import exemplar_text, query_label, query_name

_QUERIES = 8
_EXEMPLARS = 5


def summary_table(comparison):
    """Write the first queries as a small table for notebooks, with a column for each method."""
    joined = comparison.joined
    n_queries = min(comparison.n_queries, _QUERIES)
    lines = []
    for query in range(n_queries):
        cells = []
        for explanation in comparison.explanations.values():
            n_exemplars = int((explanation.indices[query, :_EXEMPLARS] >= 0).sum())
            texts = [exemplar_text(explanation, query, rank, "≠") for rank in range(n_exemplars)]
            cells.append(
                {
                    "words": "; ".join(texts) or "none",
                    "shared": "",
                    "runs": [],
                    "image": "",
                    "alt": "",
                }
            )
        others = comparison.overlaps[:, :, query]
        pairs = [others[one, other] for one in range(len(others)) for other in range(one)]
        mean = sum(pairs) / len(pairs)
        cells.append(
            {"words": format_number(mean), "shared": "", "runs": [], "image": "", "alt": ""}
        )
        head = query_name(joined, query) + query_label(joined, query, ": ", "≠")
        lines.append({"head": head, "runs": [], "image": "", "alt": "", "cells": cells})
    hidden = ""
    if n_queries < comparison.n_queries:
        hidden = f"{n_queries} of {comparison.n_queries} queries"
    return render(
        "notebook.html",
        header=repr(comparison).partition("\n")[0],
        heads=["query", *comparison.methods, "in common"],
        lines=lines,
        hidden=hidden,
        tints=TINTS,
    )
