"""A card for each query: the query beside its exemplars, as the templates of a page write it."""

from dataclasses import dataclass, field

import numpy as np

from ._contributions import N_PARTS, shared_text, together
from ._rows import dense, format_number, gather, tied_text
from ._targets import are_numbers, has, shown_targets, subtract, write_number, write_signed
from ._views import words

N_SHADES = 7  # colours of targets in the style sheet


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
    target_word : str
        What labels of exemplars are: "label" or "target".
    score_name : str
        What a score is.
    features : list of str
        Columns of a table.
    has_shared : bool
        Whether exemplars share features with the query that are no columns of the table.
    query : Picture, list of Run, list of Cell or None
        The query as it is shown.
    exemplars : list of CardExemplar
        Its exemplars, best first.
    other : dict or None
        Another label of the query: `word`, `label`, `mark`, and whether it `differs`.
    shade : int or None
        Colour of the query's label where it is a number.
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
    target_word: str
    score_name: str
    features: list
    has_shared: bool
    query: object
    exemplars: list
    other: dict | None
    shade: int | None = None
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
    shade : int or None
        Colour of a target that is a number.
    shared : str
        Features that it shares with the query, with their parts, except for columns of the table.
    row : Picture, list of Run, list of Cell or None
        The exemplar as it is shown.
    """

    names: list
    score: str
    label: str | None = None
    mark: str = ""
    meaning: str = ""
    label_class: str = ""
    differs: bool = False
    shade: int | None = None
    shared: str = ""
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
    others_are_true=True,
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
    others_are_true : bool, default=True
        Whether `others` are the true targets, and the queries' own the predicted ones, or the
        other way round. It gives residuals of numbers their sign.
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
    shade = _shades(explanation)
    word = "target" if are_numbers(explanation) else "label"
    written = []
    for i, name in enumerate(names):
        label = None if labels is None else label_name(labels[i])
        shown = [
            _exemplar(explanation, i, rank, label_name, shade)
            for rank in np.flatnonzero(explanation.indices[i] >= 0)
        ]
        parts = _parts(explanation, i, len(shown))
        for exemplar, of_exemplar in zip(shown, parts, strict=True):
            listed = [pair for pair in of_exemplar if words(pair[0]) not in views.features]
            exemplar.shared = words(shared_text(listed))
        if exemplars is not None:
            for rank, exemplar in enumerate(shown):
                known = None if differences is None else differences[i, rank]
                alt = _alt(exemplar, word)
                exemplar.row = views.show(exemplars[i, rank], alt, known, parts[rank])
        query = None
        if queries is not None:
            alt = f"{name}, {word} {label}" if label else name
            marked = [] if views.kind == "table" else together(parts)
            query = views.show(queries[i], alt, parts=marked)
        other = None
        if others is not None:
            mark = f"✗ {wrong_word}" if wrong[i] else "✓"
            if are_numbers(explanation) and label is not None:
                residual = subtract(others[i], labels[i])
                mark = f"(residual {write_signed(residual if others_are_true else -residual)})"
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
                target_word=word,
                score_name=score_text(explanation),
                features=views.features,
                has_shared=any(exemplar.shared for exemplar in shown),
                query=query,
                exemplars=shown,
                other=other,
                shade=None if labels is None else shade(labels[i]),
                facts=_facts(explanation, i, shown) + ([] if facts is None else [facts[i]]),
                marks=" ".join(classes),
                data={} if data is None else data[i],
            )
        )
    return written


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
        False where labels are not known, or are numbers.
    """
    nowhere = np.zeros(explanation.n_queries, dtype=bool)
    labels = explanation.query_labels
    if labels is None or are_numbers(explanation):
        return nowhere, nowhere
    disagrees = nowhere
    if explanation.exemplar_labels is not None:
        disagrees = explanation.agreement < 1  # nan, without exemplars, is no disagreement
    return disagrees, nowhere if others is None else np.asarray(labels != others)


def score_text(explanation):
    """Say what a score is."""
    return words(explanation.score_name) or "score"


def _parts(explanation, query, n_exemplars):
    """Return the largest parts of each exemplar of a query, empty where they are not known."""
    if explanation.contributions is None:
        return [[] for _ in range(n_exemplars)]
    return [explanation.shared_features(query, rank, N_PARTS) for rank in range(n_exemplars)]


def _facts(explanation, query, exemplars):
    """Say how many exemplars have the query's label, and how many rows are tied with the last."""
    facts = []
    if are_numbers(explanation):
        if exemplars and explanation.exemplar_labels is not None:
            targets = explanation.exemplar_labels[query, : len(exemplars)]
            low, high = write_number(targets.min()), write_number(targets.max())
            with np.errstate(over="ignore", invalid="ignore"):
                mean = write_number(targets.mean())
            facts.append(f"targets of exemplars from {low} to {high}, mean {mean}")
    elif exemplars and has(explanation, "query_labels", "exemplar_labels"):
        n_same = sum(not exemplar.differs for exemplar in exemplars)
        facts.append(f"{n_same} of {len(exemplars)} exemplars have the label")
    if explanation.n_tied is not None and explanation.n_tied[query]:
        facts.append(tied_text(explanation.n_tied[query], len(exemplars)))
    return facts


def _exemplar(explanation, query, rank, label_name, shade):
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
    if are_numbers(explanation):
        exemplar.shade = shade(label)
        exemplar.label_class = "target"
        if explanation.query_labels is not None:
            difference = write_signed(subtract(label, explanation.query_labels[query]))
            exemplar.label += f"\N{NO-BREAK SPACE}({difference})"
    elif explanation.query_labels is not None:
        exemplar.differs = bool(label != explanation.query_labels[query])
        if exemplar.differs:
            mark, exemplar.meaning, exemplar.label_class = "≠", "another label", "other"
        else:
            mark, exemplar.meaning, exemplar.label_class = "✓", "same label", "same"
        exemplar.mark = f"{mark}\N{NO-BREAK SPACE}"
    return exemplar


def _shades(explanation):
    """Return the function that gives a number one of the colours of the style sheet."""
    numbers = shown_targets(explanation) if are_numbers(explanation) else np.empty(0)
    if not numbers.size:
        return lambda value: None
    low, high = numbers.min() / 2, numbers.max() / 2  # halves, whose difference is finite

    def shade(value):
        if not np.isfinite(value):
            return None
        place = (value / 2 - low) / (high - low) if high > low else 0.5
        return min(int(place * N_SHADES), N_SHADES - 1)

    return shade


def _alt(exemplar, word):
    """Say what stands for the picture of an exemplar."""
    label = "" if exemplar.label is None else f", {word} {exemplar.label}"
    return f"Training {', '.join(exemplar.names)}{label}"
