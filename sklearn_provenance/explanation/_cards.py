"""An explanation as a web page: queries beside their exemplars."""

import numpy as np

from ._page import join, page, tag
from ._rows import dense, format_number, gather, tied_text
from ._views import RowViews, label_namer, words

CONFIDENTIAL = "This page holds rows of the data, and is as confidential as they are."


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
    what = f"{explanation.n_queries} {'query' if explanation.n_queries == 1 else 'queries'}"
    what += f", up to {explanation.k} exemplar{'s' * (explanation.k != 1)} each"
    if explanation.method:
        what += f", named by {words(explanation.method)}"
    return page(
        title,
        head=[tag("p", f"{what}.")],
        sections=[("queries", "Queries and their exemplars", content)],
        foot=CONFIDENTIAL,
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

    Returns
    -------
    Markup
        Content of a section.
    """
    labels = explanation.query_labels
    disagrees, wrong = marks(explanation, true_labels)
    note = f"Exemplars are training rows, the best first, with their {score_text(explanation)}. "
    if labels is not None and explanation.exemplar_labels is not None:
        note += "✓ marks an exemplar that has the query's label, ≠ one that has another. "
        if by_construction:
            note += "Here only rows with the query's label may be named. "
    written = [] if labels is None else [label_name(label) for label in labels]
    codes = {name: code for code, name in enumerate(sorted(set(written)))}
    data = [{} if labels is None else {"data_label": codes[name]} for name in written or names]
    for key, places in _orders(explanation).items():
        for attributes, place in zip(data, places, strict=True):
            attributes[f"data_{key}"] = place
    articles = cards(
        views,
        explanation,
        names=names,
        label_word=label_word,
        label_name=label_name,
        others=true_labels,
        other_word="true label",
        wrong_word=wrong_word,
        data=data,
    )
    form = _controls(disagrees.any(), wrong.any(), codes, explanation)
    return join(
        [
            tag("p", note, views.note),
            form if len(articles) > 1 else "",
            tag("div", *articles, id="cards") if articles else tag("p", "There are no queries."),
        ]
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
    """What a score is."""
    return words(explanation.score_name) or "score"


def _orders(explanation):
    """Place of each query in each order."""
    n_queries = explanation.n_queries
    best = explanation.scores[:, 0] if explanation.k else np.full(n_queries, np.nan)
    keys = {"page": np.arange(n_queries), "weakest": best, "strongest": -best}
    if explanation.query_labels is not None and explanation.exemplar_labels is not None:
        keys["agreement"] = explanation.agreement
    return {name: np.argsort(np.argsort(key, kind="stable")) for name, key in keys.items()}


def _controls(any_disagrees, any_wrong, codes, explanation):
    """Write the form that filters and sorts; the script shows it."""
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
    choices = [("show", "Show", show), ("label", "Label", label), ("sort", "Order", order)]
    fields = [
        tag(
            "label",
            f"{heading} ",
            tag("select", *(tag("option", t, value=v) for v, t in options.items()), name=name),
        )
        for name, heading, options in choices
        if len(options) > (2 if name == "label" else 1)
    ]
    return tag(
        "form",
        *fields,
        tag("output", aria_live="polite"),
        hidden=True,
        autocomplete="off",
        aria_label="Filter and order of the queries",
    )


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
    """Write a card for each query.

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
        Attributes of each card.
    prefix : str, default="q"
        Begins the identifiers of the cards.

    Returns
    -------
    list of Markup
        Articles.
    """
    disagrees, wrong = marks(explanation, others)
    labels = explanation.query_labels
    queries = None if explanation.queries is None else dense(explanation.queries)
    exemplars = None
    if explanation.training_data is not None and (explanation.indices >= 0).any():
        exemplars = gather(explanation.training_data, explanation.indices)
    differences = views.differences(explanation)
    articles = []
    for i, name in enumerate(names):
        label = None if labels is None else label_name(labels[i])
        heading = [name] if label is None else [f"{name}: {label_word} ", tag("bdi", label)]
        line = []
        if others is not None:
            verdict = tag("strong", f" ✗ {wrong_word}", class_="other") if wrong[i] else " ✓"
            verdict = "" if label is None else verdict
            line.append(join([f"{other_word} ", tag("bdi", label_name(others[i])), verdict]))
        ranks = np.flatnonzero(explanation.indices[i] >= 0)
        captions = [_Caption(explanation, i, rank, label_name) for rank in ranks]
        if label is not None and explanation.exemplar_labels is not None and captions:
            n_same = sum(not caption.differs for caption in captions)
            line.append(f"{n_same} of {len(captions)} exemplars have the label")
        if explanation.n_tied is not None and explanation.n_tied[i]:
            line.append(tied_text(explanation.n_tied[i], len(captions)))
        if facts is not None:
            line.append(facts[i])
        draw = _table_card if views.kind == "table" else _block_card
        body = draw(
            views,
            name,
            "" if label is None else label,
            None if queries is None else queries[i],
            captions,
            None if exemplars is None else exemplars[i],
            None if differences is None else differences[i],
        )
        articles.append(
            tag(
                "article",
                tag("h3", *heading, id=f"{prefix}{i}-name"),
                tag("p", join(line, " · ")) if line else "",
                body,
                id=f"{prefix}{i}",
                class_=" ".join(["disagrees"] * bool(disagrees[i]) + ["wrong"] * bool(wrong[i])),
                aria_labelledby=f"{prefix}{i}-name",
                **({} if data is None else data[i]),
            )
        )
    return articles


class _Caption:
    """The words of one exemplar."""

    def __init__(self, explanation, query, rank, label_name):
        self.names = [f"row\N{NO-BREAK SPACE}{explanation.indices[query, rank]}"]
        if explanation.sample_id is not None:
            self.names.append(f"id\N{NO-BREAK SPACE}{words(explanation.sample_id[query, rank])}")
        unit = " nats" if "nats" in explanation.score_name else ""
        self.score = f"{format_number(explanation.scores[query, rank])}{unit}"
        self.score_name = score_text(explanation)
        self.alt = f"Training {', '.join(self.names)}"
        self.label, self.label_class, self.differs = "", "", False
        if explanation.exemplar_labels is not None:
            label = explanation.exemplar_labels[query, rank]
            self.label = tag("bdi", label_name(label))
            self.alt += f", label {label_name(label)}"
            if explanation.query_labels is not None:
                self.differs = bool(label != explanation.query_labels[query])
                self.label_class = "other" if self.differs else "same"
                sign, meaning = ("≠", "another label") if self.differs else ("✓", "same label")
                unseen = tag("span", f" ({meaning})", class_="unseen")
                self.label = join([f"{sign}\N{NO-BREAK SPACE}", self.label, unseen])


def _block_card(views, name, label, query, captions, exemplars, differences):
    """Write pictures or texts: the query, then a list of exemplars."""
    kind = "texts" if views.kind == "nothing" else views.kind
    items = []
    for rank, caption in enumerate(captions):
        shown = "" if exemplars is None else views.block(exemplars[rank], caption.alt)
        lines = [
            tag("span", caption.label, class_=f"line {caption.label_class}"),
            tag("span", tag("span", f"{caption.score_name} ", class_="unseen"), caption.score,
                class_="line"),
            *(tag("span", name, class_="line soft") for name in caption.names),
        ]  # fmt: skip
        items.append(
            tag("li", shown, *lines if caption.label else lines[1:],
                class_="differs" if caption.differs else None)
        )  # fmt: skip
    asked = ""
    if query is not None:
        alt = f"{name}, label {label}" if label else name
        asked = tag("figure", views.block(query, alt), tag("figcaption", "query"))
    listed = tag("ol", *items, class_=kind, role="list", aria_label="exemplars, best first")
    return tag("div", asked, listed if items else tag("p", "No exemplars."), class_="row")


def _table_card(views, name, label, query, captions, exemplars, differences):
    """Write a table: a line for the query, then a line for each exemplar."""
    score_name = captions[0].score_name if captions else "score"
    heads = ["row", "label", score_name, *views.features]
    blank = [tag("td")] * len(views.features)
    lines = []
    if query is not None:
        first = [tag("th", "query", scope="row"), tag("td", tag("bdi", label)), tag("td")]
        lines.append(tag("tr", *first, *views.cells(query), class_="asked"))
    for rank, caption in enumerate(captions):
        known = None if differences is None else differences[rank]
        cells = blank if exemplars is None else views.cells(exemplars[rank], known)
        first = [
            tag("th", ", ".join(caption.names), scope="row"),
            tag("td", caption.label, class_=caption.label_class),
            tag("td", caption.score, class_="number"),
        ]
        lines.append(tag("tr", *first, *cells))
    return table(heads, lines, f"{name} and its exemplars")


def table(heads, lines, name, caption=""):
    """Write a table that scrolls, also by keyboard, where it is wide.

    Parameters
    ----------
    heads : list of str
        Headings of the columns.
    lines : list of Markup
        Its ``tr`` elements.
    name : str
        What the table is, for those who do not see it.
    caption : str, default=""
        What is written above it.
    """
    written = tag("caption", caption) if caption else ""
    head = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads)))
    return tag(
        "div", tag("table", written, head, tag("tbody", *lines)),
        class_="scroll", tabindex=0, role="group", aria_label=name,
    )  # fmt: skip
