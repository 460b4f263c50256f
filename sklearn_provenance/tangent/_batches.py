"""From the user's arrays to batches on the network's device."""

import numpy as np
import torch

# Numbers that one batch may hold in layer factors (256 MB in single precision).
_BUDGET = 2**26


def as_batch(X, model):
    """A tensor on the network's device: floats in its precision, integers as they are."""
    if isinstance(X, torch.Tensor):
        x = X.detach()
        if x.is_inference():
            x = x.clone()  # autograd cannot keep it
    else:
        x = np.asarray(X)
        if x.dtype.kind not in "fiub":
            raise ValueError(f"X must be numeric, got an array of {x.dtype}.")
        takes = x.flags.writeable and min(x.strides, default=0) >= 0
        x = torch.as_tensor(x if takes else x.copy())
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"X must have at least one example, got shape {tuple(x.shape)}.")
    if x.is_floating_point():
        x = x.to(model.dtype)
        if not torch.isfinite(x).all():
            raise ValueError("X contains NaN or infinity, or numbers too large for the network.")
    return x.to(model.device)


def batch_size_for(model, batch_size):
    """Examples per pass; "auto" bounds what the layers' factors take."""
    if batch_size != "auto":
        return int(batch_size)
    numbers = 0
    for layer in model.layers:
        n_out, n_in = layer.shape
        if layer.route == "functional" or layer.positions > 1:
            numbers += n_out * n_in
        numbers += 2 * layer.positions * (n_out + n_in)
    return max(1, min(256, _BUDGET // numbers))
