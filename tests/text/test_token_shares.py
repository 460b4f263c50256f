"""Shares of tokens add up to scores, and are the parts of inner products by definition."""

import re

import numpy as np
import pytest
import torch

from sklearn_provenance import Explanation, InfoGainAttributor
from sklearn_provenance.attribution import GradDotAttributor, LastLayerAttributor, RepSimAttributor
from sklearn_provenance.tangent import cached_trunk
from sklearn_provenance.text import TokenizedTexts, TokenShares, token_shares, tokenize

from ..pages import ATTACKS, Page
from .conftest import LABELS, TEXTS

MARKS = {"above1", "above2", "below1", "below2"}


@pytest.fixture
def tokens(tokenizer):
    return tokenize(tokenizer, TEXTS)


def gradients_at_places(reader, row, label, log_probability=False):
    """Gradients in a copy of the weights for each place, and in those behind the pooling."""
    n_places = row["input_ids"].shape[1]
    weights = {
        name: p.detach().expand(n_places, *p.shape).clone().requires_grad_()
        for name, p in reader.named_parameters()
        if not name.startswith("head")
    }
    places = torch.arange(n_places)
    ids = row["input_ids"][0]
    h = weights["table.weight"][places, ids] + weights["place.weight"][places, places]
    h = torch.nn.functional.layer_norm(h, h.shape[1:])
    h = h * weights["norm.weight"] + weights["norm.bias"]
    h = torch.tanh((weights["mix.weight"] @ h[:, :, None])[:, :, 0] + weights["mix.bias"])
    score = (weights["score.weight"] @ h[:, :, None])[:, 0] + weights["score.bias"]
    score = score.masked_fill(row["attention_mask"][0, :, None] == 0, -1e4)
    logits = reader.head((score.softmax(0) * h).sum(0))
    if log_probability:
        logits = logits.log_softmax(0)
    names = [*weights, "head.weight", "head.bias"]
    ends = [*weights.values(), reader.head.weight, reader.head.bias]
    found = dict(zip(names, torch.autograd.grad(logits[label], ends), strict=True))
    at_places = torch.cat([found[name].reshape(n_places, -1) for name in weights], 1)
    behind = torch.cat([found["head.weight"].flatten(), found["head.bias"]])
    return at_places, behind  # (T, P) and (P_head,)


def test_shares_are_parts_of_inner_products_by_definition(reader, tokens):
    attributor = GradDotAttributor(reader, measurement="label_logit").fit(tokens, LABELS)
    found = token_shares(attributor, tokens[:2], [0, 1], k=3)
    for query in range(2):
        asked, asked_behind = gradients_at_places(reader, tokens[query], query)
        for rank, row in enumerate(found.explanation.indices[query]):
            named, named_behind = gradients_at_places(reader, tokens[row], LABELS[row], True)
            rest = float(asked_behind @ named_behind)
            by_exemplar = (named @ asked.sum(0)).numpy()
            by_query = (asked @ named.sum(0)).numpy()
            np.testing.assert_allclose(found.exemplars[query, rank], by_exemplar, atol=1e-12)
            np.testing.assert_allclose(found.queries[query, rank], by_query, atol=1e-12)
            assert found.exemplars_elsewhere[query, rank] == pytest.approx(rest, abs=1e-12)
            assert found.queries_elsewhere[query, rank] == pytest.approx(rest, abs=1e-12)
            assert np.abs(by_exemplar).max() > 1e-3


@pytest.mark.parametrize("k", [3, 17])
def test_shares_add_up_to_scores(reader, tokens, k):
    rows = tokens[list(range(8)) * 3]
    attributor = InfoGainAttributor(reader, candidates="all").fit(rows, LABELS.repeat(3))
    found = token_shares(attributor, tokens[:2], k=k)
    scores = found.explanation.scores
    np.testing.assert_allclose(found.exemplars.sum(2) + found.exemplars_elsewhere, scores)
    np.testing.assert_allclose(found.queries.sum(2) + found.queries_elsewhere, scores)
    row = found.explanation.indices[0, 0]
    padding = tokens["attention_mask"][row % 8] == 0
    assert (found.exemplars[0, 0][padding] == 0).all()
    for side in ("exemplars", "queries"):
        words = found.words(1, 2, side)
        assert sum(share for _, share in words) == pytest.approx(scores[1, 2])
        assert words[-1][0] == "(no token)"
        frame = found.to_frame(side)
        sums = frame.groupby(["query", "rank"])["share"].sum().to_numpy()
        np.testing.assert_allclose(sums.reshape(scores.shape), scores)
    assert "".join(word for word, _ in found.words(0, 0, "queries")[:-1]) == "thefilmwasgood."


