"""Rows of tokens that a network cannot read are refused in a sentence that helps."""

import copy

import pytest
import torch

from sklearn_provenance import InfoGainAttributor
from sklearn_provenance.tangent import TangentFeatures, TangentModel, cached_trunk
from sklearn_provenance.tangent._sequences import check_sequences

transformers = pytest.importorskip("transformers")
IDS = torch.randint(3, 12, (6, 7), generator=torch.Generator().manual_seed(0))
LABELS = [0, 1, 0, 1, 0, 1]
SIZES = {"vocab_size": 12, "num_labels": 2, "pad_token_id": 0}


def make(name):
    torch.manual_seed(0)
    if name == "GPT2":
        config = transformers.GPT2Config(
            n_embd=8, n_layer=1, n_head=2, n_positions=8, bos_token_id=1, eos_token_id=1, **SIZES
        )
    else:
        config = transformers.BertConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
            max_position_embeddings=8, **SIZES,
        )  # fmt: skip
    return getattr(transformers, f"{name}ForSequenceClassification")(config).eval()


def rows(ids, mask=True):
    x = {"input_ids": ids}
    return x | {"attention_mask": (ids > 0).long()} if mask else x


@pytest.mark.parametrize("name", ["Bert", "GPT2"])
def test_rows_longer_than_positions(name):
    network = make(name)
    longer = rows(IDS.repeat(1, 2))
    message = "at most 8 tokens, the positions that the network knows; got 14"
    attributor = InfoGainAttributor(network)
    with pytest.raises(ValueError, match=message):
        attributor.fit(longer, LABELS)
    attributor.fit(rows(IDS), LABELS)
    with pytest.raises(ValueError, match=message):
        attributor.explain(longer, k=2)
    for refuse in (
        lambda: TangentModel(network).plan(longer),
        lambda: TangentFeatures(network, n_components=8).fit(longer),
        lambda: cached_trunk(network, "score" if name == "GPT2" else "classifier", longer),
    ):
        with pytest.raises(ValueError, match=message):
            refuse()


def test_tokens_of_another_tokenizer():
    others = IDS.index_fill(0, torch.tensor(2), 12)
    with pytest.raises(ValueError, match=r"from 0 to 11, the vocabulary .* got 12 in row 2"):
        InfoGainAttributor(make("Bert")).fit(rows(others), LABELS)


def test_padding_without_a_mask():
    padded = IDS.clone()
    padded[2, 4:] = 0
    network = make("Bert")
    attributor = InfoGainAttributor(network)
    for x in (rows(padded, mask=False), padded):
        with pytest.warns(UserWarning, match=r"rows of input_ids end in 0.*Pass a mapping with"):
            attributor.fit(x, LABELS)
    with pytest.warns(UserWarning, match="rows of input_ids begin in 0"):
        attributor.fit(padded.flip(1), LABELS)
    attributor.fit(rows(padded), LABELS)  # says nothing


def test_positions_that_count_from_behind_the_padding():
    config = transformers.RobertaConfig(
        vocab_size=12, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=10, pad_token_id=1,
    )  # fmt: skip
    network = transformers.RobertaModel(config)
    check_sequences(network, rows(IDS.repeat(1, 2)[:, :8]))
    with pytest.raises(ValueError, match=r"at most 8 tokens, .*; got 9"):
        check_sequences(network, rows(IDS.repeat(1, 2)[:, :9]))


def test_rows_of_which_nothing_is_to_be_said():
    network = make("Bert")
    check_sequences(network, IDS)  # none ends in padding
    check_sequences(network, IDS[:0])
    check_sequences(network, torch.full((2, 3), 99.0))  # embeddings, or other numbers
    network.config.pad_token_id = None
    padded = IDS.clone()
    padded[2, 4:] = 0
    check_sequences(network, padded)


def test_rows_of_several_lengths():
    ids = [[3, 4], [5, 4, 3], [3, 3]] * 2
    with pytest.raises(ValueError, match=r"X\['input_ids'\] .* got 2 to 3\. Pad tokens"):
        InfoGainAttributor(make("Bert")).fit({"input_ids": ids}, LABELS)


def test_half_precision():
    network = make("Bert").half()
    with pytest.raises(ValueError, match=r"copy\.deepcopy\(model\)\.float\(\)"):
        InfoGainAttributor(network).fit(rows(IDS), LABELS)
    InfoGainAttributor(copy.deepcopy(network).float()).fit(rows(IDS), LABELS)
