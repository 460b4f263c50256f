"""Gradients of networks of transformers, layer by layer: factors, and not torch.func."""

import pytest
import torch
from torch import nn

from sklearn_provenance.tangent import TangentFeatures, TangentModel, tangent_kernel
from sklearn_provenance.tangent._positions import LabelledRows, position_products

from .conftest import reference

transformers = pytest.importorskip("transformers")

IDS = torch.randint(3, 19, (6, 7), generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 0, 1, 0, 1])
COMMON = {"vocab_size": 19, "num_labels": 2, "pad_token_id": 0, "bos_token_id": 1}
COMMON |= {"eos_token_id": 2, "tie_word_embeddings": False}
DECODER = {
    "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 4, "max_position_embeddings": 16,
}  # fmt: skip
BART = {
    "d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8,
    "max_position_embeddings": 16, "decoder_start_token_id": 2, "forced_eos_token_id": None,
    "scale_embedding": True,
}  # fmt: skip
SIZES = {
    "Llama": DECODER,
    "Mistral": DECODER,
    "Qwen2": DECODER,
    "Qwen3": DECODER,
    "Gemma": DECODER,
    "Gemma2": DECODER,
    "Gemma3Text": DECODER,
    "OPT": {
        "hidden_size": 8, "ffn_dim": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
        "word_embed_proj_dim": 8, "max_position_embeddings": 16,
    },
    "Bart": BART,
    "GPT2": {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16},
    "Bert": DECODER,
    "Roberta": DECODER | {"max_position_embeddings": 17},
    "MPNet": DECODER | {"max_position_embeddings": 17},
    "T5": {"d_model": 8, "d_ff": 12, "d_kv": 4, "num_layers": 2, "num_heads": 2,
           "decoder_start_token_id": 0},
}  # fmt: skip


class EncoderOfT5(nn.Module):
    """The encoder of T5 and a head."""

    def __init__(self, config):
        super().__init__()
        self.encoder = transformers.T5EncoderModel(config)
        self.head = nn.Linear(8, 2)

    def forward(self, input_ids, attention_mask=None):
        hidden = self.encoder(input_ids, attention_mask=attention_mask).last_hidden_state
        return self.head(hidden.mean(1))


def build(name):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**COMMON, **SIZES[name])
    config._attn_implementation = "eager"
    if name == "T5":
        network = EncoderOfT5(config)
    else:
        network = getattr(transformers, f"{name}ForSequenceClassification")(config)
    for n, p in network.named_parameters():  # norms start at ones or zeros
        if p.ndim == 1:
            nn.init.normal_(p, 0.5, 0.5, generator=torch.Generator().manual_seed(len(n)))
    return network.eval()


@pytest.mark.parametrize("name", SIZES)
def test_gradients_are_those_of_autograd_by_factors(name):
    network = build(name)
    ids = IDS.clone()
    ids[:, -1] = 2
    if name != "Bart":  # which takes no rows of several lengths
        ids[1, 5:] = 0
        ids[1, 4] = 2
    mask = (ids > 0).long()
    rows = {"input_ids": ids, "attention_mask": mask}
    features = TangentFeatures(network, "exact", batch_size=4).fit(rows)
    routes = features.coverage_.routes
    assert {n for n, route in routes.items() if route == "functional"} == set()

    def call(module, x):
        outputs = module(input_ids=x[:, 0], attention_mask=x[:, 1])
        return getattr(outputs, "logits", outputs)

    expected = reference(network, torch.stack([ids, mask], 1), LABELS, forward=call)
    expected = expected[:, expected.any(0)]
    found = torch.as_tensor(features.transform(rows, LABELS))
    found = found[:, found.any(0)]
    assert found.shape == expected.shape
    assert float((found - expected).norm() / expected.norm()) < 1e-5


@pytest.mark.parametrize("name", ["Llama", "OPT"])
def test_products_are_divided_among_positions(name):
    model = TangentModel(build(name)).plan({"input_ids": IDS})
    rows = LabelledRows(model, {"input_ids": IDS}, LABELS)
    parts, rest = position_products(rows, rows, 7)
    kernel = tangent_kernel(model, {"input_ids": IDS}, LABELS)
    torch.testing.assert_close(parts.sum(1) + rest, kernel, rtol=1e-4, atol=1e-5)
    assert not rest.any()


