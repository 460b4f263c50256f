"""Rows of tokens that a network cannot read are refused in a sentence that helps."""

import copy

import pytest
import torch
from torch import nn

from sklearn_provenance import InfoGainAttributor, explain
from sklearn_provenance.tangent import TangentFeatures, TangentModel, cached_trunk
from sklearn_provenance.tangent._sequences import check_sequences
from sklearn_provenance.text import causal_rows, log_odds, mean_embeddings

transformers = pytest.importorskip("transformers")
IDS = torch.randint(3, 12, (6, 7), generator=torch.Generator().manual_seed(0))
LABELS = [0, 1, 0, 1, 0, 1]
SIZES = {"vocab_size": 12, "num_labels": 2, "pad_token_id": 0}


def make(name, **sizes):
    torch.manual_seed(0)
    sizes = SIZES | sizes
    if name == "GPT2":
        config = transformers.GPT2Config(
            n_embd=8, n_layer=1, n_head=2, n_positions=8, bos_token_id=1, eos_token_id=1, **sizes
        )
    else:
        config = transformers.BertConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
            max_position_embeddings=8, **sizes,
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
        lambda: mean_embeddings(network, longer),
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


@pytest.mark.parametrize("n_rows", [1, 6])
def test_padding_without_a_mask_in_all_rows(n_rows):
    padded = IDS[:n_rows].index_fill(1, torch.tensor([5, 6]), 0)
    for x, side in ((padded, "end"), (padded.flip(1), "begin")):
        with pytest.warns(UserWarning, match=f"rows of input_ids {side} in 0"):
            check_sequences(make("Bert"), x)
        with pytest.warns(UserWarning, match=f"rows of input_ids {side} in 1"):
            check_sequences(make("GPT2", pad_token_id=None), x.masked_fill(x == 0, 1))


def test_texts_that_end_as_texts_do():
    ended = IDS.index_fill(1, torch.tensor([6]), 1)
    ended[0, 6] = 3
    check_sequences(make("GPT2", pad_token_id=None), ended)
    check_sequences(make("GPT2"), IDS[:, :1])
    check_sequences(make("Bert"), torch.zeros(1, 1, dtype=torch.int64) + 3)


@pytest.mark.parametrize("n_rows", [1, 6])
def test_all_rows_padded_on_the_left(n_rows):
    ids = IDS[:n_rows].index_fill(1, torch.tensor([0, 1]), 0)
    with pytest.warns(UserWarning, match="begin in padding, which takes the first positions"):
        check_sequences(make("GPT2"), rows(ids))


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


def test_masks_that_do_not_fit():
    attributor = InfoGainAttributor(make("Bert"))
    mask = torch.ones_like(IDS)
    with pytest.raises(ValueError, match=r"the shape of input_ids, \(6, 7\); got \(6, 5\)"):
        attributor.fit({"input_ids": IDS, "attention_mask": mask[:, :5]}, LABELS)
    mask[3] = 0
    with pytest.raises(ValueError, match=r"leave a token in each row, .* got none in row 3"):
        attributor.fit({"input_ids": IDS, "attention_mask": mask}, LABELS)
    encoder = torch.nn.Embedding(12, 3)  # without a configuration that says what rows are
    with pytest.raises(ValueError, match="got none in row 3"):
        mean_embeddings(encoder, {"input_ids": IDS, "attention_mask": mask}, 2)


def test_numbers_that_are_no_tokens():
    with pytest.raises(ValueError, match=r"must be integers, .* got torch.float32"):
        InfoGainAttributor(make("Bert")).fit(rows(IDS.float()), LABELS)


def test_classifiers_that_read_the_last_token_know_the_padding():
    padded = IDS.clone()
    padded[2, 4:] = 0
    with pytest.raises(ValueError, match="pad_token_id of the network must be set"):
        InfoGainAttributor(make("GPT2", pad_token_id=None)).fit(rows(padded), LABELS)
    with pytest.raises(ValueError, match="got 2 and rows padded with 0"):
        InfoGainAttributor(make("GPT2", pad_token_id=2)).fit(rows(padded), LABELS)
    InfoGainAttributor(make("GPT2")).fit(rows(padded), LABELS)


def test_padding_on_the_left_takes_learned_positions():
    padded = IDS.clone()
    padded[2, :3] = 0
    x = rows(padded)
    places = x["attention_mask"].cumsum(1).sub(1).clamp(min=0)
    attributor = InfoGainAttributor(make("GPT2"))
    with pytest.warns(UserWarning, match="takes the first positions, .*or pass position_ids"):
        attributor.fit(x, LABELS)
    attributor.fit(x | {"position_ids": places}, LABELS)  # says nothing


def test_half_precision_is_averaged_in_single():
    network = make("Bert").bert
    found = mean_embeddings(network.half(), rows(IDS))
    assert found.dtype == "float32"


