"""
Where does a language model have its words from?
================================================

A small language model has read pieces of Python's manual until it knew them by heart. It is given
the beginning of a piece and says the next word. From which piece does it have that? And which words
of the piece say so?
"""

# %%
# Texts
# -----
# The topics of ``help()`` ship with Python. They are cut into pieces of 24 words and signs, of
# which 200 are learned. A :class:`~sklearn_provenance.text.TokenizedTexts` keeps the text of each
# row, and where its words are.

import pydoc_data.topics
import re
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from sklearn_provenance import InfoGainAttributor
from sklearn_provenance.attribution import BM25Attributor
from sklearn_provenance.text import (
    TokenizedTexts,
    causal_rows,
    log_likelihood,
    log_odds,
    token_shares,
)

LENGTH, N_WORDS, N_ROWS = 24, 500, 200
pieces = []
for topic in pydoc_data.topics.topics.values():
    spans = [match.span() for match in re.finditer(r"\w+|[^\w\s]", topic)]
    for i in range(0, len(spans) - LENGTH + 1, LENGTH):
        first = spans[i][0]
        places = np.array(spans[i : i + LENGTH]) - first
        pieces.append((topic[first : first + places[-1, 1]], places))
chosen = np.random.default_rng(0).choice(len(pieces), N_ROWS, replace=False)
texts, places = zip(*(pieces[i] for i in chosen), strict=True)
split = [[text[i:j].lower() for i, j in p] for text, p in zip(texts, places, strict=True)]
counts = Counter(word for words in split for word in words)
names = ["<rare>", *(word for word, _ in counts.most_common(N_WORDS - 1))]
numbers = {word: number for number, word in enumerate(names)}
ids = np.array([[numbers.get(word, 0) for word in words] for words in split])
rows = causal_rows(TokenizedTexts({"input_ids": ids}, texts, np.array(places)))
print(texts[0])

# %%
# A model
# -------
# Two layers of attention. ``causal_rows`` has marked which words are measured: all that have a word
# before them. ``log_likelihood`` adds up their log probabilities, which training raises.


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.read, self.write = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.think = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x):
        B, T, width = x.shape
        q, k, v = self.read(self.norm1(x)).view(B, T, 3, 4, -1).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.write(seen.transpose(1, 2).reshape(B, T, width))
        return x + self.think(self.norm2(x))


class Model(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.word, self.place = nn.Embedding(N_WORDS, width), nn.Embedding(LENGTH, width)
        self.blocks = nn.Sequential(Block(width), Block(width), nn.LayerNorm(width))
        self.head = nn.Linear(width, N_WORDS)

    def forward(self, ids):
        places = torch.arange(ids.shape[1])
        return self.head(self.blocks(self.word(ids) + self.place(places)))


torch.manual_seed(0)
model = Model()
optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
losses = []
for _ in range(40):
    for part in torch.randperm(N_ROWS).split(25):
        loss = -log_likelihood(model, dict(rows[part.numpy()])).mean() / (LENGTH - 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    losses.append(loss.item())
print(f"{sum(p.numel() for p in model.parameters())} weights, {losses[-1]:.2f} nats a word")

# %%
# A prompt
# --------
# The first six words of a piece. The model continues them, and one of its words is explained.

truth = 3
prompt = torch.tensor(ids[[truth], :6])
with torch.no_grad():
    said = int(model(prompt)[0, -1].argmax())
words = [names[i] for i in prompt[0]]
print(" ".join(words), "->", names[said])

# %%
# Attribution
# -----------
# Training rows are measured by all of their words, the prompt by its last, the one that was said:
# two measurements of one network, compared by one kernel. Log odds are taken, because gradients of
# log p vanish for what is known by heart. Targets are not used, and are zeros.

words = [*words, names[said]]
ends = np.cumsum([len(word) + 1 for word in words]) - 1
spans = np.stack([ends - [len(word) for word in words], ends], 1)
asked = TokenizedTexts(
    {"input_ids": torch.cat([prompt, torch.tensor([[said]])], 1)}, [" ".join(words)], [spans]
)
query, zeros = causal_rows(asked, last=1), np.zeros(N_ROWS, dtype=int)
attributor = InfoGainAttributor(model, forward=log_odds, noise_variance="0.1*diagonal")
explanation = attributor.fit(rows, zeros).explain(query, k=3)
explanation

# %%
# The piece that the prompt was cut from has number 3. BM25 looks for shared words alone.

bm25 = BM25Attributor(model, forward=log_odds)
explanation_bm25 = bm25.fit(rows, zeros).explain(query, k=3)
print("information gain", explanation.indices[0], " BM25", explanation_bm25.indices[0])

# %%
# Which words of the piece
# ------------------------
# Each layer acts at each position alone, so the score is a sum over the words of the piece: over
# what the network did at each word when it predicted the next. What belongs to no word is the last
# entry of ``words``. The others are compared with each other, as on the page of
# ``shares.to_html()``, which marks them in the text.

shares = token_shares(attributor, query, k=1)
*parts, (_, rest) = shares.words(0, 0)
total = sum(abs(part) for _, part in parts)
fig, ax = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
colors = ["#D55E00" if part > 0 else "#7570B3" for _, part in parts]
ax.bar(range(len(parts)), [100 * part / total for _, part in parts], color=colors)
ax.set_xticks(range(len(parts)), [word for word, _ in parts], rotation=60, ha="right")
ax.axhline(0, color="0.4", lw=0.8)
score = explanation.scores[0, 0]
title = f"row {explanation.indices[0, 0]}: {rest:.2g} of {score:.2g} nats belong to no word"
ax.set(ylabel="proportion among words (%)", title=title)
plt.show()

# %%
# Most of it is at one word, *help*: after it, and all that stands before it, the piece goes on with
# *avoid*, as the model does.
# :ref:`text` has more on texts, transformers and language models.
