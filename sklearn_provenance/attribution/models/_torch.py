"""Bare torch modules."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..._utils.dask_rows import DaskRows
from ..._utils.numeric import as_numbers, is_integer
from ..._utils.rows import n_rows, take_rows
from ...tangent._module import check_outputs
from ...tangent._outputs import check_finite
from ...tangent._read_logits import ReadLogits, call_module
from ...tangent._run import run
from ...tangent._sequences import check_sequences
from ._base import ROWS_PER_BATCH, FittedModel, adapt


@dataclass(frozen=True, eq=False)
class TorchModel(FittedModel):
    """A module of the user's own."""

    def inputs(self, X):
        """Return tensors as they are, arrays as floats, or as integers if the module takes them."""
        if isinstance(X, DaskRows) and X.dtype.kind in "iu":
            first = self._integers_or_floats(as_numbers(X[:1]))
            if first.is_floating_point():
                return X.astype(np.float32)
        x = as_numbers(X)
        check_sequences(self.module, x, self.forward or call_module)
        as_it_is = isinstance(X, torch.Tensor | Mapping)
        if as_it_is or isinstance(x, np.ndarray) or not is_integer(x):
            return x
        return self._integers_or_floats(x)

    def predict(self, X):
        """Predict labels."""
        inputs = self.inputs(X)
        labels = []
        for i in range(0, n_rows(inputs), ROWS_PER_BATCH):
            logits = run(self, take_rows(inputs, slice(i, i + ROWS_PER_BATCH)))
            check_finite(logits, "logits", i)
            labels.append(self.decide(logits).cpu().numpy())
        labels = np.concatenate(labels)
        if self.classes is not None:
            labels = self.classes[labels]
        return labels

    def _integers_or_floats(self, x):
        """Turn an array of integers into what the module takes: token ids, or numbers."""
        check_outputs(self.module)  # before it runs: some modules would change
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


@adapt.register(nn.Module)
def _(estimator):
    return TorchModel(estimator, module=estimator, forward=ReadLogits())
