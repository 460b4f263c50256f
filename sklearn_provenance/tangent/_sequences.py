"""What networks of Hugging Face do not say, or say in words of their own, about rows of tokens."""

import inspect
import warnings
from collections.abc import Mapping

import torch
from torch import nn

from ._mask_arrival import masks_padding
from ._read_logits import call_module


def check_sequences(module, x, forward=call_module):
    """Refuse rows of tokens that a network has no weights for, and warn of padding without a mask.

    Nothing is looked at where the network has no ``config``, as those of Hugging Face have, or rows
    hold no token ids.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    x : mapping or torch.Tensor
        Rows: with ``input_ids``, or token ids themselves.
    forward : callable, default=call_module
        ``forward(module, x)`` calls the network, maybe with a mask that it makes itself.

    Raises
    ------
    ValueError
        If a token id is outside of the vocabulary, rows are longer than learned positions, the mask
        does not fit the tokens, or a classifier does not know the token for padding.

    Warns
    -----
    UserWarning
        If rows end in padding and there is no mask, or padding takes the first learned positions.
    """
    config = _config_of(module)
    is_mapping = isinstance(x, Mapping)
    ids = x.get("input_ids") if is_mapping else x
    if config is None or not isinstance(ids, torch.Tensor):
        return
    if ids.ndim != 2:
        _check_axes(module, config, ids)
        return
    if is_mapping and ids.is_floating_point():
        raise ValueError(
            f"input_ids must be integers, the numbers of tokens; got {ids.dtype}. Numbers that "
            "stand for tokens already, such as hidden states, are inputs_embeds"
        )
    if ids.is_floating_point() or not ids.numel():
        return
    _check_vocabulary(module, ids)
    _check_length(module, config, ids, x)
    if not is_mapping or x.get("attention_mask") is None:
        _warn_of_padding(module, config, forward, x, ids)
        return
    mask = x["attention_mask"]
    if isinstance(mask, torch.Tensor) and mask.ndim == 2:
        check_mask(mask, ids)
        _check_padding(module, config, ids, mask == 0)
        if x.get("position_ids") is None:
            _warn_of_shifted_positions(module, config, mask)


def _check_axes(module, config, ids):
    """Raise if token ids have no axis of rows and one of tokens; a choice of texts has one more."""
    several = any(type(m).__name__.endswith("ForMultipleChoice") for m in module.modules())
    if getattr(module, "config", None) is not config or several or ids.is_floating_point():
        return
    raise ValueError(
        f"token ids must have the shape (n_rows, n_tokens); got {tuple(ids.shape)}. Pass several "
        'inputs, such as ids and a mask, as a mapping: {"input_ids": ..., "attention_mask": ...}'
    )


def check_mask(mask, ids):
    """Raise unless a mask (B, T) says of each row of ids (B, T) what is read of it."""
    if mask.shape != ids.shape:
        raise ValueError(
            f"attention_mask must have the shape of input_ids, {tuple(ids.shape)}; got "
            f"{tuple(mask.shape)}. Pad and cut both together, as tokenizers do"
        )
    empty = (mask == 0).all(1)
    if empty.any():
        raise ValueError(
            "attention_mask must leave a token in each row, because the network would read "
            f"nothing; got none in row {int(empty.nonzero()[0, 0])}. Leave empty texts out"
        )


def _config_of(module):
    """Return the configuration of a network of Hugging Face, maybe inside of others."""
    for m in module.modules():
        config = getattr(m, "config", None)
        if hasattr(config, "vocab_size"):
            return config
    return None


def _table_of_words(module):
    """Find the table of words, as networks of Hugging Face name it; None where there is none.

    Of a network that does not name it, the largest table is meant if it has as many rows.
    """
    for m in module.modules():
        n_words = getattr(getattr(m, "config", None), "vocab_size", None)
        if n_words is None:
            continue
        try:
            table = m.get_input_embeddings()
        except (AttributeError, NotImplementedError):
            tables = [t for t in m.modules() if isinstance(t, nn.Embedding)]
            table = max(tables, key=lambda t: t.num_embeddings, default=None)
            if table is not None and table.num_embeddings < n_words:
                table = None
        return table if isinstance(table, nn.Embedding) else None
    return None


def _check_vocabulary(module, ids):
    """Raise if a token id is no row of the table of words."""
    table = _table_of_words(module)
    if table is None:  # the upper part of a network has no such table
        return
    n_words = table.num_embeddings
    outside = (ids < 0) | (ids >= n_words)
    if outside.any():
        row = int(outside.any(1).nonzero()[0, 0])
        raise ValueError(
            f"token ids must be from 0 to {n_words - 1}, the vocabulary of the network; got "
            f"{int(ids[outside][0])} in row {row}. Use the tokenizer that belongs to the network; "
            "if tokens were added to it, call model.resize_token_embeddings(len(tokenizer)) and "
            "train the network"
        )


