"""The last layer of an index branch, read a block of outputs at a time.

Shapes in comments: n rows, F features, K outputs, b outputs of a block.
"""

from typing import NamedTuple

import torch

from ..information._certainty import LogSums
from ..retrieval._largest import merge_largest

# Outputs of a block. It does not depend on the rows, so that their logits do not either.
BLOCK = 4096
# Matrix products of one to three rows round differently.
LEAST_ROWS = 16


class SomeOutputs(NamedTuple):
    """Weights of some outputs of a layer, of which slices are copied when they are asked for."""

    whole: torch.Tensor  # (n_outputs, ...)
    outputs: torch.Tensor  # (K,)

    def __len__(self):
        return len(self.outputs)

    def __getitem__(self, part):
        return self.whole[self.outputs[part]]


class Head(NamedTuple):
    """Outputs that may be named for some rows, and what their logits are computed from."""

    features: torch.Tensor  # (n, F)
    weight: torch.Tensor | SomeOutputs  # (K, F)
    bias: torch.Tensor | SomeOutputs  # (K,)
    hidden: torch.Tensor | None = None  # (n,), position that each row may not name; -1 for none

    def blocks(self):
        """Iterate over blocks of outputs: the first position, and logits (n, b)."""
        n_rows = len(self.features)
        features = self.features.float()
        if n_rows < LEAST_ROWS:
            repeated = torch.arange(LEAST_ROWS, device=features.device) % n_rows
            features = features[repeated]
        for start in range(0, len(self.weight), BLOCK):
            part = slice(start, start + BLOCK)
            logits = torch.addmm(self.bias[part], features, self.weight[part].T)[:n_rows]
            check_outputs(logits)
            if self.hidden is not None:
                position = self.hidden - start
                rows = (position >= 0) & (position < logits.shape[1])
                logits[rows, position[rows]] = -torch.inf
            yield start, logits

    def largest(self, k, with_sum=True):
        """Find the k outputs of largest logit, and sum the exponentials of all on the way.

        Returns
        -------
        logits : Tensor of shape (n, k)
            Largest first; -inf pads.
        positions : Tensor of shape (n, k)
            Of equal logits the lowest position comes first; -1 pads.
        log_sum : Tensor of shape (n,), float64, or None
            As :meth:`log_sum`; None without ``with_sum``.
        """
        shape = (len(self.features), k)
        device = self.features.device
        logits = torch.full(shape, -torch.inf, device=device)
        positions = torch.full(shape, -1, device=device)
        log_sum = None
        if with_sum:
            log_sum = no_sum(len(self.features), device)
        for start, block in self.blocks():
            logits, positions = merge_largest(logits, positions, block, start, 0)
            if with_sum:
                log_sum = torch.logaddexp(log_sum, block.logsumexp(1).double())
        logits, order = logits.sort(dim=1, descending=True, stable=True)
        positions = positions.gather(1, order)
        return logits, positions.masked_fill(logits.isneginf(), -1), log_sum

    def log_sum(self):
        """Sum the exponentials of all logits that are not hidden; return logarithms (n,)."""
        log_sum = no_sum(len(self.features), self.features.device)
        for _, block in self.blocks():
            log_sum = torch.logaddexp(log_sum, block.logsumexp(1).double())
        return log_sum

    def sums(self):
        """Compute the sums from which certainty and entropy follow, without hidden outputs."""
        sums = LogSums.none(len(self.features), self.features.device)
        for _, block in self.blocks():
            sums = sums.merged(LogSums.of(block))
        return sums

    def hidden_logits(self):
        """Compute the logits of hidden outputs (n,), -inf for none."""
        if self.hidden is None:
            return torch.full((len(self.features),), -torch.inf, device=self.features.device)
        position = self.hidden.clamp(min=0)
        logits = (self.features.float() * self.weight[position]).sum(1) + self.bias[position]
        return logits.masked_fill(self.hidden < 0, -torch.inf)


def no_sum(n_rows, device):
    """Return logarithms (n,) of the sums of no exponentials."""
    return torch.full((n_rows,), -torch.inf, dtype=torch.float64, device=device)


def check_outputs(outputs):
    """Raise if outputs of the network are NaN or infinite. -inf stands for no output."""
    if (outputs.isnan() | outputs.isposinf()).any():
        raise ValueError(
            "the network's outputs are NaN or infinite: its weights or the rows are too large. "
            "Fit it again with a smaller lr, or scale the rows"
        )
    return outputs
