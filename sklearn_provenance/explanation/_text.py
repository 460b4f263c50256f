"""An explanation in a terminal and in a notebook."""

import textwrap

from ._rows import counted, format_number, one_line, quote, shorten
from ._shared_features import shared_text
from ._targets import are_numbers, subtract, write_number, write_signed
from ._words import Texts, shared_parts

_WIDTH = 100


def header(explanation):
    """Write what an explanation holds, and what stands in the brackets behind its rows."""
    line = "Explanation"
    if explanation.method:
        line += f" by {shorten(one_line(explanation.method), 40, '...')}"
    line += f": {counted(explanation.n_queries, 'query', 'queries')}"
    at_most = "up to " if (explanation.indices < 0).any() else ""  # some have fewer
    line += f", {at_most}{counted(explanation.k, 'exemplar')} each"
    line += f", {shorten(one_line(explanation.score_name), 45, '...')}"
    if not are_numbers(explanation) or explanation.exemplar_labels is None:
        return line
    if explanation.query_labels is None:
        return f"{line}; (target)"
    return f"{line}; (target, difference)"


def write_text(explanation, n_queries):
    """Write a line for each of the first queries, as many exemplars on it as there is room for."""
    lines = _wrap(header(explanation), 2)
    n_lines_of_reason = 3 - len(lines)
    n_shown = min(explanation.n_queries, n_queries)
    texts = Texts(explanation, n_shown, 1)
    for query in range(n_shown):
        lines.append(_query_line(explanation, query))
        lines += _lines_of_words(explanation, texts, query)
    if explanation.n_queries > n_shown:
        lines.append(f"... {explanation.n_queries - n_shown} more queries")
    if explanation.reason:
        lines += _wrap(f"chosen because {one_line(explanation.reason)}", n_lines_of_reason)
    return "\n".join(lines)


def _wrap(text, n_lines):
    """Break a text into so many lines at most, and leave out what does not fit."""
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ", max_lines=n_lines, placeholder="...")


def _query_line(explanation, query):
    """Write a query and as many of its exemplars as there is room for."""
    tied = _ties(explanation, query)
    name = f"query {query_name(explanation, query)}"
    line = f"{name}{query_label(explanation, query)}:  "
    nothing = explanation._NOTHING
    if len(line) + len(nothing) + len(tied) > _WIDTH:  # no room for what the label should be
        line = f"{name}{query_label(explanation, query, with_truth=False)}:  "
    n_exemplars = int((explanation.indices[query] >= 0).sum())  # padding stands at the end
    if n_exemplars == 0:
        return shorten(f"{line}{nothing}{tied}", _WIDTH, "...")
    room = _WIDTH - len(tied)
    for rank in range(n_exemplars):
        text = exemplar_text(explanation, query, rank)
        if rank > 0:
            text = f" | {text}"
        after = 0
        if rank < n_exemplars - 1:
            after = len(" | ...")
        if len(line) + len(text) + after > room:
            line += " | ..."
            break
        line += text
    return line + tied


def _ties(explanation, query):
    """Write how many rows that were left out have the score of the last exemplar, or of all."""
    if explanation.n_tied is None or not explanation.n_tied[query]:
        return ""
    n_tied = explanation.n_tied[query]
    scores = explanation.scores[query][explanation.indices[query] >= 0]
    if len(scores) > 1 and (scores == scores[0]).all():
        return f", all tied, with {n_tied} more"
    return f" and {n_tied} tied with the last"


def _lines_of_words(explanation, texts, query):
    """Write the text of a query and of its first exemplar, and what they share, as far as known."""
    known = {}
    if texts.queries is not None:
        known["text"] = texts.queries[query]
    if texts.exemplars is not None:
        known["first"] = texts.exemplars[query][0]
    known["shared"] = shared_text(shared_parts(explanation, query, 0))
    lines = [f"  {name:<7} {one_line(text)}" for name, text in known.items() if text]
    return [shorten(line, _WIDTH, "...") for line in lines]


def query_name(explanation, query):
    """Write the number of a query, or the user's own name of it."""
    if explanation.query_id is None:
        return str(query)
    return quote(explanation.query_id[query])


def query_label(explanation, query, arrow=" -> ", unlike="!=", with_truth=True):
    """Write the label of a query, and what it should be where that differs; "" if unknown.

    Parameters
    ----------
    explanation : Explanation
        Explanation that has the query.
    query : int
        Position of the query.
    arrow : str, default=" -> "
        Text before the label.
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
    if labels is None:
        return ""
    true_labels = None
    if with_truth:
        true_labels = explanation.true_labels
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
    label = _exemplar_label(explanation, query, rank, unlike)
    if label:
        text += f" ({label})"
    return f"{text} {format_number(explanation.scores[query, rank])}"


def _exemplar_label(explanation, query, rank, unlike):
    """Write the label of an exemplar, "" where it is unknown or the query's, or its target."""
    if explanation.exemplar_labels is None:
        return ""
    label = explanation.exemplar_labels[query, rank]
    labels = explanation.query_labels
    if are_numbers(explanation):
        if labels is None:
            return write_number(label)
        return f"{write_number(label)}, {write_signed(subtract(label, labels[query]))}"
    if labels is None:
        return quote(label)
    if label != labels[query]:
        return f"{unlike} {quote(label)}"
    return ""
