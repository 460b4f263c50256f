"""Bare torch modules."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import issparse
from torch import nn

from ..._utils.rows import n_rows, take_rows
from ...tangent._module import check_module
from ...tangent._outputs import check_finite
from ...tangent._read_logits import ReadLogits
from ._base import FittedModel, adapt, as_given
from ._run import run

_ROWS_PER_BATCH = 256


@dataclass(frozen=True, eq=False)
class TorchModel(FittedModel):
    """A module of the user's own."""

    def inputs(self, X):
        """Tensors as they are; arrays as floats, or as integers where the module takes those."""
        x = as_numbers(X)
        if isinstance(X, torch.Tensor | Mapping) or not is_integer(x):
            return x
        return self._integers_or_floats(x)

    def predict(self, X):
        """Predict labels."""
        inputs = self.inputs(X)
        labels = []
        for i in range(0, n_rows(inputs), _ROWS_PER_BATCH):
            logits = run(self, take_rows(inputs, slice(i, i + _ROWS_PER_BATCH)))
            check_finite(logits, "logits", i)
            labels.append(self.decide(logits).cpu().numpy())
        labels = np.concatenate(labels)
        return labels if self.classes is None else self.classes[labels]

    def _integers_or_floats(self, x):
        """An array of integers may hold token ids or numbers; the module says which it takes."""
        check_module(self.module)  # before it runs: some modules would change
        kinds = [torch.float32, torch.int64]
        if any(isinstance(m, nn.Embedding | nn.EmbeddingBag) for m in self.module.modules()):
            kinds.reverse()
        for kind in kinds:
            try:
                run(self, x[:1].to(kind))
            except Exception:
                continue
            return x.to(kind)
        return x.to(kinds[0])  # where the module's own error comes up again


def as_numbers(X):
    """Numbers that a module may take.

    Parameters
    ----------
    X : array-like, tensor, data frame, sparse matrix, or a Mapping of arrays and tensors
        Rows.

    Returns
    -------
    ndarray, torch.Tensor, csr matrix or dict of torch.Tensor
        Tensors as they are. Floats in single precision unless they are in double, integers as a
        tensor, which stays one.

    Raises
    ------
    ValueError
        If X is not numeric.
    """
    X = as_given(X)
    if isinstance(X, Mapping):
        x = {key: _as_tensor(as_numbers(value)) for key, value in X.items()}
        n_rows(x)  # raises if the entries disagree
        return x
    if isinstance(X, torch.Tensor):
        return X
    X = X.tocsr() if issparse(X) else _as_array(X)
    if X.dtype.kind in "iu" and not issparse(X):
        unknown_to_torch = X.dtype.kind == "u" and X.dtype.itemsize > 1
        return _as_tensor(X.astype(np.int64) if unknown_to_torch else X)
    if X.dtype.kind == "f" and X.dtype.itemsize >= 8:
        return X.astype(np.float64, copy=False)
    return X.astype(np.float32, copy=False)


def is_integer(x):
    """Whether rows are a tensor of integers."""
    return isinstance(x, torch.Tensor) and not x.is_floating_point() and x.dtype != torch.bool


def _as_tensor(x):
    if isinstance(x, torch.Tensor):
        return x
    return torch.tensor(np.ascontiguousarray(x.toarray() if issparse(x) else x))


def _as_array(X):
    try:
        # Rows of a memory map are read when they are needed.
        X = X if isinstance(X, np.memmap) else np.asarray(X)
        if X.dtype == object:
            X = X.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"X must be numeric, with rows of one shape; got {type(X).__name__}: {error}"
        ) from error
    if X.dtype.kind not in "fiub":
        raise ValueError(
            f"X must be numeric; got an array of {X.dtype}. A module takes numbers: put what makes "
            "numbers of texts, such as a tokenizer, before it"
        )
    return X


@adapt.register(nn.Module)
def _(estimator):
    return TorchModel(estimator, module=estimator, forward=ReadLogits())
