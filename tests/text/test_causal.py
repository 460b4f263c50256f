"""Rows of language models are measured by the log-likelihood of the tokens that are marked."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_provenance import InfoGainAttributor
from sklearn_provenance.attribution import RepSimAttributor
from sklearn_provenance.text import (
    TokenizedTexts,
    causal_measurement,
    causal_rows,
    log_likelihood,
    log_odds,
    mean_embeddings,
    token_shares,
)

from .conftest import Causal

IDS = torch.tensor([[5, 3, 7, 2], [4, 8, 2, 0], [3, 3, 5, 9]])
MASK = (IDS > 0).long()
TOKENS = {"input_ids": IDS, "attention_mask": MASK}
CAUSAL = {"forward": log_likelihood, "measurement": causal_measurement}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Causal(10, 4).double()


def test_marks():
    assert causal_rows(TOKENS)["labels"][1].tolist() == [-100, 8, 2, -100]
    assert causal_rows(TOKENS, last=1)["labels"][1].tolist() == [-100, -100, 2, -100]
    assert causal_rows(IDS.numpy())["labels"][1].tolist() == [-100, 8, 2, 0]
    left = {"input_ids": IDS.flip(1), "attention_mask": MASK.flip(1)}
    assert causal_rows(left)["labels"][1].tolist() == [-100, -100, 8, 4]
    kept = causal_rows(TokenizedTexts(TOKENS, ["a", "b", "c"]), last=2)
    assert kept.texts.tolist() == ["a", "b", "c"]
    assert list(TOKENS) == ["input_ids", "attention_mask"]


def test_rows_without_a_token_to_measure_are_named():
    with pytest.raises(ValueError, match=r"4 tokens or more, of which .* got 3 in row 1"):
        causal_rows(TOKENS, last=3)
    with pytest.raises(ValueError, match=r"2 tokens or more, of which .* got 1 in row 0"):
        causal_rows(IDS[:, :1])
    with pytest.raises(ValueError, match="last must be an integer of at least 1, got 0"):
        causal_rows(IDS, last=0)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([[1, 2, 3], [1, 2]], "got 2 to 3 tokens. Pad them, as tokenize does"),
        ({"input_ids": [1, 2, 3]}, r"got torch.int64 of shape \(3,\)"),
        (torch.randn(3, 4), "got torch.float32"),
        ({"ids": IDS}, r"got a mapping with \['ids'\]"),
        ({"input_ids": IDS, "attention_mask": MASK[:, :2]}, r"got \(3, 2\)"),
    ],
)
def test_what_is_no_table_of_tokens_is_refused(tokens, message):
    with pytest.raises(ValueError, match=message):
        causal_rows(tokens)


def test_numbers_of_tokens_may_be_small_integers(model):
    rows = causal_rows(IDS.int())
    assert torch.equal(log_odds(model, rows), log_odds(model, causal_rows(IDS)))


@pytest.mark.parametrize("last", [None, 1, 2])
def test_log_likelihoods_by_hand(model, last):
    found = log_likelihood(model, causal_rows(TOKENS, last))
    odds = log_odds(model, causal_rows(TOKENS, last))
    for row, ids in enumerate(IDS):
        n = int(MASK[row].sum())
        log_p = model(ids[None])[0].log_softmax(1)
        first = 1 if last is None else n - last
        expected = sum(log_p[place - 1, ids[place]] for place in range(first, n))
        torch.testing.assert_close(found[row], expected)
        sure = [log_p[place - 1, ids[place]].exp() for place in range(first, n)]
        torch.testing.assert_close(odds[row], sum(torch.log(p / (1 - p)) for p in sure))


def test_hugging_face_gives_the_same_loss():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=10, n_embd=8, n_layer=1, n_head=2, n_positions=8,
        bos_token_id=1, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    network = transformers.GPT2LMHeadModel(config).eval()
    rows = causal_rows({"input_ids": IDS[[0, 2]], "attention_mask": MASK[[0, 2]]})
    loss = network(**rows).loss  # mean over all tokens
    torch.testing.assert_close(-log_likelihood(network, rows).sum() / 6, loss)


def test_what_is_no_causal_model_is_refused(model):
    with pytest.raises(ValueError, match=r"as causal_rows\(tokens\) makes them; got \['input"):
        log_likelihood(model, {"input_ids": IDS})
    with pytest.raises(ValueError, match=r"here \(3, 4\) and words; got \(3, 10\)"):
        log_likelihood(
            nn.Sequential(model, nn.Flatten(1), nn.Linear(40, 10).double()), causal_rows(IDS)
        )


def test_the_kernel_is_of_gradients_of_log_likelihoods(model):
    rows = causal_rows(TOKENS)
    query = causal_rows({"input_ids": IDS[:1, :3], "attention_mask": MASK[:1, :3]}, last=1)
    attributor = InfoGainAttributor(model, noise_variance=1.0, **CAUSAL).fit(rows, [0, 0, 0])
    assert attributor.coverage_.shares["factors"] == 1

    def gradient(value):
        parts = torch.autograd.grad(value, model.parameters())
        return torch.cat([part.flatten() for part in parts])

    named = torch.stack([gradient(log_likelihood(model, rows)[row]) for row in range(3)])
    asked = gradient(model(IDS[:1])[0, 1].log_softmax(0)[7])  # after 5, 3
    cross = named @ asked
    variance = named.square().sum(1)
    total = asked @ asked
    gain = -0.5 * torch.log1p(-cross.square() / (total * (1 + variance)))
    np.testing.assert_allclose(attributor.attribute(query, [0])[0], gain.detach())
    found = token_shares(attributor, query, [0], k=2)
    np.testing.assert_allclose(
        found.exemplars.sum(2) + found.exemplars_elsewhere, found.explanation.scores
    )
    np.testing.assert_allclose(found.exemplars_elsewhere, 0, atol=1e-15)
    assert found.exemplars.shape == (1, 2, 4)
    assert found.queries.shape == (1, 2, 3)


class Encoder(nn.Module):
    def __init__(self, model, output):
        super().__init__()
        self.model = model
        self.output = output

    def forward(self, input_ids, attention_mask=None):
        return self.output(self.model.table(input_ids))


class Outputs:
    def __init__(self, **fields):
        vars(self).update(fields)


@pytest.mark.parametrize(
    "output",
    [
        lambda h: h,
        lambda h: (h, h[:, 0]),
        lambda h: Outputs(last_hidden_state=h),
        lambda h: Outputs(hidden_states=(h + 1, h)),
    ],
)
def test_embeddings_are_means_over_tokens(model, output):
    encoder = Encoder(model, output)
    found = mean_embeddings(encoder, TOKENS, batch_size=2)
    by_hand = [model.table(ids[ids > 0]).mean(0).detach().numpy() for ids in IDS]
    np.testing.assert_allclose(found, by_hand)
    np.testing.assert_allclose(
        mean_embeddings(encoder, IDS)[1], model.table(IDS[1]).mean(0).detach()
    )


def test_their_cosine_is_repsim(model):
    encoder = Encoder(model, lambda h: h)
    features = partial(mean_embeddings, encoder)
    attributor = RepSimAttributor(
        model, features=features, candidates="all", forward=lambda m, x: m(**x)[:, -1]
    )
    scores = attributor.fit(TOKENS, [2, 2, 9]).attribute(TOKENS)
    embeddings = mean_embeddings(encoder, TOKENS)
    norms = np.linalg.norm(embeddings, axis=1)
    np.testing.assert_allclose(scores, embeddings @ embeddings.T / np.outer(norms, norms))


def test_a_head_has_no_hidden_states(model):
    with pytest.raises(ValueError, match=r"the encoder without its head"):
        mean_embeddings(Encoder(model, lambda h: h[:, 0]), TOKENS)
