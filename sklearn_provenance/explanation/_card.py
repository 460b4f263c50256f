"""What a card of a page holds: a query and its exemplars, written."""

from dataclasses import dataclass, field


@dataclass
class Card:
    """A query and its exemplars, as the template writes them.

    Parameters
    ----------
    id : str
        Identifier on the page.
    name : str
        Name of the query.
    kind : {"images", "texts", "table", "nothing"}
        How rows are shown.
    label : str or None
        Label of the query, if known.
    label_word : str
        What that label is, such as "predicted".
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
    methods : list of CardMethod
        Exemplars by method, where several are compared; `exemplars` is empty then.
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
    other: dict | None = None
    shade: int | None = None
    facts: list = field(default_factory=list)
    marks: str = ""
    data: dict = field(default_factory=dict)
    methods: list = field(default_factory=list)

    @property
    def list_class(self):
        """Class of the list of exemplars."""
        if self.kind == "nothing":
            return "texts"
        return self.kind


@dataclass
class CardExemplar:
    """An exemplar as the template writes it.

    Parameters
    ----------
    number : int
        Its row.
    names : list of str
        The row in words, and the user's own name of it.
    score : str
        Its score with the unit.
    label : str or None
        Its label, if known.
    mark, meaning : str
        Sign before the label, and what it says of a label that differs, in words.
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
    also : str
        Other methods that name it, where several are compared.
    """

    number: int
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
    also: str = ""


@dataclass
class CardMethod:
    """A method and the exemplars that it names for the query of a card.

    Parameters
    ----------
    name : str
        Name of the method.
    score_name : str
        What its scores are.
    exemplars : list of CardExemplar
        Its exemplars, best first.
    """

    name: str
    score_name: str
    exemplars: list

    @property
    def numbers(self):
        """Rows of the exemplars."""
        return [exemplar.number for exemplar in self.exemplars]
