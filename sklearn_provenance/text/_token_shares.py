"""Which tokens of an exemplar, and of a query, a score comes from.

Shapes in comments: k exemplars of a query, T tokens of a row.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .._utils.rows import n_rows
from .._utils.types import Rows, Targets
from ..attribution.features._exact import ExactFeatures
from ..tangent._batches import as_rows, take_batch
from ..tangent._positions import LabelledRows, position_products
from ._shares_result import TokenShares
from ._tokens import TokenizedTexts

# Exemplars that are linearised together.
_BATCH = 16


def token_shares(attributor: Any, X: Rows, y: Targets = None, k: int = 5) -> TokenShares:
    """Divide the scores of exemplars among their tokens, and among those of the query.

    A score rests on the inner product of two gradients. A layer that acts at each position of a
    sequence alone, such as a linear layer or an embedding, has a gradient that is a sum over
    positions, and so the inner product is a sum over the tokens of either text. What layers behind
    a pooling contribute belongs to no token and is kept apart. A score that is no inner product,
    such as an information gain in nats, is divided in the same proportions.

    A transformer mixes positions, so the share of a token is what the network computed at its
    position, with all that it had read there.

    Parameters
    ----------
    attributor : attributor
        Fitted on a network, with exact gradients and scores that rest on their inner products:
        InfoGainAttributor, InfoLossAttributor, GradDotAttributor or RelatIFAttributor.
    X : TokenizedTexts, mapping or array-like of shape (n_queries, n_tokens)
        Queries as the attributor takes them.
    y : array-like of shape (n_queries,), default=None
        Labels to explain; None explains the predicted ones.
    k : int, default=5
        Exemplars of each query.

    Returns
    -------
    TokenShares
        The explanation, and the share of each token in its scores.

    Raises
    ------
    TypeError
        If the scores of the attributor rest on no inner products of exact gradients.
    ValueError
        If rows are no sequences of tokens.

    See Also
    --------
    tokenize : Makes rows that know their texts, in which tokens are marked.
    """
    features = getattr(attributor, "_features", None)
    if not isinstance(features, ExactFeatures) or not attributor._rule.is_inner_product:
        raise TypeError(
            "attributor must be fitted on a network and score rows by inner products of exact "
            "gradients, as InfoGainAttributor, InfoLossAttributor, GradDotAttributor and "
            f'RelatIFAttributor with features="exact" do; got {type(attributor).__name__}'
        )
    explanation = attributor.explain(X, y, k)
    training = attributor.training_.X
    n_tokens = {"exemplars": count_tokens(training), "queries": count_tokens(X)}
    labels = torch.as_tensor(attributor._measured_at(explanation.query_labels))
    row_labels = torch.as_tensor(attributor._rows.labels)
    queries = as_rows(features.inputs(X), features.tangent)[0]
    rows = as_rows(attributor._rows.inputs, features.rows_tangent)[0]
    shape = explanation.indices.shape
    shares = {side: np.full((*shape, n), np.nan) for side, n in n_tokens.items()}
    elsewhere = {side: np.full(shape, np.nan) for side in n_tokens}
    for query, picks in enumerate(explanation.indices):
        query_row = take_batch(queries, torch.tensor([query]))
        asked = LabelledRows(features.tangent, query_row, labels[query : query + 1])
        valid = np.flatnonzero(picks >= 0)
        for start in range(0, len(valid), _BATCH):
            ranks = valid[start : start + _BATCH]
            numbers = torch.as_tensor(picks[ranks])
            at = row_labels[numbers]
            if features.per_label:  # rows are compared at the label of the query
                at = labels[query].expand(len(ranks))
            named = LabelledRows(features.rows_tangent, take_batch(rows, numbers), at)
            parts, rest = position_products(named, asked, n_tokens["exemplars"])
            # (k, T, 1) and (k, 1)
            scales = _scales(explanation.scores[query, ranks], parts.sum(1) + rest)
            shares["exemplars"][query, ranks] = parts[:, :, 0].cpu() * scales
            elsewhere["exemplars"][query, ranks] = (rest.cpu() * scales)[:, 0]
            parts, rest = position_products(asked, named, n_tokens["queries"])
            # (1, T, k) and (1, k)
            shares["queries"][query, ranks] = parts[0].mT.cpu() * scales
            elsewhere["queries"][query, ranks] = rest[0].cpu() * scales[:, 0]
    tokens = {"exemplars": _pieces(training), "queries": _pieces(X)}
    return TokenShares(explanation, shares, elsewhere, tokens)


def _scales(scores, products):
    """Compute what parts of inner products (k, 1) are multiplied by, to add up to scores (k,)."""
    scores = torch.as_tensor(scores)[:, None]
    products = products.cpu()
    if ((products == 0) & (scores != 0)).any():
        raise ValueError(
            "scores must rest on inner products of gradients to be divided among tokens; got a "
            "score that is not zero for an inner product of zero"
        )
    return torch.where(products == 0, 0.0, scores / products)


def count_tokens(X):
    """Count the tokens of each row."""
    ids = X
    if isinstance(X, Mapping):
        tables = [value for value in X.values() if len(getattr(value, "shape", ())) >= 2]
        ids = X.get("input_ids", next(iter(tables), None))
    shape = getattr(ids, "shape", ())
    if len(shape) < 2:
        raise ValueError(
            "X must hold sequences of tokens, such as input_ids of shape (n, n_tokens); got "
            f"{type(X).__name__} of shape {tuple(shape)}"
        )
    return int(shape[1])


def _pieces(X):
    """Return rows that know the pieces of text that tokens stand for.

    Rows without texts show the ids of their tokens, or their places where ids have no name.
    """
    if isinstance(X, TokenizedTexts) and X.offsets is not None:
        return X
    ids = X
    if isinstance(X, Mapping):
        places = np.tile(np.arange(count_tokens(X)), (n_rows(X), 1))
        ids = X.get("input_ids", places)
    return written([[str(number) for number in row] for row in np.asarray(ids).tolist()])


def written(names):
    """Write lists of tokens as texts, in which each token has its place."""
    texts = [" ".join(row) for row in names]
    offsets = []
    for row in names:
        ends = np.cumsum([len(name) + 1 for name in row]) - 1
        offsets.append(np.stack([ends - [len(name) for name in row], ends], 1))
    return TokenizedTexts({"tokens": np.arange(len(texts))}, texts, np.array(offsets))
