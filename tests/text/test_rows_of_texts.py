"""Texts and tokens in forms that are no rows of a network work, or are refused in a sentence."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.utils import _safe_indexing, resample, shuffle

from sklearn_provenance import InfoGainAttributor, explain
from sklearn_provenance.tangent import TangentFeatures
from sklearn_provenance.text import causal_rows, log_likelihood, log_odds, mean_embeddings, tokenize

from .conftest import LABELS, TEXTS, make_tokenizer
from .test_bad_input import make, transformers

FRAME = pd.DataFrame({"number": range(8), "text": TEXTS})


@pytest.fixture(scope="module")
def tokens():
    return tokenize(make_tokenizer(), TEXTS)


def test_splitters_take_rows(tokens):
    y = LABELS.numpy()
    numbers = np.arange(8)
    train, test, y_train, y_test, n_train, n_test = train_test_split(
        tokens, y, numbers, test_size=3, stratify=y, random_state=0
    )
    for part, labels, chosen in ((train, y_train, n_train), (test, y_test, n_test)):
        assert part.texts.tolist() == [TEXTS[i] for i in chosen]
        assert torch.equal(part["input_ids"], tokens["input_ids"][chosen])
        assert part.words(0) == tokens.words(chosen[0])
        assert part.shape == (len(labels),)
    for splitter in (KFold(4), StratifiedKFold(4)):
        parts = [test for _, test in splitter.split(tokens, y)]
        assert sorted(np.concatenate(parts)) == numbers.tolist()
    network = make("Bert")
    attributor = InfoGainAttributor(network).fit(train, y_train)
    assert attributor.explain(test, k=2).indices.shape == (3, 2)


@pytest.mark.parametrize(
    "rows", [[5, 0], np.array([5, 0]), np.arange(8) > 5, [True] * 2 + [False] * 6, slice(2, 5), 3]
)
def test_rows_are_taken_as_scikit_learn_takes_them(tokens, rows):
    expected = np.atleast_1d(np.arange(8)[rows])
    assert _safe_indexing(tokens, rows).texts.tolist() == [TEXTS[i] for i in expected]


def test_rows_are_shuffled_and_drawn(tokens):
    mixed, numbers = shuffle(tokens, np.arange(8), random_state=0)
    assert mixed.texts.tolist() == [TEXTS[i] for i in numbers]
    drawn, numbers = resample(tokens, np.arange(8), random_state=0)
    assert drawn.texts.tolist() == [TEXTS[i] for i in numbers]
    assert len(tokens) == len(dict(tokens)) == 2  # entries, as of a mapping


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ([], ValueError, "a text or more, got none"),
        (FRAME, TypeError, r"a DataFrame of \['number', 'text'\].*such as texts\['text'\]"),
        (FRAME[["text"]], TypeError, r"such as texts\['text'\]"),
        ({"text": TEXTS}, TypeError, r"got a dict of \['text'\].*such as texts\['text'\]"),
        (np.array(TEXTS)[:, None], TypeError, "got ndarray in row 0. Pass one text for each row"),
        (["good", None], TypeError, "got NoneType in row 1.*fill in missing"),
        (["good", ""], ValueError, "got none in row 1, '', and the tokenizer adds no special"),
        (["", "  "], ValueError, "got none in row 0"),
    ],
)
def test_what_is_not_tokenized(texts, error, message):
    with pytest.raises(error, match=message):
        tokenize(make_tokenizer(), texts)


def test_columns_are_texts():
    assert tokenize(make_tokenizer(), FRAME["text"]).texts.tolist() == TEXTS
    assert tokenize(make_tokenizer(), FRAME["text"].to_numpy()).texts.tolist() == TEXTS
    pairs = tokenize(make_tokenizer(), ["", "good"], ["bad", ""])
    assert pairs["attention_mask"].tolist() == [[1], [1]]


@pytest.mark.filterwarnings("ignore:X has feature names, but")
@pytest.mark.parametrize(
    "rows",
    [FRAME, FRAME[["text"]], FRAME["text"], TEXTS, np.array(TEXTS), np.array(TEXTS, dtype=object),
     np.array(TEXTS)[:, None]],
)  # fmt: skip
def test_texts_are_no_rows_of_a_network(tokens, rows):
    network = make("Bert")
    message = r"must be numeric; got an? .*texts.*sklearn_provenance\.text\.tokenize"
    for refuse in (
        lambda: InfoGainAttributor(network).fit(rows, LABELS),
        lambda: InfoGainAttributor(network).fit(tokens, LABELS).explain(rows, k=1),
        lambda: explain(network, tokens, k=1, training=(rows, LABELS)),
        lambda: TangentFeatures(network, n_components=8).fit(rows),
        lambda: mean_embeddings(network.bert, rows),
        lambda: causal_rows(rows),
    ):
        with pytest.raises(ValueError, match=message):
            refuse()


def test_numbers_that_are_written_as_texts():
    network = torch.nn.Linear(2, 2)
    rows = np.array([["1", "2"], ["3", "4.5"], ["0", "1"]], dtype=object)
    written, numbers = (
        InfoGainAttributor(network, candidates="all").fit(X, [0, 1, 0]).explain(X, k=2)
        for X in (rows, rows.astype(float))
    )
    np.testing.assert_array_equal(written.indices, numbers.indices)


@pytest.mark.parametrize("kind", [list, np.array])
def test_a_mapping_for_each_row(tokens, kind):
    network = make("Bert")
    rows = kind([{name: tokens[name][i].tolist() for name in tokens} for i in range(8)])
    message = r"X must be one mapping of all rows, \{'input_ids': .*, 'attention_mask': .*padding=T"
    with pytest.raises(ValueError, match=message):
        InfoGainAttributor(network).fit(rows, LABELS)
    with pytest.raises(ValueError, match=message):
        InfoGainAttributor(network).fit(tokens, LABELS).explain(rows, k=1)
    with pytest.raises(ValueError, match="rows must be one mapping"):
        mean_embeddings(network.bert, rows)
    pipeline = make_pipeline(DictVectorizer(), LogisticRegression())
    features = [{"length": len(text)} for text in TEXTS]
    pipeline.fit(features, LABELS.numpy())
    explain(pipeline, features, k=1, training=(features, LABELS.numpy()))  # rows of scikit-learn


@pytest.mark.parametrize("kind", [tuple, list])
def test_tensors_for_each_input(tokens, kind):
    network = make("Bert")
    rows = kind([tokens["input_ids"], tokens["attention_mask"]])
    attributor = InfoGainAttributor(network).fit(tokens, LABELS)
    with pytest.raises(ValueError, match=r"each of 8 labels; got a .* of 2 tensors.*as a mapping"):
        InfoGainAttributor(network).fit(rows, LABELS)
    with pytest.raises(ValueError, match=r"\(n_rows, n_tokens\); got \(2, 8, 7\)"):
        attributor.explain(rows, k=1)
    with pytest.raises(ValueError, match=r"\(n_rows, n_tokens\); got \(2, 8, 7\)"):
        mean_embeddings(network.bert, rows)
    with pytest.raises(ValueError, match="a mapping with input_ids and attention_mask"):
        causal_rows(rows)
    with pytest.raises(TypeError, match=r"as its one argument.*as a mapping"):
        TangentFeatures(network, n_components=8).fit(rows)
    uneven = kind([tokens["input_ids"], tokens["attention_mask"][:, 0]])
    with pytest.raises(ValueError, match=r"rows of one shape; got a .* of 2 tensors"):
        InfoGainAttributor(network).fit(uneven, LABELS)
    InfoGainAttributor(network).fit(kind(tokens["input_ids"][:, :3]), LABELS)  # one for each row


def encoder_decoder(name):
    torch.manual_seed(0)
    if name == "T5":
        config = transformers.T5Config(
            vocab_size=12, d_model=8, d_ff=12, d_kv=4, num_layers=1, num_heads=2, pad_token_id=0,
            decoder_start_token_id=0,
        )  # fmt: skip
    else:
        config = transformers.BartConfig(
            vocab_size=12, d_model=8, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=8,
            encoder_attention_heads=2, decoder_attention_heads=2, decoder_ffn_dim=8,
            max_position_embeddings=8, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            decoder_start_token_id=2, forced_eos_token_id=None,
        )  # fmt: skip
    return getattr(transformers, f"{name}ForConditionalGeneration")(config).eval()


@pytest.mark.parametrize("name", ["T5", "Bart"])
@pytest.mark.parametrize("forward", [log_likelihood, log_odds])
def test_encoder_decoders_are_no_causal_models(tokens, name, forward):
    network = encoder_decoder(name)
    with pytest.raises(ValueError, match=r"got .*ForConditionalGeneration, an encoder-decoder"):
        InfoGainAttributor(network, forward=forward).fit(causal_rows(tokens), [0] * 8)


def test_encoder_decoders_need_inputs_of_the_decoder(tokens):
    network = encoder_decoder("T5")
    message = r"T5For.* is an encoder-decoder, and rows must hold decoder_input_ids or labels"
    with pytest.raises(ValueError, match=message):
        InfoGainAttributor(network).fit(tokens, LABELS)
    with pytest.raises(ValueError, match=message):
        mean_embeddings(network, tokens)
    assert mean_embeddings(network.get_encoder(), tokens).shape == (8, 8)
