"""The part of a report that lists the training rows that most test rows name."""

import numpy as np

from ..explanation._targets import are_numbers, has, target_word
from ..explanation._templates import Markup, render
from ..explanation._views import name_text
from ._report_summary import percent

_MAX_LINKS = 12


def often_section(views, explanation, shown, n_rows, label_name, by_construction):
    """Write a table of the training rows that most test rows name.

    Parameters
    ----------
    views : RowViews
        How rows are shown.
    explanation : Explanation
        Explanation of all test rows.
    shown : ndarray of int
        Test rows on the page, in their order.
    n_rows : int
        Number of training rows to list.
    label_name : callable
        Function that writes a label.
    by_construction : bool
        Whether only rows of the predicted label may be named.

    Returns
    -------
    Markup
        Content of the section.
    """
    named = explanation.indices[explanation.indices >= 0]
    if not named.size:
        return Markup("<p>No training row is named.</p>")
    compared = labels_may_differ(explanation, by_construction)
    rows, counts = np.unique(named, return_counts=True)
    rows = rows[np.argsort(-counts, kind="stable")[:n_rows]]
    place = {row: number for number, row in enumerate(shown)}
    heads = ["row"]
    if explanation.sample_id is not None:
        heads.append("id")
    if explanation.exemplar_labels is not None:
        heads.append(target_word(explanation))
    heads.append("named by")
    if compared:
        heads.append("of them with another label")
    heads.append("such as")
    return render(
        "report_often.html",
        __package__,
        heads=heads + views.training_heads(),
        lines=[_line(views, explanation, row, place, label_name, compared) for row in rows],
        kind=views.kind,
    )


def labels_may_differ(explanation, by_construction):
    """Return whether labels of exemplars are known, and may differ from the query's."""
    if by_construction or are_numbers(explanation):
        return False
    return has(explanation, "query_labels", "exemplar_labels")


def _line(views, explanation, row, place, label_name, compared):
    """Write a training row, and which test rows name it."""
    names_it = explanation.indices == row  # (n_queries, k)
    queries = np.flatnonzero(names_it.any(axis=1))
    first = tuple(np.argwhere(names_it)[0])
    names = []
    if explanation.sample_id is not None:
        names.append(name_text(explanation.sample_id[first]))
    if explanation.exemplar_labels is not None:
        names.append(label_name(explanation.exemplar_labels[first]))
    n_queries = explanation.n_queries
    numbers = [percent(len(queries) / n_queries, n_queries)]
    if compared:
        differs = explanation.query_labels[queries] != explanation.exemplar_labels[first]
        numbers.append(int(differs.sum()))
    links = [{"row": query, "place": place[query]} for query in queries if query in place]
    return {
        "row": row,
        "names": names,
        "numbers": numbers,
        "links": links[:_MAX_LINKS],
        "more": len(links) > _MAX_LINKS,
        "shown": views.training_row(row),
    }