class Norm(nn.Module):
    """The root mean square norm, with a function of its weight."""

    def __init__(self, size, function, n_weights=None):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_weights or size))
        self.bias = nn.Parameter(torch.randn(n_weights or size))
        self.function = function

    def forward(self, x, *others):
        normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.function(normed, self.weight, self.bias)


class Asks(Norm):
    def forward(self, x, more):
        return super().forward(x)


def channels_first(normed, weight, bias):
    return (normed.mT * weight).mT + bias[:, None]


LOOK_ALIKES = {
    "plain": (lambda n, w, b: n * w + b, True),
    "one plus": (lambda n, w, b: n * (1 + w) + b, True),
    "exponential": (lambda n, w, b: n * w.exp() + b.tanh(), True),
    "neighbours": (lambda n, w, b: n * w * w.roll(1) + b, False),
    "mixed": (lambda n, w, b: (n * w).cumsum(-1) + b, False),
    "softmax": (lambda n, w, b: n * w.softmax(0) + b, False),
    "detached": (lambda n, w, b: n * w.detach() + w + b, True),
    "channels first": (channels_first, False),
}


class Calls(nn.Module):
    """Calls a layer with more than rows, or takes more than rows from it."""

    def __init__(self, layer, call):
        super().__init__()
        self.before = nn.Linear(4, 4)
        self.layer = layer
        self.after = nn.Linear(4, 2)
        self.call = call

    def forward(self, x):
        return self.after(torch.tanh(self.call(self.layer, self.before(x))))


class Several(nn.Linear):
    def forward(self, x):
        return super().forward(x), x


class Fused(Norm):
    """Adds a residual first, and returns the sum, too."""

    def forward(self, x, residual):
        return super().forward(x + residual), x + residual


class Named(Norm):
    def forward(self, x):
        return {"hidden": super().forward(x)}


class Multiplied(Norm):
    def forward(self, factor, x):
        return super().forward(x) * (2 if factor is None else factor)


def plain(n, w, b):
    return n * w + b


