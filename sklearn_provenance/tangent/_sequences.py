"""What networks of Hugging Face do not say, or say in words of their own, about rows of tokens."""

import warnings
from collections.abc import Mapping

import torch
from torch import nn


def check_sequences(module, x):
    """Refuse rows of tokens that a network has no weights for, and warn of padding without a mask.

    Nothing is looked at where the network has no ``config``, as those of Hugging Face have, or rows
    hold no token ids.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    x : mapping or torch.Tensor
        Rows: with ``input_ids``, or token ids themselves.

    Raises
    ------
    ValueError
        If a token id is outside of the vocabulary, or rows are longer than learned positions.

    Warns
    -----
    UserWarning
        If rows end in padding and there is no mask.
    """
    config = _config_of(module)
    ids = x.get("input_ids") if isinstance(x, Mapping) else x
    if config is None or not isinstance(ids, torch.Tensor) or ids.ndim != 2:
        return
    if ids.is_floating_point() or not ids.numel():
        return
    _check_vocabulary(module, config, ids)
    _check_length(module, config, ids.shape[1])
    if not isinstance(x, Mapping) or "attention_mask" not in x:
        _warn_of_padding(config, ids)


def _config_of(module):
    """Return the configuration of a network of Hugging Face, maybe inside of others."""
    for m in module.modules():
        config = getattr(m, "config", None)
        if hasattr(config, "vocab_size"):
            return config
    return None


def _tables(module):
    return [m for m in module.modules() if isinstance(m, nn.Embedding)]


def _check_vocabulary(module, config, ids):
    """Raise if a token id is no row of the table of words: the largest table there is."""
    n_words = max((table.num_embeddings for table in _tables(module)), default=0)
    if n_words < config.vocab_size:  # the upper part of a network has no such table
        return
    outside = (ids < 0) | (ids >= n_words)
    if outside.any():
        row = int(outside.any(1).nonzero()[0, 0])
        raise ValueError(
            f"token ids must be from 0 to {n_words - 1}, the vocabulary of the network; got "
            f"{int(ids[outside][0])} in row {row}. Use the tokenizer that belongs to the network"
        )


def _check_length(module, config, n_tokens):
    """Raise if rows are longer than the table of positions, where positions are learned."""
    most = getattr(config, "max_position_embeddings", None)
    tables = [table for table in _tables(module) if table.num_embeddings == most]
    if not tables or most == config.vocab_size:
        return
    (table, *_) = tables
    if table.padding_idx is not None:  # positions count from behind it, as in RoBERTa
        most -= table.padding_idx + 1
    if n_tokens > most:
        raise ValueError(
            f"rows must have at most {most} tokens, the positions that the network knows; got "
            f"{n_tokens}. Cut longer texts, as a tokenizer does with truncation=True, "
            f"max_length={most}"
        )


def _warn_of_padding(config, ids):
    """Warn if some rows end, or begin, in the token for padding, and others do not."""
    padding = getattr(config, "pad_token_id", None)
    if padding is None:
        return
    for side, place in {"end": -1, "begin": 0}.items():
        padded = ids[:, place] == padding
        if padded.any() and not padded.all():
            # The warning names this line, so that it is shown once.
            warnings.warn(
                f"some rows of input_ids {side} in {padding}, the token for padding, and there is "
                "no attention_mask, so the network reads padding as text. Pass a mapping with the "
                "attention_mask, as tokenizers return it",
                UserWarning,
                stacklevel=1,
            )
            return
