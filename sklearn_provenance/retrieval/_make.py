"""From a parameter to an index."""

from copy import deepcopy

from sklearn.base import clone

from ._exact import ExactIndex
from ._faiss import FaissIndex

_NAMED = {"exact": ExactIndex, "faiss": FaissIndex}


def make_index(index):
    """Return an index that may be built, from what a user gave as the parameter `index`.

    Parameters
    ----------
    index : {"exact", "faiss"}, object or None
        A name for :class:`ExactIndex` or :class:`FaissIndex` with their defaults, or an object with
        methods ``build(rows)``, that returns an index, and ``search(queries, k)``, that returns
        row numbers and inner products. None means no index.

    Returns
    -------
    object or None
        An index that is not built yet. Of an object it is a copy (:func:`sklearn.base.clone` if it
        has ``get_params``, :func:`copy.deepcopy` otherwise), so the user's own is left alone.

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
            raise ValueError(f"index must be {accepted}, got {index!r}.")
        return _NAMED[index]()
    if isinstance(index, type):
        raise TypeError(f"index must be {accepted}, got a class: give {index.__name__}().")
    if not all(callable(getattr(index, method, None)) for method in ("build", "search")):
        raise TypeError(f"index must be {accepted}, got {index!r}.")
    return clone(index) if hasattr(index, "get_params") else deepcopy(index)
