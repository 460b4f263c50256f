"""Features that rows share, as they are shown: the largest parts, in words and marked in texts."""

import re
from typing import NamedTuple

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from ._contributions import INTERCEPT
from ._rows import format_number

N_PARTS = 8  # features that are named and marked for an exemplar


def largest(parts, n=None):
    """Return the parts that are not zero, those of largest absolute value first.

    Parameters
    ----------
    parts : dict of str to float
        Parts by name.
    n : int, default=None
        How many to return at most; None returns all.

    Returns
    -------
    list of (str, float)
        Names and parts.
    """
    found = [(name, part) for name, part in parts.items() if part]
    return sorted(found, key=lambda pair: -abs(pair[1]))[:n]


def together(parts):
    """Add the parts of all exemplars of a query.

    Parameters
    ----------
    parts : list of list of (str, float)
        Of each exemplar.

    Returns
    -------
    list of (str, float)
        The sums that are not zero, those of largest absolute value first.
    """
    sums = {}
    for of_exemplar in parts:
        for name, part in of_exemplar:
            sums[name] = sums.get(name, 0.0) + part
    return largest(sums)


def totals(parts, names):
    """Add the absolute values of parts, feature by feature.

    Parameters
    ----------
    parts : iterable of list of (str, float)
        Of all pairs that are shown.
    names : list of str
        Names of the columns of a table.

    Returns
    -------
    ndarray of shape (n_columns,)
        0 for columns that no pair shares.
    """
    sums = {}
    for of_pair in parts:
        for name, part in of_pair:
            sums[name] = sums.get(name, 0.0) + abs(part)
    return np.array([sums.get(name, 0.0) for name in names])


def shared_text(parts):
    """Write parts on one line, such as "river +0.31, bird -0.1".

    Parameters
    ----------
    parts : list of (str, float)
        Names and parts.

    Returns
    -------
    str
        "" where there are none.
    """
    return ", ".join(f"{name} {'+' * (part > 0)}{format_number(part)}" for name, part in parts)


class Run(NamedTuple):
    """A stretch of text.

    Parameters
    ----------
    text : str
        Its letters.
    mark : str, default=""
        "above1" or "above2" where it raises the inner product, "below1" or "below2" where it
        lowers it, 2 if by at least half of the largest part; "common" where the other text has it.
    share : str, default=""
        What it adds, shown where the mouse rests on a mark.
    """

    text: str
    mark: str = ""
    share: str = ""


def mark_words(text, parts):
    """Cut a text where words begin and end that are the names of parts.

    Parameters
    ----------
    text : str
        What is shown.
    parts : list of (str, float)
        Names and parts; a name of several words stands for them in this order, and capitals count
        as small letters.

    Returns
    -------
    list of Run
        Which are the text when they are joined.
    """
    sizes = {
        " ".join(_words(name)): part for name, part in parts if _words(name) and name != INTERCEPT
    }
    top = max(map(abs, sizes.values()), default=0.0)
    marks = {}
    for name, part in sizes.items():
        side = "above" if part > 0 else "below"
        marks[name] = f"{side}{2 if abs(part) >= top / 2 else 1}"
    return _mark(text, marks)


def mark_common(text, words):
    """Cut a text where words begin and end that another text has, too.

    Parameters
    ----------
    text : str
        What is shown.
    words : set of str
        Words in small letters, as :func:`common_words` returns them.

    Returns
    -------
    list of Run
        Which are the text when they are joined.
    """
    return _mark(text, dict.fromkeys(words, "common"))


def common_words(one, other):
    """Return the words of three letters or more that two texts have in common.

    Parameters
    ----------
    one, other : str
        Texts; capitals count as small letters.

    Returns
    -------
    set of str
        In small letters, without the words that scikit-learn skips in English texts.
    """
    common = set(_words(one)) & set(_words(other))
    return {word for word in common if len(word) >= 3} - ENGLISH_STOP_WORDS


def _mark(text, marks):
    """Cut a text where words begin and end that have marks, by their small letters."""
    if not marks or not text:
        return [Run(text)] if text else []
    longest_first = sorted(marks, key=len, reverse=True)
    choices = "|".join(r"\W+".join(map(re.escape, name.split())) for name in longest_first)
    runs, end = [], 0
    for match in re.finditer(rf"(?<!\w)(?:{choices})(?!\w)", text, re.IGNORECASE):
        mark = marks.get(" ".join(_words(match.group())))
        if mark is None:  # a letter that has no single small letter
            continue
        if match.start() > end:
            runs.append(Run(text[end : match.start()]))
        runs.append(Run(match.group(), mark))
        end = match.end()
    if end < len(text):
        runs.append(Run(text[end:]))
    return runs


def _words(name):
    """Return the words of a name, in small letters."""
    return re.findall(r"\w+", name.lower())
