"""The page of an explanation: its text, and the controls that filter and sort its queries."""

import numpy as np

from ._cards import label_mismatches, make_cards, score_text
from ._map import map_section
from ._page import page
from ._rows import counted
from ._targets import are_numbers, has, shown_targets, write_number
from ._templates import render
from ._views import RowViews, label_namer, name_text
from ._words import has_parts


def explanation_page(
    explanation, *, title, query_id=None, label_names=None, max_features=12, embedding="pca"
):
    """Write an explanation as a page; see :meth:`Explanation.to_html`."""
    views = RowViews(explanation, max_features)
    if query_id is None:
        query_id = explanation.query_id
    if query_id is None:
        query_id = np.arange(explanation.n_queries)
    content = query_section(
        views,
        explanation,
        names=[f"Query {name_text(name)}" for name in query_id],
        label_word="value" if are_numbers(explanation) else "label",
        label_name=target_namer(explanation, label_names),
        embedding=embedding,
    )
    return page(
        title,
        [("queries", "Queries and their exemplars", content)],
        lead=_lead(explanation),
        pictures=views.pictures,
    )


def _lead(explanation):
    """Write what the page holds, and how it was found."""
    n_queries = counted(explanation.n_queries, "query", "queries")
    lead = f"{n_queries}, up to {counted(explanation.k, 'exemplar')} each"
    if explanation.method:
        lead += f", named by {name_text(explanation.method)}"
    if explanation.reason:
        lead += f": {name_text(explanation.reason)}"
    return f"{lead}."


def query_section(
    views,
    explanation,
    *,
    names,
    label_word,
    label_name,
    wrong_word="differs",
    by_construction=False,
    note="",
    embedding=None,
):
    """Write all queries with the controls that filter and sort them.

    Parameters
    ----------
    views : RowViews
        How rows are shown.
    explanation : Explanation
        What to write.
    names : list of str
        What to call each query.
    label_word : str
        What the label of a query is, such as "predicted".
    label_name : callable
        Function that writes a label.
    wrong_word : str, default="differs"
        Mark of a query whose label is not the true one.
    by_construction : bool, default=False
        Whether exemplars have the query's label because only such rows may be named.
    note : str, default=""
        First paragraph.
    embedding : str, pair of ndarray or None, default=None
        How rows are placed on the map, as :func:`.check_embedding` returns it.

    Returns
    -------
    Markup
        Content of a section.
    """
    disagrees, wrong = label_mismatches(explanation, explanation.true_labels)
    score = score_text(explanation)
    notes = [f"Exemplars are training rows, the best first, with their {score}. "]
    if wrong.any():
        notes.append(
            f"{wrong.sum()} of {counted(len(wrong), 'query', 'queries')} have another true label. "
        )
    if are_numbers(explanation):
        notes.append(_note_of_numbers(explanation))
    elif has(explanation, "query_labels", "exemplar_labels"):
        notes.append("✓ marks an exemplar that has the query's label, ≠ one that has another. ")
        if by_construction:
            notes.append("Here only rows with the query's label may be named. ")
    if has_parts(explanation):
        notes.append(_note_of_parts(views.kind))
    elif views.kind == "texts" and explanation.queries is not None:
        notes.append("Underlined words are in the query and in the exemplar. ")
    notes.append(views.note)
    codes, data = label_codes(explanation, label_name)
    for key, places in _orders(explanation).items():
        for attributes, place in zip(data, places, strict=True):
            attributes[key] = place
    other_word = "true label"
    if are_numbers(explanation):
        other_word = "target"
    return render(
        "queries.html",
        lead=note,
        notes=notes,
        map=map_section(explanation, embedding, label_name),
        choices=_choices(disagrees.any(), wrong.any(), codes, explanation),
        cards=make_cards(
            views,
            explanation,
            names=names,
            label_word=label_word,
            label_name=label_name,
            others=explanation.true_labels,
            other_word=other_word,
            wrong_word=wrong_word,
            data=data,
        ),
    )