def _table_of_positions(module, config):
    """Find the table of positions, where positions are learned; None where they are not."""
    most = getattr(config, "max_position_embeddings", None)
    words = _table_of_words(module)
    for table in module.modules():
        if not isinstance(table, nn.Embedding) or table is words:
            continue
        # OPT and BART leave the first rows of the table unused.
        if table.num_embeddings - getattr(table, "offset", 0) == most:
            return table
    return None


def _counts_by_mask(table):
    """Whether a table, as that of OPT, counts positions by the mask, which it is called with."""
    return "attention_mask" in inspect.signature(type(table).forward).parameters


def _check_length(module, config, ids, x):
    """Raise if rows are longer than the table of positions, where positions are learned.

    A module around a network of Hugging Face may cut rows, and positions may be given: then an
    error of the table itself says that rows are too long.
    """
    if getattr(module, "config", None) is not config:
        return
    mask = None
    if isinstance(x, Mapping):
        mask = x.get("attention_mask")
        if x.get("position_ids") is not None:
            return
    table = _table_of_positions(module, config)
    if table is None:
        return
    most = table.num_embeddings - getattr(table, "offset", 0)
    n_tokens = ids.shape[1]
    if table.padding_idx is not None:  # positions count from behind it, as in RoBERTa
        most -= table.padding_idx + 1
    elif _counts_by_mask(table) and isinstance(mask, torch.Tensor):
        n_tokens = int(mask.sum(1).max())
    if n_tokens > most:
        raise ValueError(
            f"rows must have at most {most} tokens, the positions that the network knows; got "
            f"{n_tokens}. Cut longer texts, as a tokenizer does with truncation=True, "
            f"max_length={most}"
        )


def _warn_of_padding(module, config, forward, x, ids):
    """Warn if rows end, or begin, in the token for padding.

    One such token may be part of a text, unless other rows have none. Where the network names no
    token for padding, that for the end of a text is the usual one. Nothing is said where the
    network makes a mask of the ids, which a pass of some padded rows shows.
    """
    padding = getattr(config, "pad_token_id", None)
    may_be_text = padding is None
    if padding is None:
        padding = getattr(config, "eos_token_id", None)
    if not isinstance(padding, int):
        return
    is_padding = ids == padding
    for side, edge in {"end": is_padding[:, -2:], "begin": is_padding[:, :2]}.items():
        padded = edge[:, -1] if side == "end" else edge[:, 0]
        some = padded.any() and not padded.all() and not may_be_text
        if some or (edge.shape[1] == 2 and edge.all(1).any()):
            if masks_padding(module, forward, x, is_padding & padded[:, None]):
                return
            # The warning names this line, so that it is shown once.
            warnings.warn(
                f"some rows of input_ids {side} in {padding}, the token for padding, and there is "
                "no attention_mask, so the network reads padding as text. Pass a mapping with the "
                "attention_mask, as tokenizers return it",
                UserWarning,
                stacklevel=1,
            )
            return


def _check_padding(module, config, ids, padded):
    """Raise where a classifier reads the last token that is no padding, and finds another one."""
    reads_last = any(
        hasattr(m, "score") and type(m).__name__.endswith("ForSequenceClassification")
        for m in module.modules()
    )
    if not reads_last:
        return
    padding = getattr(config, "pad_token_id", None)
    if padding is None and len(ids) > 1:
        raise ValueError(
            "config.pad_token_id of the network must be set, because the class is read at the last "
            "token that is no padding; got None. Set it to the pad_token_id of the tokenizer"
        )
    other = padded & (ids != padding)
    if other.any():
        raise ValueError(
            f"config.pad_token_id of the network must be the token that rows are padded with, "
            "because the class is read at the last other token; got "
            f"{padding} and rows padded with {int(ids[other][0])}. Set it to the pad_token_id of "
            "the tokenizer"
        )


def _warn_of_shifted_positions(module, config, mask):
    """Warn if padding on the left takes the first of learned positions from some rows."""
    table = _table_of_positions(module, config)
    if table is None or table.padding_idx is not None or _counts_by_mask(table):
        return
    if (mask[:, 0] == 0).any():
        # The warning names this line, so that it is shown once.
        warnings.warn(
            "some rows begin in padding, which takes the first positions, so that the network "
            'reads them otherwise than without padding. Pad on the right, padding_side="right" of '
            "tokenizers, or pass position_ids",
            UserWarning,
            stacklevel=1,
        )
