"""From a parameter to a search index."""

from copy import deepcopy
from typing import Any

from sklearn.base import clone

from ._exact import ExactIndex
from ._faiss import FaissIndex

_NAMED = {"exact": ExactIndex, "faiss": FaissIndex}


def make_index(index: Any) -> Any:
    """Return a search index that may be built, from the value of the parameter `index`.

    Parameters
    ----------
    index : {"exact", "faiss"}, object or None
        The name of :class:`ExactIndex` or :class:`FaissIndex` with their defaults, or an object
        with two methods: ``build(rows)`` returns a search index, and ``search(queries, k)`` returns
        row numbers and inner products. None means no search index.

    Returns
    -------
    object or None
        A search index that is not built yet. An object is copied (by :func:`sklearn.base.clone` if
        it has ``get_params``, by :func:`copy.deepcopy` otherwise), so the user's is not changed.

    Raises
    ------
    ValueError
        If the name is not known.
    TypeError
        If the object lacks a method or is a class.

    Examples
    --------
    >>> from sklearn_provenance.retrieval import make_index
    >>> make_index("exact")
    ExactIndex()
    """
    accepted = "None, 'exact', 'faiss' or an object with build(rows) and search(queries, k)"
    if index is None:
        return None
    if isinstance(index, str):
        if index not in _NAMED:
            raise ValueError(f"index must be {accepted}; got {index!r}")
        return _NAMED[index]()
    if isinstance(index, type):
        raise TypeError(f"index must be {accepted}; got a class. Pass {index.__name__}()")
    if not all(callable(getattr(index, method, None)) for method in ("build", "search")):
        raise TypeError(f"index must be {accepted}; got {index!r}")
    if hasattr(index, "get_params"):
        return clone(index)
    return deepcopy(index)