def test_shares_of_a_transformer_with_cached_layers(tokens):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=12, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=8, num_labels=2,
    )  # fmt: skip
    torch.manual_seed(0)
    network = transformers.BertForSequenceClassification(config).double().eval()
    trunk = cached_trunk(network, "bert.encoder.layer.1", tokens)
    attributor = GradDotAttributor(trunk.upper).fit(trunk.rows, LABELS)
    found = token_shares(attributor, trunk.cache(tokens[:2]), k=3)
    scores = found.explanation.scores
    np.testing.assert_allclose(found.exemplars.sum(2) + found.exemplars_elsewhere, scores)
    np.testing.assert_allclose(found.queries.sum(2) + found.queries_elsewhere, scores)
    assert found.words(0, 0)[-1][1] == pytest.approx(found.exemplars_elsewhere[0, 0])
    assert np.abs(found.exemplars[0, 0]).max() > 0 < abs(found.exemplars_elsewhere[0, 0])


@pytest.mark.filterwarnings("ignore:2 of 2 queries have fewer than k=5")
def test_padding_has_no_shares(reader, tokens):
    attributor = InfoGainAttributor(reader).fit(tokens, LABELS)
    found = token_shares(attributor, tokens[:2])
    assert (found.explanation.indices[:, 4] == -1).all()
    assert np.isnan(found.exemplars[:, 4]).all()
    assert found.words(0, 4) == []
    assert set(found.to_frame()["rank"]) == {0, 1, 2, 3}
    assert "nan" not in found.to_html()


def test_rows_without_texts_show_their_numbers(reader, tokens):
    plain = dict(tokens)
    found = token_shares(InfoGainAttributor(reader).fit(plain, LABELS), dict(tokens[:1]), k=1)
    row = found.explanation.indices[0, 0]
    words = [word for word, _ in found.words(0, 0)]
    assert words == [*map(str, plain["input_ids"][row].tolist()), "(no token)"]
    with pytest.raises(ValueError, match="side must be one of"):
        found.words(0, 0, "rows")


def test_rows_may_be_the_numbers_alone(reader, tokens):
    def forward(module, ids):
        return module(ids, (ids > 0).long())

    expected = token_shares(InfoGainAttributor(reader).fit(tokens, LABELS), tokens[:1], k=1)
    ids = tokens["input_ids"]
    attributor = InfoGainAttributor(reader, forward=forward).fit(ids, LABELS)
    found = token_shares(attributor, ids[:1], k=1)
    np.testing.assert_allclose(found.exemplars, expected.exemplars)
    words = [word for word, _ in found.words(0, 0)]
    assert words[:-1] == [str(number) for number in ids[found.explanation.indices[0, 0]].tolist()]


def test_tokens_of_one_letter_are_shown_once(reader, tokens):
    """Bytes of a letter are tokens that stand at one place."""
    tokens.offsets[:, 1] = tokens.offsets[:, 0]
    found = token_shares(InfoGainAttributor(reader).fit(tokens, LABELS), tokens, k=1)
    read = re.sub("<[^>]*>", "", found.to_html())
    assert all(text in read for text in TEXTS)
    assert repr(found).endswith("... 3 more queries")


def test_the_page_marks_tokens_and_escapes_texts(reader, tokens, tmp_path):
    attacks = [ATTACKS[row] for row in range(8)]
    tokens.texts[:] = [attack.ljust(60) for attack in attacks]
    attributor = InfoGainAttributor(reader).fit(tokens, LABELS)
    found = token_shares(attributor, tokens[1:2], k=2)
    page = found.to_html(tmp_path / "tokens.html", title=ATTACKS[3])
    assert (tmp_path / "tokens.html").read_text() == page
    read = Page(page)
    policy = [a["content"] for a in read.named("meta") if "http-equiv" in a]
    assert policy[0].startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert {"above2"} <= {a["class"] for a in read.named("mark")} <= MARKS
    assert len(read.named("script")) == 1
    assert read.named("img") == read.named("svg") == []
    assert repr(found).startswith("TokenShares of an Explanation by InfoGain: 1 query")


def made(exemplars, queries, elsewhere, scores):
    """Shares of two texts for one query, made by hand; the last token of the second has no piece.

    ``elsewhere`` is that of exemplars; that of the query follows from the scores.
    """
    texts = ["red red blue", "red green"]
    places = [[(0, 3), (4, 7), (8, 12)], [(0, 3), (4, 9), (0, 0)]]
    rows = TokenizedTexts({"row": np.arange(2)}, texts, places)
    asked = TokenizedTexts({"row": np.arange(1)}, ["red blue"], [[(0, 3), (4, 8)]])
    exp = Explanation([[0, 1]], [scores], queries=asked.texts, training_data=texts)
    shares = {"exemplars": np.array([exemplars]), "queries": np.array([queries])}
    rest = {"exemplars": np.array([elsewhere]), "queries": scores - shares["queries"].sum(2)}
    return TokenShares(exp, shares, rest, {"exemplars": rows, "queries": asked})


