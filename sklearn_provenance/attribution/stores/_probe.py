"""A few rows that a store keeps, so that a network can be examined where its rows are not there."""

import io
from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import csr_array, issparse

from ..._utils.rows import n_rows, take_rows

# Rows that are kept.
_ROWS = 16


class Probe:
    """Inputs of a model for a few rows, in place of those of all rows.

    Parameters
    ----------
    inputs : object, default=None
        Inputs that were kept; None makes them of the rows that are asked for.
    """

    def __init__(self, inputs=None):
        self.inputs = inputs

    def __call__(self, model, X):
        """Return the kept inputs, or those that the model makes of some of the rows X."""
        if self.inputs is None:
            numbers = np.unique(np.linspace(0, n_rows(X) - 1, _ROWS).astype(int))
            self.inputs = model.inputs(take_rows(X, numbers))
        return self.inputs

    def to_bytes(self):
        """Return the inputs as bytes, without pickle; None where there are none."""
        if self.inputs is None:
            return None
        parts = self.inputs
        if not isinstance(parts, Mapping):
            parts = {"": parts}
        content = io.BytesIO()
        np.savez(content, **dict(_as_array(name, part) for name, part in parts.items()))
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content):
        """Read what :meth:`to_bytes` gave."""
        if content is None:
            return cls()
        parts = {}
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            for full in archive.files:
                kind, _, name = full.partition(":")
                parts[name] = _KINDS[kind](archive[full])
        return cls(parts[""] if set(parts) == {""} else parts)


_KINDS = {"array": np.asarray, "tensor": torch.as_tensor, "sparse": csr_array}


def _as_array(name, part):
    """Return the name of an entry, which says what it was, and its array."""
    if isinstance(part, torch.Tensor):
        return f"tensor:{name}", part.detach().cpu().numpy()
    if issparse(part):
        return f"sparse:{name}", part.toarray()
    if isinstance(part, np.ndarray) and not part.dtype.hasobject:
        return f"array:{name}", np.asarray(part)
    raise ValueError(
        "the model must take arrays, tensors, sparse matrices or a mapping of these for a store; "
        f"got {type(part).__name__}"
    )
