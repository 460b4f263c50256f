"""Compute outputs of provenance networks without automatic mixed precision.

Shapes in comments: B rows, T targets.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


def class_branch(module, x):
    """Compute class logits (B, C) of a provenance network with two branches."""
    with _single_precision(module):
        return module.class_logits(x)


@dataclass(frozen=True)
class SingleBranch:
    """Class logits of a single-branch network: logsumexp over each class's index logits."""

    labels: np.ndarray  # (n_outputs,), the class of each output
    n_classes: int

    def __call__(self, module, x):
        """Compute logits (B, C)."""
        with _single_precision(module):
            logits = module(x).index_logits  # (B, n_outputs)
        columns = [torch.as_tensor(self.labels == c) for c in range(self.n_classes)]
        return torch.stack([logits[:, own].logsumexp(1) for own in columns], 1)


@dataclass(frozen=True)
class OutputBranch:
    """Targets of a regression network in the units of y."""

    mean: np.ndarray  # (T,), of the training targets
    scale: np.ndarray  # (T,), their standard deviations

    def __call__(self, module, x):
        """Compute predictions (B, T)."""
        with _single_precision(module):
            values = module.values(x)  # standardised
        mean = torch.as_tensor(self.mean).to(values)
        scale = torch.as_tensor(self.scale).to(values)
        return mean + scale * values


@contextmanager
def _single_precision(module):
    """Switch off the automatic mixed precision of a provenance network."""
    amp_dtype = module.amp_dtype
    if amp_dtype is None:
        yield
        return
    try:
        module.amp_dtype = None
        yield
    finally:
        module.amp_dtype = amp_dtype
