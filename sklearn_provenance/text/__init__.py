"""Texts and transformers: rows of tokens that keep their texts, and what tokens contribute."""

from ._shares_result import TokenShares
from ._token_shares import token_shares
from ._tokens import TokenizedTexts, tokenize

__all__ = ["TokenShares", "TokenizedTexts", "token_shares", "tokenize"]