CALLS = {
    "linear layer, tuple": (lambda: Several(4, 4), lambda m, h: m(h)[0]),
    "tuple": (lambda: Fused(4, plain), lambda m, h: sum(m(h, h.sin()))),
    "mapping": (lambda: Named(4, plain), lambda m, h: m(h)["hidden"]),
    "None first": (lambda: Multiplied(4, plain), lambda m, h: m(None, h)),
    "number first": (lambda: Multiplied(4, plain), lambda m, h: m(3, h)),
    "tensor without axes first": (
        lambda: Multiplied(4, plain),
        lambda m, h: m(torch.tensor(0.5), h),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_layers_that_map_no_rows_to_rows(name):
    torch.manual_seed(0)
    make, call = CALLS[name]
    network = Calls(make(), call).double()
    x = torch.randn(6, 4, dtype=torch.float64)
    features = TangentFeatures(network, "exact", batch_size=4).fit(x)
    assert features.coverage_.routes["layer.weight"] == "functional"
    found = torch.as_tensor(features.transform(x, LABELS))
    torch.testing.assert_close(found, reference(network, x, LABELS))


def test_layers_that_map_rows_to_rows_at_first():
    torch.manual_seed(0)
    layer = Norm(4, plain)
    network = Calls(layer, lambda m, h: m(h) if len(h) > 2 else m(h, 1)[0])
    layer.forward = lambda x, *more: (Norm.forward(layer, x), x) if more else Norm.forward(layer, x)
    network.double()
    x = torch.randn(6, 4, dtype=torch.float64)
    features = TangentFeatures(network, "exact", batch_size=4).fit(x[:4])
    found = torch.as_tensor(features.transform(x, LABELS))
    torch.testing.assert_close(found, reference(network, x, LABELS))


@pytest.mark.parametrize("name", LOOK_ALIKES)
@pytest.mark.parametrize("frozen", [(), ("bias",), ("weight",)])
def test_classes_that_look_like_norms_are_never_wrong(name, frozen):
    torch.manual_seed(0)
    function, elementwise = LOOK_ALIKES[name]
    norm = Norm(4, function)
    for part in frozen:
        getattr(norm, part).requires_grad_(False)
    network = nn.Sequential(nn.Linear(4, 4), norm, nn.Tanh(), nn.Flatten(), nn.Linear(16, 2))
    x = torch.randn(6, 4, 4)
    model = TangentModel(network.double()).plan(x.double())
    route = model.coverage.routes["1.weight" if "weight" not in frozen else "1.bias"]
    assert elementwise == (route == "factors") or frozen
    trained = [p.requires_grad for p in network.parameters() for _ in p.flatten()]
    expected = reference(network, x.double(), LABELS)[:, trained]
    found = TangentFeatures(network, "exact", batch_size=4).fit(x.double())
    found = torch.as_tensor(found.transform(x.double(), LABELS))
    torch.testing.assert_close(found, expected)


def test_a_norm_that_takes_more_than_rows():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = Asks(4, lambda n, w, b: n * w + b)
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            return self.head(torch.tanh(self.norm(x, x)))

    network = Two().double()
    x = torch.randn(6, 4).double()
    features = TangentFeatures(network, "exact").fit(x)
    assert features.coverage_.routes["norm.weight"] == "functional"
    torch.testing.assert_close(
        torch.as_tensor(features.transform(x, LABELS)), reference(network, x, LABELS)
    )


class Scaled(nn.Embedding):
    """A table that scales what it looks up."""

    def forward(self, ids):
        return 3 * super().forward(ids) + 1


class Counted(nn.Embedding):
    """A table of positions that is called with tokens, and looks positions up for all rows."""

    def forward(self, ids):
        return super().forward(torch.arange(ids.shape[1])[None] + 1)


@pytest.mark.parametrize("tied", [False, True])
def test_tables_with_a_forward_of_their_own(tied):
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = Scaled(19, 4, padding_idx=0)
            self.places = Counted(9, 4)
            self.head = nn.Linear(4, 19)
            if tied:
                self.head.weight = self.words.weight

        def forward(self, ids):
            return self.head(torch.tanh(self.words(ids) + self.places(ids)).mean(1))

    torch.manual_seed(0)
    network = Reads().double()
    ids = IDS.clone()
    ids[2, 3:] = 0
    features = TangentFeatures(network, "exact", batch_size=4).fit(ids)
    assert set(features.coverage_.routes.values()) == {"factors"}
    expected = reference(network, ids, LABELS)
    found = torch.as_tensor(features.transform(ids, LABELS))
    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore:the gradients of .*relative_attention_bias.* row by row")
@pytest.mark.parametrize("n_tokens", [2, 6, 7])
def test_distances_of_positions_after_rows_of_one_token(n_tokens):
    network = build("T5").double()
    model = TangentModel(network).plan({"input_ids": IDS[:, :1]})
    ids = IDS[:, :n_tokens]  # as many positions as rows, or not
    kernel = tangent_kernel(model, {"input_ids": ids}, LABELS, batch_size=n_tokens)
    expected = reference(network, ids, LABELS)
    torch.testing.assert_close(kernel, expected @ expected.T)


class Sometimes(nn.Module):
    """Looks up a position for all rows, or distances where there are several."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(19, 2)
        self.table = nn.Embedding(15, 2)

    def forward(self, ids):
        n_tokens = ids.shape[1]
        if n_tokens == 1:
            said = self.table(torch.full((1, 1), 7)).mean(1)  # (1, 2)
        else:
            places = torch.arange(n_tokens)
            said = self.table(places[None] - places[:, None] + 7)  # (T, T, 2)
            said = said.permute(2, 0, 1).unsqueeze(0)
            said = (said * ids[:, None, :, None]).mean((2, 3))  # (B, 2)
        return self.words(ids).mean(1) * torch.tanh(said)


@pytest.mark.parametrize("n_tokens", [4, 6, 7])
def test_distances_that_are_looked_up_later(n_tokens):
    torch.manual_seed(0)
    network = Sometimes().double()
    model = TangentModel(network).plan(IDS[:, :1])
    assert model.coverage.routes["table.weight"] == "factors"
    ids = IDS[:, :n_tokens]
    kernel = tangent_kernel(model, ids, LABELS, batch_size=n_tokens)
    expected = reference(network, ids, LABELS)
    torch.testing.assert_close(kernel, expected @ expected.T)
    assert model.coverage.routes["table.weight"] == "factors"
