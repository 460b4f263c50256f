"""Rows that are no numbers yet: texts, and other forms that belong before a module."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

_TOKENIZE = (
    "A module takes numbers: turn texts into tokens, as sklearn_provenance.text.tokenize("
    "tokenizer, texts) does, or put what makes numbers of texts before it"
)


def check_no_texts(X: Any, name: str = "X") -> None:
    """Raise if rows for a module are texts, or one mapping for each row.

    Parameters
    ----------
    X : object
        Rows.
    name : str, default="X"
        Name of the caller's argument.

    Raises
    ------
    ValueError
        If they are.
    """
    columns = text_columns(X)
    if columns:
        raise ValueError(
            f"{name} must be numeric; got a {type(X).__name__} with texts in {columns}. {_TOKENIZE}"
        )
    first = _first(X)
    kind = "an array" if isinstance(X, np.ndarray) else f"a {type(X).__name__}"
    if _is_text(first):
        raise ValueError(f"{name} must be numeric; got {kind} of texts. {_TOKENIZE}")
    if isinstance(first, Mapping):
        entries = ", ".join(f"{key!r}: ..." for key in first)
        raise ValueError(
            f"{name} must be one mapping of all rows, {{{entries}}}, whose entries have a row for "
            f"each; got {kind} of mappings. tokenizer(texts, padding=True, "
            'return_tensors="pt") makes one, as does tokenizer.pad(rows, return_tensors="pt")'
        )


def text_columns(X: Any) -> list:
    """List the columns of a data frame that hold texts; none where X is no data frame."""
    if not hasattr(X, "columns") or not hasattr(X, "__getitem__") or isinstance(X, Mapping):
        return []
    return [name for name in X.columns if _is_text(_first(X[name]))]


def _is_text(value):
    """Whether a value is a text, and not a number that is written as one."""
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False


def _first(values):
    """Return the first of rows that are a list, a column or an array of objects or texts."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "OU" or not values.size or isinstance(values, np.memmap):
            return None
        first = values.flat[0]
        # Scikit-learn speaks of other values in a table in words of its own.
        return first if values.ndim == 1 or isinstance(first, str) else None
    if hasattr(values, "columns") or isinstance(values, Mapping | torch.Tensor):
        return None
    if isinstance(values, list | tuple):
        return values[0] if values else None
    if hasattr(values, "to_numpy"):  # a column
        try:
            return next(iter(values), None)
        except TypeError:
            return None
    return None
