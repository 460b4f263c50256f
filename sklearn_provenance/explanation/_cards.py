"""Queries beside their exemplars, as the templates of a page write them."""

from dataclasses import dataclass, field

import numpy as np

from ._page import page
from ._rows import dense, format_number, gather, tied_text
from ._templates import render
from ._views import RowViews, label_namer, words


def explanation_page(
    explanation, *, title, query_id=None, true_labels=None, label_names=None, max_features=12
):
    """Write an explanation as a page; see :meth:`Explanation.to_html`."""
    views = RowViews(explanation, max_features)
    if query_id is None:
        query_id = explanation.query_id
    numbers = np.arange(explanation.n_queries) if query_id is None else query_id
    content = query_section(
        views,
        explanation,
        names=[f"Query {words(number)}" for number in numbers],
        label_word="label",
        label_name=label_namer(label_names),
        true_labels=true_labels,
    )
    lead = f"{explanation.n_queries} {'query' if explanation.n_queries == 1 else 'queries'}"
    lead += f", up to {explanation.k} exemplar{'s' * (explanation.k != 1)} each"
    if explanation.method:
        lead += f", named by {words(explanation.method)}"
    return page(
        title,
        [("queries", "Queries and their exemplars", content)],
        lead=f"{lead}.",
        pictures=views.pictures,
    )