def titles(page):
    return [mark["title"] for mark in Page(page).named("mark") if "title" in mark]


EXEMPLARS = np.array([[0.45, 0.15, -0.4], [0.2, -0.6, 0.5]])
QUERIES = np.array([[0.5, -0.5], [0.3, -0.7]])


def test_what_is_shown_are_proportions_among_tokens():
    found = made(EXEMPLARS, QUERIES, [10.0, -3.0], [10.2, -2.9])
    np.testing.assert_allclose(found.exemplars.sum(2) + [10.0, -3.0], found.explanation.scores)
    line = "row 0 10.2, of which 10 belongs to no token; among tokens red +60 %, blue -40 %"
    assert repr(found).splitlines()[2].strip() == line
    page = found.to_html()
    assert titles(page) == [
        "+40 % among tokens, +0.8 of the scores",
        "-60 % among tokens, -1.2 of the scores",
        "+45 % among tokens, +0.45 of the score",
        "+15 % among tokens, +0.15 of the score",
        "-40 % among tokens, -0.4 of the score",
        "+25 % among tokens, +0.2 of the score",
        "-75 % among tokens, -0.6 of the score",
    ]
    text = " ".join(re.sub("<[^>]*>", " ", page).split())
    assert "the sum over its exemplars: 7.3, of which 7.7 belongs to no token" in text
    assert "row 0 10.2 of which 10 belongs to no token" in text
    assert "row 1 -2.9 of which -2.5 belongs to no token" in text  # its last token stands for none


def test_proportions_do_not_feel_what_belongs_to_no_token():
    scores = [[0.0, 0.0], [1e9, 1e9]]
    pages = [made(1e-9 * EXEMPLARS, 1e-9 * QUERIES, s, s).to_html() for s in scores]
    marks = [[m["class"] for m in Page(page).named("mark")] for page in pages]
    assert marks[0] == marks[1]
    assert {"above1", "above2", "below2"} <= set(marks[1][4:])
    assert titles(pages[0]) == titles(pages[1])
    assert titles(pages[1])[2] == "+45 % among tokens, +4.5e-10 of the score"


def test_without_shares_of_tokens_there_are_no_proportions():
    found = made(np.zeros((2, 3)), np.zeros((2, 2)), [2.0, 1.0], [2.0, 1.0])
    assert repr(found).splitlines()[2].strip() == "row 0 2, of which 2 belongs to no token"
    assert titles(found.to_html()) == []


def test_many_tokens_are_named_by_the_largest():
    words = [f"w{number}" for number in range(9)]
    shares = np.array([2.0**-number for number in range(9)])
    ends = np.cumsum([3] * 9) - 1
    places = np.stack([ends - 2, ends], 1)[None]
    rows = TokenizedTexts({"row": np.arange(1)}, [" ".join(words)], places)
    exp = Explanation([[0]], [[shares.sum()]], queries=["x"], training_data=rows.texts)
    both = dict.fromkeys(("exemplars", "queries"), shares[None, None])
    rest = {side: np.zeros((1, 1)) for side in both}
    found = TokenShares(exp, both, rest, dict.fromkeys(both, rows))
    assert (
        repr(found)
        .splitlines()[-1]
        .endswith("among tokens w0 +50 %, w1 +25 %, w2 +13 %, w3 +6 %, w4 +3 %, w5 +2 %, ...")
    )


@pytest.mark.parametrize("make", [RepSimAttributor, LastLayerAttributor, lambda m: "attributor"])
def test_scores_of_other_kinds_are_refused(reader, tokens, make):
    attributor = make(reader)
    if hasattr(attributor, "fit"):
        attributor.fit(tokens, LABELS)
    with pytest.raises(TypeError, match="inner products of exact gradients"):
        token_shares(attributor, tokens[:1])


def test_rows_must_be_sequences():
    network = torch.nn.Linear(1, 2)
    rows = {"x": torch.randn(8)}
    attributor = GradDotAttributor(network, forward=lambda m, b: m(b["x"][:, None]))
    attributor.fit(rows, LABELS)
    with pytest.raises(ValueError, match=r"input_ids of shape \(n, n_tokens\)"):
        token_shares(attributor, rows, k=1)
