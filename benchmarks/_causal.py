"""A small language model of words, and the text that it learns: the topics of Python's manual."""

import pydoc_data.topics
import re
from collections import Counter

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_provenance.text import TokenizedTexts, causal_rows, log_likelihood

WORD = re.compile(r"\w+|[^\w\s]")
UNKNOWN = 0


def windows(length, n_words):
    """Cut the text into rows of so many words, no two alike, and number the most frequent words.

    Returns
    -------
    TokenizedTexts
        Rows in the order of the text; word 0 stands for all rare ones.
    """
    texts, places = [], []
    for topic in pydoc_data.topics.topics.values():
        found = [match.span() for match in WORD.finditer(topic)]
        for start in range(0, len(found) - length + 1, length):
            spans = np.array(found[start : start + length])
            first, last = spans[0, 0], spans[-1, 1]
            texts.append(topic[first:last])
            places.append(spans - first)
    words = [[t[i:j].lower() for i, j in p] for t, p in zip(texts, places, strict=True)]
    counts = Counter(word for row in words for word in row)
    known = {word: i + 1 for i, (word, _) in enumerate(counts.most_common(n_words - 1))}
    ids = np.array([[known.get(word, UNKNOWN) for word in row] for row in words])
    first = np.sort(np.unique(ids, axis=0, return_index=True)[1])
    return TokenizedTexts({"input_ids": ids}, texts, np.array(places)).take_rows(first)


class Block(nn.Module):
    """Causal attention and a layer for each word, as in GPT-2."""

    def __init__(self, width, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        B, T, width = x.shape
        parts = self.attend(self.norm1(x)).view(B, T, 3 * self.n_heads, -1).transpose(1, 2)
        q, k, v = parts.chunk(3, 1)  # (B, n_heads, T, width / n_heads)
        read = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(read.transpose(1, 2).reshape(B, T, width))
        return x + self.narrow(F.gelu(self.wide(self.norm2(x))))


class CausalModel(nn.Module):
    """Predicts the next word from those before it."""

    def __init__(self, n_words, length, width=96, depth=2, n_heads=4):
        super().__init__()
        self.word, self.place = nn.Embedding(n_words, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, n_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_words, bias=False)
        for table in (self.word, self.place):
            nn.init.normal_(table.weight, std=0.1)

    def hidden(self, ids):
        """Compute what the head reads, (B, T, width)."""
        h = self.word(ids) + self.place(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            h = block(h)
        return self.norm(h)

    def forward(self, input_ids):
        return self.head(self.hidden(input_ids))


def train(rows, n_words, *, epochs, seed, lr=2e-3, batch_size=32, **sizes):
    """Train a model on rows of words."""
    torch.manual_seed(seed)
    rows = causal_rows(rows)
    model = CausalModel(n_words, rows["input_ids"].shape[1], **sizes)
    n = len(rows["labels"])
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * -(-n // batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for _ in range(epochs):
        for part in torch.randperm(n, generator=generator).split(batch_size):
            batch = {name: value[part] for name, value in rows.items()}
            loss = -log_likelihood(model, batch).mean() / batch["labels"].shape[1]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()
