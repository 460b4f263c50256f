"""Rows as users give them: checked, and as an Explanation shows them."""

from collections.abc import Mapping
from hashlib import sha256

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils.validation import validate_data

from ..._utils.rows import n_rows


def check_rows(attributor, X, reset=False):
    """X as something with one or more rows, a list as an array; the model checks what it holds.

    The attributor compares the number and names of features, or remembers them with ``reset``.
    """
    if issparse(X):
        X = X.tocsr()
    elif not hasattr(X, "shape") and not isinstance(X, Mapping):
        X = np.asarray(X)
    shape = getattr(X, "shape", None)
    if not isinstance(X, Mapping):
        kind = getattr(getattr(X, "dtype", None), "kind", "f" if shape is not None else "O")
        if shape is not None and (len(shape) == 0 or (len(shape) == 1 and kind in "fiubc")):
            raise ValueError(
                f"X must have a row per example, got an array of shape {tuple(shape)}. Reshape "
                "your data with X.reshape(1, -1) if it is one example"
            )
        validate_data(attributor, X, skip_check_array=True, reset=reset)
    if not n_rows(X):
        raise ValueError("Found array with 0 sample(s): X has no rows")
    return X


def content_digest(X, y):
    """Digest of queries and labels, or None for what is no array of numbers."""
    digest = sha256()
    parts = [X.data, X.indices, X.indptr] if issparse(X) else [X]
    for part in [*parts, () if y is None else y]:
        if isinstance(part, torch.Tensor):
            if part.dtype == torch.bfloat16:  # NumPy has no such numbers
                return None
            part = part.detach().cpu()
        elif not isinstance(part, np.ndarray | list | tuple):
            return None
        part = np.asarray(part)
        if part.dtype.hasobject:
            return None
        digest.update(repr((part.dtype.str, part.shape)).encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    return type(X), getattr(X, "shape", None), y is None, digest.digest()
