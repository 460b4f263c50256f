"""Ids that a table of embeddings has no row for: errors that name the table.

Shapes in comments: T ids of a row.
"""

import traceback
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F

_TABLES = (nn.Embedding, nn.EmbeddingBag)
_LOOK_UPS = (F.embedding.__code__, F.embedding_bag.__code__)


class IdsOutsideError(ValueError):
    """A table is asked for a row that it does not have."""


@contextmanager
def ids_named(module):
    """Raise an error that names the table where a call of a module looks up what is no row of it.

    Parameters
    ----------
    module : torch.nn.Module
        The module that is called.

    Raises
    ------
    ValueError
        In place of torch's error, if an id is negative or not below the number of rows.
    """
    try:
        yield
    except (IndexError, RuntimeError) as error:  # the latter for bags of embeddings
        named = _named(error, module)
        if named is None:
            raise
        raise named from error


@contextmanager
def ids_looked_at(module):
    """Look at ids before a GPU looks them up, where an error would end the use of the GPU.

    On the CPU there is nothing to do, because :func:`ids_named` names the error that torch raises.

    Parameters
    ----------
    module : torch.nn.Module
        The module that is called. It may not be copied meanwhile, because it has hooks.

    Raises
    ------
    ValueError
        If an id is negative or not below the number of rows.
    """
    handles = []
    try:
        if not _on_cpu(module):
            handles = _watched(module)
        yield
    finally:
        for handle in handles:
            handle.remove()


def _on_cpu(module):
    return all(p.device.type == "cpu" for p in module.parameters())


def _watched(module):
    """Look at the ids of each call of a table from now on; return what ends this."""
    handles = []
    for name, m in module.named_modules():
        # A table with a forward of its own takes what may not be ids.
        if isinstance(m, _TABLES) and type(m).forward in (t.forward for t in _TABLES):
            handles.append(m.register_forward_pre_hook(_Look(name)))
    return handles


class _Look:
    """A hook that raises where the ids that a table is called with are no rows of it."""

    def __init__(self, name):
        self.name = name

    def __call__(self, module, args):
        if torch.compiler.is_compiling() or not args or not isinstance(args[0], torch.Tensor):
            return
        ids = args[0]
        if torch._C._functorch.is_functorch_wrapped_tensor(ids) or not ids.numel():
            return
        if int(ids.min()) < 0 or int(ids.max()) >= module.num_embeddings:
            raise _error(repr(self.name), module.num_embeddings, ids)


def _named(error, module):
    """Make the error of a lookup by the frames that it went through, or None."""
    owner = found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        values = frame.f_locals
        if isinstance(values.get("self"), _TABLES):
            owner = values["self"]
        if frame.f_code in _LOOK_UPS:
            found = values
    if found is None:
        return None
    weight = found["weight"]
    names = [repr(name) for name, m in module.named_modules() if m is owner]
    names += [repr(name) for name, p in module.named_parameters() if p is weight]
    ids = _plain(found["input"])
    n_rows = weight.shape[-2]
    if ids.is_floating_point() or not ids.numel():
        return None
    if int(ids.min()) >= 0 and int(ids.max()) < n_rows:
        return None
    return _error(names[0] if names else type(owner).__name__, n_rows, ids)


def _plain(ids):
    """Return the tensor that torch.func has wrapped, maybe several times."""
    while torch._C._functorch.is_functorch_wrapped_tensor(ids):
        ids = torch._C._functorch.get_unwrapped(ids)
    return ids


def _error(name, n_rows, ids):
    """Make the error of a table with so many rows that is asked for ids."""
    least = int(ids.min())
    most = int(ids.max())
    if least < 0:
        what = "Ids count from 0: give padding an id of the table, and mask it"
    elif _are_positions(ids):
        fitting = n_rows - least
        what = (
            f"These are the positions of rows of {ids.shape[-1]} tokens, of which there may be "
            f"{fitting}: cut longer texts, as a tokenizer does with truncation=True, "
            f"max_length={fitting}"
        )
    else:
        what = (
            "If they are tokens, use the tokenizer that belongs to the network, or give tokens "
            "that were added to it rows, as model.resize_token_embeddings(len(tokenizer)) does. If "
            f"they are positions, cut longer texts by truncation=True, max_length={n_rows} of the "
            "tokenizer"
        )
    return IdsOutsideError(
        f"the ids that the embedding {name} looks up must be from 0 to {n_rows - 1}, its rows; "
        f"got {least} to {most}. {what}"
    )


def _are_positions(ids):
    """Whether ids (T,) or (..., T) count up by one in each row, and are the same in all rows."""
    if ids.ndim == 0 or ids.shape[-1] < 2:
        return False
    rows = ids.reshape(-1, ids.shape[-1])
    return bool((rows.diff(dim=1) == 1).all()) and bool((rows == rows[:1]).all())
