"""BM25 by its definition, on rows of every kind that have words."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_provenance import explain
from sklearn_provenance.attribution import BM25Attributor
from sklearn_provenance.text import TokenizedTexts

TEXTS = ["a good film", "a bad film", "good food", "the food was bad"]
LABELS = [1, 0, 1, 0]
# log(1 + 3.5 / 1.5) for a word in one of four texts, log 2 for one in two. A text of the mean
# length of 3 words has (1 * 2.5) / (1 + 1.5) = 1, one of 2 words 2.5 / 2.125, one of 4 2.5 / 2.875.
RARE, COMMON = np.log(10 / 3), np.log(2)
SCORES = [2 * COMMON, COMMON, COMMON * 2.5 / 2.125, 2 * RARE * 2.5 / 2.875]


def pipeline():
    return make_pipeline(TfidfVectorizer(), LogisticRegression())


@pytest.mark.parametrize("rows", [list, np.array, lambda t: np.array(t, dtype=object)])
def test_scores_by_hand(rows):
    attributor = BM25Attributor(pipeline(), candidates="all").fit(rows(TEXTS), LABELS)
    scores = attributor.attribute(rows(["The film, was GOOD!"]))
    np.testing.assert_allclose(scores, [SCORES], rtol=1e-12)
    twice = attributor.attribute(rows(["film film good"]))
    assert twice[0, 0] == pytest.approx(3 * COMMON)
    assert (attributor.attribute(rows(["unknown words"])) == 0).all()


def test_repeated_words_count_less_and_length_may_not():
    texts = ["x x x y", "x y", "z z", "z"]
    model = make_pipeline(CountVectorizer(token_pattern="."), LogisticRegression())
    fitted = BM25Attributor(model, candidates="all", b=0, k1=2)
    scores = fitted.fit(texts, LABELS).attribute(["x"])[0]
    np.testing.assert_allclose(scores, [COMMON * 9 / 5, COMMON, 0, 0])
    at_once = fitted.set_params(k1=0).fit(texts, LABELS).attribute(["x"])[0]
    np.testing.assert_allclose(at_once, [COMMON, COMMON, 0, 0])


def test_parts_of_words_add_up_to_scores():
    attributor = BM25Attributor(pipeline()).fit(TEXTS, LABELS)
    explanation = attributor.explain(["the good film was bad", "bad food"], k=2)
    for query, rank in np.ndindex(2, 2):
        parts = dict(explanation.shared_features(query, rank))
        total = sum(parts.values())
        assert total == pytest.approx(explanation.scores[query, rank])
    assert "shared" in repr(explanation)
    own = BM25Attributor(pipeline(), candidates="all").fit(TEXTS, LABELS).explain(k=1)
    assert own.indices[:, 0].tolist() == [1, 0, 0, 2]  # each without itself


class Bag(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(9, 2)

    def forward(self, input_ids, attention_mask=None):
        return self.table(input_ids).sum(1)


# The words of TEXTS by number, padded by 0.
IDS = np.array([[1, 2, 3, 0], [1, 4, 3, 0], [2, 5, 0, 0], [6, 5, 7, 4]])
ASKED = np.array([[6, 3, 7, 2, 8]])  # 8 is in no training text


def test_tokens_are_words():
    tokens = {"input_ids": torch.tensor(IDS), "attention_mask": torch.tensor(IDS > 0).long()}
    query = {"input_ids": torch.tensor(ASKED), "attention_mask": torch.ones(1, 5).long()}
    attributor = BM25Attributor(Bag(), candidates="all").fit(tokens, LABELS)
    np.testing.assert_allclose(attributor.attribute(query), [SCORES])
    texts = TokenizedTexts(tokens, TEXTS)
    attributor = BM25Attributor(Bag(), candidates="all").fit(texts, LABELS)
    asked = TokenizedTexts(query, ["the film was good, unlike others"])
    np.testing.assert_allclose(attributor.attribute(asked), [SCORES])
    with pytest.raises(ValueError, match="texts, as the training rows do; got token ids"):
        attributor.attribute(query)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_counts_are_words(kind):
    counts = CountVectorizer(token_pattern=r"\w+").fit(TEXTS)
    X = kind(counts.transform(TEXTS).toarray())
    attributor = BM25Attributor(LogisticRegression(), candidates="all").fit(X, LABELS)
    query = kind(counts.transform(["the film was good"]).toarray())
    np.testing.assert_allclose(attributor.attribute(query), [SCORES])
    with pytest.raises(ValueError, match=r"not negative.*-1"):
        attributor.attribute(-query)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_any_precision_take_tokens_and_counts(dtype):
    tokens = {"input_ids": torch.tensor(IDS), "attention_mask": torch.tensor(IDS > 0).long()}
    query = {"input_ids": torch.tensor(ASKED), "attention_mask": torch.ones(1, 5).long()}
    attributor = BM25Attributor(Bag().to(dtype), candidates="all").fit(tokens, LABELS)
    np.testing.assert_allclose(attributor.attribute(query), [SCORES])
    counts = CountVectorizer(token_pattern=r"\w+").fit(TEXTS)
    X = torch.tensor(counts.transform(TEXTS).toarray()).to(dtype)
    network = torch.nn.Linear(X.shape[1], 2).to(dtype)
    asked = torch.tensor(counts.transform(["the film was good"]).toarray()).to(dtype)
    attributor = BM25Attributor(network, candidates="all").fit(X, LABELS)
    np.testing.assert_allclose(attributor.attribute(asked), [SCORES])
    expected = network(asked).argmax(1)
    assert attributor.explain(asked, k=1).query_labels == expected.numpy()
    without = torch.nn.Identity()  # a network without parameters predicts labels all the same
    BM25Attributor(without, candidates="all").fit(X, np.arange(4)).explain(asked, k=1)


def test_a_network_that_a_call_would_change_is_refused_all_the_same():
    network = torch.nn.EmbeddingBag(9, 2, max_norm=0.1)
    with pytest.raises(ValueError, match="max_norm"):
        BM25Attributor(network).fit(torch.tensor(IDS), LABELS)


def test_explain_compares_words_by_method():
    model = pipeline().fit(TEXTS, LABELS)
    asked = ["the film was good", "bad food"]
    found = explain(model, asked, 2, training=(TEXTS, LABELS), method="bm25")
    expected = BM25Attributor(model).fit(TEXTS, LABELS).explain(asked, k=2)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.reason == 'method="bm25" was asked for'
    counts = CountVectorizer(token_pattern=r"\w+").fit_transform(TEXTS)
    counted = explain(
        LogisticRegression().fit(counts, LABELS),
        counts[:2],
        2,
        training=(counts.astype(float), LABELS),
        method="bm25",
    )
    assert counted.method == found.method


@pytest.mark.parametrize(
    ("X", "given"),
    [
        (np.full((4, 2), 0.5), "numbers such as 0.5"),
        (torch.full((4, 2), -1.0, dtype=torch.bfloat16), "numbers such as -1"),
        (sparse.dok_array(np.full((4, 2), 0.25)), "numbers such as 0.25"),
        (np.full((4, 2), np.nan), "numbers such as nan"),
        ({"x": np.zeros((4, 2))}, "a dict that holds neither texts nor numbers"),
        (np.full((4, 2), "a word"), "a ndarray that holds neither texts nor numbers"),
    ],
)
def test_explain_says_that_bm25_needs_words(X, given):
    model = pipeline().fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match=f"^X_train .*must hold texts, .*got {given}. .*repsim"):
        explain(model, X, training=(X, LABELS), method="bm25")


def test_candidates_of_the_same_class_keep_their_scores():
    attributor = BM25Attributor(pipeline(), candidates="same_class").fit(TEXTS, LABELS)
    explanation = attributor.explain(["the film, was good!"], [0], k=2)
    np.testing.assert_array_equal(explanation.indices, [[3, 1]])
    np.testing.assert_allclose(explanation.scores, [[SCORES[3], SCORES[1]]], rtol=1e-12)


def test_rows_of_no_words():
    texts = ["?", "!", "?!", "..."]
    words = CountVectorizer(vocabulary=["film"])
    model = make_pipeline(words, LogisticRegression())
    attributor = BM25Attributor(model, vectorizer=words, candidates="all").fit(texts, LABELS)
    np.testing.assert_array_equal(attributor.attribute(["a film"]), np.zeros((1, 4)))


def test_a_vectorizer_of_ones_own_is_cloned():
    vectorizer = CountVectorizer(stop_words=["the", "was"])
    attributor = BM25Attributor(pipeline(), candidates="all", vectorizer=vectorizer)
    scores = attributor.fit(TEXTS, LABELS).attribute(["the film was good"])
    assert not hasattr(vectorizer, "vocabulary_")
    assert scores[0, 3] == 0 < scores[0, 0]
    assert attributor.features_.stop_words == ["the", "was"]
