"""Rows of tokens keep their texts, which explanations show."""

import pickle
import re
import sys

import numpy as np
import pytest
import torch

from sklearn_provenance import InfoGainAttributor, explain
from sklearn_provenance.tangent import cached_trunk
from sklearn_provenance.text import TokenizedTexts, tokenize

from .conftest import LABELS, TEXTS, make_tokenizer


def test_tokens_are_padded_and_keep_texts_and_places(tokenizer):
    tokens = tokenize(tokenizer, TEXTS[:2] + TEXTS[4:5])
    assert tokens["input_ids"].tolist() == [[6, 4, 8, 2, 11], [6, 5, 7, 3, 11], [3, 4, 11, 0, 0]]
    assert tokens["attention_mask"].sum(1).tolist() == [5, 5, 3]
    assert tokens.words(2) == ["bad", "film", ".", "", ""]
    assert tokens[[2, 0]].words(1) == ["the", "film", "was", "good", "."]
    assert tokens[np.array([False, True, False])].texts.tolist() == [TEXTS[1]]
    assert tokens[-1].texts.tolist() == [TEXTS[4]]
    assert pickle.loads(pickle.dumps(tokens)).texts.tolist() == tokens.texts.tolist()


def test_pairs_are_shown_one_behind_the_other(tokenizer):
    tokens = tokenize(tokenizer, ["the film", "food"], ["is good", "is very bad"])
    assert tokens.texts[1] == "food ¶ is very bad"
    assert tokens.words(1) == ["food", "is", "very", "bad"]
    assert tokens.words(0) == ["the", "film", "is", "good"]


def test_padding_may_stand_on_the_left():
    tokens = tokenize(make_tokenizer(padding_side="left"), ["bad film", "very very bad film"])
    assert tokens.words(0) == ["", "", "bad", "film"]
    assert tokens["input_ids"][0].tolist() == [0, 0, 3, 4]


def test_long_texts_are_cut_only_if_asked_for():
    short = make_tokenizer(model_max_length=4)
    with pytest.raises(ValueError, match=r"at most 4 tokens; text 1 has 7. Pass truncation=True"):
        tokenize(short, TEXTS[2:4])
    tokens = tokenize(short, TEXTS[2:4], truncation=True)
    assert tokens["input_ids"].shape == (2, 4)
    assert tokenize(short, TEXTS[2:4], truncation=True, max_length=3)["input_ids"].shape == (2, 3)


def test_a_tokenizer_without_padding_is_named():
    with pytest.raises(ValueError, match=r"pad_token = tokenizer\.eos_token"):
        tokenize(make_tokenizer(pad=False), TEXTS[:3])
    assert tokenize(make_tokenizer(pad=False), TEXTS[:2])["input_ids"].shape == (2, 5)


@pytest.mark.parametrize(
    ("texts", "pairs", "error", "message"),
    [
        ("one text", None, ValueError, "a sequence of texts"),
        (["one", 2], None, TypeError, "got int in row 1"),
        (["one", "two"], ["one"], ValueError, "got 2 and 1"),
    ],
)
def test_what_is_no_text_is_refused(tokenizer, texts, pairs, error, message):
    with pytest.raises(error, match=message):
        tokenize(tokenizer, texts, pairs)


def test_rows_must_agree():
    with pytest.raises(ValueError, match=r"'input_ids': 2, 'texts': 1"):
        TokenizedTexts({"input_ids": [[1], [2]]}, ["one"])
    with pytest.raises(ValueError, match="offsets"):
        TokenizedTexts({"input_ids": [[1]]}, ["one"]).words(0)


def test_a_name_needs_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"sklearn-provenance\[text\]"):
        tokenize("some-model", TEXTS)


def test_a_name_is_that_of_a_folder(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    named = tokenize(str(tmp_path), TEXTS)
    assert len(named) == len(tokenize(tokenizer, TEXTS)) == len(dict(named))
    assert torch.equal(named["input_ids"], tokenize(tokenizer, TEXTS)["input_ids"])


def test_tokenizers_that_do_not_tell_places(tokenizer):
    class Slow:
        pad_token, model_max_length, pad = tokenizer.pad_token, 99, tokenizer.pad

        def __call__(self, texts):
            return tokenizer(texts)

    tokens = tokenize(Slow(), TEXTS)
    assert tokens.offsets is None
    assert torch.equal(tokens["input_ids"], tokenize(tokenizer, TEXTS)["input_ids"])
    assert tokens.texts.tolist() == TEXTS


def test_explanations_show_the_texts_of_tokens(tokenizer, reader):
    tokens = tokenize(tokenizer, TEXTS)
    attributor = InfoGainAttributor(reader).fit(tokens, LABELS)
    explanation = attributor.explain(tokens[:2], k=2)
    first = TEXTS[explanation.indices[0, 0]]
    assert f"text    {TEXTS[0]}" in repr(explanation)
    assert f"first   {first}" in repr(explanation)
    assert TEXTS[1] in re.sub("</?mark[^>]*>", "", explanation.to_html())
    assert attributor.explain(k=1).queries.tolist() == TEXTS
    plain = attributor.explain(dict(tokens[:2]), k=2)
    np.testing.assert_array_equal(plain.indices, explanation.indices)
    assert plain.queries.ndim == 2


def test_cached_rows_keep_texts(tokenizer, reader):
    tokens = tokenize(tokenizer, TEXTS)
    trunk = cached_trunk(reader, "norm", tokens)
    assert trunk.rows["hidden"].shape == (8, 7, 6)
    assert trunk.rows.texts is not None
    attributor = InfoGainAttributor(trunk.upper).fit(trunk.rows, LABELS)
    explanation = attributor.explain(trunk.rows[:1], k=2)
    assert explanation.queries.tolist() == TEXTS[:1]


def test_other_rows_are_shown_instead(tokenizer, reader):
    tokens = dict(tokenize(tokenizer, TEXTS))
    attributor = InfoGainAttributor(reader).fit(tokens, LABELS)
    queries = {name: rows[:2] for name, rows in tokens.items()}
    ids = attributor.explain(queries, k=2)
    texts = attributor.explain(queries, k=2, show=TEXTS, show_queries=TEXTS[:2])
    assert ids.queries.dtype.kind == "i"
    assert texts.queries.tolist() == TEXTS[:2]
    assert texts.training_data.tolist() == TEXTS
    np.testing.assert_array_equal(ids.scores, texts.scores)
    assert attributor.explain(queries, k=2, show=TEXTS).queries is None
    assert attributor.explain(k=2, show=TEXTS).queries.tolist() == TEXTS
    with pytest.raises(ValueError, match=r"show must hold .*training row, .* 8 in all; got 3"):
        attributor.explain(k=2, show=TEXTS[:3])
    top = explain(reader, queries, 2, training=(tokens, LABELS), show=TEXTS)
    assert top.training_data.tolist() == TEXTS
    assert torch.equal(tokens["input_ids"], tokenize(tokenizer, TEXTS)["input_ids"])
