"""Texts and transformers: rows of tokens that keep their texts, and what tokens contribute."""

from ._causal import causal_measurement, causal_rows, log_likelihood, log_odds
from ._embeddings import mean_embeddings
from ._shares_result import TokenShares
from ._token_shares import token_shares
from ._tokens import TokenizedTexts, tokenize

__all__ = [
    "TokenShares",
    "TokenizedTexts",
    "causal_measurement",
    "causal_rows",
    "log_likelihood",
    "log_odds",
    "mean_embeddings",
    "token_shares",
    "tokenize",
]
