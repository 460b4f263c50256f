"""A tokenizer of few words, and networks small enough to be trained in a test."""

import pytest
import torch
from torch import nn

WORDS = ["[PAD]", "[UNK]", "good", "bad", "film", "food", "the", "is", "was", "not", "very", "."]
TEXTS = [
    "the film was good.", "the food is bad.", "very good food.", "the film is not very good.",
    "bad film.", "the food was very good.", "not bad.", "the film was very bad.",
]  # fmt: skip
LABELS = torch.tensor([1, 0, 1, 0, 0, 1, 1, 0])


def make_tokenizer(pad=True, **settings):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if pad:
        settings["pad_token"] = "[PAD]"
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", **settings
    )


class Causal(nn.Module):
    """Sees the tokens so far as their running mean."""

    def __init__(self, n_tokens, width):
        super().__init__()
        self.table = nn.Embedding(n_tokens, width)
        self.head = nn.Linear(width, n_tokens)

    def forward(self, input_ids, attention_mask=None):
        so_far = self.table(input_ids).cumsum(1) / torch.arange(1, input_ids.shape[1] + 1)[:, None]
        return self.head(torch.tanh(so_far))


class Reader(nn.Module):
    """Reads words, in their order, where the mask says that there are any."""

    def __init__(self, width=6):
        super().__init__()
        self.table = nn.Embedding(len(WORDS), width)
        self.place = nn.Embedding(16, width)
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, width)
        self.score = nn.Linear(width, 1)
        self.head = nn.Linear(width, 2)

    def forward(self, input_ids, attention_mask, **others):
        mask = attention_mask[..., None]
        h = self.table(input_ids) + self.place(torch.arange(input_ids.shape[1]))
        h = torch.tanh(self.mix(self.norm(h)))
        weights = self.score(h).masked_fill(mask == 0, -1e4).softmax(1)  # of each word
        return self.head((weights * h).sum(1))


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()


@pytest.fixture
def reader():
    torch.manual_seed(0)
    return Reader().double().eval()
