"""Tokenized texts that keep the texts that they were made of."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .._utils.rows import n_rows, take_rows
from .._utils.texts import text_columns

# What stands between the two texts of a pair where they are shown.
BETWEEN = " ¶ "
# Some tokenizers say that they take any length by a number that no text reaches.
NO_LIMIT = 10**9


class TokenizedTexts(Mapping):
    """Rows of a network that reads tokens, with the texts that they were made of.

    It is a mapping of tensors, such as token ids and masks, which networks of Hugging Face take as
    keyword arguments. Explanations show the texts. ``tokens[:5]``, ``tokens[numbers]`` and
    ``tokens[mask]`` take rows; ``tokens["input_ids"]`` is a tensor. ``train_test_split`` and the
    other splitters of scikit-learn take rows, too. ``len(tokens)`` counts entries, as of every
    mapping, and ``tokens.shape`` is (n,).

    Parameters
    ----------
    entries : mapping of str to array-like of shape (n, ...)
        Tensors by name.
    texts : sequence of str
        Text of each row.
    offsets : array-like of shape (n, n_tokens, 2), default=None
        Where each token begins and ends in its text, in characters; both are equal where a token
        stands for none, such as padding. None where it is not known.

    Raises
    ------
    ValueError
        If the numbers of rows differ.

    See Also
    --------
    tokenize : Makes them of texts.

    Examples
    --------
    >>> from sklearn_provenance.text import TokenizedTexts
    >>> tokens = TokenizedTexts({"input_ids": [[5, 3], [7, 0]]}, ["two words", "one"])
    >>> tokens
    TokenizedTexts of 2 texts: input_ids (2, 2)
    >>> tokens[1:].texts
    array(['one'], dtype=object)
    """

    def __init__(
        self,
        entries: Mapping[str, Any],
        texts: Sequence[str] | NDArray,
        offsets: ArrayLike | None = None,
    ) -> None:
        self._entries = {name: torch.as_tensor(value) for name, value in entries.items()}
        self.texts = _as_texts(texts)
        self.offsets = None
        if offsets is not None:
            self.offsets = np.asarray(offsets)
        counts = {name: len(value) for name, value in self._entries.items()}
        counts["texts"] = len(self.texts)
        if self.offsets is not None:
            counts["offsets"] = len(self.offsets)
        if len(set(counts.values())) != 1:
            raise ValueError(f"entries and texts must have one number of rows; got {counts}")

    @property
    def shape(self) -> tuple[int]:
        """Number of rows, which splitters of scikit-learn count and take, as (n,)."""
        return (len(self.texts),)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._entries[key]
        if isinstance(key, tuple) and len(key) == 2 and key[1] is Ellipsis:  # of scikit-learn
            key = key[0]
        return self.take_rows(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        shapes = [f"{name} {tuple(value.shape)}" for name, value in self.items()]
        return f"TokenizedTexts of {len(self.texts)} texts: {', '.join(shapes)}"

    def take_rows(self, rows: Any) -> Self:
        """Take some of the rows.

        Parameters
        ----------
        rows : int, slice or array-like of int or bool
            Rows to take, in this order.

        Returns
        -------
        TokenizedTexts
            Those rows.
        """
        rows = np.atleast_1d(np.arange(len(self.texts))[rows])
        offsets = None
        if self.offsets is not None:
            offsets = self.offsets[rows]
        return type(self)(take_rows(self._entries, rows), self.texts[rows], offsets)

    def with_entry(self, name: str, value: Any) -> Self:
        """Add an entry, such as hidden states of a network.

        Parameters
        ----------
        name : str
            Name of the entry.
        value : array-like of shape (n, ...)
            Its rows.

        Returns
        -------
        TokenizedTexts
            The same rows with one entry more.
        """
        return type(self)(self._entries | {name: value}, self.texts, self.offsets)

    def words(self, row: int) -> list[str]:
        """Cut a text into the pieces that its tokens stand for.

        Parameters
        ----------
        row : int
            Number of the row.

        Returns
        -------
        list of str of length n_tokens
            "" where a token stands for no piece of the text.

        Raises
        ------
        ValueError
            If ``offsets`` are not known.
        """
        if self.offsets is None:
            raise ValueError("words needs offsets, the places of tokens in texts; got None")
        return [self.texts[row][start:end] for start, end in self.offsets[row]]


def tokenize(
    tokenizer: Any,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    max_length: int | None = None,
    truncation: bool = False,
) -> TokenizedTexts:
    """Turn texts into rows of a network by a tokenizer of Hugging Face.

    Parameters
    ----------
    tokenizer : tokenizer or str
        A tokenizer, such as ``AutoTokenizer.from_pretrained`` gives, or what that takes: a folder
        or a name. The latter needs the extra "text".
    texts : sequence of str
        Texts.
    pairs : sequence of str, default=None
        The second text of each row, for tasks on pairs.
    max_length : int, default=None
        Tokens that a row may have; None is what the tokenizer says.
    truncation : bool, default=False
        Whether longer texts are cut. Otherwise they raise an error.

    Returns
    -------
    TokenizedTexts
        Rows of one length, padded, with the texts and, where the tokenizer tells them, the places
        of tokens in these.

    Raises
    ------
    ImportError
        If transformers is missing where it is needed.
    ValueError
        If a text is too long, or the tokenizer has no token to pad with and lengths differ.
    """
    if isinstance(tokenizer, str):
        tokenizer = _load_tokenizer(tokenizer)
    firsts = shown = _as_texts(texts)
    if not len(firsts):
        raise ValueError("texts must hold a text or more, got none")
    sources = [list(firsts)]
    if pairs is not None:
        seconds = _as_texts(pairs)
        if len(seconds) != len(firsts):
            raise ValueError(
                "texts and pairs must have one number of rows; got "
                f"{len(firsts)} and {len(seconds)}"
            )
        sources.append(list(seconds))
        shown = firsts + BETWEEN + seconds
    if max_length is None:
        max_length = int(min(tokenizer.model_max_length, NO_LIMIT))
    fast = bool(getattr(tokenizer, "is_fast", False))
    options: dict = {"return_offsets_mapping": True} if fast else {}
    if truncation:
        options |= {"truncation": True, "max_length": max_length}
    encoded = tokenizer(*sources, **options)
    lengths = np.array([len(ids) for ids in encoded["input_ids"]])
    if lengths.max() > max_length:
        raise ValueError(
            f"texts must have at most {max_length} tokens; text {int(lengths.argmax())} has "
            f"{lengths.max()}. Pass truncation=True to cut them"
        )
    if not lengths.min():
        row = int(lengths.argmin())
        raise ValueError(
            "texts must have a token or more, because the network would read nothing; got none in "
            f"row {row}, {firsts[row]!r}, and the tokenizer adds no special tokens. Leave empty "
            "texts out"
        )
    offsets = None
    if fast:
        offsets = _joined_offsets(encoded, firsts, lengths.max(), tokenizer.padding_side)
    encoded = {name: encoded[name] for name in encoded if name != "offset_mapping"}
    if tokenizer.pad_token is None:
        if len(set(lengths.tolist())) > 1:
            raise ValueError(
                "the tokenizer must have a token to pad texts of several lengths with, got None. "
                "Set one, such as tokenizer.pad_token = tokenizer.eos_token"
            )
    else:
        encoded = tokenizer.pad(encoded, padding="longest")
    return TokenizedTexts(dict(encoded), shown, offsets)


def _as_texts(texts):
    """Return texts as an array of objects (n,)."""
    if isinstance(texts, str):
        raise ValueError("texts must be a sequence of texts, got one text. Pass [text]")
    if hasattr(texts, "columns") or isinstance(texts, Mapping):
        names = list(texts) if isinstance(texts, Mapping) else list(texts.columns)
        wanted = (text_columns(texts) or names or ["text"])[0]
        raise TypeError(
            f"texts must be a sequence of texts; got a {type(texts).__name__} of {names}. Pass one "
            f"of these, such as texts[{wanted!r}]"
        )
    array = np.empty(n_rows(texts), dtype=object)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"texts must be strings; got {type(text).__name__} in row {row}. Pass one text for "
                "each row, such as one column of a table, and leave out or fill in missing ones"
            )
        array[row] = str(text)
    return array


def _load_tokenizer(name):
    """Load a tokenizer by its folder or name."""
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ImportError(
            "a tokenizer given by name needs transformers: pip install sklearn-provenance[text]"
        ) from error
    return AutoTokenizer.from_pretrained(name)


def _joined_offsets(encoded, texts, n_tokens, padding_side):
    """Find the places (n, n_tokens, 2) of tokens in texts, those of pairs behind the first text."""
    offsets = np.zeros((len(texts), n_tokens, 2), dtype=np.int64)
    for row, of_row in enumerate(encoded["offset_mapping"]):
        places = np.array(of_row, dtype=np.int64).reshape(-1, 2)
        second = np.array([number == 1 for number in encoded.sequence_ids(row)])
        places[second] += len(texts[row]) + len(BETWEEN)
        if padding_side == "left":
            offsets[row, n_tokens - len(places) :] = places
        else:
            offsets[row, : len(places)] = places
    return offsets
