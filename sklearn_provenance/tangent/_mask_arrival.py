"""Whether a network of Hugging Face gets a mask that it was not given rows with.

Shapes in comments: B rows, T tokens.
"""

import inspect

import torch

from .._utils.modules import evaluation
from .._utils.rows import take_rows
from ._run import as_batch


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
        Whether each call of a network of Hugging Face had a mask, and none of them kept all tokens.
    """
    rows = is_padding.any(1).nonzero()[:2, 0]
    seen = []

    def watch(inner, args, kwargs):
        seen.append(_leaves_out(_mask_of(inner, args, kwargs)))

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


def _leaves_out(mask):
    """Whether a mask (B, T), or one of pairs of tokens, leaves something out."""
    if not isinstance(mask, torch.Tensor):
        return False
    if mask.ndim == 2 or mask.dtype == torch.bool:
        return bool((mask == 0).any())
    return bool((mask != mask.max()).any())  # numbers that are added to scores
