"""One pass of a network over rows, at one label or at several.

Shapes in comments: B rows of a batch, C classes.
"""

import torch

from ._batches import n_batch_rows
from ._network_layers import batch_size_for
from ._routes import restarted
from ._stream import joined_together, linearised_at


@restarted
def gradients_of(model, X, labels, decide, batch_size, memory_limit, together, progress):
    """Run the network over all rows, and keep the gradients that fit.

    Parameters
    ----------
    model : TangentModel
        The network.
    X : torch.Tensor or OnDemand, or a structure of them
        All rows.
    labels : list of torch.Tensor of shape (n_rows,) or None
        What rows are measured at, several times; None asks ``decide``.
    decide, batch_size
        As of :class:`TangentRows`.
    memory_limit : float
        Bytes that gradients at one label may take; otherwise none are kept.
    together : float
        Bytes that gradients at several labels may take; otherwise labels are left out, last first.
    progress : tqdm.tqdm
        Told of finished rows.

    Returns
    -------
    list of tuple
        For each of the first labels, as many as fit: labels (n_rows,) on the CPU, logits
        (n_rows, C) in double precision or None, norms (n_rows,), and kept gradients or None.
    """
    n = n_batch_rows(X)
    step = batch_size_for(model, batch_size, len(labels))
    n_labels = len(labels)
    measured = [[] for _ in labels]  # labels of each batch
    norms = [[] for _ in labels]
    kept = [[] for _ in labels]  # (rows, gradients) of each batch
    all_logits = []
    sizes = [0] * n_labels  # bytes kept at the first 1, 2, ... labels
    dtype = torch.float64 if memory_limit > 0 else None  # None keeps nothing
    progress.reset()
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        given = [None if one is None else one[rows] for one in labels[:n_labels]]
        found, logits, gradients = linearised_at(model, X, rows, given, decide, dtype=dtype)
        all_logits.append(logits)
        tensors = {}
        for place, one in enumerate(gradients):
            measured[place].append(found[place].cpu())
            norms[place].append(one.norms)
            if dtype is not None:
                kept[place].append((rows, one))
                tensors |= one.tensors()  # those that labels share count once
                sizes[place] += sum(tensor.nbytes for tensor in tensors.values())
        del gradients, tensors, one
        progress.update(len(found[0]))
        # What is kept so far says how many labels will fit.
        growth = n / rows.stop
        while n_labels > 1 and sizes[n_labels - 1] * growth > together:
            n_labels -= 1
            kept[n_labels].clear()
        if n_labels == 1 and sizes[0] * growth > memory_limit:
            dtype = None
            kept[0].clear()
    logits = None
    if all_logits[0] is not None:
        logits = torch.cat([part.cpu().double() for part in all_logits])
    blocks = [None] * n_labels
    if dtype is not None:
        blocks = joined_together(kept[:n_labels])
    results = []
    for place in range(n_labels):
        results.append((torch.cat(measured[place]), logits, torch.cat(norms[place]), blocks[place]))
    return results
