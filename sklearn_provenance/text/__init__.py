"""Texts and transformers: rows of tokens that keep their texts, and what tokens contribute."""

from ._tokens import TokenizedTexts, tokenize

__all__ = ["TokenizedTexts", "tokenize"]