def query_section(
    views,
    explanation,
    *,
    names,
    label_word,
    label_name,
    true_labels=None,
    wrong_word="differs",
    by_construction=False,
    note="",
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
        What the label of a query is, say "predicted".
    label_name : callable
        Writes a label.
    true_labels : ndarray of shape (n_queries,), default=None
        Labels that the queries should have.
    wrong_word : str, default="differs"
        What a query is whose label is not the true one.
    by_construction : bool, default=False
        Whether exemplars have the query's label because no others may be named.
    note : str, default=""
        First paragraph.

    Returns
    -------
    Markup
        Content of a section.
    """
    labels = explanation.query_labels
    disagrees, wrong = marks(explanation, true_labels)
    score = score_text(explanation)
    notes = [f"Exemplars are training rows, the best first, with their {score}. "]
    if labels is not None and explanation.exemplar_labels is not None:
        notes.append("✓ marks an exemplar that has the query's label, ≠ one that has another. ")
        if by_construction:
            notes.append("Here only rows with the query's label may be named. ")
    notes.append(views.note)
    written = [] if labels is None else [label_name(label) for label in labels]
    codes = {name: code for code, name in enumerate(sorted(set(written)))}
    data = [{} if labels is None else {"label": codes[name]} for name in written or names]
    for key, places in _orders(explanation).items():
        for attributes, place in zip(data, places, strict=True):
            attributes[key] = place
    return render(
        "queries.html",
        lead=note,
        notes=notes,
        choices=_choices(disagrees.any(), wrong.any(), codes, explanation),
        cards=cards(
            views,
            explanation,
            names=names,
            label_word=label_word,
            label_name=label_name,
            others=true_labels,
            other_word="true label",
            wrong_word=wrong_word,
            data=data,
        ),
    )


def marks(explanation, others=None):
    """Which queries have an exemplar with another label, and which have another label themselves.

    Parameters
    ----------
    explanation : Explanation
        Queries.
    others : ndarray of shape (n_queries,), default=None
        Labels to compare with the queries' own.

    Returns
    -------
    disagrees, wrong : ndarray of shape (n_queries,), bool
        False where labels are not known.
    """
    nowhere = np.zeros(explanation.n_queries, dtype=bool)
    labels = explanation.query_labels
    if labels is None:
        return nowhere, nowhere
    disagrees = nowhere
    if explanation.exemplar_labels is not None:
        disagrees = explanation.agreement < 1  # nan, without exemplars, is no disagreement
    return disagrees, nowhere if others is None else np.asarray(labels != others)


def score_text(explanation):
    """Say what a score is."""
    return words(explanation.score_name) or "score"


def _orders(explanation):
    """Return the place of each query in each order."""
    n_queries = explanation.n_queries
    best = explanation.scores[:, 0] if explanation.k else np.full(n_queries, np.nan)
    keys = {"page": np.arange(n_queries), "weakest": best, "strongest": -best}
    if explanation.query_labels is not None and explanation.exemplar_labels is not None:
        keys["agreement"] = explanation.agreement
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
    order |= {"strongest": f"largest {score} first", "weakest": f"smallest {score} first"}
    label = {"all": "all labels"} | {code: name for name, code in codes.items()}
    choices = []
    if len(show) > 1:
        choices.append({"name": "show", "heading": "Show", "options": show})
    if len(label) > 2:
        choices.append({"name": "label", "heading": "Label", "options": label})
    choices.append({"name": "sort", "heading": "Order", "options": order})
    return choices


@dataclass
class Card:
    """A query and its exemplars, as the template writes them.

    Parameters
    ----------
    id : str
        Identifier on the page.
    name : str
        What the query is called.
    kind : {"images", "texts", "table", "nothing"}
        How rows are shown.
    label : str or None
        Label of the query, if known.
    label_word : str
        What that label is.
    score_name : str
        What a score is.
    features : list of str
        Columns of a table.
    query : Picture, str, list of Cell or None
        The query as it is shown.
    exemplars : list of CardExemplar
        Its exemplars, best first.
    other : dict or None
        Another label of the query: `word`, `label`, `mark`, and whether it `differs`.
    facts : list of str
        What else to know of the query.
    marks : str
        Classes of the card, by which queries are filtered.
    data : dict
        Numbers by which queries are sorted.
    """

    id: str
    name: str
    kind: str
    label: str | None
    label_word: str
    score_name: str
    features: list
    query: object
    exemplars: list
    other: dict | None
    facts: list = field(default_factory=list)
    marks: str = ""
    data: dict = field(default_factory=dict)

    @property
    def list_class(self):
        """Class of the list of exemplars."""
        return "texts" if self.kind == "nothing" else self.kind


@dataclass
class CardExemplar:
    """An exemplar as the template writes it.

    Parameters
    ----------
    names : list of str
        Its row, and the user's own name of it.
    score : str
        Its score with the unit.
    label : str or None
        Its label, if known.
    mark, meaning : str
        Sign before the label, and the same in words.
    label_class : str
        Colour of the label.
    differs : bool
        Whether the label is not the query's.
    row : Picture, str, list of Cell or None
        The exemplar as it is shown.
    """

    names: list
    score: str
    label: str | None = None
    mark: str = ""
    meaning: str = ""
    label_class: str = ""
    differs: bool = False
    row: object = None


def cards(
    views,
    explanation,
    *,
    names,
    label_word,
    label_name,
    others=None,
    other_word="",
    wrong_word="differs",
    facts=None,
    data=None,
    prefix="q",
):
    """Return a card for each query.

    Parameters
    ----------
    views, explanation, names, label_word, label_name
        As in :func:`query_section`.
    others : ndarray of shape (n_queries,), default=None
        Other labels of the queries.
    other_word : str, default=""
        What `others` are.
    wrong_word : str, default="differs"
        Mark of queries whose other label is not their own.
    facts : list of str, default=None
        A line about each query.
    data : list of dict, default=None
        Numbers by which queries are sorted.
    prefix : str, default="q"
        Begins the identifiers of the cards.

    Returns
    -------
    list of Card
        What the templates write.
    """
    disagrees, wrong = marks(explanation, others)
    labels = explanation.query_labels
    queries = None if explanation.queries is None else dense(explanation.queries)
    exemplars = None
    if explanation.training_data is not None and (explanation.indices >= 0).any():
        exemplars = gather(explanation.training_data, explanation.indices)
    differences = views.differences(explanation)
    written = []
    for i, name in enumerate(names):
        label = None if labels is None else label_name(labels[i])
        shown = [
            _exemplar(explanation, i, rank, label_name)
            for rank in np.flatnonzero(explanation.indices[i] >= 0)
        ]
        if exemplars is not None:
            for rank, exemplar in enumerate(shown):
                known = None if differences is None else differences[i, rank]
                exemplar.row = views.show(exemplars[i, rank], _alt(exemplar), known)
        query = None
        if queries is not None:
            query = views.show(queries[i], f"{name}, label {label}" if label else name)
        other = None
        if others is not None:
            mark = f"✗ {wrong_word}" if wrong[i] else "✓"
            other = {
                "word": other_word,
                "label": label_name(others[i]),
                "mark": "" if label is None else mark,
                "differs": bool(wrong[i]),
            }
        classes = ["disagrees"] * bool(disagrees[i]) + ["wrong"] * bool(wrong[i])
        written.append(
            Card(
                id=f"{prefix}{i}",
                name=name,
                kind=views.kind,
                label=label,
                label_word=label_word,
                score_name=score_text(explanation),
                features=views.features,
                query=query,
                exemplars=shown,
                other=other,
                facts=_facts(explanation, i, shown) + ([] if facts is None else [facts[i]]),
                marks=" ".join(classes),
                data={} if data is None else data[i],
            )
        )
    return written


def _facts(explanation, query, exemplars):
    """Say how many exemplars have the query's label, and how many rows are tied with the last."""
    facts = []
    known = explanation.query_labels is not None and explanation.exemplar_labels is not None
    if known and exemplars:
        n_same = sum(not exemplar.differs for exemplar in exemplars)
        facts.append(f"{n_same} of {len(exemplars)} exemplars have the label")
    if explanation.n_tied is not None and explanation.n_tied[query]:
        facts.append(tied_text(explanation.n_tied[query], len(exemplars)))
    return facts


def _exemplar(explanation, query, rank, label_name):
    """Return the words of one exemplar."""
    names = [f"row\N{NO-BREAK SPACE}{explanation.indices[query, rank]}"]
    if explanation.sample_id is not None:
        names.append(f"id\N{NO-BREAK SPACE}{words(explanation.sample_id[query, rank])}")
    unit = " nats" if "nats" in explanation.score_name else ""
    exemplar = CardExemplar(names, f"{format_number(explanation.scores[query, rank])}{unit}")
    if explanation.exemplar_labels is None:
        return exemplar
    label = explanation.exemplar_labels[query, rank]
    exemplar.label = label_name(label)
    if explanation.query_labels is not None:
        exemplar.differs = bool(label != explanation.query_labels[query])
        if exemplar.differs:
            mark, exemplar.meaning, exemplar.label_class = "≠", "another label", "other"
        else:
            mark, exemplar.meaning, exemplar.label_class = "✓", "same label", "same"
        exemplar.mark = f"{mark}\N{NO-BREAK SPACE}"
    return exemplar


def _alt(exemplar):
    """Say what stands for the picture of an exemplar."""
    label = "" if exemplar.label is None else f", label {exemplar.label}"
    return f"Training {', '.join(exemplar.names)}{label}"