def test_language_models_and_classifiers_are_not_mistaken():
    config = make("GPT2").config
    model = transformers.GPT2LMHeadModel(config).eval()
    with pytest.raises(ValueError, match="Language models take forward=log_odds"):
        InfoGainAttributor(model).fit(rows(IDS), LABELS)
    with pytest.raises(ValueError, match=r"got \(6, 2\). A classifier of texts needs no forward"):
        InfoGainAttributor(make("Bert"), forward=log_odds).fit(causal_rows(rows(IDS)), [0] * 6)


def test_a_split_that_what_follows_cannot_do_without():
    with pytest.raises(ValueError, match=r"'classifier' on .* it needs more of the lower part"):
        cached_trunk(make("Bert"), "classifier", rows(IDS))


def test_a_module_that_takes_no_dict_is_named():
    network = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    rows = {"input_ids": torch.arange(6).reshape(2, 3), "labels": torch.zeros(2)}
    message = (
        "'input_ids', 'labels' as keyword arguments, but Sequential raised TypeError.*forward="
    )
    with pytest.raises(TypeError, match=message):
        InfoGainAttributor(network, candidates="all").fit(rows, [0, 1])
    with pytest.raises(TypeError, match=message):
        explain(network, rows, k=1, training=(rows, [0, 1]))


def opt(kind="OPTForSequenceClassification"):
    torch.manual_seed(0)
    config = transformers.OPTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, ffn_dim=8, word_embed_proj_dim=8,
        max_position_embeddings=8, bos_token_id=1, eos_token_id=1, **SIZES,
    )  # fmt: skip
    return getattr(transformers, kind)(config).eval()


def bart():
    torch.manual_seed(0)
    config = transformers.BartConfig(
        d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=8,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None, **SIZES,
    )  # fmt: skip
    return transformers.BartForSequenceClassification(config).eval()


@pytest.mark.parametrize("make_network", [opt, bart])
def test_tables_of_positions_with_an_offset(make_network):
    ids = IDS.repeat(1, 2)
    ids[:, [8, 13]] = 2
    with pytest.raises(ValueError, match=r"at most 8 tokens, .* got 14.*max_length=8"):
        InfoGainAttributor(make_network()).fit(rows(ids), LABELS)
    ids = ids[:, 6:]
    ids[:, -1] = 2
    InfoGainAttributor(make_network()).fit(rows(ids), LABELS)


def test_positions_that_are_counted_by_the_mask():
    padded = IDS.repeat(1, 2)
    padded[:, 8:] = 0
    padded[1] = padded[1].flip(0)
    x = rows(padded)
    InfoGainAttributor(opt()).fit(x, LABELS)  # padding on the left takes no positions
    with pytest.raises(ValueError, match=r"at most 8 tokens, .* got 14"):
        check_sequences(opt(), {"input_ids": padded.masked_fill(padded == 0, 3)})
    places = torch.arange(14).clamp(max=7).expand(6, -1)
    check_sequences(make("Bert"), rows(IDS.repeat(1, 2)) | {"position_ids": places})


def test_tokens_that_were_added():
    added = IDS.index_fill(0, torch.tensor(2), 12)
    network = make("Bert")
    attributor = InfoGainAttributor(network).fit(rows(IDS), LABELS)
    with pytest.raises(ValueError, match=r"resize_token_embeddings\(len\(tokenizer\)\)"):
        attributor.explain(rows(added), k=2)
    network.resize_token_embeddings(13)
    InfoGainAttributor(network).fit(rows(added), LABELS)
    with pytest.raises(ValueError, match=r"from 0 to 12, .* got -1 in row 2"):
        InfoGainAttributor(network).fit(rows(added.masked_fill(added == 12, -1)), LABELS)


def test_kinds_of_tokens_without_a_row():
    x = rows(IDS) | {"token_type_ids": torch.full_like(IDS, 2)}
    message = r"'bert.embeddings.token_type_embeddings' looks up must be from 0 to 1, .*got 2 to 2"
    with pytest.raises(ValueError, match=message):
        InfoGainAttributor(make("Bert")).fit(x, LABELS)


class Inside(nn.Module):
    """A network of Hugging Face in a module that has no configuration."""

    def __init__(self, network):
        super().__init__()
        self.inner = network

    def forward(self, input_ids, attention_mask):
        return self.inner(input_ids, attention_mask=attention_mask).logits


def test_positions_with_an_offset_are_counted_from_it():
    message = r"'inner.model.decoder.embed_positions' looks up must be from 0 to 9, .*got 2 to 15.*"
    with pytest.raises(ValueError, match=message + "of which there may be 8.*max_length=8"):
        InfoGainAttributor(Inside(opt())).fit(rows(IDS.repeat(1, 2)), LABELS)


class Windows(nn.Module):
    """Reads texts of any length window by window."""

    def __init__(self):
        super().__init__()
        self.inner = make("Bert")

    def forward(self, input_ids, attention_mask):
        windows = zip(input_ids.split(7, 1), attention_mask.split(7, 1), strict=True)
        return sum(self.inner(ids, attention_mask=mask).logits for ids, mask in windows)


def test_networks_that_cut_rows_themselves():
    longer = rows(IDS.repeat(1, 2))
    assert InfoGainAttributor(Windows()).fit(longer, LABELS).explain(longer, k=2).indices.size == 12
