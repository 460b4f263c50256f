"""Search indexes over the outputs of an index branch.

Search indexes find rows x of largest |q·x|; an index branch names outputs of largest logit
h·w + b, with its sign. An output becomes the row (w, b, R), and a query the vector (h, 1, r). R is
at least the length of the longest (w, b), and r that of (h, 1). Their product is the logit plus
R r, which is never negative: the largest products are the largest logits. R and r are powers of
two, so that adding them rounds little, and equal logits remain equal.
"""

import numpy as np
import torch

from ..retrieval import make_index


class HeadSearch:
    """Search indexes over the outputs of each class, or over all, built when they are needed.

    Parameters
    ----------
    index : object
        Value of the parameter ``index`` of an estimator.
    """

    def __init__(self, index):
        make_index(index)  # raises where it is none
        self.index = index
        self._built = {}

    def __getstate__(self):
        return {"index": self.index, "_built": {}}  # rows are those of the network

    def largest(self, head, label, k):
        """Find the k outputs of largest logit, as :meth:`Head.largest` without sums.

        Parameters
        ----------
        head : Head
            Features of the queries, and the outputs.
        label : int or None
            The class whose outputs these are; None for all outputs.
        k : int
            Outputs to find.

        Returns
        -------
        logits : Tensor of shape (n, k), float64
            Largest first; -inf pads.
        positions : Tensor of shape (n, k)
            -1 pads.
        """
        if label not in self._built:
            self._built[label] = _build(self.index, head)
        search, longest = self._built[label]
        features = head.features.double().cpu().numpy()  # (n, F)
        queries = np.column_stack([features, np.ones(len(features))])  # (n, F + 1)
        lengths = _power_of_two(np.linalg.norm(queries, axis=1))
        wanted = k
        if head.hidden is not None:
            wanted += 1
        wanted = min(wanted, len(head.weight))
        found, products = search.search(np.column_stack([queries, lengths]), wanted)
        device = head.features.device
        positions = torch.as_tensor(found, device=device)
        logits = torch.as_tensor(products - longest * lengths[:, None], device=device)
        logits = logits.masked_fill(positions < 0, -torch.inf)
        if head.hidden is not None:
            logits = logits.masked_fill(positions == head.hidden[:, None], -torch.inf)
        logits, order = logits.sort(dim=1, descending=True, stable=True)
        positions = positions.gather(1, order).masked_fill(logits.isneginf(), -1)
        missing = max(0, k - wanted)
        logits = torch.nn.functional.pad(logits[:, :k], (0, missing), value=-torch.inf)
        return logits, torch.nn.functional.pad(positions[:, :k], (0, missing), value=-1)


def _build(index, head):
    """Build a search index over outputs; return it with the length of the longest."""
    outputs = torch.cat([head.weight, head.bias[:, None]], 1).float().cpu().numpy()  # (K, F + 1)
    squares = np.einsum("ij,ij->i", outputs, outputs, dtype=np.float64)
    longest = _power_of_two(np.sqrt(squares.max()))
    rows = np.column_stack([outputs, np.full(len(outputs), longest, dtype=np.float32)])
    return make_index(index).build(rows), longest


def _power_of_two(lengths):
    """Return powers of two that are larger than lengths."""
    return np.ldexp(1.0, np.frexp(lengths)[1])
