"""An explanation in a terminal and in a notebook."""

import numpy as np

from ._rows import clip, format_number, plain, quote
from ._targets import are_numbers, subtract, write_number, write_signed
from ._templates import render

_WIDTH = 100


def header(explanation):
    """Write what an explanation holds on one line."""
    by = f" by {clip(plain(explanation.method), 40, '...')}" if explanation.method else ""
    n_queries, k = explanation.indices.shape
    line = (
        f"Explanation{by}: {n_queries} quer{'y' if n_queries == 1 else 'ies'}, "
        f"{k} exemplar{'s' * (k != 1)} each, {clip(plain(explanation.score_name), 30, '...')}"
    )[:_WIDTH]
    if not are_numbers(explanation) or explanation.exemplar_labels is None:
        return line
    bracket = "(target)" if explanation.query_labels is None else "(target, difference)"
    longer = f"{line}; {bracket}"
    return longer if len(longer) <= _WIDTH else line


def write_text(explanation, n_queries):
    """Write a line for each of the first queries, as many exemplars on it as there is room for."""
    lines = [header(explanation)]
    n_shown = min(explanation.n_queries, n_queries)
    lines += [_query_line(explanation, query) for query in range(n_shown)]
    if explanation.n_queries > n_shown:
        lines.append(f"... {explanation.n_queries - n_shown} more queries")
    if explanation.reason:
        lines.append(clip(f"chosen because {plain(explanation.reason)}", _WIDTH, "..."))
    return "\n".join(lines)


def _query_line(explanation, query):
    n_tied = 0 if explanation.n_tied is None else explanation.n_tied[query]
    tied = f" and {n_tied} tied with the last" if n_tied else ""
    name = f"query {query_name(explanation, query)}"
    line = f"{name}{query_label(explanation, query)}:  "
    if len(line) + len("no exemplars") + len(tied) > _WIDTH:  # no room for what the label should be
        line = f"{name}{query_label(explanation, query, with_truth=False)}:  "
    valid = np.flatnonzero(explanation.indices[query] >= 0)
    if not valid.size:
        return clip(f"{line}no exemplars{tied}", _WIDTH, "...")
    for rank in valid:
        cell = " | " * bool(rank) + exemplar_text(explanation, query, rank)
        room = _WIDTH - len(tied) - len(" | ..." if rank < valid[-1] else "")
        if len(line) + len(cell) > room:
            line += " | ..."
            break
        line += cell
    return line + tied


def query_name(explanation, query):
    """Write the number of a query, or the user's own name of it."""
    names = explanation.query_id
    return str(query) if names is None else quote(names[query])


def query_label(explanation, query, arrow=" -> ", unlike="!=", with_truth=True):
    """Write the label of a query, and what it should be where that differs; "" if unknown.

    Parameters
    ----------
    explanation : Explanation
        What is written.
    query : int
        Position of the query.
    arrow : str, default=" -> "
        What stands before the label.
    unlike : str, default="!="
        Sign of inequality.
    with_truth : bool, default=True
        Whether to write what the label should be.

    Returns
    -------
    str
        Numbers come with their residual.
    """
    labels = explanation.query_labels
    true_labels = explanation.true_labels if with_truth else None
    if labels is None:
        return ""
    if are_numbers(explanation):
        line = f"{arrow}{write_number(labels[query])}"
        if true_labels is None:
            return line
        residual = write_signed(subtract(true_labels[query], labels[query]))
        return f"{line} (true {write_number(true_labels[query])}, {residual})"
    line = f"{arrow}{quote(labels[query])}"
    if true_labels is not None and labels[query] != true_labels[query]:
        line += f" ({unlike} true {quote(true_labels[query])})"
    return line


def exemplar_text(explanation, query, rank, unlike="!="):
    """Write row or id of an exemplar, its label where it differs or its target, its score."""
    text = f"row {explanation.indices[query, rank]}"
    if explanation.sample_id is not None:
        text = f"id {quote(explanation.sample_id[query, rank])}"
    if explanation.exemplar_labels is not None and are_numbers(explanation):
        target = explanation.exemplar_labels[query, rank]
        text += f" ({write_number(target)}"
        if explanation.query_labels is not None:
            text += f", {write_signed(subtract(target, explanation.query_labels[query]))}"
        text += ")"
    elif explanation.exemplar_labels is not None:
        label, labels = explanation.exemplar_labels[query, rank], explanation.query_labels
        if labels is None:
            text += f" ({quote(label)})"
        elif label != labels[query]:
            text += f" ({unlike} {quote(label)})"
    return f"{text} {format_number(explanation.scores[query, rank])}"


def summary_table(explanation, n_queries, k):
    """Write the first queries as a small table for notebooks."""
    n_queries, k = min(explanation.n_queries, n_queries), min(explanation.k, k)
    tied = explanation.n_tied
    tied = tied if tied is not None and tied.any() else None
    heads = ["query", *(f"exemplar {rank + 1}" for rank in range(k))]
    heads += [] if tied is None else ["tied with the last"]
    lines = []
    for query in range(n_queries):
        head = query_name(explanation, query) + query_label(explanation, query, ": ", "≠")
        blank = explanation.indices[query, :k] < 0
        texts = [
            "" if blank[rank] else exemplar_text(explanation, query, rank, "≠") for rank in range(k)
        ]
        texts += [] if tied is None else [tied[query]]
        lines.append({"head": head, "texts": texts})
    hidden = ""
    if (n_queries, k) != explanation.indices.shape:
        hidden = f"{n_queries} of {explanation.n_queries} queries, "
        hidden += f"{k} of {explanation.k} exemplars"
    return render(
        "notebook.html", header=header(explanation), heads=heads, lines=lines, hidden=hidden
    )
