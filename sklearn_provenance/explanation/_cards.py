"""A card for each query: the query beside its exemplars, as the templates of a page write it."""

import numpy as np

from ._card import Card, CardExemplar, CardMethod
from ._rows import dense, format_number, gather, text_of, tied_text
from ._shared_features import common_words, shared_text, together
from ._targets import (
    are_numbers,
    has,
    shown_targets,
    subtract,
    target_word,
    write_number,
    write_signed,
)
from ._views import name_text
from ._words import shared_parts

N_SHADES = 7  # colours of targets in the style sheet


def make_cards(
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
        Name of `others`.
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
        Beginning of the cards' identifiers.

    Returns
    -------
    list of Card
        What the templates write.
    """
    writer = _CardWriter(views, explanation, label_name)
    disagrees, wrong = label_mismatches(explanation, others)
    score_name = score_text(explanation)
    written = []
    for query, name in enumerate(names):
        parts = writer.parts(query)
        exemplars = writer.exemplars(query, parts)
        card = Card(
            id=f"{prefix}{query}",
            name=name,
            kind=views.kind,
            label=writer.label(query),
            label_word=label_word,
            target_word=writer.target_word,
            score_name=score_name,
            features=views.features,
            has_shared=any(exemplar.shared for exemplar in exemplars),
            query=writer.row(query, name, parts),
            exemplars=exemplars,
            shade=writer.shade_of(query),
            facts=_facts(explanation, query, exemplars),
        )
        if others is not None:
            card.other = {
                "word": other_word,
                "label": label_name(others[query]),
                "mark": _other_mark(
                    explanation, query, others[query], wrong[query], wrong_word, others_are_true
                ),
                "differs": bool(wrong[query]),
            }
        if facts is not None:
            card.facts.append(facts[query])
        if data is not None:
            card.data = data[query]
        classes = {"disagrees": disagrees[query], "wrong": wrong[query]}
        card.marks = " ".join(name for name, applies in classes.items() if applies)
        written.append(card)
    return written


def compared_exemplars(views, comparison, query, label_name):
    """Return the exemplars of a query by each method of a comparison.

    Parameters
    ----------
    views : RowViews
        How rows are shown.
    comparison : Comparison
        Explanations by method.
    query : int
        Position of the query.
    label_name : callable
        Function that writes a label.

    Returns
    -------
    list of CardMethod
        Each exemplar tells which other methods name it.
    """
    found = {}
    for method, explanation in comparison.explanations.items():
        part = explanation[query]
        writer = _CardWriter(views, part, label_name)
        found[method] = CardMethod(
            name_text(method), score_text(part), writer.exemplars(0, writer.parts(0))
        )
    for of_method in found.values():
        for exemplar in of_method.exemplars:
            also = [other.name for other in found.values()
                    if other is not of_method and exemplar.number in other.numbers]  # fmt: skip
            if also:
                exemplar.also = f"also {', '.join(also)}"
    return list(found.values())


class _CardWriter:
    """Write what cards show of the queries and exemplars of one explanation.

    Parameters
    ----------
    views, explanation, label_name
        As in :func:`query_section`.
    """

    def __init__(self, views, explanation, label_name):
        self.views = views
        self.explanation = explanation
        self.label_name = label_name
        self.shade = shades(explanation)
        self.target_word = target_word(explanation)
        self.query_rows = None
        if explanation.queries is not None:
            self.query_rows = dense(explanation.queries)  # (n_queries, ...)
        self.exemplar_rows = None
        if explanation.training_data is not None and (explanation.indices >= 0).any():
            self.exemplar_rows = gather(explanation.training_data, explanation.indices)
        self.differences = views.differences(explanation)  # (n_queries, k, n_features)
        if self.differences is None:
            self.differences = np.full(explanation.indices.shape, None)

    def parts(self, query):
        """Return the largest parts of each exemplar of a query, empty where they are unknown."""
        n_exemplars = int((self.explanation.indices[query] >= 0).sum())
        return [shared_parts(self.explanation, query, rank) for rank in range(n_exemplars)]

    def common(self, query, rank):
        """Return the words that an exemplar shares with its query, where no parts are known."""
        is_marked = self.views.kind == "texts" and self.explanation.contributions is None
        if not is_marked or self.query_rows is None or self.exemplar_rows is None:
            return frozenset()
        return common_words(
            text_of(self.query_rows[query]), text_of(self.exemplar_rows[query, rank])
        )

    def label(self, query):
        """Write the label of a query; None where it is unknown."""
        if self.explanation.query_labels is None:
            return None
        return self.label_name(self.explanation.query_labels[query])

    def shade_of(self, query):
        """Return the colour of the query's target; None where it has none."""
        if self.explanation.query_labels is None:
            return None
        return self.shade(self.explanation.query_labels[query])

    def row(self, query, name, parts):
        """Show the row of a query; None where it is unknown."""
        if self.query_rows is None:
            return None
        label = self.label(query)
        alt = name
        if label:
            alt = f"{name}, {self.target_word} {label}"
        marked = []
        if self.views.kind != "table":  # a table writes parts in the lines of the exemplars
            marked = together(parts)
        common = frozenset().union(*(self.common(query, rank) for rank in range(len(parts))))
        return self.views.show(self.query_rows[query], alt, parts=marked, common=common)

    def exemplars(self, query, parts):
        """Write the exemplars of a query with the parts that they share with it."""
        written = []
        for rank, shared in enumerate(parts):  # padding stands at the end
            exemplar = _exemplar(self.explanation, query, rank, self.label_name, self.shade)
            not_in_table = [
                pair for pair in shared if name_text(pair[0]) not in self.views.features
            ]
            exemplar.shared = name_text(shared_text(not_in_table))
            if self.exemplar_rows is not None:
                exemplar.row = self.views.show(
                    self.exemplar_rows[query, rank],
                    _alt(exemplar, self.target_word),
                    self.differences[query, rank],
                    shared,
                    self.common(query, rank),
                )
            written.append(exemplar)
        return written


def label_mismatches(explanation, others=None):
    """Return which queries have an exemplar of another label, and which another label themselves.

    Parameters
    ----------
    explanation : Explanation
        Queries.
    others : ndarray of shape (n_queries,), default=None
        Labels to compare with the queries' own.

    Returns
    -------
    disagrees, wrong : ndarray of shape (n_queries,), bool
        False where labels are unknown, or are numbers.
    """
    disagrees = np.zeros(explanation.n_queries, dtype=bool)
    wrong = disagrees
    labels = explanation.query_labels
    if labels is None or are_numbers(explanation):
        return disagrees, wrong
    if explanation.exemplar_labels is not None:
        disagrees = explanation.agreement < 1  # nan, without exemplars, is no disagreement
    if others is not None:
        wrong = np.asarray(labels != others)
    return disagrees, wrong


def score_text(explanation):
    """Write what a score is."""
    return name_text(explanation.score_name) or "score"


def _other_mark(explanation, query, other, is_wrong, wrong_word, other_is_true):
    """Write how another label of a query compares with its own; "" where that is unknown."""
    labels = explanation.query_labels
    if labels is None:
        return ""
    if are_numbers(explanation):
        residual = subtract(other, labels[query])
        if not other_is_true:
            residual = -residual
        return f"(residual {write_signed(residual)})"
    if is_wrong:
        return f"✗ {wrong_word}"
    return "✓"


def _facts(explanation, query, exemplars):
    """Write how many exemplars have the query's label, and how many rows tie with the last."""
    facts = []
    if are_numbers(explanation):
        if exemplars and explanation.exemplar_labels is not None:
            targets = explanation.exemplar_labels[query, : len(exemplars)]
            low = write_number(targets.min())
            high = write_number(targets.max())
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
    """Write the names, the score and the label of one exemplar."""
    names = [f"row\N{NO-BREAK SPACE}{explanation.indices[query, rank]}"]
    if explanation.sample_id is not None:
        names.append(f"id\N{NO-BREAK SPACE}{name_text(explanation.sample_id[query, rank])}")
    score = format_number(explanation.scores[query, rank])
    if "nats" in explanation.score_name:
        score += " nats"
    exemplar = CardExemplar(int(explanation.indices[query, rank]), names, score)
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
            exemplar.mark = "≠\N{NO-BREAK SPACE}"
            exemplar.meaning = "another label"
            exemplar.label_class = "other"
        else:
            exemplar.mark = "✓\N{NO-BREAK SPACE}"
            exemplar.label_class = "same"
    return exemplar


def shades(explanation):
    """Return the function that gives a target one of the colours of the style sheet, or None."""
    if not are_numbers(explanation):
        return lambda target: None
    targets = shown_targets(explanation)
    if not targets.size:
        return lambda target: None
    # Halves, because the difference of two large numbers may be infinite.
    low = targets.min() / 2
    width = targets.max() / 2 - low

    def shade(target):
        if not np.isfinite(target):
            return None
        if width == 0:
            return N_SHADES // 2
        return min(int((target / 2 - low) / width * N_SHADES), N_SHADES - 1)

    return shade


def _alt(exemplar, word):
    """Write what stands for the picture of an exemplar."""
    alt = f"Training {', '.join(exemplar.names)}"
    if exemplar.label is not None:
        alt += f", {word} {exemplar.label}"
    return alt
