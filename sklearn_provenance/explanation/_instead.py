"""What an explanation shows in place of the rows that the model takes, such as their texts."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse

from .._utils.arguments import ROWS, check_readable, missing_labels
from .._utils.rows import n_rows, shown
from ._checks import from_list
from ._rows import shorten


class Instead(NamedTuple):
    """Rows that ``explain`` was given to show, checked before anything is computed."""

    show: object
    show_queries: object
    of_queries: object  # the texts of queries that keep them
    among_train: bool

    @classmethod
    def of(cls, X, show, show_queries, n_train, n_queries=None):
        """Check what is to be shown.

        Parameters
        ----------
        X : array-like or None
            Queries; None for the training rows.
        show, show_queries : array-like or None
            The arguments of ``explain``.
        n_train : int or None
            Number of training rows; None where it is unknown.
        n_queries : int, default=None
            Number of queries; None counts the rows of X.

        Returns
        -------
        Instead
            They, in forms whose rows can be taken.

        Raises
        ------
        TypeError
            If one of them holds no rows, such as a single text.
        ValueError
            If one of them has another number of rows, a row is missing, or they are not alike.
        """
        if show is not None:
            show = _checked("show", show, n_train, "training row")
        if show_queries is not None:
            if n_queries is None:
                n_queries = n_train if X is None else n_rows(X)
            show_queries = _checked("show_queries", show_queries, n_queries, "query")
        if show is not None and show_queries is not None:
            _check_alike(show, show_queries)
        return cls(show, show_queries, getattr(X, "texts", None), X is None)

    def applied_to(self, explanation):
        """Return an explanation that shows them.

        Raises
        ------
        ValueError
            If what is shown of queries has another shape than what is shown of training rows.
        """
        if self.show is None and self.show_queries is None:
            return explanation
        show, queries = self.show, self.show_queries
        if show is None:
            show = explanation.training_data
        if queries is None:
            queries = show if self.among_train else self.of_queries
            if show is None or (queries is not None and _shape(queries) != _shape(show)):
                queries = None  # texts that queries keep, beside rows of another kind
        elif show is not None:
            _check_alike(show, queries)
        return explanation.shown_as(show, queries)


def _checked(name, rows, n, of):
    """Return rows to show, one for each training row or query."""
    wanted = f"{name} must hold what is shown of each {of}, such as a list of texts"
    if n is not None:
        wanted = f"{wanted}, {n} in all"
    check_readable(rows, name)
    if not ROWS.is_satisfied_by(rows):
        raise TypeError(f"{wanted}; got {_described(rows)}")
    if isinstance(rows, list | tuple):
        rows = from_list(rows)  # where rows have several lengths, too
    given = _described(rows)
    try:
        data = shown(rows).parts[0]
        count = n_rows(rows)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{wanted}; got {given}, which cannot be read: {error}") from error
    if data is None or not np.shape(data):
        raise TypeError(f"{wanted}; got {given}, without a table of rows or texts")
    if n is not None and count != n:
        raise ValueError(f"{wanted}; got {count}")
    if len(data.shape) == 1 and np.asarray(data).dtype.kind == "O":  # texts, as a rule
        missing = np.flatnonzero(missing_labels(np.asarray(data)))
        if len(missing):
            raise ValueError(
                f"{name} has no value at row {missing[0]} (None or nan; {len(missing)} in all); "
                "write an empty text where nothing is to be shown"
            )
    return rows


def _check_alike(show, queries):
    """Raise unless queries are shown beside training rows of their kind."""
    if _shape(queries) != _shape(show):
        raise ValueError(
            "show_queries must hold rows like those that are shown of training rows, "
            f"{_in_words(show)} each; got {_in_words(queries)} each. Pass both show and "
            "show_queries, and both as texts, or as rows of one shape"
        )


def _shape(rows):
    """Return the shape of one row; () where it is a text."""
    return tuple(shown(rows).parts[0].shape[1:])


def _in_words(rows):
    shape = _shape(rows)
    return f"values of shape {shape}" if shape else "one text or value"


def _described(rows):
    """Say what was given in place of rows."""
    if isinstance(rows, str | bytes):
        return f"the single text {shorten(str(rows), 40)!r}"
    if isinstance(rows, Mapping) and not issparse(rows):
        return f"a mapping of {shorten(str(list(rows)), 60)}"
    if isinstance(rows, list | tuple | np.ndarray) and len(np.shape(rows)) and not len(rows):
        return "nothing"
    return shorten(repr(rows), 60) if np.isscalar(rows) else f"a {type(rows).__name__}"
