"""Language models: rows measured by the log-likelihood of their tokens, or of some of them.

Shapes in comments: B rows, T tokens, V words of the vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import torch

from .._utils.texts import check_no_texts
from .._utils.types import Rows
from ..attribution.models._sequences import Likelihood, register_likelihood
from ..explanation._checks import check_count
from ..tangent._outputs import logits_of
from ..tangent._read_logits import call_module
from ..tangent._sequences import check_mask
from ._tokens import TokenizedTexts

# The label of tokens that are not measured, as in transformers.
IGNORED = -100


def causal_rows(tokens: Rows, last: int | None = None) -> Rows:
    """Mark the tokens whose log-likelihood is measured.

    Parameters
    ----------
    tokens : TokenizedTexts, mapping or array-like of shape (n, n_tokens)
        Rows with ``input_ids`` and, where there is padding, ``attention_mask``; or ids alone, none
        of which is padding then.
    last : int, default=None
        How many tokens at the end of each row are measured, such as 1 for the next token after a
        prompt. None measures all but the first, which nothing precedes.

    Returns
    -------
    TokenizedTexts or dict
        The rows with ``labels``: the ids of the tokens that are measured, and -100 elsewhere.

    Raises
    ------
    ValueError
        If a row has no token to measure, or fewer than ``last``.

    See Also
    --------
    log_likelihood : Measures them.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_provenance.text import causal_rows
    >>> ids = np.array([[5, 3, 9], [4, 7, 2]])
    >>> causal_rows(ids, last=1)["labels"].tolist()
    [[-100, -100, 9], [-100, -100, 2]]
    """
    check_no_texts(tokens, "tokens")
    if not isinstance(tokens, Mapping):
        tokens = {"input_ids": tokens}
    ids = _ids_of(tokens)
    mask = torch.as_tensor(tokens.get("attention_mask", torch.ones_like(ids)))
    check_mask(mask, ids)
    mask = mask.bool()
    # The first token of a row is predicted from nothing.
    measured = mask & (mask.cumsum(1) > 1)  # (B, T)
    if last is not None:
        check_count("last", last)
        from_end = mask.flip(1).cumsum(1).flip(1)  # 1 at the last token
        measured &= from_end <= last
    wanted = last or 1
    counts = measured.sum(1)
    if (counts < wanted).any():
        row = int((counts < wanted).nonzero()[0, 0])
        raise ValueError(
            f"rows must have {wanted + 1} tokens or more, of which the first is not measured; got "
            f"{int(mask[row].sum())} in row {row}"
        )
    labels = torch.where(measured, ids, IGNORED)
    if isinstance(tokens, TokenizedTexts):
        return tokens.with_entry("labels", labels)
    return dict(tokens) | {"input_ids": ids, "labels": labels}


def _ids_of(tokens):
    """Return the numbers of tokens (B, T) as integers, or raise unless all rows have as many."""
    what = "input_ids must hold one row of token numbers for each text, all of one length"
    if "input_ids" not in tokens:
        raise ValueError(f"{what}; got a mapping with {list(tokens)}")
    ids = tokens["input_ids"]
    if isinstance(ids, list | tuple) and any(hasattr(row, "__len__") for row in ids):
        lengths = {len(row) for row in ids}
        if len(lengths) > 1:
            raise ValueError(
                f"{what}; got {min(lengths)} to {max(lengths)} tokens. Pad them, as tokenize does"
            )
    if isinstance(ids, tuple | list) and any(isinstance(row, torch.Tensor) for row in ids):
        ids = torch.stack([torch.as_tensor(row) for row in ids])
    ids = torch.as_tensor(ids)
    if ids.ndim != 2 or ids.is_floating_point():
        raise ValueError(
            f"{what}; got {ids.dtype} of shape {tuple(ids.shape)}. Pass ids and masks as a mapping "
            "with input_ids and attention_mask"
        )
    return ids.long()


def log_likelihood(module: torch.nn.Module, rows: Rows) -> torch.Tensor:
    """Compute the log-likelihood of the marked tokens of each row: the ``forward`` of attributors.

    Parameters
    ----------
    module : torch.nn.Module
        A causal model: it gives logits of shape (n, n_tokens, n_words), alone, as an object or
        mapping with ``logits``, or first in a tuple. It is called with the rows without their
        ``labels``, as keywords where it takes these.
    rows : mapping
        Rows as :func:`causal_rows` makes them.

    Returns
    -------
    torch.Tensor of shape (n,)
        Sum of log p of the marked tokens, each given those before it, in nats.

    Raises
    ------
    ValueError
        If rows are not marked, or the logits have another shape.

    See Also
    --------
    log_odds : Keeps its gradient where the model is sure.

    Examples
    --------
    A model that counts which token follows which:

    >>> import torch
    >>> from sklearn_provenance import InfoGainAttributor
    >>> from sklearn_provenance.text import causal_rows, log_likelihood
    >>> model = torch.nn.Embedding(4, 4)  # logits of the next token
    >>> rows = causal_rows(torch.tensor([[0, 1, 2], [2, 3, 0], [1, 1, 1]]))
    >>> attributor = InfoGainAttributor(model, forward=log_likelihood).fit(rows, [0, 0, 0])
    >>> prompt = causal_rows(torch.tensor([[3, 2, 3]]), last=1)
    >>> attributor.explain(prompt, k=1).indices
    array([[1]])
    """
    logits, labels = _aligned(module, rows)
    values = _of_labels(logits, labels) - logits.logsumexp(2)  # (B, T - 1)
    return (values * (labels != IGNORED)).sum(1)


def log_odds(module: torch.nn.Module, rows: Rows) -> torch.Tensor:
    """Compute the sum of log odds of the marked tokens of each row: a ``forward`` of attributors.

    The log odds log(p / (1 - p)) of a token are what ``measurement="margin"`` is of a class. The
    gradient of log p is 1 - p times theirs, and vanishes for what a model has learned by heart.

    Parameters
    ----------
    module : torch.nn.Module
        A causal model, as for :func:`log_likelihood`.
    rows : mapping
        Rows as :func:`causal_rows` makes them.

    Returns
    -------
    torch.Tensor of shape (n,)
        Sum of log(p / (1 - p)) of the marked tokens, each given those before it, in nats.

    Raises
    ------
    ValueError
        If rows are not marked, or the logits have another shape.

    See Also
    --------
    log_likelihood : What was trained.
    """
    logits, labels = _aligned(module, rows)
    columns = labels.clamp(min=0)[:, :, None]  # (B, T - 1, 1)
    others = logits.scatter(2, columns, -torch.inf).logsumexp(2)
    values = _of_labels(logits, labels) - others  # (B, T - 1)
    return (values * (labels != IGNORED)).sum(1)


def causal_measurement(outputs: torch.Tensor, target: Any) -> torch.Tensor:
    """Take what :func:`log_likelihood` or :func:`log_odds` gives: the ``measurement``.

    Attributors take it by themselves with these functions as ``forward``;
    :class:`~sklearn_provenance.TangentFeatures` needs it.

    Parameters
    ----------
    outputs : torch.Tensor of shape (n,)
        A number for each row.
    target : object
        Not used: the rows say themselves which tokens are measured. Pass zeros as y.

    Returns
    -------
    torch.Tensor of shape (n,)
        ``outputs``.
    """
    return outputs


def drawn_tokens(module, rows, generator):
    """Draw the marked tokens of rows from the probabilities that a model gives them."""
    logits, labels = _aligned(module, rows)
    p = logits.cpu().softmax(2).flatten(0, 1)  # (B (T - 1), V)
    tokens = torch.multinomial(p, 1, generator=generator).view(labels.shape).to(labels)
    drawn = rows["labels"].clone()  # (B, T)
    drawn[:, 1:] = tokens.where(labels != IGNORED, IGNORED)
    return {**rows, "labels": drawn}


register_likelihood([log_likelihood, log_odds], Likelihood(log_likelihood, drawn_tokens))


def _aligned(module, rows):
    """Return logits (B, T - 1, V) and the labels (B, T - 1) of the tokens that they speak of."""
    if not isinstance(rows, Mapping) or "labels" not in rows:
        raise ValueError(
            "rows must hold the labels of the tokens that are measured, as causal_rows(tokens) "
            f"makes them; got {list(rows) if isinstance(rows, Mapping) else type(rows).__name__}"
        )
    inputs = {name: value for name, value in rows.items() if name != "labels"}
    labels = rows["labels"]
    if getattr(getattr(module, "config", None), "is_encoder_decoder", False):
        raise ValueError(
            "a causal model must predict each token of a row from those before it; got "
            f"{type(module).__name__}, an encoder-decoder, which log_likelihood and log_odds do "
            "not support. Pass a forward of your own, (module, rows) -> (n,), that adds up log p "
            "of the targets given the inputs, and measurement=causal_measurement"
        )
    logits = _logits(module, inputs)
    if logits.ndim != 3 or logits.shape[:2] != labels.shape:
        raise ValueError(
            "a causal model must give logits of shape (n, n_tokens, n_words), here "
            f"{tuple(labels.shape)} and words; got {tuple(logits.shape)}. A classifier of texts "
            "needs no forward"
        )
    return logits[:, :-1], labels[:, 1:]


def _of_labels(logits, labels):
    """Take the logit (B, T - 1) of each label; any where the label is ignored."""
    return logits.gather(2, labels.clamp(min=0)[:, :, None])[:, :, 0]


def _logits(module, inputs):
    """Return what a causal model says of each token (B, T, V)."""
    if list(inputs) == ["input_ids"]:
        return logits_of(module(inputs["input_ids"]), first=True)
    return logits_of(call_module(module, inputs), first=True)
