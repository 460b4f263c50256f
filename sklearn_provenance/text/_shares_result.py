"""The shares of tokens in scores, and how they are shown."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.tables import data_frame
from .._utils.types import DataFrame, Path
from ..explanation import Explanation
from ..explanation._page import Page, check_target, page, write_page
from ..explanation._pictures import Pictures
from ..explanation._rows import format_number
from ..explanation._shared_features import Run
from ..explanation._templates import render
from ..explanation._text import exemplar_text, header, query_label, query_name

SIDES = ("exemplars", "queries")
ELSEWHERE = "(no token)"
# Lines of the text, and tokens that each names.
_QUERIES = 5
_NAMED = 6


class TokenShares:
    """Shares of tokens in the scores of an explanation, as :func:`token_shares` finds them.

    Parameters
    ----------
    explanation : Explanation
        What is divided.
    shares : dict of ndarray of shape (n_queries, k, n_tokens)
        For "exemplars" and "queries", the share of each of their tokens in the score of the pair.
    elsewhere : dict of ndarray of shape (n_queries, k)
        For both, what belongs to no token.
    tokens : dict of TokenizedTexts
        For both, the texts and the places of tokens in them: of all training rows, and of the
        queries.

    Attributes
    ----------
    explanation : Explanation
        As given.
    exemplars, queries : ndarray of shape (n_queries, k, n_tokens)
        Shares of the tokens of exemplars and of the query, in the unit of the score; nan at
        padding. With what is elsewhere they add up to the score.
    exemplars_elsewhere, queries_elsewhere : ndarray of shape (n_queries, k)
        What belongs to no token, because it comes from layers behind a pooling.
    """

    def __init__(
        self,
        explanation: Explanation,
        shares: dict[str, NDArray],
        elsewhere: dict[str, NDArray],
        tokens: dict[str, Any],
    ) -> None:
        self.explanation = explanation
        self.exemplars = shares["exemplars"]
        self.queries = shares["queries"]
        self.exemplars_elsewhere = elsewhere["exemplars"]
        self.queries_elsewhere = elsewhere["queries"]
        self._tokens = tokens

    def words(self, query: int, rank: int, side: str = "exemplars") -> list[tuple[str, float]]:
        """List the pieces of a text that tokens stand for, with their shares.

        Parameters
        ----------
        query, rank : int
            Position of the query and of its exemplar.
        side : {"exemplars", "queries"}, default="exemplars"
            Whose tokens.

        Returns
        -------
        list of (str, float)
            In the order of the text. What stands for no piece of it, such as special tokens and
            layers behind a pooling, is added up in the last entry, "(no token)". Shares add up to
            the score. Empty at padding.

        Raises
        ------
        ValueError
            If ``side`` is unknown.
        """
        if side not in SIDES:
            raise ValueError(f"side must be one of {SIDES}, got {side!r}")
        row = self.explanation.indices[query, rank]
        if row < 0:
            return []
        if side == "queries":
            row = query
        shares = getattr(self, side)[query, rank]
        pieces = self._tokens[side].words(row)
        found = [(piece, float(share)) for piece, share in zip(pieces, shares, strict=True)]
        words = [(piece, share) for piece, share in found if piece]
        rest = sum(share for piece, share in found if not piece)
        rest += float(getattr(self, f"{side}_elsewhere")[query, rank])
        return [*words, (ELSEWHERE, rest)]

    def to_frame(self, side: str = "exemplars") -> DataFrame:
        """Return all shares.

        Parameters
        ----------
        side : {"exemplars", "queries"}, default="exemplars"
            Whose tokens.

        Returns
        -------
        pandas.DataFrame
            One line for each token of each pair: ``query``, ``rank``, ``row`` (of the exemplar),
            ``place`` (of the token among those that stand for a piece of the text), ``token`` and
            ``share``.

        Raises
        ------
        ImportError
            If pandas is missing.
        ValueError
            If ``side`` is unknown.
        """
        names = ("query", "rank", "row", "place", "token", "share")
        columns: dict[str, list] = {name: [] for name in names}
        for (query, rank), row in np.ndenumerate(self.explanation.indices):
            for place, (token, share) in enumerate(self.words(query, rank, side)):
                line = (query, rank, int(row), place, token, share)
                for name, value in zip(names, line, strict=True):
                    columns[name].append(value)
        return data_frame(columns, "to_frame")

    def to_html(self, path: Path | None = None, *, title: str = "Tokens") -> Page:
        """Write queries beside their exemplars as a web page in which tokens are marked.

        The tokens of an exemplar are marked by their shares in its score, those of a query by the
        sum over its exemplars: warm colours raise the score, cool ones lower it. Marks compare
        tokens with each other, however little of the score belongs to them all, and each text says
        how much belongs to no token. Where the mouse rests on a marked token, it says its
        proportion among the tokens of the text, whose absolute values add up to 100 %, and its
        share. The page loads nothing, and nothing in the data can run in it. It holds rows of the
        data, and is as confidential as they are.

        Parameters
        ----------
        path : str or path-like, default=None
            File to write, or to replace in one step; None writes none.
        title : str, default="Tokens"
            Title of the page.

        Returns
        -------
        str
            The page. Its ``repr`` is one line, so that a notebook does not show all of it.

        Raises
        ------
        FileNotFoundError
            If the folder of ``path`` does not exist.
        IsADirectoryError
            If ``path`` is a folder.
        """
        if path is not None:
            check_target(path)
        content = render("tokens.html", __package__, cards=self._cards())
        lead = f"{header(self.explanation)}. Tokens are marked by their proportions among tokens."
        html = page(title, [("queries", "Queries", content)], pictures=Pictures(), lead=lead)
        if path is not None:
            write_page(html, path)
        return html

    def __repr__(self) -> str:
        exp = self.explanation
        lines = [f"TokenShares of an {header(exp)}"]
        for query in range(min(exp.n_queries, _QUERIES)):
            lines.append(f"query {query_name(exp, query)}{query_label(exp, query)}:")
            words = self.words(query, 0) if exp.k else []
            if words:
                lines.append(f"  {exemplar_text(exp, query, 0)}, {_summary(words)}")
        if exp.n_queries > _QUERIES:
            lines.append(f"... {exp.n_queries - _QUERIES} more queries")
        return "\n".join(lines)

    def _cards(self):
        """Describe each query for the template."""
        exp = self.explanation
        cards = []
        for query in range(exp.n_queries):
            valid = np.flatnonzero(exp.indices[query] >= 0)
            exemplars = []
            for rank in valid:
                rest = self.words(query, rank)[-1][1]
                exemplars.append(
                    {
                        "name": exemplar_text(exp, query, rank, "≠"),
                        "rest": format_number(rest),
                        "runs": self._runs(
                            "exemplars", exp.indices[query, rank], self.exemplars[query, rank]
                        ),
                    }
                )
            total = self.queries[query, valid].sum(axis=0)  # (n_tokens,)
            rest = sum(self.words(query, rank, "queries")[-1][1] for rank in valid)
            cards.append(
                {
                    "name": query_name(exp, query) + query_label(exp, query, ": ", "≠"),
                    "score": format_number(exp.scores[query, valid].sum()),
                    "rest": format_number(rest),
                    "runs": self._runs("queries", query, total),
                    "exemplars": exemplars,
                }
            )
        return cards

    def _runs(self, side, row, shares):
        """Cut a text where tokens begin and end, and mark those with a share that counts."""
        tokens = self._tokens[side]
        text = tokens.texts[row]
        places = tokens.offsets[row]
        shown = places[:, 0] < places[:, 1]
        of = "score" if side == "exemplars" else "scores"
        top = np.abs(shares[shown]).max(initial=0.0)
        total = np.abs(shares[shown]).sum()
        runs = []
        end = 0
        for (start, stop), share in sorted(zip(places[shown].tolist(), shares[shown], strict=True)):
            if start < end:  # tokens that overlap, such as parts of one letter
                continue
            if start > end:
                runs.append(Run(text[end:start]))
            mark = _mark(share, top)
            title = ""
            if mark:
                title = f"{_percent(share, total)} among tokens, {share:+.3g} of the {of}"
            runs.append(Run(text[start:stop], mark, title))
            end = stop
        return [*runs, Run(text[end:])]


def _mark(share, top):
    """Choose the colour of a token; small shares have none."""
    size = abs(share)
    if size <= top / 8:
        return ""
    side = "above"
    if share < 0:
        side = "below"
    strength = 1
    if size >= top / 2:
        strength = 2
    return f"{side}{strength}"


def _summary(words):
    """Write what belongs to no token, and the largest proportions among the others.

    Proportions are those of shares that were added up for equal words, by the sum of the absolute
    shares of all tokens.
    """
    *of_tokens, (_, rest) = words
    text = f"of which {format_number(rest)} belongs to no token"
    total = sum(abs(share) for _, share in of_tokens)
    if total == 0:
        return text
    sums: dict[str, float] = {}
    for word, share in of_tokens:
        sums[word] = sums.get(word, 0.0) + share
    largest = sorted(sums.items(), key=lambda pair: -abs(pair[1]))[:_NAMED]
    named = [f"{word} {_percent(share, total)}" for word, share in largest]
    if len(sums) > len(named):
        named.append("...")
    return f"{text}; among tokens {', '.join(named)}"


def _percent(share, total):
    """Write a share as a proportion of a total that is positive, with its sign."""
    percent = 100 * share / total
    if abs(percent) >= 9.5:
        return f"{percent:+.0f} %"
    return f"{percent:+.1g} %"
