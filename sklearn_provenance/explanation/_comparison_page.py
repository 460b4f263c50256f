"""The page of a comparison of methods."""

import numpy as np

from ._cards import compared_exemplars, label_mismatches, make_cards
from ._map import map_section
from ._page import page
from ._rows import counted, format_number
from ._sections import label_codes, target_namer
from ._targets import are_numbers
from ._templates import render
from ._views import RowViews, name_text


def comparison_page(comparison, joined, *, title, label_names, max_features, embedding):
    """Write a comparison as a page; see :meth:`Comparison.to_html`.

    Parameters
    ----------
    comparison : Comparison
        What is written.
    joined : Explanation
        All exemplars of each query.
    title : str
        Title of the page.
    label_names : mapping, sequence or None
        Names of labels.
    max_features : int
        Columns of a table.
    embedding : str, pair of ndarray or None
        As :func:`.check_embedding` returns it.

    Returns
    -------
    Page
        The page.
    """
    views = RowViews(joined, max_features)
    label_name = target_namer(joined, label_names)
    queries = _queries(comparison, joined, views, label_name, embedding)
    methods = ", ".join(name_text(name) for name in comparison.methods)
    lead = f"{counted(comparison.n_queries, 'query', 'queries')}, explained by {methods}."
    return page(
        title,
        [
            ("agreement", "Agreement of the methods", _agreement(comparison)),
            ("queries", "Queries and the exemplars of each method", queries),
        ],
        lead=lead,
        pictures=views.pictures,
    )


def _agreement(comparison):
    """Write the tables of how far methods agree."""
    names = [name_text(name) for name in comparison.methods]
    note = (
        f"Share of the first {counted(comparison.k, 'exemplar')} that two methods have in common, "
    )
    note += "on average over queries, and in brackets the share of queries whose best exemplar is "
    note += "the same row."
    if np.isfinite(comparison.chance):
        note += f" Rows named at random would share {format_number(comparison.chance)}."
    lines = []
    for one, name in enumerate(names):
        cells = []
        for other in range(len(names)):
            if one == other:
                cells.append("")
            else:
                share = comparison.overlap[one, other]
                same = comparison.same_best[one, other]
                cells.append(f"{share:.2f} ({same:.2f})")
        lines.append({"name": name, "cells": cells})
    return render("agreement.html", note=note, names=names, lines=lines)


def _queries(comparison, joined, views, label_name, embedding):
    """Write the queries, each with a list of exemplars for each method."""
    disagrees, wrong = label_mismatches(joined, joined.true_labels)
    query_id = joined.query_id
    if query_id is None:
        query_id = np.arange(joined.n_queries)
    codes, data = label_codes(joined, label_name)
    n_methods = len(comparison.methods)
    pairs = comparison.overlaps[np.triu_indices(n_methods, 1)]  # (n_pairs, n_queries)
    overlap = np.nan_to_num(pairs).mean(axis=0)
    orders = {"page": np.arange(joined.n_queries), "least": overlap, "most": -overlap}
    for key, values in orders.items():
        places = np.argsort(np.argsort(values, kind="stable"))
        for attributes, place in zip(data, places, strict=True):
            attributes[key] = place
    written = make_cards(
        views,
        joined,
        names=[f"Query {name_text(name)}" for name in query_id],
        label_word="value" if are_numbers(joined) else "label",
        label_name=label_name,
        others=joined.true_labels,
        other_word="target" if are_numbers(joined) else "true label",
        facts=[f"{format_number(share)} of exemplars in common" for share in overlap],
        data=data,
    )
    for query, card in enumerate(written):
        card.methods = compared_exemplars(views, comparison, query, label_name)
        card.exemplars = []
    show = {"all": "all queries"}
    if wrong.any():
        show["wrong"] = "with another true label"
    if disagrees.any():
        show["disagrees"] = "with an exemplar of another label"
    choices = []
    if len(show) > 1:
        choices.append({"name": "show", "heading": "Show", "options": show})
    if len(codes) > 1:
        label = {"all": "all labels"} | {code: name for name, code in codes.items()}
        choices.append({"name": "label", "heading": "Label", "options": label})
    order = {"page": "as on the page", "least": "least in common first",
             "most": "most in common first"}  # fmt: skip
    choices.append({"name": "sort", "heading": "Order", "options": order})
    notes = ["Each method names training rows, the best first, with its own score; scores of "
             "different methods cannot be compared. "]  # fmt: skip
    if views.kind == "texts":
        notes.append("Underlined words are in the query and in the exemplar. ")
    notes.append(views.note)
    return render(
        "queries.html",
        lead="",
        notes=notes,
        map=map_section(joined, embedding, label_name),
        choices=choices,
        cards=written,
    )
