"""Whether a network of Hugging Face gets a mask that it was not given rows with.

Shapes in comments: B rows, T tokens.
"""

import inspect

import torch

from .._utils.modules import evaluation
from .._utils.rows import take_rows
from ._run import as_batch

# Scores that are lower than others by this much are 0 behind the softmax, in single precision.
_LEAST = -100


def masks_padding(module, forward, x, is_padding):
    """Run a few padded rows, and watch whether a mask leaves out their padding.

    A ``forward`` of the user's own may make the mask of the ids.

    Parameters
    ----------
    module : torch.nn.Module
        The network, which is one of Hugging Face or holds some.
    forward : callable
        ``forward(module, x)`` calls it.
    x : mapping or torch.Tensor
        Rows.
    is_padding : torch.Tensor of shape (n, T)
        Which of their tokens are padding.

    Returns
    -------
    bool
        Whether each call of a network of Hugging Face had a mask that leaves all padding out.
    """
    sizes = is_padding.sum(1)
    least = torch.where(sizes > 0, sizes, is_padding.shape[1] + 1).argmin()
    rows = torch.stack([least, sizes.argmax()]).unique()
    padding = is_padding[rows.to(is_padding.device)].cpu()
    seen = []

    def watch(inner, args, kwargs):
        seen.append(_leaves_out(_mask_of(inner, args, kwargs), padding))

    handles = []
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    with evaluation(module, device), torch.no_grad():
        try:
            for inner in _outermost(module):
                handles.append(inner.register_forward_pre_hook(watch, with_kwargs=True))
            forward(module, as_batch(take_rows(x, rows), module))
        except Exception:  # it comes up again where the rows themselves are read
            pass
        finally:
            for handle in handles:
                handle.remove()
    return bool(seen) and all(seen)


def _outermost(module):
    """List the networks of Hugging Face in a module that are in no other one."""
    found = {}
    for name, m in module.named_modules():
        inside = any(name.startswith(f"{outer}.") or not outer for outer in found)
        if not inside and hasattr(getattr(m, "config", None), "vocab_size"):
            found[name] = m
    return list(found.values())


def _mask_of(module, args, kwargs):
    """Find the mask that a network is called with; None where there is none."""
    try:
        given = inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):
        given = kwargs
    nested = given.get("kwargs", {})
    return given.get("attention_mask", nested.get("attention_mask"))


def _leaves_out(mask, padding):
    """Whether a mask (B, T), or one of pairs of tokens, keeps padding from all other tokens.

    Parameters
    ----------
    mask : torch.Tensor of shape (B, T), (B, T, T) or (B, heads, T, T), or None
        True or 1 where a token is read; or of pairs, what is added to their scores.
    padding : torch.Tensor of shape (B, T)
        Which tokens are padding.
    """
    if not isinstance(mask, torch.Tensor) or mask.ndim not in (2, 3, 4):
        return False
    added = mask.ndim == 4 and mask.is_floating_point()
    left_out = (mask <= _LEAST if added else mask == 0).cpu()
    if len(left_out) == 1:
        left_out = left_out.expand(len(padding), *left_out.shape[1:])
    if left_out.ndim == 4:
        left_out = left_out.all(1)
    if left_out.ndim == 3:
        if left_out.shape[:2] == padding.shape:  # padding itself may read padding
            left_out = left_out | padding[:, :, None]
        left_out = left_out.all(1)
    return left_out.shape == padding.shape and bool(left_out[padding].all())