def label_codes(explanation, label_name):
    """Number the labels of queries, by which a page filters them.

    Parameters
    ----------
    explanation : Explanation
        Queries.
    label_name : callable
        Function that writes a label.

    Returns
    -------
    codes : dict of str to int
        Number of each label by its name; empty where labels are unknown, or numbers.
    data : list of dict
        What a card tells the script of its query: its label's number, if it has one.
    """
    if explanation.query_labels is None or are_numbers(explanation):
        return {}, [{} for _ in range(explanation.n_queries)]
    written = [label_name(label) for label in explanation.query_labels]
    codes = {name: code for code, name in enumerate(sorted(set(written)))}
    return codes, [{"label": codes[name]} for name in written]


def _orders(explanation):
    """Return the place of each query in each order."""
    n_queries = explanation.n_queries
    best = np.full(n_queries, np.nan)
    if explanation.k:
        best = explanation.scores[:, 0]
    keys = {"page": np.arange(n_queries), "weakest": best, "strongest": -best}
    if has(explanation, "query_labels", "exemplar_labels"):
        if are_numbers(explanation):
            keys["difference"] = -np.abs(explanation.target_differences).max(
                axis=1, initial=-np.inf, where=explanation.indices >= 0
            )
        else:
            keys["agreement"] = explanation.agreement
    if are_numbers(explanation) and has(explanation, "query_labels", "true_labels"):
        keys["residual"] = -np.abs(explanation.residuals)
    # The second argsort turns the order of the queries into the place of each.
    return {name: np.argsort(np.argsort(key, kind="stable")) for name, key in keys.items()}


def _choices(any_disagrees, any_wrong, codes, explanation):
    """Return what the form that filters and sorts lets a reader choose."""
    score = score_text(explanation)
    show = {"all": "all queries"}
    if any_wrong:
        show["wrong"] = "with another true label"
    if any_disagrees:
        show["disagrees"] = "with an exemplar of another label"
    order = {"page": "as on the page"}
    if any_disagrees:
        order["agreement"] = "least label agreement first"
    if are_numbers(explanation) and has(explanation, "query_labels", "true_labels"):
        order["residual"] = "largest residual first"
    if are_numbers(explanation) and has(explanation, "query_labels", "exemplar_labels"):
        order["difference"] = "exemplar with the most different target first"
    order |= {"strongest": f"largest {score} first", "weakest": f"smallest {score} first"}
    label = {"all": "all labels"} | {code: name for name, code in codes.items()}
    choices = []
    if len(show) > 1:
        choices.append({"name": "show", "heading": "Show", "options": show})
    if len(label) > 2:
        choices.append({"name": "label", "heading": "Label", "options": label})
    choices.append({"name": "sort", "heading": "Order", "options": order})
    return choices


def _note_of_parts(kind):
    """Explain which features are shared, and how they are marked."""
    if kind == "table":
        return (
            "Where a feature has one of the largest parts in the score of an exemplar, or in the "
            "inner product behind it, the part is written below its value. "
        )
    note = (
        "“Shared” lists the features that an exemplar shares with its query, with their parts of "
        "the score, or of the inner product behind it, the largest first. "
    )
    if kind == "texts":
        note += "Their words are marked, orange where they raise it, and violet where they lower "
        note += "it, darker from half of the largest part on. "
    return note


def _note_of_numbers(explanation):
    """Explain the numbers beside exemplars, and their colours."""
    note = ""
    if explanation.exemplar_labels is not None:
        note = "Each has its target"
        if explanation.query_labels is not None:
            note += ", and in brackets its difference from the query's value"
        note += ". "
    numbers = shown_targets(explanation)
    if numbers.size and numbers.min() < numbers.max():
        low = write_number(numbers.min())
        high = write_number(numbers.max())
        note += f"Squares are dark for low values, from {low}, and light for high ones, to {high}. "
    return note


def target_namer(explanation, names):
    """Return the function that writes a label, or a target.

    Parameters
    ----------
    explanation : Explanation
        Explanation that has the labels.
    names : mapping, sequence or None
        Names of labels.

    Returns
    -------
    callable
        From a label to a str.

    Raises
    ------
    ValueError
        If names are given, and the targets are numbers.
    """
    if not are_numbers(explanation):
        return label_namer(names)
    if names is not None:
        raise ValueError(
            "label_names must be None, because the targets of this explanation are numbers. Where "
            'they are classes, make the explanation with targets="labels"'
        )
    return write_number
