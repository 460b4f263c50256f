"""Embeddings of texts: hidden states, averaged over tokens.

Shapes in comments: B rows, T tokens.
"""

from collections.abc import Mapping

import torch
from numpy.typing import NDArray

from .._utils.modules import evaluation_mode
from .._utils.rows import as_given, n_rows, take_rows
from .._utils.table_ids import ids_looked_at
from .._utils.texts import check_no_texts
from .._utils.types import Rows
from ..tangent._read_logits import call_module
from ..tangent._run import as_batch
from ..tangent._sequences import check_mask, check_sequences


def mean_embeddings(module: torch.nn.Module, rows: Rows, batch_size: int = 32) -> NDArray:
    """Average the hidden states of a network over the tokens of each row.

    Their cosine is the usual similarity of texts: pass
    ``features=functools.partial(mean_embeddings, module)`` to
    :class:`~sklearn_provenance.attribution.RepSimAttributor`.

    Parameters
    ----------
    module : torch.nn.Module
        An encoder: it gives hidden states of shape (n, n_tokens, width), alone, as
        ``last_hidden_state``, as the last of ``hidden_states``, or first in a tuple.
    rows : mapping or array-like of shape (n, n_tokens)
        Rows as the module takes them. Tokens that ``attention_mask`` leaves out do not count.
    batch_size : int, default=32
        Rows per pass.

    Returns
    -------
    ndarray of shape (n, width)
        Embeddings.

    Raises
    ------
    ValueError
        If the module gives no hidden states of this shape, or cannot read rows, such as those that
        are longer than its positions or hold no token.
    """
    check_no_texts(rows, "rows")
    rows = as_given(rows, "rows")
    check_sequences(module, rows)
    if isinstance(rows, Mapping) and "attention_mask" in rows:
        mask = torch.as_tensor(rows["attention_mask"])
        check_mask(mask, torch.as_tensor(rows.get("input_ids", mask)))
    parts = []
    for start in range(0, n_rows(rows), batch_size):
        part = take_rows(rows, slice(start, start + batch_size))
        with evaluation_mode(module), ids_looked_at(module), torch.no_grad():
            batch = as_batch(part, module)
            hidden = _hidden_states(call_module(module, batch))
        if not isinstance(hidden, torch.Tensor) or hidden.ndim != 3:
            raise ValueError(
                "module must give hidden states of shape (n, n_tokens, width); got "
                f"{tuple(getattr(hidden, 'shape', ()))}. Pass the encoder without its head"
            )
        hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        mask = hidden.new_ones(hidden.shape[:2])
        if isinstance(batch, Mapping) and "attention_mask" in batch:
            mask = batch["attention_mask"].to(hidden)
        parts.append((hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True))
    return torch.cat(parts).cpu().numpy()


def _hidden_states(outputs):
    """Find hidden states in the outputs of an encoder."""
    if getattr(outputs, "last_hidden_state", None) is not None:
        return outputs.last_hidden_state
    if getattr(outputs, "hidden_states", None) is not None:
        return outputs.hidden_states[-1]
    if isinstance(outputs, tuple | list):
        return outputs[0]
    return outputs
