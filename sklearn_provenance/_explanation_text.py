"""An explanation in a terminal."""

import numpy as np

from ._explanation_rows import clip, format_number, plain, quote

_WIDTH = 100


def header(explanation):
    """Write what an explanation holds on one line."""
    by = f" by {clip(plain(explanation.method), 40, '...')}" if explanation.method else ""
    n_queries, k = explanation.indices.shape
    return (
        f"Explanation{by}: {n_queries} quer{'y' if n_queries == 1 else 'ies'}, "
        f"{k} exemplar{'s' * (k != 1)} each, {clip(plain(explanation.score_name), 30, '...')}"
    )[:_WIDTH]


def write_text(explanation, n_queries):
    """Write a line for each of the first queries, as many exemplars on it as there is room for."""
    lines = [header(explanation)]
    n_shown = min(explanation.n_queries, n_queries)
    lines += [_query_line(explanation, query) for query in range(n_shown)]
    if explanation.n_queries > n_shown:
        lines.append(f"... {explanation.n_queries - n_shown} more queries")
    return "\n".join(lines)


def _query_line(explanation, query):
    labels = explanation.query_labels
    line = f"query {query}{'' if labels is None else f' -> {quote(labels[query])}'}:  "
    n_tied = 0 if explanation.n_tied is None else explanation.n_tied[query]
    tied = f" and {n_tied} tied with the last" if n_tied else ""
    valid = np.flatnonzero(explanation.indices[query] >= 0)
    if not valid.size:
        return f"{line}no exemplars{tied}"
    for rank in valid:
        cell = " | " * bool(rank) + exemplar_text(explanation, query, rank)
        room = _WIDTH - len(tied) - len(" | ..." if rank < valid[-1] else "")
        if len(line) + len(cell) > room:
            line += " | ..."
            break
        line += cell
    return line + tied


def exemplar_text(explanation, query, rank, unlike="!="):
    """Write row or id of an exemplar, its label where that differs from the query's, its score."""
    text = f"row {explanation.indices[query, rank]}"
    if explanation.sample_id is not None:
        text = f"id {quote(explanation.sample_id[query, rank])}"
    if explanation.exemplar_labels is not None:
        label, labels = explanation.exemplar_labels[query, rank], explanation.query_labels
        if labels is None:
            text += f" ({quote(label)})"
        elif label != labels[query]:
            text += f" ({unlike} {quote(label)})"
    return f"{text} {format_number(explanation.scores[query, rank])}"
